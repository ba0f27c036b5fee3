"""Keeps one gateway process serving on its own listening socket, until it is told to drain and then to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Mapping, Sequence

from trimtab.core.clock import Clock
from trimtab.surfaces.processes.backoff import Backoff
from trimtab.surfaces.processes.channel import Drain, Drained, End, Engines, Message, Ready, ToSupervisor
from trimtab.surfaces.processes.child import Child, how_it_ended

_log = logging.getLogger(__name__)


class Worker:
    """One gateway's life: it is started again when it dies, alone. `ready`: what the present process said once it
    served; `drained`: whether that process's last stream has ended; `hear` gets what it says. Takes `sock` over, in
    whose backlog callers wait while it is started again."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        sock: socket.socket,
        clock: Clock,
        environment: Mapping[str, str] | None,
        engines: Callable[[], Engines],
        hear: Callable[[Worker, ToSupervisor], None],
    ) -> None:
        self.name = name
        self.ready: Ready | None = None
        self.drained = False
        self._command, self._socket, self._environment = command, sock, environment
        self._engines, self._hear = engines, hear
        self._backoff = Backoff(clock)
        self._wake = asyncio.Event()
        self._child: Child | None = None
        self._draining = self._killed = False

    async def keep(self) -> None:
        """Until it was told to drain and has ended."""
        try:
            while True:
                status = await self._live()
                self._child, self.ready, self.drained = None, None, False
                if self._draining:
                    return
                pause_s = self._backoff.pause_s()
                _log.warning("%s %s; starting it again in %g s", self.name, status, pause_s)
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), pause_s)
        finally:
            self._socket.close()

    def tell(self, message: Message) -> None:
        if self._child is not None:
            self._child.tell(message)

    def drain(self) -> None:
        """Let its last stream end, and start it no more. It answers 503 until it is told to `end`."""
        self._draining = True
        self._wake.set()
        self.tell(Drain())

    def end(self) -> None:
        """End the process that has drained."""
        self.tell(End())

    def kill(self) -> None:
        """At once, also one that is only being started."""
        self._draining = self._killed = True
        self._wake.set()
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def _live(self) -> str:
        """One process from its start to its end; how it ended, in words."""
        descriptor = self._socket.fileno()
        command = [*self._command, "--listen", str(descriptor)]
        try:
            self._child = child = await Child.start(command, self._told, [descriptor], environment=self._environment)
        except OSError as error:
            return f"could not be started: {error}"
        child.tell(self._engines())
        if self._draining:  # asked for while it started
            child.tell(Drain())
        if self._killed:
            child.signal(signal.SIGKILL)
        return how_it_ended(await child.ended())

    def _told(self, message: ToSupervisor) -> None:
        if isinstance(message, Ready):
            self.ready = message
            self._backoff.started()
        if isinstance(message, Drained):
            self.drained = True
        self._hear(self, message)


__all__ = ["Worker"]
