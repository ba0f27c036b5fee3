"""Answers by key, and one request at a time to make each: exact cache with single flight.

Of the requests that miss on one key the first leads (it holds the key's `Flight`), the others follow:

    leader stores an answer     all followers are given it; one that does not take it goes on alone
    leader ends without one     the follower that has waited longest leads, the others go on waiting
    follower gives up           cancelled or out of time: it leaves the line, and hands on what it was just given

Every step is synchronous, so there is no moment at which a key has two leaders, or followers and no leader. A flight
must be ended, whatever happens to its leader: `flight.end()` in a `finally`.

What was in the making when `clear` was called is handed to those who already waited for it, and not kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

import msgspec

from trimtab.core.clock import Clock
from trimtab.dataplane.cache.entry import Entry
from trimtab.dataplane.cache.sieve import Sieve

LARGEST_SHARE: Final = 16
"""An entry of more than 1/16 of the cache is not kept: it would evict too many others."""


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start. Every `look_up` that is not cancelled or out of time is one hit, follower or miss."""

    hits: int
    """Answered at once."""
    misses: int
    """Went to make the answer themselves."""
    followers: int
    """Answered by waiting for another."""
    stored: int
    evicted: int
    bytes: int
    entries: int


class _Making:
    """An answer in the making: those who wait for it, longest first."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: dict[_Turn, None] = {}


class Flight:
    """The right and duty to make one answer. Ends once: by `store`, or by `end` without an answer."""

    __slots__ = ("_cache", "_epoch", "_key", "_making", "ended")

    def __init__(self, cache: AnswerCache, key: bytes, making: _Making | None, epoch: int) -> None:
        self._cache, self._key, self._making, self._epoch = cache, key, making, epoch
        self.ended = False

    def store(self, entry: Entry) -> None:
        """Keep the answer, give it to all who wait for it, and end. Nothing if the flight has ended."""
        if not self.ended:
            self.ended = True
            self._cache._landed(self._key, self._making, self._epoch, entry)

    def end(self) -> None:
        """No answer: the follower that has waited longest leads. Idempotent."""
        if not self.ended:
            self.ended = True
            self._cache._failed(self._key, self._making)

    def __repr__(self) -> str:
        waiting = "alone" if self._making is None else f"{len(self._making.waiting)} waiting"
        return f"<Flight {self._key.hex()[:8]} {'ended' if self.ended else waiting}>"


_Turn: TypeAlias = "asyncio.Future[Entry | Flight | None]"
"""What a follower waits for: an answer, the lead, or None when its time is up."""


class AnswerCache:
    """See the module. One event loop, one gateway, in memory."""

    def __init__(self, clock: Clock, max_bytes: int) -> None:
        self._clock = clock
        self._kept = Sieve(max_bytes)
        self._making: dict[bytes, _Making] = {}
        self._epoch = 0
        self.filling = True
        """False: answers still go to those who wait for them, and are not kept."""
        self._hits = self._misses = self._followers = self._stored = 0

    @property
    def stats(self) -> Stats:
        return Stats(
            hits=self._hits,
            misses=self._misses,
            followers=self._followers,
            stored=self._stored,
            evicted=self._kept.evicted,
            bytes=self._kept.bytes,
            entries=len(self._kept),
        )

    async def look_up(self, key: bytes, takes: Callable[[Entry], bool], timeout_s: float) -> Entry | Flight | None:
        """A stored answer that `takes` accepts, else the lead, else what comes of waiting for who has it.

        None: nothing came within `timeout_s`. A Flight must be ended by the caller.
        """
        entry = self._fresh(key)
        if entry is not None and takes(entry):
            self._kept.mark(key)
            self._hits += 1
            return entry
        making = self._making.get(key)
        if making is None:
            self._misses += 1
            return self._lead(key)
        turn = await self._wait(making, timeout_s)
        if isinstance(turn, Entry):
            if takes(turn):
                self._followers += 1
                return turn
            turn = self._lead(key) if key not in self._making else Flight(self, key, None, self._epoch)
        if turn is not None:
            self._misses += 1
        return turn

    def clear(self) -> None:
        """Forget all answers, those that are being made included."""
        self._epoch += 1
        self._kept.clear()
        self._making.clear()

    def give_back(self, share: float) -> None:
        """Keep no more than this share of the bytes that it may hold."""
        self._kept.shrink(int(share * self._kept.max_bytes), self._clock.now_ns())

    def _fresh(self, key: bytes) -> Entry | None:
        entry = self._kept.get(key)
        if entry is not None and entry.expires_ns <= self._clock.now_ns():
            self._kept.remove(key)
            return None
        return entry

    def _lead(self, key: bytes) -> Flight:
        making = self._making[key] = _Making()
        return Flight(self, key, making, self._epoch)

    async def _wait(self, making: _Making, timeout_s: float) -> Entry | Flight | None:
        loop = asyncio.get_running_loop()
        turn: _Turn = loop.create_future()
        making.waiting[turn] = None
        timer = loop.call_later(timeout_s, _give_up, turn)
        try:
            return await turn
        except BaseException:
            # The lead may have come in the same turn of the loop as the cancellation: the next one gets it.
            if turn.done() and not turn.cancelled() and isinstance(given := turn.result(), Flight):
                given.end()
            raise
        finally:
            timer.cancel()
            making.waiting.pop(turn, None)

    def _landed(self, key: bytes, making: _Making | None, epoch: int, entry: Entry) -> None:
        now_ns = self._clock.now_ns()
        small = entry.size * LARGEST_SHARE <= self._kept.max_bytes
        if self.filling and epoch == self._epoch and small and entry.expires_ns > now_ns:
            self._kept.put(key, entry, now_ns)
            self._stored += 1
        if making is not None:
            self._close(key, making)
            waiting, making.waiting = making.waiting, {}
            for turn in waiting:
                if not turn.done():
                    turn.set_result(entry)

    def _failed(self, key: bytes, making: _Making | None) -> None:
        if making is None:
            return
        while making.waiting:
            turn = next(iter(making.waiting))
            del making.waiting[turn]
            if not turn.done():
                turn.set_result(Flight(self, key, making, self._epoch))
                return
        self._close(key, making)

    def _close(self, key: bytes, making: _Making) -> None:
        if self._making.get(key) is making:  # not if `clear` came between, and another began since
            del self._making[key]


def _give_up(turn: _Turn) -> None:
    if not turn.done():
        turn.set_result(None)
