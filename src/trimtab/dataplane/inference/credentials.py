"""Credentials that end: signed requests (AWS) and tokens (Google), fetched anew before they do and off the hot path.

A key that stays is a header of its replica. A credential is asked for each request's headers; what it stands on (keys
that a role was given, a token) is fetched once for all, a while before the last one ends, so that a request waits for
it only where there is none at all: at the start, or after a fetch has failed for as long as the last one was good for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Generic, NamedTuple, Protocol, TypeVar

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.dataplane.inference.dialer import Origin, UpstreamError

_log = logging.getLogger(__name__)
T = TypeVar("T")

AHEAD_S = 300.0
"""How long before its end a credential is fetched anew; a quarter of its time where that is less."""
PATIENCE_S = 10.0
LEAST_PAUSE_S, MOST_PAUSE_S = 1.0, 60.0
"""Between fetches that fail: twice as long each time."""


class CredentialMissing(UpstreamError):  # noqa: N818 - named by what happened
    """There is none to be sent. The message is for the log: nothing of it reaches a caller."""


class Credential(Protocol):
    """What makes one provider believe that a request is ours."""

    async def headers(self, origin: Origin, path: str, body: bytes) -> tuple[tuple[str, str], ...]:
        """Of one POST. Raises CredentialMissing."""
        ...

    def refused(self) -> None:
        """The provider did not take it: what it stands on may have been revoked."""
        ...

    def close(self) -> None:
        """Nobody will ask for it again."""
        ...


class Lasting(NamedTuple, Generic[T]):
    """What was fetched, and for how long it is good; None: for ever."""

    value: T
    lasts_s: float | None


class Kept(Generic[T]):
    """A value that ends, as `fetch` has it, which may raise UpstreamError or ValueError. `name`: for the log."""

    def __init__(self, clock: Clock, fetch: Callable[[], Awaitable[Lasting[T]]], name: str) -> None:
        self._clock, self._fetch, self._name = clock, fetch, name
        self._value: T | None = None
        self._at_ns, self._until_ns = 0, 0
        self._pause_s = LEAST_PAUSE_S
        self._failed: str | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def __repr__(self) -> str:
        left_s = max(0, self._until_ns - self._clock.now_ns()) / NS_PER_S
        return f"<Kept {self._name} [{left_s:.0f} s left{f', failing: {self._failed}' if self._failed else ''}]>"

    async def value(self) -> T:
        """As it is good now. Raises CredentialMissing, at once where a fetch has just failed."""
        if not self._is_good():
            if self._failed is not None and self._task is None:
                raise CredentialMissing(self._failed)
            await asyncio.shield(self.begin())
        if self._value is None or not self._is_good():
            raise CredentialMissing(self._failed or "it ended as it came")
        return self._value

    def begin(self) -> asyncio.Task[None]:
        """Fetch it, if that is not under way."""
        if self._task is None:
            if self._timer is not None:
                self._timer.cancel()
            self._task = asyncio.get_running_loop().create_task(self._run())
        return self._task

    def refused(self) -> None:
        """Fetch it anew, unless it is fresh: then it is not its age that somebody minds."""
        if self._clock.now_ns() - self._at_ns > MOST_PAUSE_S * NS_PER_S:
            self.begin()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._task is not None:
            self._task.cancel()

    def _is_good(self) -> bool:
        return self._value is not None and self._clock.now_ns() < self._until_ns

    async def _run(self) -> None:
        again_s: float | None
        try:
            async with asyncio.timeout(PATIENCE_S):
                found = await self._fetch()
        except (UpstreamError, ValueError, OSError) as error:  # a timeout is an OSError
            self._failed = str(error) or type(error).__name__
            _log.warning("%s can't be fetched: %s", self._name, self._failed)
            again_s, self._pause_s = self._pause_s, min(2 * self._pause_s, MOST_PAUSE_S)
        else:
            self._failed, self._pause_s = None, LEAST_PAUSE_S
            self._value, self._at_ns = found.value, self._clock.now_ns()
            lasts_s = found.lasts_s
            self._until_ns = (1 << 62) if lasts_s is None else self._at_ns + int(lasts_s * NS_PER_S)
            again_s = None if lasts_s is None else max(LEAST_PAUSE_S, lasts_s - min(AHEAD_S, lasts_s / 4))
        finally:
            self._task = None
        if again_s is not None:
            self._timer = asyncio.get_running_loop().call_later(again_s, self.begin)
