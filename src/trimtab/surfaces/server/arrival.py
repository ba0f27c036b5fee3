"""How long bytes waited in the kernel before we read them: what a busy event loop hides from its own clock."""

from __future__ import annotations

import socket
import struct
from typing import Protocol

# struct tcp_info of linux/tcp.h: 8 bytes, then 32-bit fields; tcpi_last_data_recv is the twelfth, in ms.
_TCP_INFO = 11
_TCP_INFO_BYTES = 56
_LAST_DATA_RECV = struct.Struct("=52xI")


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
