"""Traces on their way to a collector, beside the requests: what waits is bounded, and what finds no room is dropped.

A request's way through here is a decision and an append (2 us). A task of its own turns kept records into spans, sends
them in batches, and tries again where the collector asks for it (429, 502, 503, 504, `Retry-After`) or can't be
reached. While it does, records wait, and the newest are dropped once `MOST_WAITING` do: a collector that is slow, down
or silent costs traces and nothing else.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import Counter, deque
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import msgspec

from trimtab.controlplane.telemetry import SERVICE_INSTANCE, SERVICE_NAME, SERVICE_VERSION, Sampler, Span, spans
from trimtab.core.clock import NS_PER_MS, NS_PER_S, Clock
from trimtab.core.errors import ConfigError
from trimtab.core.record import Record
from trimtab.core.telemetry import Telemetry
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialect import retry_after_s
from trimtab.dataplane.inference.dialer import Dialer, Origin, UpstreamError
from trimtab.foundations.config import SecretError, resolve_secret

MOST_WAITING: Final = 1024
"""Records: some 10 MB at most."""
BATCH: Final = 128
"""Records of one message, about 1,300 spans."""
GATHER_S: Final = 1.0
"""How long a batch waits for more, unless it is full."""
SEND_S: Final = 10.0
PAUSES_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0)
"""Between attempts; then the batch is given up."""
LONGEST_PAUSE_S: Final = 60.0
FLUSH_S: Final = 3.0
"""For what waits when the gateway ends."""
_AGAIN: Final = frozenset({429, 502, 503, 504})
_SLICE_NS: Final = NS_PER_MS // 2
_MOST_BYTES: Final = 65_536
_PATH: Final = "/v1/traces"

_log = logging.getLogger(__name__)


class Encoding(Protocol):
    """Spans to bytes. Messages put one behind the other must be one message."""

    def encode(self, spans: Sequence[Span]) -> bytes: ...
    def rejected(self, body: bytes) -> int:
        """Spans that a 200 with this body did not take."""
        ...


class Collector(msgspec.Struct, frozen=True):
    """Where traces go. `headers` may hold secrets: never logged."""

    origin: Origin
    path: str
    headers: tuple[tuple[str, str], ...] = ()


class TracesState(msgspec.Struct, frozen=True, kw_only=True):
    """Counts since the start, in traces (one for each request), but `rejected` in spans."""

    waiting: int
    kept: dict[str, int]
    """By why they were kept."""
    sent: int
    dropped: int
    """Found no room, or waited when the gateway ended."""
    failed: int
    """Given up after all attempts, or refused."""
    rejected: int
    """Spans that the collector did not take from what it accepted."""


NO_TRACES: Final = TracesState(waiting=0, kept={}, sent=0, dropped=0, failed=0, rejected=0)
"""Of a gateway without a collector."""


class _NotTakenError(Exception):
    """Not delivered. `again`: another attempt may do better, after `after_s` if the collector said so."""

    def __init__(self, message: str, *, again: bool, after_s: float | None = None) -> None:
        super().__init__(message)
        self.again, self.after_s = again, after_s


class Traces:
    """A RecordSink. One event loop. `kept` is told of each record whose trace has a place on the way."""

    def __init__(
        self,
        sampler: Sampler,
        collector: Collector,
        encoding: Encoding,
        dialer: Dialer,
        clock: Clock,
        kept: Callable[[Record], None] = lambda record: None,
    ) -> None:
        self._sampler, self._collector, self._encoding = sampler, collector, encoding
        self._dialer, self._clock, self._told = dialer, clock, kept
        self._waiting: deque[Record] = deque()
        self._changed = asyncio.Event()
        self._kept: Counter[str] = Counter()
        self._sent = self._dropped = self._failed = self._rejected = 0
        self._closing = self._faulty = self._unsampled = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        done = f"{self._sent} sent, {self._dropped} dropped, {self._failed} failed"
        return f"<Traces {len(self._waiting)} waiting, {done}>"

    def write(self, record: Record) -> None:
        """Never waits, never raises: a trace is never worth a request."""
        try:
            why = self._sampler.keeps(record)
        except Exception:  # noqa: BLE001 - as said
            if not self._unsampled:
                self._unsampled = True
                _log.exception("a record could not be sampled; further ones are not told of")
            return
        if why is None:
            return
        self._kept[why] += 1
        if len(self._waiting) >= MOST_WAITING or self._closing:
            self._dropped += 1
            return
        self._waiting.append(record)
        self._told(record)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())
        if len(self._waiting) in (1, BATCH):
            self._changed.set()

    def state(self) -> TracesState:
        return TracesState(
            waiting=len(self._waiting),
            kept=dict(self._kept),
            sent=self._sent,
            dropped=self._dropped,
            failed=self._failed,
            rejected=self._rejected,
        )

    async def close(self, within_s: float = FLUSH_S) -> None:
        """Send what waits, one attempt each batch, for at most `within_s`; the rest counts as dropped."""
        self._closing = True
        self._changed.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait([task], timeout=within_s)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._dropped += len(self._waiting)
        self._waiting.clear()
        await self._dialer.close()

    # --- the task

    async def _work(self) -> None:
        while self._waiting or not self._closing:
            await self._gather()
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            if not batch:
                continue
            try:
                await self._deliver(batch)
            except asyncio.CancelledError:
                self._failed += len(batch)
                raise
            except Exception:  # noqa: BLE001 - whatever it was, the next batch may fare better
                self._failed += len(batch)
                _log.exception("traces could not be sent")

    async def _gather(self) -> None:
        """Until something waits, and then for a batch."""
        while not self._waiting and not self._closing:
            self._changed.clear()
            await self._changed.wait()
        self._changed.clear()
        if len(self._waiting) < BATCH and not self._closing:
            try:
                async with asyncio.timeout(GATHER_S):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _deliver(self, batch: list[Record]) -> None:
        """A visible loop: try, wait, try again."""
        body = await self._encoded(batch)
        for pause_s in (*PAUSES_S, None):
            try:
                async with asyncio.timeout(SEND_S):
                    self._rejected += await self._send(body)
            except (_NotTakenError, TimeoutError) as error:
                told = error if isinstance(error, _NotTakenError) else _NotTakenError("is silent", again=True)
                self._say(str(told))
                if pause_s is None or not told.again or self._closing:
                    self._failed += len(batch)
                    return
                await self._pause(pause_s if told.after_s is None else min(told.after_s, LONGEST_PAUSE_S))
            else:
                self._sent += len(batch)
                self._say(None)
                return

    async def _pause(self, pause_s: float) -> None:
        """A gateway that ends does not wait for it."""
        until_ns = self._clock.now_ns() + int(pause_s * NS_PER_S)
        while not self._closing and (left_ns := until_ns - self._clock.now_ns()) > 0:
            self._changed.clear()
            try:
                async with asyncio.timeout(left_ns / NS_PER_S):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _encoded(self, batch: list[Record]) -> bytes:
        """Record by record, so that requests run in between."""
        parts, until_ns = [], self._clock.now_ns() + _SLICE_NS
        for record in batch:
            parts.append(self._encoding.encode(spans(record)))
            if self._clock.now_ns() >= until_ns:
                await asyncio.sleep(0)
                until_ns = self._clock.now_ns() + _SLICE_NS
        return b"".join(parts)

    async def _send(self, body: bytes) -> int:
        """The spans that were not taken. Raises _NotTakenError."""
        to = self._collector
        headers = [("content-type", "application/x-protobuf"), *to.headers]
        try:
            with await self._dialer.send(to.origin, "POST", to.path, headers, body) as answer:
                said = await answer.read_all(_MOST_BYTES)
                status, after_s = answer.status, retry_after_s(answer.headers)
        except UpstreamError as error:
            raise _NotTakenError(f"can't be reached: {error}", again=True) from None
        if status == 200:
            return self._encoding.rejected(said)
        raise _NotTakenError(f"answered {status}", again=status in _AGAIN, after_s=after_s)

    def _say(self, problem: str | None) -> None:
        """In the log when it begins and when it is over: a collector that is down is told of once."""
        if problem is not None and not self._faulty:
            _log.warning("the collector of traces at %s %s", self._collector.origin.netloc, problem)
        elif problem is None and self._faulty:
            _log.info("the collector of traces at %s takes them again", self._collector.origin.netloc)
        self._faulty = problem is not None


def open_traces(
    telemetry: Telemetry, folder: Path, worker: int, clock: Clock, kept: Callable[[Record], None]
) -> Traces | None:
    """None where no collector is declared. Raises ConfigError where it, its headers or its library can't be used."""
    if telemetry.otlp is None:
        return None
    try:
        from trimtab.controlplane.telemetry.adapters.otlp import Encoder
    except ImportError as error:
        raise ConfigError([f"trimtab.yaml: telemetry.otlp: {error}: pip install 'trimtab[otlp]'"]) from error
    release = version("trimtab")
    resource = {
        SERVICE_NAME: telemetry.service,
        SERVICE_VERSION: release,
        SERVICE_INSTANCE: f"{socket.gethostname()}/{worker}",
    }
    return Traces(
        Sampler(telemetry, clock),
        collector(telemetry, folder),
        Encoder(resource, release),
        Http1Dialer(max_idle=1),
        clock,
        kept,
    )


def collector(telemetry: Telemetry, folder: Path) -> Collector:
    """Where `telemetry.otlp` leads: the path of traces is put behind its own, unless it ends in it. It may be on a
    private network: only who writes trimtab.yaml says where it is. Raises ConfigError."""
    assert telemetry.otlp is not None
    headers = []
    for name, told in telemetry.headers.items():
        try:
            headers.append((name, resolve_secret(told, folder).reveal()))
        except SecretError as error:
            raise ConfigError([f"trimtab.yaml: telemetry.headers.{name}: {error}"]) from error
    try:
        origin = Origin.parse(telemetry.otlp, private=True)
    except ValueError as error:
        raise ConfigError([f"trimtab.yaml: telemetry.otlp: {error}"]) from error
    path = urlsplit(telemetry.otlp).path.rstrip("/")
    return Collector(origin, path if path.endswith(_PATH) else path + _PATH, tuple(headers))


__all__ = ["NO_TRACES", "Collector", "Traces", "TracesState", "collector", "open_traces"]
