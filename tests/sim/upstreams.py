"""The models' servers: what each does with the nth request it gets is drawn from the seed. They speak real HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import msgspec

from sim.loop import Broken
from sim.scenario import Scenario
from sim.workspace import Words
from support.upstream import (
    EVENTS,
    Close,
    Cut,
    Delay,
    Hang,
    Head,
    ScriptedUpstream,
    Seen,
    Sse,
    Step,
    answer,
    chunk,
    completion,
    failure,
    usage,
    usage_chunk,
)

_count = Words().count


class Served(msgspec.Struct):
    """One request as its server saw it."""

    model: str
    asked: str
    """Whose it was: the field `user`."""
    prompt: int
    cap: int
    n: int
    sent: int = 0
    """Tokens so far, of all choices."""
    billed: int = 0
    """... and as the server tells them, beyond that."""
    told: bool = False
    over: bool = False
    """The last of it is on its way."""


class Upstreams:
    """All servers of a world. `arrived` hears of each request that comes whole."""

    def __init__(self, scenario: Scenario, arrived: Callable[[Served], None], note: Callable[..., None]) -> None:
        self._scenario, self._arrived, self._note = scenario, arrived, note
        self.calm = False
        """Faults have stopped."""
        self.served: list[Served] = []

    def server(self, model: str, port: int) -> ScriptedUpstream:
        def script(seen: Seen) -> Iterator[Step]:
            return self._script(model, seen)

        return ScriptedUpstream(script, port=port)

    def _script(self, model: str, seen: Seen) -> Iterator[Step]:
        body = seen.json
        cap, n = body.get("max_tokens"), body.get("n") or 1
        prompt = sum(_count(message["content"]) + 4 for message in body["messages"])
        if not isinstance(cap, int):
            raise Broken(f"the upstream was asked for an answer without an end: {body}")
        served = Served(model, body.get("user", ""), prompt, cap, n)
        self.served.append(served)
        random = self._scenario.random(f"up/{model}/{seen.nth}")
        wanted = random.choice((1, 5, 20, 60, 150, 300, 600))
        said = min(cap, wanted)
        self._note("upstream", model, served.asked, f"cap {cap}", f"says {said}")
        self._arrived(served)
        fault = self._fault(random)
        if fault == "error":
            status = random.choice((429, 500, 503))
            yield from failure(status, headers=[("retry-after", "1")] if random.random() < 0.5 else [])
            return
        if fault == "silent":
            yield Hang()
        if self._scenario.has("slow") and random.random() < 0.5:
            yield Delay(random.choice((0.2, 2.0, 10.0)) * random.random())
        else:
            yield Delay(0.05 * random.random())
        finish = "stop" if wanted <= cap else "length"
        if model == "whole":
            yield from self._whole(served, said, finish, random, fault)
        else:
            yield from self._stream(served, said, finish, random, fault)

    def _fault(self, random: Random) -> str | None:
        """What this answer has; some faults come in the middle of it."""
        found = []
        for name, fault in (("errors", "error"), ("silent", "silent"), ("torn", "torn"), ("silent", "stops")):
            if self._scenario.has(name) and random.random() < 0.2:  # type: ignore[arg-type]
                found.append(fault)
        return None if self.calm or not found else random.choice(found)

    def _whole(self, served: Served, said: int, finish: str, random: Random, fault: str | None) -> Iterator[Step]:
        if fault == "torn":
            yield Close()
            return
        if fault == "stops":
            yield Hang()
        served.sent, served.over = said * served.n, True
        body = completion(_words(0, said), self._usage(served, random), finish=finish, n=served.n)
        if not served.told:
            del body["usage"]
        yield from answer(body)

    def _stream(self, served: Served, said: int, finish: str, random: Random, fault: str | None) -> Iterator[Step]:
        pace = random.choice((0.0, 0.002, 0.03, 0.2))
        breaks_at = random.randrange(said + 1) if fault in ("torn", "stops") else None
        yield Head(200, (EVENTS,))
        for index in range(served.n):
            yield chunk({"role": "assistant", "content": ""}, index=index)
        step = max(1, said // 24)
        at = 0
        while at < said:
            if breaks_at is not None and at >= breaks_at:
                yield Cut() if fault == "torn" else Hang()
            if pace:
                yield Delay(pace * random.random())
            size = min(said - at, step * random.randint(1, 3))
            served.sent += size * served.n
            text = _words(at, size)
            at += size
            for index in range(served.n):
                yield chunk({"content": text}, index=index)
        served.over = True
        if breaks_at is not None and fault == "torn":
            yield Cut()
        told = self._usage(served, random)
        for index in range(served.n):
            yield chunk({}, finish, index=index)
        if served.told:
            yield usage_chunk(told)
        yield Sse("[DONE]")

    def _usage(self, served: Served, random: Random) -> dict[str, Any]:
        served.told = not (self._scenario.has("no usage") and random.random() < 0.5)
        if served.told and self._scenario.has("dear") and random.random() < 0.4:
            served.billed = random.randint(1, 300)
        return usage(served.prompt, served.sent + served.billed)


def _words(at: int, count: int) -> str:
    return "".join(f"w{number} " for number in range(at, at + count))
