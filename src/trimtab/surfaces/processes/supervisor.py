"""The supervisor: holds the listening socket and the pipes, starts and restarts children, does no request's work.

States: *starting* (until the gateway is ready and each engine has either come up or said why not), *serving*,
*draining* (the gateway goes on accepting and answers 503 until its last stream ends; nobody is restarted), *ended*.
The socket is held here, so that connections wait in its backlog while a gateway is started again.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from trimtab.core.clock import Clock, SystemClock
from trimtab.core.errors import ConfigError, TrimtabError
from trimtab.surfaces.processes.backoff import Backoff
from trimtab.surfaces.processes.channel import (
    Broken,
    Drain,
    Engines,
    EngineSpec,
    Ready,
    StartEngine,
    StopEngine,
    ToSupervisor,
)
from trimtab.surfaces.processes.child import Child, how_it_ended
from trimtab.surfaces.processes.keeper import EngineKeeper

BACKLOG: Final = 4096
GATEWAY_MODULE: Final = "trimtab.surfaces.processes.gateway"
ENGINE_MODULE: Final = "trimtab.surfaces.processes.engine"

_log = logging.getLogger(__name__)


class PortTakenError(TrimtabError):
    """Another process listens where we should."""


def listen(host: str, port: int) -> socket.socket:
    """The listening socket; port 0 takes a free one. Raises PortTakenError, OSError for a host that is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"port {port} of {host} is taken by another process") from error
        raise
    sock.setblocking(False)
    return sock


class Supervisor:
    """Runs one gateway and its engines until it is told to end.

    `say` gets the lines for the person who started it (the gateway's hints, once all is up). `gateway_module` and
    `engine_module` are what `python -m` starts; `environment` is what the gateway is told beside ours. Takes `sock`
    over.
    """

    def __init__(
        self,
        workspace: Path,
        sock: socket.socket,
        engines: Sequence[EngineSpec],
        say: Callable[[str], None],
        *,
        clock: Clock | None = None,
        gateway_module: str = GATEWAY_MODULE,
        engine_module: str = ENGINE_MODULE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._workspace, self._socket, self._say = workspace, sock, say
        self._clock = clock or SystemClock()
        self._gateway_module, self._environment = gateway_module, environment
        self._keepers = {
            spec.name: EngineKeeper(spec, workspace, engine_module, self._clock, self._engines_changed)
            for spec in engines
        }
        self._gateway: Child | None = None
        self._ready: Ready | None = None
        self._served = self._announced = self._draining = False
        self._broken: list[str] | None = None
        self._backoff = Backoff(self._clock)
        self._wake = asyncio.Event()
        self._killed_by: signal.Signals | None = None

    async def run(self) -> int:
        """The exit status: 0 after a clean stop, 128 + the signal where a second one cut it short.

        Raises ConfigError if the gateway finds the workspace broken before it has ever served.
        """
        self._catch_signals()
        keepers = [asyncio.ensure_future(keeper.keep()) for keeper in self._keepers.values()]
        try:
            await self._keep_gateway()
        finally:
            self._socket.close()
            for task in keepers:
                task.cancel()
            if keepers:
                await asyncio.wait(keepers)
        if self._broken is not None:
            raise ConfigError(self._broken)
        return 128 + self._killed_by if self._killed_by is not None else 0

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """What SIGTERM and SIGINT do: drain; the second time, end at once."""
        if self._draining:
            self._killed_by = number
            self._kill()
            return
        _log.info("supervisor: %s: draining; again to stop at once", number.name)
        self._draining = True
        self._wake.set()
        if self._gateway is not None:
            self._gateway.tell(Drain())

    # The gateway

    async def _keep_gateway(self) -> None:
        while not self._draining:
            status = await self._live()
            self._gateway, self._ready = None, None
            if self._is_over():
                return
            pause_s = self._backoff.pause_s()
            _log.warning("gateway %s; starting it again in %g s", status, pause_s)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), pause_s)

    def _is_over(self) -> bool:
        return self._draining or self._broken is not None

    async def _live(self) -> str:
        """One gateway process from its start to its end; how it ended, in words."""
        descriptor = self._socket.fileno()
        command = ["-m", self._gateway_module, "--workspace", str(self._workspace), "--listen", str(descriptor)]
        try:
            self._gateway = child = await Child.start(command, self._hear, [descriptor], environment=self._environment)
        except OSError as error:
            return f"could not be started: {error}"
        child.tell(self._engines())
        if self._draining:  # asked for while it started
            child.tell(Drain())
        if self._killed_by is not None:
            child.signal(signal.SIGKILL)
        return how_it_ended(await child.ended())

    def _hear(self, message: ToSupervisor) -> None:
        match message:
            case Ready():
                self._ready, self._served = message, True
                self._backoff.started()
                self._announce()
            case Broken(problems=problems):
                self._refused(problems)
            case StopEngine(name=name) | StartEngine(name=name) if name not in self._keepers:
                _log.error("supervisor: there is no engine %s; there are: %s", name, ", ".join(self._keepers) or "none")
            case StopEngine(name=name):
                self._keepers[name].stop()
            case StartEngine(name=name):
                self._keepers[name].start()
            case _:
                _log.error("supervisor: the gateway said %s, which is an engine's word", type(message).__name__)

    def _refused(self, problems: list[str]) -> None:
        """Broken from the first is our end; broken later (a restart after an edit) is tried again: engines are warm."""
        if not self._served:
            self._broken = problems
            return
        for problem in problems:
            _log.error("gateway: %s", problem)

    # Engines

    def _engines(self) -> Engines:
        return Engines(engines=[keeper.status for keeper in self._keepers.values()])

    def _engines_changed(self) -> None:
        if self._gateway is not None:
            self._gateway.tell(self._engines())
        self._announce()

    def _announce(self) -> None:
        """Once: when the gateway is ready and no engine is still on its way."""
        waiting = any(keeper.status.state in ("starting", "restarting") for keeper in self._keepers.values())
        if self._announced or self._ready is None or waiting or self._draining:
            return
        self._announced = True
        try:
            for line in (f"Trimtab serves at {self._ready.url}", *self._ready.hints):
                self._say(line)
        except OSError as error:  # a reader that has left is no reason to stop serving
            _log.warning("supervisor: nobody reads what it says: %s", error)

    # Signals

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number)

    def _kill(self) -> None:
        if self._gateway is not None:
            self._gateway.signal(signal.SIGKILL)
        for keeper in self._keepers.values():
            keeper.kill()
