"""Connections in memory: TCP's order, windows, half-close and resets, with a link's faults; no sockets, no threads.

Each end is an `asyncio.Transport`. What is written waits in the sender's buffer until the window has room, is under way
for the link's delay, and waits at the receiver while its reading is paused. The window counts the last two, so a reader
that pauses makes the writer's buffer grow and its protocol pause, as with a real socket.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from random import Random  # noqa: TID251 - the type only; the stream is the loop's
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

if TYPE_CHECKING:
    from typing_extensions import Buffer

_HIGH_WATER = 65536


class Direction(msgspec.Struct, frozen=True, kw_only=True):
    """One way of a link. Seconds and bytes; None is never."""

    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to this is added to each delay; order is kept."""
    segment_bytes: int = 65536
    """The most that arrives at once: 1 hands over byte by byte."""
    window_bytes: int = 65536
    """The most that is under way or unread."""
    cut_after_bytes: int | None = None
    """After so many bytes both ends see a reset."""
    stall_after_bytes: int | None = None
    """After so many bytes nothing arrives any more, neither data nor the end."""


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A connection's two ways: `up` from the client to the server, `down` back."""

    up: Direction = Direction()
    down: Direction = Direction()


LinkFor: TypeAlias = Callable[[int, int], Link]
"""(port, how many connections to it came before) -> the link of this one."""


class Listening(asyncio.AbstractServer):
    """What `create_server` returns."""

    def __init__(self, network: Network, address: tuple[str, int], factory: Callable[[], asyncio.BaseProtocol]) -> None:
        self.network = network
        self.address = address
        self.factory = factory
        self.accepted = 0

    @property
    def sockets(self) -> tuple[_Address, ...]:
        """Stands in for sockets where somebody asks for the port."""
        return (_Address(self.address),) if self.is_serving() else ()

    def close(self) -> None:
        self.network.servers.pop(self.address, None)

    def is_serving(self) -> bool:
        return self.network.servers.get(self.address) is self

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self.network.loop

    async def start_serving(self) -> None:
        """It does from the start."""

    async def serve_forever(self) -> None:
        await asyncio.Event().wait()

    async def wait_closed(self) -> None:
        """Nothing is left to wait for."""


class _Address:
    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address

    def getsockname(self) -> tuple[str, int]:
        return self._address


class Network:
    """The listeners of one loop. All names are one machine: only the port tells servers apart."""

    def __init__(self, loop: asyncio.AbstractEventLoop, random: Random, link: Link | LinkFor) -> None:
        self.loop = loop
        self.random = random
        self.link = link
        """May be changed at any time, for connections made afterwards."""
        self.servers: dict[tuple[str, int], Listening] = {}
        self._ports = iter(range(20_000, 60_000))

    def listen(self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int) -> Listening:
        """Raises OSError if the address is taken."""
        address = (host, port or next(self._ports))
        if address in self.servers:
            raise OSError(f"address already in use: {address}")
        server = self.servers[address] = Listening(self, address, factory)
        return server

    async def connect(
        self, factory: Callable[[], asyncio.BaseProtocol], host: str, port: int
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """A new connection after one round trip; ConnectionRefusedError after the same time."""
        server = self.servers.get((host, port))
        nth = 0
        if server is not None:
            nth, server.accepted = server.accepted, server.accepted + 1
        link = self.link if isinstance(self.link, Link) else self.link(port, nth)
        await asyncio.sleep(self.delay(link.up))
        if server is None or not server.is_serving():
            await asyncio.sleep(self.delay(link.down))
            raise ConnectionRefusedError(f"nobody listens on {host}:{port}")
        ours, theirs = ("127.0.0.1", next(self._ports)), server.address
        client, accepted = Pipe(self, link.up, ours, theirs), Pipe(self, link.down, theirs, ours)
        client.peer, accepted.peer = accepted, client
        accepted.begin(server.factory())
        try:
            await asyncio.sleep(self.delay(link.down))
        except BaseException:
            client.abort()
            raise
        protocol = factory()
        client.begin(protocol)
        return client, protocol

    def delay(self, way: Direction) -> float:
        """Seconds that the next segment takes."""
        return way.delay_s + (way.jitter_s * self.random.random() if way.jitter_s else 0.0)


class Pipe(asyncio.Transport):
    """One end of a connection."""

    peer: Pipe

    def __init__(self, network: Network, way: Direction, name: tuple[str, int], peername: tuple[str, int]) -> None:
        super().__init__({"sockname": name, "peername": peername})
        self._network = network
        self._loop = network.loop
        self._way = way
        self._protocol: asyncio.Protocol | None = None
        self._buffer: deque[bytes] = deque()
        self._buffered = self._window = self._passed = 0
        self._arrives_at = 0.0
        self._flight: deque[Callable[[], object]] = deque()
        self._inbox: deque[bytes] = deque()
        self._ending = self._eof_sent = self._eof_came = self._eof_told = False
        self._closing = self._lost = self._paused = self._unread = self._stalled = False
        self._high, self._low = _HIGH_WATER, _HIGH_WATER // 4
        self._writer_paused = False

    def begin(self, protocol: asyncio.BaseProtocol) -> None:
        """The connection is there, for this end."""
        self._protocol = cast(asyncio.Protocol, protocol)
        protocol.connection_made(self)
        self._deliver()

    # --- asyncio.Transport: writing ----------------------------------------------------------------------------------

    def write(self, data: Buffer) -> None:
        if self._ending:
            raise RuntimeError("Cannot call write() after write_eof()")
        piece = bytes(data)
        if self._closing or not piece:
            return
        self._buffer.append(piece)
        self._buffered += len(piece)
        self._pump()
        self._tell_writer()

    def writelines(self, list_of_data: Iterable[Buffer]) -> None:
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        if not (self._closing or self._ending):
            self._ending = True
            self._pump()

    def can_write_eof(self) -> bool:
        return True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = _HIGH_WATER if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low
        self._tell_writer()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        return self._buffered

    def _tell_writer(self) -> None:
        protocol = self._protocol
        if protocol is None or self._lost:
            return
        if not self._writer_paused and self._buffered > self._high:
            self._writer_paused = True
            protocol.pause_writing()
        elif self._writer_paused and self._buffered <= self._low:
            self._writer_paused = False
            protocol.resume_writing()

    def _pump(self) -> None:
        """Send what the window takes."""
        way = self._way
        while self._buffer and self._window < way.window_bytes and not self._lost:
            size = min(way.segment_bytes, way.window_bytes - self._window)
            self._send(self._take(size))
        if not self._buffer and (self._ending or self._closing) and not self._eof_sent:
            self._eof_sent = True
            if self._unread:
                self._schedule(self.peer._lose, ConnectionResetError("the peer closed over unread bytes"))
            else:
                self._schedule(self.peer._arrive_eof)
            if self._closing:
                self._loop.call_soon(self._lose, None)

    def _take(self, size: int) -> bytes:
        piece = self._buffer.popleft()
        if len(piece) > size:
            self._buffer.appendleft(piece[size:])
            piece = piece[:size]
        self._buffered -= len(piece)
        return piece

    def _send(self, piece: bytes) -> None:
        way = self._way
        room = min(_left(way.cut_after_bytes, self._passed), _left(way.stall_after_bytes, self._passed))
        self._passed += len(piece)
        self._window += len(piece)
        if room > 0:
            self._schedule(self.peer._arrive, piece[: int(min(room, len(piece)))])
        if way.cut_after_bytes is not None and self._passed >= way.cut_after_bytes:
            self._schedule(self._cut)
        if way.stall_after_bytes is not None and self._passed >= way.stall_after_bytes:
            self._stalled = True

    def _schedule(self, call: Callable[..., object], *args: Any) -> None:
        """Let it happen at the other end after the delay, never before what was sent earlier; never once stalled."""
        if self._stalled:
            return
        self._arrives_at = max(self._arrives_at, self._loop.time() + self._network.delay(self._way))
        self._flight.append(partial(call, *args))
        self._loop.call_at(self._arrives_at, self._land)

    def _land(self) -> None:
        self._flight.popleft()()  # the loop's timers keep no order among equals

    def _cut(self) -> None:
        error = ConnectionResetError("the link was cut")
        self.peer._lose(error)
        self._lose(error)

    # --- asyncio.Transport: reading ----------------------------------------------------------------------------------

    def pause_reading(self) -> None:
        self._paused = True

    def resume_reading(self) -> None:
        if self._paused:
            self._paused = False
            self._loop.call_soon(self._deliver)

    def is_reading(self) -> bool:
        return not (self._paused or self._closing)

    def _arrive(self, piece: bytes) -> None:
        if self._closing:  # nobody reads here any more: the sender gets a reset
            self._schedule(self.peer._lose, ConnectionResetError("the peer has closed"))
            return
        self._inbox.append(piece)
        self._deliver()

    def _arrive_eof(self) -> None:
        self._eof_came = True
        self._deliver()

    def _deliver(self) -> None:
        """Hand over what has arrived, unless the reader wants none."""
        protocol = self._protocol
        while self._inbox and not (self._paused or self._closing or protocol is None):
            piece = self._inbox.popleft()
            self.peer._acknowledge(len(piece))
            if isinstance(protocol, asyncio.BufferedProtocol):
                self._fill(protocol, piece)
            else:
                protocol.data_received(piece)
        may_end = self._eof_came and not (self._eof_told or self._inbox or self._paused or self._closing)
        if may_end and protocol is not None:
            self._eof_told = True
            if not protocol.eof_received():
                self.close()

    def _fill(self, protocol: asyncio.BufferedProtocol, piece: bytes) -> None:
        """Into the reader's own buffer, as much as it takes at once; the rest stays if it has paused."""
        while piece and not self._closing:
            if self._paused:
                self._inbox.appendleft(piece)
                return
            buffer = memoryview(protocol.get_buffer(-1))
            size = min(len(piece), len(buffer))
            buffer[:size] = piece[:size]
            piece = piece[size:]
            protocol.buffer_updated(size)

    def _acknowledge(self, size: int) -> None:
        self._window -= size
        self._pump()
        self._tell_writer()

    # --- asyncio.Transport: the end ----------------------------------------------------------------------------------

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            self._unread = bool(self._inbox)
            self._inbox.clear()
            if self._eof_sent:
                self._loop.call_soon(self._lose, None)
            self._pump()

    def abort(self) -> None:
        if not self._lost:
            self._closing = True
            self._buffer.clear()
            self._buffered = 0
            self._schedule(self.peer._lose, ConnectionResetError("the peer aborted"))
            self._loop.call_soon(self._lose, None)

    def is_closing(self) -> bool:
        return self._closing

    def _lose(self, error: Exception | None) -> None:
        if self._lost:
            return
        self._lost = self._closing = True
        self._buffer.clear()
        self._inbox.clear()
        self._buffered = 0
        if self._protocol is not None:
            self._protocol.connection_lost(error)

    def get_protocol(self) -> asyncio.BaseProtocol:
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)


def _left(limit: int | None, passed: int) -> float:
    return float("inf") if limit is None else limit - passed
