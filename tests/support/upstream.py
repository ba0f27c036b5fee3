"""A scripted model server: real HTTP over whatever loop runs it, real sockets or virtual time.

Written apart from our own server on purpose: a fault in one must not hide the same fault in the other.

    async with ScriptedUpstream() as up:                    # behaves like an OpenAI-compatible server
        ...
    async with ScriptedUpstream(lambda seen: stream(["a", "b"])) as up:
        ... up.url ... up.requests[0].json["model"]
        await up.hung_up()                                  # the upstream saw the client go
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeAlias, cast

import httptools
import msgspec

JSON = ("content-type", "application/json")
EVENTS = ("content-type", "text/event-stream")


@dataclass(frozen=True)
class Seen:
    """A request as the upstream saw it; header names in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    nth: int
    """0 for the first request of this upstream."""

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Head:
    """Status and headers. Without `content-length` what follows is chunked, and the script's end ends the body."""

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Data:
    """A piece of the body, one chunk."""

    data: bytes


@dataclass(frozen=True)
class Raw:
    """Bytes written as they are, whatever HTTP says."""

    data: bytes


@dataclass(frozen=True)
class Sse:
    """One event: a dict as JSON, or text as it is (`[DONE]`)."""

    data: dict[str, Any] | str


@dataclass(frozen=True)
class Pause:
    """Wait until the test sets the event."""

    event: asyncio.Event


@dataclass(frozen=True)
class Delay:
    """Wait so many seconds of the loop's time."""

    seconds: float


@dataclass(frozen=True)
class Cut:
    """Drop the connection: nothing unsent leaves, no last chunk."""


@dataclass(frozen=True)
class Close:
    """Send what is written, then close without ending the body."""


@dataclass(frozen=True)
class Hang:
    """Say nothing more, for ever."""


Step: TypeAlias = Head | Data | Raw | Sse | Pause | Delay | Cut | Close | Hang
Script: TypeAlias = Callable[[Seen], Iterable[Step]]


def words(text: str) -> int:
    """The tokens of this upstream: words."""
    return len(text.split())


def usage(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """OpenAI's usage object."""
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": cached},
    }


def answer(body: Any, status: int = 200, headers: Iterable[tuple[str, str]] = ()) -> list[Step]:
    """A whole JSON answer with its length."""
    data = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return [Head(status, (JSON, ("content-length", str(len(data))), *headers)), Raw(data)]


def failure(status: int, message: str = "no", headers: Iterable[tuple[str, str]] = (), **fields: Any) -> list[Step]:
    """An error answer in OpenAI's shape; `fields` go into the error object."""
    return answer({"error": {"message": message, "type": "error", "code": status, **fields}}, status, headers)


def completion(
    text: str,
    usage: dict[str, Any] | None = None,
    *,
    finish: str = "stop",
    model: str = "upstream",
    n: int = 1,
    prompt: int = 0,
) -> dict[str, Any]:
    """The body of a chat completion; usage counts words unless given."""
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": finish} for i in range(n)
    ]
    counted = usage if usage is not None else _usage(prompt, words(text) * n)
    return {"id": "up-1", "object": "chat.completion", "created": 1, "model": model, "choices": choices} | {
        "usage": counted
    }


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, model: str = "upstream") -> Sse:
    """One chat chunk."""
    choice = {"index": index, "delta": delta, "finish_reason": finish}
    return Sse({"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": [choice]})


def usage_chunk(counted: dict[str, Any], model: str = "upstream") -> Sse:
    """The chunk without choices that carries usage."""
    body = {"id": "up-1", "object": "chat.completion.chunk", "created": 1, "model": model, "choices": []}
    return Sse(body | {"usage": counted})


def stream(
    texts: Iterable[str],
    usage: dict[str, Any] | None = None,
    *,
    finish: str = "stop",
    done: bool = True,
    n: int = 1,
    model: str = "upstream",
    delay_s: float | None = None,
) -> list[Step]:
    """A whole chat stream: role chunk, a chunk per text and choice, finish chunk, usage chunk (if `usage`), `[DONE]`.

    `delay_s`: wait so long before each text.
    """
    steps: list[Step] = [Head(200, (EVENTS,))]
    steps += [chunk({"role": "assistant", "content": ""}, index=i, model=model) for i in range(n)]
    for text in texts:
        if delay_s is not None:
            steps.append(Delay(delay_s))
        steps += [chunk({"content": text}, index=i, model=model) for i in range(n)]
    steps += [chunk({}, finish, index=i, model=model) for i in range(n)]
    if usage is not None:
        steps.append(usage_chunk(usage, model))
    if done:
        steps.append(Sse("[DONE]"))
    return steps


_usage = usage


def openai(seen: Seen) -> Iterable[Step]:
    """The default script: answers with the words of the last message, `echo` before them, cut at `max_tokens` words."""
    if seen.method == "GET":
        known = {"/v1/models": {"object": "list", "data": [{"id": "upstream", "object": "model"}]}, "/health": {}}
        return answer(known[seen.path]) if seen.path in known else failure(404)
    body = seen.json
    model = body.get("model") or "upstream"
    contents = [str(message.get("content") or "") for message in body.get("messages", [])]
    said = ["echo", *(contents[-1].split() if contents else [])]
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(said)
    finish = "stop" if len(said) <= limit else "length"
    said = said[:limit]
    n = body.get("n") or 1
    counted = usage(sum(words(text) for text in contents), len(said) * n)
    if not body.get("stream"):
        return answer(completion(" ".join(said), counted, finish=finish, model=model, n=n))
    texts = [said[0], *(f" {word}" for word in said[1:])]
    wanted = (body.get("stream_options") or {}).get("include_usage")
    return stream(texts, counted if wanted else None, finish=finish, n=n, model=model)


def sequence(*scripts: Script | Iterable[Step]) -> Script:
    """The first request gets the first script, and so on; the last one also answers what comes after."""

    def chosen(seen: Seen) -> Iterable[Step]:
        script = scripts[min(seen.nth, len(scripts) - 1)]
        return script(seen) if callable(script) else script

    return chosen


@dataclass
class ScriptedUpstream:
    """See the module. `script` is called once per request and its steps are taken in order."""

    script: Script = openai
    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None
    keep_alive: bool = True
    requests: list[Seen] = field(default_factory=list)
    hang_ups: int = 0
    """Times that a client went away before its script had ended."""
    faults: list[Exception] = field(default_factory=list)
    """What scripts raised; the first is raised again when the upstream is left."""
    accepted: int = 0
    """Connections ever accepted."""
    _open: dict[_Connection, None] = field(default_factory=dict)
    _changed: list[asyncio.Future[None]] = field(default_factory=list)
    _server: asyncio.AbstractServer | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{self.host}:{self.port}"

    @property
    def open_connections(self) -> int:
        return len(self._open)

    async def start(self) -> Self:
        """Listen; with port 0 on any."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, ssl=self.tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        """Stop listening and drop all connections."""
        assert self._server is not None
        self._server.close()
        for connection in list(self._open):
            connection.transport.abort()
        await self.connections(0)

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def hung_up(self, times: int = 1) -> None:
        """Wait until so many clients have gone in the middle of a script."""
        await self._until(lambda: self.hang_ups >= times)

    async def asked(self, times: int = 1) -> None:
        """Wait until so many requests have come whole."""
        await self._until(lambda: len(self.requests) >= times)

    async def connections(self, count: int) -> None:
        """Wait until exactly `count` connections are open."""
        await self._until(lambda: len(self._open) == count)

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            waiter = asyncio.get_running_loop().create_future()
            self._changed.append(waiter)
            await waiter

    def notify(self) -> None:
        """Something that a test may wait for has changed."""
        waiters, self._changed = self._changed, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class _Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, upstream: ScriptedUpstream) -> None:
        self.upstream = upstream
        self.parser = httptools.HttpRequestParser(self)
        self.headers: dict[str, str] = {}
        self.url = self.body = b""
        self.todo: asyncio.Queue[Seen] = asyncio.Queue()
        self.running = False
        self.drained = asyncio.Event()
        self.drained.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.upstream.accepted += 1
        self.upstream._open[self] = None
        self.worker = asyncio.get_running_loop().create_task(self.work())
        self.upstream.notify()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def eof_received(self) -> bool:
        self.gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()
        self.upstream._open.pop(self, None)
        self.upstream.notify()

    def gone(self) -> None:
        self.drained.set()
        if self.running:
            self.running = False
            self.upstream.hang_ups += 1
            self.upstream.notify()
        self.worker.cancel()

    def pause_writing(self) -> None:
        self.drained.clear()

    def resume_writing(self) -> None:
        self.drained.set()

    def on_message_begin(self) -> None:
        self.headers, self.url, self.body = {}, b"", b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.decode().lower()] = value.decode("latin-1")

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        method = self.parser.get_method().decode()
        seen = Seen(method, self.url.decode(), self.headers, self.body, len(self.upstream.requests))
        self.upstream.requests.append(seen)
        self.todo.put_nowait(seen)
        self.upstream.notify()

    async def work(self) -> None:
        while True:
            seen = await self.todo.get()
            self.running = True
            try:
                keep = await self.play(self.upstream.script(seen))
            except Exception as exc:
                self.upstream.faults.append(exc)
                keep = False
            self.running = False
            if not keep:
                self.transport.close()
                return

    async def play(self, steps: Iterable[Step]) -> bool:
        """Take the steps; whether the connection may serve another request."""
        chunked = False
        for step in steps:
            if isinstance(step, Head):
                chunked = self.write_head(step)
            elif isinstance(step, Data):
                self.write(step.data, chunked)
            elif isinstance(step, Raw):
                self.transport.write(step.data)
            elif isinstance(step, Sse):
                text = step.data.encode() if isinstance(step.data, str) else msgspec.json.encode(step.data)
                self.write(b"data: " + text + b"\n\n", chunked)
            elif isinstance(step, Cut):
                self.running = False
                self.transport.abort()
                return False
            elif isinstance(step, Close):
                self.running = False
                return False
            else:
                await self.wait(step)
            await self.drained.wait()
        if chunked:
            self.transport.write(b"0\r\n\r\n")
        return self.upstream.keep_alive

    def wait(self, step: Pause | Delay | Hang) -> Awaitable[object]:
        if isinstance(step, Pause):
            return step.event.wait()
        if isinstance(step, Delay):
            return asyncio.sleep(step.seconds)
        return asyncio.Event().wait()

    def write_head(self, head: Head) -> bool:
        names = {name.lower() for name, _ in head.headers}
        chunked = not names & {"content-length", "transfer-encoding"} and head.status not in (204, 304)
        lines = [f"HTTP/1.1 {head.status} Scripted", *(f"{name}: {value}" for name, value in head.headers)]
        if chunked:
            lines.append("transfer-encoding: chunked")
        if not self.upstream.keep_alive:
            lines.append("connection: close")
        self.transport.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        return chunked

    def write(self, data: bytes, chunked: bool) -> None:
        self.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
