"""One call of the engine at a time; what comes meanwhile goes into the next one, fairly.

Batches form by themselves: the first request starts the pump, which works until nobody waits, and every round takes
what has come during the last one. No timer, so nobody ever waits for others to come.

Fair: calls stand in a ring, and a round takes one text of each call in turn, until it has `MAX_TEXTS` texts or
`MAX_CHARACTERS` characters. A caller with one question waits for the round under way and is in the next one, whatever
a thousand passages before it still need. A text that is asked for twice is embedded once, at the better place of both.

State: `_pending` (texts asked for, not yet there), `_ring` (calls that still have some to take), `_recent` (vectors, by
digest: texts are not kept). All of it is changed on the event loop, between awaits.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Final

import numpy as np

from trimtab.core.clock import Clock
from trimtab.foundations.embed.base import Kind, Vectors

MAX_TEXTS: Final = 8
"""Of one round: what a single question may have to wait for. On one thread larger batches are no faster."""
MAX_CHARACTERS: Final = 2000
"""Of one round, so that long texts are not taken eight at a time; one text is always taken."""
RECENT: Final = 4096
"""Vectors kept of each kind: 6 MB of 384 floats."""


class _Item:
    """One text that somebody waits for."""

    __slots__ = ("calls", "key", "taken", "text")

    def __init__(self, key: bytes, text: str) -> None:
        self.key, self.text = key, text
        self.calls: list[_Call] = []
        self.taken = False


class _Call:
    """One caller: what it still has to be given, and the future that it waits on."""

    __slots__ = ("done", "found", "items", "kind", "missing")

    def __init__(self, kind: Kind, done: asyncio.Future[None]) -> None:
        self.kind, self.done = kind, done
        self.items: deque[_Item] = deque()
        self.found: dict[bytes, Vectors] = {}
        self.missing = 0

    def next(self) -> _Item | None:
        """Its next text that nobody has taken yet."""
        while self.items:
            if not self.items[0].taken:
                return self.items[0]
            self.items.popleft()
        return None


class Batcher:
    """See the module. `encode` runs off the event loop, never twice at once; it gets at most `MAX_TEXTS` texts."""

    def __init__(
        self, clock: Clock, encode: Callable[[Kind, list[str]], Vectors], dim: int, recent: int = RECENT
    ) -> None:
        self._clock, self._encode, self._dim, self._most = clock, encode, dim, recent
        self._recent: dict[Kind, OrderedDict[bytes, Vectors]] = {"query": OrderedDict(), "passage": OrderedDict()}
        self._pending: dict[tuple[Kind, bytes], _Item] = {}
        self._ring: deque[_Call] = deque()
        self._pump: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        kept = sum(map(len, self._recent.values()))
        return f"<Batcher {len(self._ring)} calls and {len(self._pending)} texts wait, {kept} vectors kept>"

    async def vectors(self, kind: Kind, texts: Sequence[str]) -> Vectors:
        """One row a text, from memory or from the engine. `texts` are clean already."""
        keys = [blake2b(text.encode(), digest_size=16).digest() for text in texts]
        call = _Call(kind, asyncio.get_running_loop().create_future())
        for key, text in zip(keys, texts, strict=True):
            self._ask(call, key, text)
        if call.missing:
            await self._wait(call)
        rows = np.empty((len(keys), self._dim), np.float32)
        for number, key in enumerate(keys):
            rows[number] = call.found[key]
        rows.flags.writeable = False
        return rows

    def _ask(self, call: _Call, key: bytes, text: str) -> None:
        """Into `call.found` if it is known, else among what the call waits for, once."""
        if key in call.found:
            return
        recent = self._recent[call.kind]
        if (row := recent.get(key)) is not None:
            recent.move_to_end(key)
            call.found[key] = row
            return
        item = self._pending.get((call.kind, key))
        if item is None:
            item = self._pending[call.kind, key] = _Item(key, text)
        if call not in item.calls[-1:]:
            item.calls.append(call)
            call.items.append(item)
            call.missing += 1

    async def _wait(self, call: _Call) -> None:
        self._ring.append(call)
        if self._pump is None:
            self._pump = asyncio.create_task(self._work(), name="embed")
        try:
            await call.done
        finally:
            if call.missing:
                self._forget(call)

    def _forget(self, call: _Call) -> None:
        """A caller has gone: what only it had asked for is asked for no more."""
        if call in self._ring:
            self._ring.remove(call)
        for place, item in [(place, item) for place, item in self._pending.items() if call in item.calls]:
            item.calls.remove(call)
            if not item.calls and not item.taken:
                del self._pending[place]

    async def _work(self) -> None:
        """Rounds until nobody waits. An engine's failure is told to those whose texts were in its hands."""
        kind: Kind = "query"
        batch: list[_Item] = []
        try:
            while True:
                kind, batch = self._take()
                if not batch:
                    return
                try:
                    rows = await self._clock.offload(self._encode, kind, [item.text for item in batch])
                except Exception as error:  # noqa: BLE001 - whatever it was, it belongs to those who wait
                    self._failed(kind, batch, error)
                else:
                    self._ready(kind, batch, rows)
        finally:
            self._pump = None
            for call in [*self._ring, *(call for item in batch for call in item.calls)]:
                call.done.cancel()  # only where the loop is closing: else nobody waits here

    def _take(self) -> tuple[Kind, list[_Item]]:
        """The next round: one text a call in turn, of one kind; calls of the other kind keep their place."""
        kind: Kind | None = None
        batch: list[_Item] = []
        others: list[_Call] = []
        room = MAX_CHARACTERS
        while self._ring and len(batch) < MAX_TEXTS:
            call = self._ring.popleft()
            item = call.next()
            if item is None:
                continue
            if kind not in (None, call.kind):
                others.append(call)
                continue
            if batch and len(item.text) > room:
                self._ring.appendleft(call)
                break
            kind = call.kind
            item.taken = True
            room -= len(item.text)
            batch.append(item)
            self._ring.append(call)
        self._ring.extendleft(reversed(others))
        return kind or "query", batch

    def _ready(self, kind: Kind, batch: list[_Item], rows: Vectors) -> None:
        recent = self._recent[kind]
        for item, row in zip(batch, rows, strict=True):
            recent[item.key] = row = row.copy()
            for call in self._leave(kind, item):
                call.found[item.key] = row
                call.missing -= 1
                if not call.missing and not call.done.done():
                    call.done.set_result(None)
        while len(recent) > self._most:
            recent.popitem(last=False)
        batch.clear()

    def _failed(self, kind: Kind, batch: list[_Item], error: Exception) -> None:
        for item in batch:
            for call in self._leave(kind, item):
                self._forget(call)  # now, and not when it wakes: by then the next round has begun
                if not call.done.done():
                    call.done.set_exception(error)
        batch.clear()

    def _leave(self, kind: Kind, item: _Item) -> list[_Call]:
        del self._pending[kind, item.key]
        return item.calls
