"""What tests of several gateways ask of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from support.gateway import KEY, Edit, chat
from support.live import Live
from support.rawhttp import RawAnswer, RawClient
from support.serving import LIMIT_S
from support.upstream import Pause, ScriptedUpstream, Seen, Step, openai, stream
from support.valkey import ValkeyServer
from trimtab.controlplane import records
from trimtab.core.clock import SystemClock
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.record import Record
from trimtab.dataplane.spend import Account, Level, Place, window_at
from trimtab.dataplane.spend.adapters.valkey import ValkeyStore

T = TypeVar("T")
TIGHT_KEY = make("test", lambda count: bytes(range(50, 50 + count)))
"""Of a tenant that may spend what some hundred requests cost."""
TIGHT_USD = "0.0011"
SHOP, TIGHT = Account("shop", "shop", "day", "UTC"), Account("tight", "tight", "day", "UTC")
_TIGHT = f"""
id: tight
budgets: [{{period: day, usd: "{TIGHT_USD}"}}]
channels:
  desk:
    targets:
      latency: {{ttft_ms: 8000, itl_ms: 8000, e2e_ms: 20000}}
      quality: {{min: 0}}
    cost: {{max_per_request_usd: "0.05"}}
    tiers: [S, M]
keys: [{{id: {key_id(hash_key(TIGHT_KEY))}, name: t, sha256: "{hash_key(TIGHT_KEY)}", last4: "{TIGHT_KEY[-4:]}",
         default_channel: desk}}]
"""
HOLD = "hold"
"""A prompt with this word has its stream held after the first word, until `release`."""


def documents(url: str, workers: int, storage: str = "") -> Edit:
    """The workspace of `support.gateway` on a shared store, with a third tenant."""

    def edit(found: dict[str, str]) -> None:
        server = f"server: {{workers: {workers}}}\nstorage:\n  url: {url}\n{storage}"
        found["trimtab.yaml"] = f"demo: false\n{server}"
        found["tenants/tight.yaml"] = _TIGHT
        found["models.yaml"] = found["models.yaml"].replace("slots: 4", "slots: 64")
        patient = "latency: {ttft_ms: 8000, itl_ms: 8000, e2e_ms: 20000}"
        for file in ("tenants/shop.yaml", "tenants/other.yaml"):
            old = "latency: {ttft_ms: 1000, itl_ms: 200, e2e_ms: 4000}"
            found[file] = found[file].replace(old, patient)
        found["tenants/shop.yaml"] = found["tenants/shop.yaml"].replace(
            "{e2e_ms: 2000}", "{ttft_ms: 1000, e2e_ms: 2000}"
        )

    return edit


class Bench:
    """The gateways, their store and upstream; `run` drives what a test does."""

    server: Live
    upstream: ScriptedUpstream

    def __init__(self, store: ValkeyServer, runner: asyncio.Runner) -> None:
        self.store, self._runner = store, runner
        self._go = asyncio.Event()

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(step)

    def script(self, seen: Seen) -> Iterable[Step]:
        if seen.method == "GET" or HOLD not in seen.json["messages"][-1]["content"]:
            return openai(seen)
        first, *rest = stream(["one", " two"])
        return [first, *rest[:2], Pause(self._go), *rest[2:]]

    def release(self) -> None:
        """Let all held streams end, and hold the next ones."""
        self._go.set()
        self._go = asyncio.Event()

    @property
    def records(self) -> Path:
        return self.server.workspace / "var" / "records"

    async def ask(self, content: str = "x", *headers: str, key: str = KEY, **fields: Any) -> RawAnswer:
        """One request on a connection of its own: whichever gateway gets it."""
        async with RawClient(self.server.port) as client:
            channel = ["trimtab-channel: fresh"] if key == KEY else []
            client.send(chat(content, *channel, *headers, key=key, **fields))
            return await client.answer()

    def rows(self, **wanted: Any) -> list[Record]:
        """All that is recorded so far with these values."""
        self.server.admin("POST", "/records/flush")
        found = records.query(self.records)
        return [row for row in found if all(getattr(row, name) == value for name, value in wanted.items())]

    def workers(self) -> list[Any]:
        """The state of each gateway that answers."""
        found: list[Any] = self.server.state()["workers"]
        return found

    def level(self, account: Account, ahead_s: float = 0) -> Level:
        """As the store has it; `ahead_s` by the clock of somebody who is ahead, to whom leases run out sooner."""
        return asyncio.run(self._level(account, _Ahead(ahead_s)))

    async def _level(self, account: Account, clock: SystemClock) -> Level:
        store = ValkeyStore(self.store.url, clock, own_time=True)
        window = window_at(account.period, account.tz, SystemClock().wall_ns())
        (level,) = await store.levels([Place(account, window, 0)])
        await store.close()
        return level


class _Ahead(SystemClock):
    def __init__(self, ahead_s: float) -> None:
        super().__init__()
        self._ahead_ns = int(ahead_s * 1e9)

    def wall_ns(self) -> int:
        return super().wall_ns() + self._ahead_ns


async def until(look: Callable[[], Any]) -> Any:
    """The first answer that is true, of something that may block; the loop goes on meanwhile."""
    async with asyncio.timeout(2 * LIMIT_S):
        while not (found := await asyncio.to_thread(look)):
            await asyncio.sleep(0.05)
    return found


def code(answer: RawAnswer) -> str | None:
    """The error code of an answer."""
    body: Any = msgspec.json.decode(answer.body)
    return body["error"]["code"] if "error" in body else None
