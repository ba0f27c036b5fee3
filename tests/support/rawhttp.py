"""A client that sends bytes, not requests: what no HTTP library would let a test say."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import msgspec


@dataclass(frozen=True)
class RawAnswer:
    """One parsed answer. `whole` is false if the connection ended before the body did."""

    status: int
    headers: dict[str, str]
    body: bytes
    whole: bool = True
    chunks: tuple[bytes, ...] = ()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class RawClient:
    """One connection.

    async with RawClient(port) as client:
        client.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
        answer = await client.answer()
    """

    def __init__(self, port: int, host: str = "127.0.0.1", limit: int = 1 << 20) -> None:
        self.host, self.port, self.limit = host, port, limit

    async def __aenter__(self) -> Self:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port, limit=self.limit)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.transport.abort()

    def send(self, *data: bytes) -> None:
        """Write each piece."""
        for piece in data:
            self.writer.write(piece)

    @property
    def transport(self) -> asyncio.Transport:
        """Both ways of the connection: to pause reading, or to see what is unsent."""
        return cast(asyncio.Transport, self.writer.transport)

    def half_close(self) -> None:
        self.writer.write_eof()

    def hang_up(self) -> None:
        self.writer.transport.abort()

    async def rest(self) -> bytes:
        """Everything until the server closes; a reset ends it too."""
        data = b""
        while True:
            try:
                piece = await self.reader.read(65536)
            except ConnectionError:
                return data
            if not piece:
                return data
            data += piece

    async def answer(self, method: str = "GET") -> RawAnswer:
        """The next answer; ConnectionError or IncompleteReadError if none comes."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        status, headers = _head(head)
        if method == "HEAD" or status in (204, 304) or status < 200:
            return RawAnswer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            return await self._chunked(status, headers)
        if "content-length" in headers:
            try:
                body = await self.reader.readexactly(int(headers["content-length"]))
            except asyncio.IncompleteReadError as exc:
                return RawAnswer(status, headers, exc.partial, whole=False)
            return RawAnswer(status, headers, body)
        try:
            return RawAnswer(status, headers, await self.reader.read(-1))
        except ConnectionError:
            return RawAnswer(status, headers, b"", whole=False)

    async def chunk(self) -> bytes:
        """The next chunk's data; b"" for the last one."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        data = await self.reader.readexactly(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]

    async def head(self) -> RawAnswer:
        """Only a head; the body is left to `chunk`."""
        status, headers = _head(await self.reader.readuntil(b"\r\n\r\n"))
        return RawAnswer(status, headers, b"")

    async def _chunked(self, status: int, headers: dict[str, str]) -> RawAnswer:
        chunks: list[bytes] = []
        try:
            while data := await self.chunk():
                chunks.append(data)
        except (asyncio.IncompleteReadError, ConnectionError):
            return RawAnswer(status, headers, b"".join(chunks), whole=False, chunks=tuple(chunks))
        return RawAnswer(status, headers, b"".join(chunks), chunks=tuple(chunks))


def _head(data: bytes) -> tuple[int, dict[str, str]]:
    line, *fields = data[:-4].decode("latin-1").split("\r\n")
    headers = {}
    for item in fields:
        name, _, value = item.partition(":")
        assert name.lower() not in headers, f"the answer has {name} twice"
        headers[name.lower()] = value.strip()
    return int(line.split(" ")[1]), headers


def request(method: str, path: str, body: bytes = b"", *headers: str, host: str = "test") -> bytes:
    """A well-formed request."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}", *headers]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


async def exchange(port: int, *data: bytes, host: str = "127.0.0.1") -> bytes:
    """Send bytes on a new connection and return everything until the server closes."""
    async with RawClient(port, host) as client:
        client.send(*data)
        return await client.rest()
