"""What is asked of the kernel about one connection: how long its bytes waited, how much it holds for a client that does
not read, and an end that can't be taken for a whole answer."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Protocol

# struct tcp_info of linux/tcp.h: 8 bytes, then 32-bit fields; tcpi_last_data_recv is the twelfth, in ms.
_TCP_INFO = 11
_TCP_INFO_BYTES = 56
_LAST_DATA_RECV = struct.Struct("=52xI")
_TCP_NOTSENT_LOWAT = 25
"""Of linux/tcp.h: bytes that can't be sent yet, above which a socket takes no more."""
_UNSENT = 4096
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


class HasOptions(Protocol):
    """What asyncio and uvloop give as a transport's socket."""

    def getsockopt(self, level: int, optname: int, buflen: int, /) -> bytes: ...


def kernel_wait_ns(sock: HasOptions) -> int:
    """Nanoseconds since the last segment with data came; 0 where the system does not tell.

    A lower bound: it counts kernel ticks (1 to 10 ms), and from the last segment of a head that came in several.
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _TCP_INFO_BYTES)
        waited_ms: int = _LAST_DATA_RECV.unpack(info)[0]
    except (OSError, struct.error):
        return 0
    return waited_ms * 1_000_000


def bound_unsent(sock: socket.socket | None) -> None:
    """Let the kernel hold no more that it can't send: by itself it takes megabytes of a stream for a client that does
    not read, and with them what is upstream would have run far ahead."""
    if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
        with contextlib.suppress(OSError):  # an older kernel
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT)


def reset_on_close(sock: socket.socket | None) -> None:
    """Closing it will tell the peer that it broke, and drop what is not sent."""
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
