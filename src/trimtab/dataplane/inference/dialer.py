"""The way to a model's server: one request out, one answer back, as it comes. `adapters` has what speaks HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import msgspec

from trimtab.foundations.addresses import host_port


class UpstreamError(Exception):
    """Something is wrong with the upstream or the way to it, beyond any status it could send."""


class ConnectFailed(UpstreamError):  # noqa: N818 - named by what happened
    """No connection, refused or in time: nothing was sent, so nothing was spent. `refused`: by us, since nobody is to
    connect there (`egress`)."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class ConnectionLost(UpstreamError):  # noqa: N818 - named by what happened
    """The connection ended in the middle. `sent`: the request had been handed to the network, so the upstream may have
    worked on it; `received`: some of the answer had come.
    """

    def __init__(self, message: str, *, sent: bool, received: bool) -> None:
        super().__init__(message)
        self.sent = sent
        self.received = received


class MalformedAnswer(UpstreamError):  # noqa: N818 - named by what happened
    """The upstream's bytes are not HTTP, or more of it than we take."""


class Origin(msgspec.Struct, frozen=True):
    """Where an upstream listens. Connections are shared within one origin, never across."""

    scheme: str
    host: str
    port: int
    private: bool = False
    """It may be on a private network or on this machine: declared, or started by ourselves."""
    metadata: bool = False
    """A cloud serves credentials there, and a document says that ours come from it."""

    @classmethod
    def parse(cls, url: str, *, private: bool = False) -> Origin:
        """The origin of an http or https URL, whatever its path; ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"an upstream is http://HOST[:PORT] or https://HOST[:PORT], not {url!r}")
        port = parts.port or (443 if parts.scheme == "https" else 80)
        return cls(parts.scheme, parts.hostname, port, private)

    @classmethod
    def parse_tcp(cls, address: str, *, private: bool = False) -> Origin:
        """Of `tcp://HOST:PORT`; ValueError for anything else."""
        return cls("tcp", *host_port(address), private)

    @property
    def key(self) -> str:
        """`http://host:port`, the port always spelled out."""
        return f"{self.scheme}://{self.netloc}"

    @property
    def authority(self) -> str:
        """As `Host` has it: without the scheme's own port, which is what signatures are made for."""
        usual = {"http": 80, "https": 443}.get(self.scheme) == self.port
        return self.netloc.rpartition(":")[0] if usual else self.netloc

    @property
    def netloc(self) -> str:
        """`host:port`, an IPv6 address in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Answer(Protocol):
    """An upstream's answer. The head is there; the body is read as it comes, by one task."""

    status: int
    headers: dict[str, str]
    """Names in lower case; repeated fields joined by a comma."""

    @property
    def is_over(self) -> bool:
        """All of the body has come, read or not, or never will: closing costs no connection any more."""
        ...

    async def read_some(self) -> bytes:
        """What has come and not been read, b"" at the end. Raises ConnectionLost if the body ends before it should,
        MalformedAnswer if its framing is broken. Cancelling it closes the connection.
        """
        ...

    async def read_all(self, max_bytes: int) -> bytes:
        """The rest of the body; MalformedAnswer, and the connection closed, if it is larger than `max_bytes`."""
        ...

    def close(self) -> None:
        """Done with it, at once and without waiting; idempotent. A body not read to its end closes the connection, so
        that the upstream sees the hang-up and stops working.
        """
        ...

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> bytes: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Dialer(Protocol):
    """Sends requests upstream. Never retries, never follows a redirect, reads no proxy settings from the environment:
    where a prompt goes is decided by the plan alone.
    """

    async def send(
        self, origin: Origin, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Answer:
        """Send and return when the answer's head is there. Raises an UpstreamError, or ValueError for a request that
        can't be put on the wire. Cancelling it closes the connection.
        """
        ...

    async def close(self) -> None:
        """Close all connections, used ones too."""
        ...
