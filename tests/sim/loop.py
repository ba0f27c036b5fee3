"""One seed, one run: virtual time, a seeded order of what is ready, processes that can be killed, and the trace.

`VirtualLoop` has time and the network. This adds what a scheduler may do to a program: tasks that are ready at the same
time go in a seeded order. Callbacks that are no tasks' steps keep theirs, since protocols rely on it (and asyncio
promises it). Everything that belongs to one gateway carries its name in its context, so that a killed gateway stops in
the middle of whatever it did: none of its steps, timers or callbacks is ever run again.
"""

from __future__ import annotations

import asyncio
import hashlib
import heapq
from collections.abc import Callable, Coroutine
from contextlib import suppress
from contextvars import Context, ContextVar, copy_context
from random import Random
from typing import Any, ParamSpec, TypeVar, cast

from trimtab.surfaces.twin.loop import Deadlock, VirtualLoop, _waiting
from trimtab.surfaces.twin.pipes import LinkFor, Pipe

P = ParamSpec("P")
T = TypeVar("T")

PROCESS: ContextVar[str] = ContextVar("process", default="")
"""The gateway that a step belongs to; "" is the world around them."""
MOST_STEPS = 400_000
"""Of one run; more is a loop without an end."""


class Broken(Exception):
    """An invariant does not hold. The run ends here, whoever catches this."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        loop = asyncio._get_running_loop()
        if isinstance(loop, SimLoop):
            loop.fail(self)


class Trace:
    """What happened, in order. Its digest is the run's identity."""

    def __init__(self) -> None:
        self.rows: list[tuple[Any, ...]] = []
        self.closed = False

    def add(self, *row: Any) -> None:
        if not self.closed:
            self.rows.append(row)

    def digest(self) -> str:
        return hashlib.blake2b("\n".join(map(repr, self.rows)).encode(), digest_size=8).hexdigest()

    def tail(self, count: int = 40) -> str:
        return "\n".join(f"  {now:12.6f} {' '.join(map(str, rest))}" for now, *rest in self.rows[-count:])


class SimLoop(VirtualLoop):
    """See the module. `reorder`: whether tasks that are ready together go in a seeded order."""

    def __init__(self, *, seed: int, link: LinkFor, reorder: bool) -> None:
        self._order = Random(f"{seed}/order") if reorder else None
        self._neutral = copy_context()
        self.dead: set[str] = set()
        self._frozen: dict[str, list[asyncio.Handle]] = {}
        """What gateways that stand still would have done meanwhile."""
        self.steps = 0
        self.trace = Trace()
        self.before_time_moves: Callable[[], None] = _nothing
        self.failure: BaseException | None = None
        self._lines: dict[str, list[asyncio.Transport]] = {}
        self.contexts: dict[str, Context] = {}
        """Of what was spawned, by its name."""
        self._tasks: list[asyncio.Task[Any]] = []
        """All that ever were: what a killed gateway left must not be collected, for that would run its `finally`s."""
        super().__init__(seed=seed, link=link)
        self._neutral = copy_context()

    def note(self, *row: Any) -> None:
        self.trace.add(round(self._now, 9), *row)

    def fail(self, broken: BaseException) -> None:
        """The first failure ends the run, wherever it was seen."""
        if self.failure is None:
            self.failure = broken
            self.note("BROKEN", str(broken))

    # --- scheduling

    def _run_once(self) -> None:
        """One handle: the first of the ready ones, or one of the tasks' steps that stand first together."""
        scheduled, ready = self._scheduled, self._ready
        while scheduled and scheduled[0]._cancelled:
            self._timer_cancelled_count -= 1
            heapq.heappop(scheduled)._scheduled = False
        if not ready:
            if not scheduled:
                raise Deadlock(_waiting(self))
            if scheduled[0]._when > self._now:
                self.before_time_moves()
                if ready:
                    return
                self._now = max(self._now, scheduled[0]._when)
        while scheduled and (scheduled[0]._cancelled or scheduled[0]._when <= self._now):
            handle = heapq.heappop(scheduled)
            handle._scheduled = False
            if handle._cancelled:
                self._timer_cancelled_count -= 1
            else:
                ready.append(handle)
        if not ready:
            return
        if self._order is not None and len(ready) > 1 and _is_step(ready[0]):
            alike = 1
            while alike < len(ready) and alike < 8 and _is_step(ready[alike]):
                alike += 1
            if alike > 1:
                chosen = self._order.randrange(alike)
                handle = ready[chosen]
                del ready[chosen]
                ready.appendleft(handle)
        handle = ready.popleft()
        if handle._cancelled or (self.dead and handle._context.get(PROCESS) in self.dead):
            return
        if self._frozen and (waits := self._frozen.get(handle._context.get(PROCESS, ""))) is not None:
            waits.append(handle)
            return
        self.steps += 1
        if self.steps > MOST_STEPS:
            raise Broken(f"more than {MOST_STEPS} steps: a loop without an end")
        handle._run()
        if self.failure is not None:
            raise self.failure

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:
        return super().call_at(when, callback, *args, context=self._around(callback, context))

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:
        return super().call_soon(callback, *args, context=self._around(callback, context))

    def _around(self, callback: Any, context: Context | None) -> Context | None:
        """The network outlives who writes into it."""
        if context is None and isinstance(getattr(callback, "__self__", None), Pipe):
            return self._neutral
        return context

    async def create_server(self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any) -> Any:
        """Servers belong to the world, not to the gateway that connects to them."""

        def made() -> Any:
            protocol = protocol_factory()
            begin = protocol.connection_made
            protocol.connection_made = lambda transport: copy_of(self._neutral).run(begin, transport)
            return protocol

        return await super().create_server(made, host, port, **more)

    async def create_connection(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **more: Any
    ) -> tuple[asyncio.Transport, Any]:
        process = PROCESS.get()

        async def connect() -> tuple[asyncio.Transport, Any]:
            made = await VirtualLoop.create_connection(self, protocol_factory, host, port, **more)
            if process in self.dead:
                made[0].abort()
            self._lines.setdefault(process, []).append(made[0])
            return made

        return await self.spawn("", connect(), f"{process} connects")

    def create_task(self, coro: Any, **more: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = super().create_task(coro, **more)
        self._tasks.append(task)
        return task

    def jump(self, seconds: float) -> None:
        """The whole machine stood still for a while."""
        self._now += seconds

    def spawn(self, process: str, work: Coroutine[Any, Any, T], name: str) -> asyncio.Task[T]:
        """A task of a gateway, or of the world (""). It and all it starts die with the gateway."""
        context = copy_of(self._neutral)
        context.run(PROCESS.set, process)
        self.contexts[name] = context
        return self.create_task(work, name=name, context=context)

    def freeze(self, process: str) -> None:
        """It does nothing until it is thawed, and does not notice."""
        self._frozen[process] = []

    def thaw(self, process: str) -> None:
        self._ready.extend(self._frozen.pop(process))

    def is_frozen(self, process: str) -> bool:
        return process in self._frozen

    def kill(self, process: str) -> None:
        """Whoever it was connected to sees a reset."""
        self.dead.add(process)
        for line in self._lines.pop(process, ()):
            line.abort()

    def bury(self) -> None:
        """After the run: what the dead left in the middle ends unheard."""
        self.trace.closed = True
        for task in self._tasks:
            if not task.done():
                task._log_destroy_pending = False  # type: ignore[attr-defined]
                with suppress(BaseException):
                    cast(Any, task.get_coro()).close()


class SimClock:
    """`core.clock.Clock` of one machine. `step` moves its wall and nothing else. `offload` takes a seeded while."""

    def __init__(self, loop: SimLoop, epoch_ns: int, costs: Random | None) -> None:
        self._loop, self._epoch_ns, self._costs = loop, epoch_ns, costs
        self.stepped_ns = 0

    def now_ns(self) -> int:
        return round(self._loop.time() * 1e9)

    def wall_ns(self) -> int:
        return self._epoch_ns + self.stepped_ns + self.now_ns()

    def step(self, ns: int) -> None:
        self.stepped_ns += ns

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._costs is not None:
            await asyncio.sleep(self._costs.random() * 0.05)
        return fn(*args, **kwargs)


def copy_of(context: Context) -> Context:
    return context.run(copy_context)


def _is_step(handle: asyncio.Handle) -> bool:
    return isinstance(getattr(handle._callback, "__self__", None), asyncio.Task)


def _nothing() -> None: ...
