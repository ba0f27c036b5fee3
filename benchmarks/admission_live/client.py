"""Callers that come when they come, whatever has become of those before them, and what each of them saw."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from statistics import quantiles
from typing import NamedTuple

import msgspec

from benchmarks.admission_live.workspace import Targets
from benchmarks.caller import Caller, chat_head

TEXT = b'"content":"'
NO_TEXT = b'"content":""'


class Seen(NamedTuple):
    """One request, as its caller saw it. Times in ms from when it was due to be sent; None where none was seen."""

    how: str
    status: int
    code: str
    ttft_ms: float | None
    gap_ms: float | None
    """95th percentile of times between tokens."""
    pace_ms: float | None
    """Their mean."""
    e2e_ms: float
    retry_after_s: float | None

    @property
    def admitted(self) -> bool:
        """It was not told to come back: it got an answer or the start of one, or something failed or took too long."""
        return self.status not in (429, 503)

    def keeps(self, targets: Targets) -> bool:
        """Whether the answer came whole and within this contract, at the client."""
        return (
            self.how == "ended"
            and self.status == 200
            and not self.code
            and self.ttft_ms is not None
            and self.ttft_ms <= targets.ttft_ms
            and (self.gap_ms is None or self.gap_ms <= targets.itl_ms)
            and self.e2e_ms <= targets.e2e_ms
        )


class Stream(Caller):
    """A caller that notes when each token comes, and when to come back."""

    def __init__(self, head: str) -> None:
        super().__init__(head)
        self.at: list[float] = []
        self.retry_after_s: float | None = None

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"retry-after-ms":
            self.retry_after_s = int(value) / 1000

    def on_body(self, data: bytes) -> None:
        super().on_body(data)
        tokens = data.count(TEXT) - data.count(NO_TEXT)
        if tokens > 0:
            self.at += [time.monotonic()] * tokens

    async def ask(self, body: bytes, due_s: float) -> Seen:
        """One request that was due at this time of the monotonic clock."""
        self.at, self.retry_after_s = [], None
        answer = await self.exchange(body)
        ended_s = time.monotonic()
        gaps = [(late - soon) * 1000 for soon, late in zip(self.at, self.at[1:], strict=False)]
        return Seen(
            how=answer.how,
            status=answer.status,
            code=_code(answer.status, bytes(answer.body)),
            ttft_ms=(self.at[0] - due_s) * 1000 if self.at else None,
            gap_ms=quantiles(gaps, n=20, method="inclusive")[-1] if len(gaps) > 1 else (gaps[0] if gaps else None),
            pace_ms=sum(gaps) / len(gaps) if gaps else None,
            e2e_ms=(ended_s - due_s) * 1000,
            retry_after_s=self.retry_after_s,
        )


class Callers:
    """Connections to one gateway, kept open and taken by whoever comes next."""

    def __init__(self, port: int, headers: Sequence[str]) -> None:
        self._port, self._head = port, chat_head(*headers)
        self._idle: list[Stream] = []

    async def ask(self, body: bytes, due_s: float | None = None) -> Seen:
        """One request; due now unless it is said when."""
        due_s = time.monotonic() if due_s is None else due_s
        stream = self._idle.pop() if self._idle else None
        if stream is None or not stream.is_open:
            loop = asyncio.get_running_loop()
            _, stream = await loop.create_connection(lambda: Stream(self._head), "127.0.0.1", self._port)
        seen = await stream.ask(body, due_s)
        if stream.is_open:
            self._idle.append(stream)
        return seen

    def close(self) -> None:
        """Hang up what is open."""
        for stream in self._idle:
            stream.transport.close()


async def open_loop(at: Sequence[float], each: Callable[[int, float], Awaitable[Seen]]) -> list[Seen]:
    """Calls `each` with its number and its time of the monotonic clock, at `at` seconds from now; all that they saw."""
    began, tasks = time.monotonic(), []
    for number, at_s in enumerate(at):
        await asyncio.sleep(max(0.0, began + at_s - time.monotonic()))
        tasks.append(asyncio.ensure_future(each(number, began + at_s)))
    return list(await asyncio.gather(*tasks))


async def closed_loop(callers: int, count: int, each: Callable[[int], Awaitable[Seen]]) -> list[tuple[float, Seen]]:
    """So many callers, each of whom asks again once it is answered; when each answer was there, and what was seen."""
    numbers, found = iter(range(count)), []
    began = time.monotonic()

    async def one() -> None:
        for number in numbers:
            seen = await each(number)
            found.append((time.monotonic() - began, seen))

    await asyncio.gather(*(one() for _ in range(callers)))
    return found


class _Error(msgspec.Struct):
    code: str | None = None


class _Body(msgspec.Struct):
    error: _Error = msgspec.field(default_factory=_Error)


def _code(status: int, body: bytes) -> str:
    """Of a refusal, or of the event that breaks a stream off; empty where there is none."""
    if status == 200:
        at = body.rfind(b'{"error"')
        body = body[at:].split(b"\n", 1)[0] if at >= 0 else b"{}"
    try:
        return msgspec.json.decode(body or b"{}", type=_Body).error.code or ""
    except msgspec.MsgspecError:
        return f"status {status}"
