"""A provider that breaks on purpose: the model's name says how. Answers are the same sixty words.

A model that is sent the beginning of its answer as an assistant message writes the rest, but for those named
`noprefill`, which refuse that with 400.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

ANSWER = (
    "a gateway earns its keep on the days when nothing else works since anybody can pass on what a healthy provider "
    "says but who asks another one in time and tells the truth where none is left and charges for what was written and "
    "for no more than that is worth a place between those who ask and who answer"
)
WORDS = ANSWER.split()
TALKS, CALLER = "talks", "caller-"
"""A model, and how the last word of a prompt begins whose answer never ends."""
_EVENTS = "text/event-stream"


@dataclass(frozen=True)
class Times:
    """Of faults, in seconds."""

    retry_after: int = 2
    slow_first: float = 20.0
    stall: float = 30.0
    silent: float = 120.0
    down: float = 60.0
    token: float = 0.015
    drip: float = 0.5


FULL = Times()
QUICK = Times(slow_first=6.0, stall=8.0, silent=15.0, down=8.0, token=0.005, drip=0.1)


@dataclass
class Asked:
    """One request: when (s since the last reset), how often before, and whether it was sent a prefill."""

    at: float
    prefill: bool


@dataclass(frozen=True)
class Left:
    """A caller who went: when (s, monotonic), and how many words it had been written."""

    at: float
    words: int


@dataclass
class Provider:
    """Listens on `port` of this machine."""

    times: Times
    port: int = 0
    left: dict[str, Left] = field(default_factory=dict)
    """Callers of `talks`, by the last word of their prompts."""
    news: asyncio.Condition = field(default_factory=asyncio.Condition)
    asked: dict[str, list[Asked]] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    _server: asyncio.Server | None = None

    def reset(self) -> None:
        self.asked, self.since = {}, time.monotonic()

    async def left_by(self, name: str) -> None:
        """Returns once this caller has gone."""
        async with self.news:
            await self.news.wait_for(lambda: name in self.left)

    async def __aenter__(self) -> Provider:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].partition("\r\n")[0] or 0)
                body = json.loads(await reader.readexactly(length) or b"{}")
                if not await self._answer(Reply(reader, writer, body, self.times)):
                    break
        writer.close()

    async def _answer(self, reply: Reply) -> bool:
        """Whether the connection may serve another request."""
        log = self.asked.setdefault(reply.model, [])
        log.append(Asked(time.monotonic() - self.since, bool(reply.begun)))
        reply.attempt, reply.at = len(log), log[-1].at
        if "noprefill" in reply.model and reply.prefilled:
            await reply.error(400, "this model takes no assistant message as the last one", "invalid_prefill")
            return True
        if reply.model == TALKS and reply.name.startswith(CALLER):
            words = await reply.talk()
            async with self.news:
                self.left[reply.name] = Left(time.monotonic(), words)
                self.news.notify_all()
            return False
        return await FAULTS.get(reply.model.removesuffix("-alone"), ok)(reply)


class Reply:
    """One answer, as it is written."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: Any, times: Times) -> None:
        self._reader, self._writer, self.times = reader, writer, times
        self.model: str = body["model"]
        self.stream = bool(body.get("stream"))
        last = body["messages"][-1]
        self.prefilled = last["role"] == "assistant"
        self.name = str(last["content"]).split()[-1] if last["content"] else ""
        text = last["content"] if self.prefilled else ""
        self.begun = len(text.split()) if text and ANSWER.startswith(text.strip()) else 0
        self.attempt, self.at = 1, 0.0

    async def error(self, status: int, message: str, code: str, *headers: str) -> bool:
        await self._whole(status, {"error": {"message": message, "type": "error", "code": code}}, *headers)
        return True

    async def _whole(self, status: int, value: Any, *headers: str) -> None:
        data = json.dumps(value).encode()
        lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(data)}", *headers]
        await self._write("\r\n".join([*lines, "", ""]).encode() + data)

    async def _write(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def begin(self) -> None:
        await self._write(f"HTTP/1.1 200 OK\r\ncontent-type: {_EVENTS}\r\ntransfer-encoding: chunked\r\n\r\n".encode())

    async def event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        await self._write(b"%x\r\n%b\r\n" % (len(event), event))

    async def chunk(self, choices: list[dict[str, Any]], **more: Any) -> None:
        told = {"id": "f", "object": "chat.completion.chunk", "created": 1, "model": self.model, "choices": choices}
        await self.event(json.dumps({**told, **more}))

    async def delta(self, delta: dict[str, Any], finish: str | None = None) -> None:
        await self.chunk([{"index": 0, "delta": delta, "finish_reason": finish}])

    async def words(self, until: int = len(WORDS), pause: float | None = None) -> None:
        for at in range(self.begun, until):
            await self.delta({"content": WORDS[at] if at == 0 else f" {WORDS[at]}"})
            await asyncio.sleep(self.times.token if pause is None else pause)

    async def end(self, *, done: bool = True) -> bool:
        await self.delta({}, "stop")
        written = len(WORDS) - self.begun
        usage = {"prompt_tokens": 20 + self.begun, "completion_tokens": written, "total_tokens": 20 + len(WORDS)}
        await self.chunk([], usage=usage)
        if done:
            await self.event("[DONE]")
        await self._write(b"0\r\n\r\n")
        return True

    def reset(self) -> bool:
        """The connection ends without a word."""
        sock: socket.socket = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        return False

    async def silence(self, seconds: float) -> bool:
        """Until the caller goes, at most so long; then the connection ends."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reader.read(1), seconds)
        return False

    async def talk(self) -> int:
        """Write for as long as somebody listens; how many words that were."""
        await self.begin()
        gone = asyncio.ensure_future(self._reader.read(1))
        words = 0
        with contextlib.suppress(OSError):
            while not gone.done():
                await self.delta({"content": f" {WORDS[words % len(WORDS)]}"})
                words += 1
                await asyncio.wait([gone], timeout=self.times.token)
        gone.cancel()
        return words


Fault = Callable[[Reply], Awaitable[bool]]


async def ok(reply: Reply) -> bool:
    await reply.begin()
    await reply.words()
    return await reply.end()


def once(fault: Fault) -> Fault:
    """The first request alone."""

    async def first(reply: Reply) -> bool:
        return await (fault if reply.attempt == 1 else ok)(reply)

    return first


def status(code: int, message: str, name: str) -> Fault:
    return lambda reply: reply.error(code, message, name)


async def over_its_rate(reply: Reply) -> bool:
    return await reply.error(429, "slow down", "rate_limit_exceeded", f"retry-after: {reply.times.retry_after}")


async def reset(reply: Reply) -> bool:
    return reply.reset()


async def silent(reply: Reply) -> bool:
    return await reply.silence(reply.times.silent)


async def slow_first(reply: Reply) -> bool:
    await reply.begin()
    await asyncio.sleep(reply.times.slow_first)
    await reply.words()
    return await reply.end()


async def cut_at_once(reply: Reply) -> bool:
    await reply.begin()
    return False


async def cut(reply: Reply) -> bool:
    await reply.begin()
    await reply.words(40)
    return False


async def stall(reply: Reply) -> bool:
    await reply.begin()
    await reply.words(20)
    return await reply.silence(reply.times.stall)


async def malformed(reply: Reply) -> bool:
    await reply.begin()
    await reply.words(10)
    await reply.event('{"id": "f", "choices": [{"delta": {"content": ')
    reply.begun = 10
    await reply.words()
    return await reply.end()


async def no_done(reply: Reply) -> bool:
    await reply.begin()
    await reply.words()
    return await reply.end(done=False)


async def error_under_200(reply: Reply) -> bool:
    return await reply.error(200, "overloaded", "overloaded")


async def drip(reply: Reply) -> bool:
    """A slow loris: a word, and then another one, far apart."""
    await reply.begin()
    await reply.words(pause=reply.times.drip)
    return await reply.end()


async def flaps(reply: Reply) -> bool:
    if reply.at < reply.times.down:
        return await reply.error(503, "overloaded", "overloaded")
    return await ok(reply)


BUSY = status(503, "overloaded", "overloaded")
FAULTS: dict[str, Fault] = {
    "fb-ok": ok,
    "fb-ok-noprefill": ok,
    "fb-s01": once(over_its_rate),
    "fb-s02": status(429, "slow down", "rate_limit_exceeded"),
    "fb-s03": once(status(500, "the server had an error", "server_error")),
    "fb-s04": BUSY,
    "fb-s05": once(reset),
    "fb-s06": silent,
    "fb-s07": slow_first,
    "fb-s08": cut,
    "fb-s09": stall,
    "fb-s10": malformed,
    "fb-s11": no_done,
    "fb-s12": status(400, "this model's maximum context length is 8192 tokens", "context_length_exceeded"),
    "fb-s13": status(400, "rejected by our safety system", "content_policy_violation"),
    "fb-s14": cut,
    "fb-s15": flaps,
    "fb-s16": BUSY,
    "cut-at-once": cut_at_once,
    "cut-after-40": cut,
    "stall": stall,
    "malformed-line": malformed,
    "no-done": no_done,
    "error-under-200": error_under_200,
    "over-its-rate": over_its_rate,
    "slow-loris": drip,
}
