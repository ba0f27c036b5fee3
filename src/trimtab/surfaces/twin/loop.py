"""An event loop on virtual time: when nothing is ready it jumps to the next timer instead of waiting.

The selector is asked "how long may I sleep?" with the time to the next timer; it adds that to the clock and returns.
Nothing else of asyncio is changed, so order of callbacks is the real loop's. Servers and connections are pipes in
memory (`pipes.py`) with seeded delays, cuts and stalls: the real HTTP server and client run on it as bytes, and one
seed is one run. No threads: they would take no virtual time.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, ParamSpec, TypeVar

from trimtab.core.ids import ClockIds
from trimtab.surfaces.twin.pipes import Link, LinkFor, Network

P = ParamSpec("P")
T = TypeVar("T")

EPOCH_NS = 1_800_000_000 * 1_000_000_000
"""Wall time at the start of a run: 2027-01-15 08:00 UTC, so that nothing depends on today."""


class Deadlock(RuntimeError):  # noqa: N818 - named by what happened
    """Nothing is ready and no timer is set: the tasks named wait for each other, or for nobody."""


class VirtualClock:
    """`core.clock.Clock` on a loop's own time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, epoch_ns: int = EPOCH_NS) -> None:
        self._loop = loop
        self._epoch_ns = epoch_ns

    def now_ns(self) -> int:
        return round(self._loop.time() * 1e9)

    def wall_ns(self) -> int:
        return self._epoch_ns + self.now_ns()

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Inline, in no time: a stage that wants its cost modelled waits for it itself."""
        return fn(*args, **kwargs)


class _Selector(selectors.BaseSelector):
    """Keeps what the loop registers (its wake-up pipe), and never waits for it."""

    def __init__(self, sleep: Callable[[float | None], None]) -> None:
        self._sleep = sleep
        self._real = selectors.SelectSelector()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        return self._real.register(fileobj, events, data)

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._real.unregister(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout != 0:
            self._sleep(timeout)
        return []

    def close(self) -> None:
        self._real.close()

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._real.get_map()


class VirtualLoop(asyncio.SelectorEventLoop):
    """`asyncio.SelectorEventLoop` on virtual seconds, starting at 0. `link` says how connections behave."""

    def __init__(self, *, seed: int = 0, link: Link | LinkFor | None = None) -> None:
        self._now = 0.0
        super().__init__(_Selector(self._advance))
        self.clock = VirtualClock(self)
        self.ids = ClockIds(self.clock, seed)
        self.network = Network(self, self.ids.random, link or Link())

    def time(self) -> float:
        return self._now

    def _advance(self, seconds: float | None) -> None:
        if seconds is None:
            raise Deadlock(_waiting(self))
        self._now += seconds

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, ssl: Any = None, **_: Any
    ) -> Any:
        """Listen in memory; `port` 0 takes a free one. Other options of the real loop mean nothing here."""
        _plain(sock, ssl)
        return self.network.listen(protocol_factory, str(host or "127.0.0.1"), int(port or 0))

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, *, sock: Any = None, ssl: Any = None, **_: Any
    ) -> tuple[asyncio.Transport, Any]:
        """Connect in memory, after one round trip. Raises ConnectionRefusedError where nobody listens."""
        _plain(sock, ssl)
        return await self.network.connect(protocol_factory, str(host), int(port))

    async def getaddrinfo(self, host: Any, port: Any, **_: Any) -> list[Any]:
        """Every name is its own address here, but for this machine's."""
        name = "127.0.0.1" if host == "localhost" else str(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (name, int(port)))]

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> Any:  # type: ignore[override]
        raise RuntimeError("no threads in virtual time: use the clock's offload")


def _plain(sock: object, ssl: object) -> None:
    if sock is not None or ssl:
        raise ValueError("in virtual time there are no sockets and no TLS: give host and port")


def _waiting(loop: asyncio.AbstractEventLoop) -> str:
    lines = sorted(f"  {task.get_name()}: {_where(task)}" for task in asyncio.all_tasks(loop))
    return "\n".join([f"nothing is ready and no timer is set; {len(lines)} tasks wait:", *lines])


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost line that the task waits in."""
    coroutine: Any = task.get_coro()
    name = getattr(coroutine, "__qualname__", repr(coroutine))
    line = 0
    while (inner := getattr(coroutine, "cr_await", None)) is not None or hasattr(coroutine, "cr_frame"):
        if coroutine.cr_frame is not None:
            name, line = coroutine.__qualname__, coroutine.cr_frame.f_lineno
        coroutine = inner
    return f"{name}, line {line}"


def run_virtual(main: Callable[[], Coroutine[Any, Any, T]], *, seed: int = 0, link: Link | LinkFor | None = None) -> T:
    """Run `main()` on a fresh VirtualLoop and return what it returns. Raises Deadlock where it could never end."""
    with asyncio.Runner(loop_factory=lambda: VirtualLoop(seed=seed, link=link)) as runner:
        return runner.run(main())
