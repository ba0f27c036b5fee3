"""The stage of a differential test: one script, one client's case, played twice, once to the scripted upstream itself
and once through Trimtab; both transcripts are then compared, leaf by leaf.

    stage.plays(scripts.HELLO)
    stage.same(openai_case(kind, streamed), attempts=1)

Upstream and gateway run on real sockets on a loop (uvloop) in a thread of their own, so that synchronous clients, Node
and curl can talk to them. Tests where all goes well share one stage; where something goes wrong, or is stored, upstream
and gateway are new, so that no rest of a replica and no stored answer is left of the test before.

What normalisation hides (`plain`, `asked`), and nothing else:
- ids and times of answers (`id`, `created`): they must be there and of the same type, and one id holds for a stream;
- `model`: who answered has another name through Trimtab; it must be a text;
- the object `trimtab` that Trimtab adds to whole answers, usage chunks and errors;
- of the request that the upstream sees: `model`, `stream`, `stream_options`, the variant's system text before the
  caller's messages, and the cap of the variant where the caller sent none.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import msgspec
import uvloop

from support.gateway import KEY, Edit, Gateway, replaced
from support.upstream import Script, ScriptedUpstream, Seen

T = TypeVar("T")
PATIENCE_S = 15.0
SYSTEM = {"role": "system", "content": "Answer briefly."}
CAP = 200
"""`max_tokens` of the variant that answers; larger than any that a case asks for."""


class Servers:
    """A loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="servers", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T], patience_s: float = PATIENCE_S) -> T:
        """Run this there, and wait for it here."""

        async def bounded() -> T:
            async with asyncio.timeout(patience_s):
                return await work

        return asyncio.run_coroutine_threadsafe(bounded(), self._loop).result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Side(NamedTuple):
    """One of the two servers that a case is played to."""

    url: str
    """OpenAI's base URL, with `/v1`."""
    key: str

    @property
    def is_direct(self) -> bool:
        return self.key != KEY


Case = Callable[[Side], Any]
"""Drives one client against a side, and says what the client saw as plain JSON values."""


class Differs(NamedTuple):
    """A leaf of the transcripts that must differ in exactly this way, and why it may."""

    at: str
    direct: Any
    through: Any
    why: str


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


ABSENT = _Absent()
"""A leaf that one transcript lacks."""


@dataclass
class Played:
    """One case on one side."""

    said: Any
    """What the client saw."""
    attempts: int
    """Requests that the side got."""
    asked: list[Seen]
    """Requests that the upstream got."""
    hung_up: int
    """How often the upstream saw its client go in the middle."""


@dataclass
class Pair:
    """One case on both sides."""

    direct: Played
    through: Played


@dataclass
class Stage:
    """See the module."""

    servers: Servers
    folder: Path
    edits: tuple[Edit, ...] = ()
    upstream: ScriptedUpstream = field(default_factory=ScriptedUpstream)
    gateway: Gateway = field(init=False)

    async def start(self) -> None:
        await self.upstream.start()
        url = self.upstream.url
        # a channel without guards and cache, so that chunks come as the upstream cuts them and every answer is fresh
        fresh = replaced("tenants/shop.yaml", "default_channel: web", "default_channel: fresh")
        patient = [  # many faults one after the other are what is played here
            replaced("models.yaml", f"slots: {n},", f"slots: {n}, health: {{failures: 1000}},") for n in (4, 2)
        ]
        self.gateway = Gateway(self.folder, url, url, fresh, *patient, *self.edits)
        await self.gateway.__aenter__()

    async def stop(self) -> None:
        """Raises if anything is still held, or if a script or the gateway has raised."""
        try:
            await self.gateway.__aexit__(None, None, None)
        finally:
            await self.upstream.stop()
        if self.upstream.faults:
            raise self.upstream.faults[0]

    def settle(self) -> None:
        """After a test: nothing is held, and neither a script nor the gateway has raised."""

        async def check() -> None:
            await self._idle()
            self.gateway.assert_nothing_held()
            assert not self.gateway.errors, self.gateway.errors
            assert not self.upstream.faults, self.upstream.faults

        self.servers.run(check())

    @property
    def direct(self) -> Side:
        return Side(f"{self.upstream.url}/v1", "sk-direct")

    @property
    def through(self) -> Side:
        return Side(f"http://127.0.0.1:{self.gateway.port}/v1", KEY)

    def plays(self, script: Script) -> None:
        """What the upstream answers from now on; `nth` begins at 0 again for each side."""
        self.upstream.script = script

    def both(self, case: Case, attempts: tuple[int, int], upstream: int, hung_up: tuple[int, int]) -> Pair:
        """Play the case to both sides; see `same` for the counts."""
        direct = self.play(case, self.direct, attempts[0], attempts[0], hung_up[0])
        return Pair(direct, self.play(case, self.through, attempts[1], upstream, hung_up[1]))

    def play(self, case: Case, side: Side, attempts: int, upstream: int, hung_up: int) -> Played:
        """Play the case to one side, and wait until it is over there, too. The counts are exact."""
        self.servers.run(self._idle())
        self.upstream.requests.clear()
        self.upstream.hang_ups = 0
        self.gateway.records.clear()
        said = normal(case(side))
        self.servers.run(self._over(side, attempts, upstream, hung_up))
        seen = len(self.upstream.requests) if side.is_direct else len(self.gateway.records)
        played = Played(said, seen, list(self.upstream.requests), self.upstream.hang_ups)
        counts = (played.attempts, len(played.asked), played.hung_up)
        assert counts == (attempts, upstream, hung_up), f"(attempts, upstream requests, hang-ups) are {counts}: {said}"
        return played

    async def _over(self, side: Side, attempts: int, upstream: int, hung_up: int) -> None:
        """Wait until as much has happened as should; what happens beyond it is counted, too."""
        try:
            async with asyncio.timeout(PATIENCE_S / 3):
                await self.upstream.asked(upstream)
                await self.upstream.hung_up(hung_up)
                if not side.is_direct:
                    await self.gateway.sink.reached(attempts)
        except TimeoutError:
            return  # the counts tell
        await self._idle()

    async def _idle(self) -> None:
        """No request is under way, neither here nor there."""
        while self.gateway.listener.active or any(one.running for one in self.upstream._open):
            await asyncio.sleep(0)

    def same(
        self,
        case: Case,
        *differences: Differs,
        attempts: int | tuple[int, int] = 1,
        upstream: int | None = None,
        hung_up: int | tuple[int, int] = 0,
    ) -> Pair:
        """Play the case to both sides; the transcripts must be equal but for `differences`, all of which must be seen.

        `attempts`: requests that the client makes, one count for both or direct and through; `upstream`: requests that
        reach the upstream through Trimtab, as many as the client makes unless given.
        """
        tries = attempts if isinstance(attempts, tuple) else (attempts, attempts)
        gone = hung_up if isinstance(hung_up, tuple) else (hung_up, hung_up)
        pair = self.both(case, tries, tries[1] if upstream is None else upstream, gone)
        found = differing(pair.direct.said, pair.through.said)
        assert found == {one.at: (one.direct, one.through) for one in differences}
        return pair

    def same_request(self, pair: Pair) -> dict[str, Any]:
        """What the upstream was asked must be equal, too. Returns it as the client sent it."""
        direct, through = pair.direct.asked[0].json, pair.through.asked[0].json
        assert asked(direct, through=False) == asked(through, through=True)
        found: dict[str, Any] = direct
        return found


@contextmanager
def opened(servers: Servers, folder: Path, *edits: Edit) -> Iterator[Stage]:
    """A stage while the block runs."""
    stage = Stage(servers, folder, edits)
    servers.run(stage.start())
    try:
        yield stage
    finally:
        servers.run(stage.stop())


# --- what transcripts are made of -----------------------------------------------------------------------------------


def normal(value: Any) -> Any:
    """As JSON has it: what can't be told apart on the wire can't be told apart here (tuples and lists, int keys)."""
    return msgspec.json.decode(msgspec.json.encode(value))


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """An answer or a chunk without what may differ; see the module."""
    kept = {name: value for name, value in data.items() if name != "trimtab"}
    for name in ("id", "created", "model"):
        if name in kept:
            kept[name] = f"<{type(kept[name]).__name__}>"
    return kept


def asked(body: dict[str, Any], *, through: bool) -> dict[str, Any]:
    """A request as the upstream saw it, without what Trimtab decides; see the module."""
    kept = {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
    if through:
        assert kept["messages"][0] == SYSTEM, "the variant's system text comes first"
        kept["messages"] = kept["messages"][1:]
        if kept.get("max_tokens") == CAP:
            del kept["max_tokens"]
    return kept


def differing(direct: Any, through: Any) -> dict[str, tuple[Any, Any]]:
    """Leaves that are not equal, by their path: `chunks.3.choices.0.delta.content`."""
    ours, theirs = dict(_leaves(through)), dict(_leaves(direct))
    pairs = {
        at: (theirs.get(at, ABSENT), ours.get(at, ABSENT)) for at in [*theirs, *(at for at in ours if at not in theirs)]
    }
    return {at: pair for at, pair in pairs.items() if not _equal(*pair)}


def _leaves(value: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not parts:
        yield at, value
    for name, part in parts:
        yield from _leaves(part, f"{at}.{name}" if at else str(name))


def _equal(one: Any, other: Any) -> bool:
    return type(one) is type(other) and one == other
