"""The supervisor: holds the listening sockets and the pipes, starts and restarts children, does no request's work.

States: *starting* (until each gateway is ready and each engine has either come up or said why not), *serving*,
*draining* (all gateways go on accepting and answer 503 until the last stream of any has ended, since the kernel shares
new connections out among all of their sockets; nobody is restarted), *ended*.
The sockets are held here, one a gateway, so that connections wait in a backlog while theirs is started again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import signal
import socket
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from trimtab.core.clock import Clock, SystemClock
from trimtab.core.errors import ConfigError, TrimtabError
from trimtab.surfaces.processes.channel import (
    Broken,
    Drained,
    Engines,
    EngineSpec,
    Ready,
    StartEngine,
    StopEngine,
    ToSupervisor,
)
from trimtab.surfaces.processes.helper import Helper
from trimtab.surfaces.processes.keeper import EngineKeeper
from trimtab.surfaces.processes.worker import Worker

BACKLOG: Final = 4096
GATEWAY_MODULE: Final = "trimtab.surfaces.processes.gateway"
ENGINE_MODULE: Final = "trimtab.surfaces.processes.engine"
CONTROL_MODULE: Final = "trimtab.surfaces.processes.control"

_log = logging.getLogger(__name__)


class PortTakenError(TrimtabError):
    """Another process listens where we should."""


def listen(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """The listening socket; port 0 takes a free one. `shared`: others may listen there, too, if they say so. Raises
    PortTakenError, OSError for a host that is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTakenError(f"port {port} of {host} is taken by another process") from error
        raise
    sock.setblocking(False)
    return sock


def listen_together(host: str, port: int, count: int) -> list[socket.socket]:
    """Listening sockets of one address, among which the kernel shares connections out. Raises as `listen`."""
    if count == 1:
        return [listen(host, port)]
    with listen(host, port) as alone:  # sharing an address would share it with another supervisor of this user, too
        port = alone.getsockname()[1]
    found: list[socket.socket] = []
    try:
        for _ in range(count):
            found.append(listen(host, port, shared=True))
    except BaseException:
        for sock in found:
            sock.close()
        raise
    return found


class Supervisor:
    """Runs a gateway for each of `sockets`, the engines and the control plane's loops, until it is told to end.

    `say` gets the lines for the person who started it (the first gateway's hints, once all are up). `gateway_module`,
    `engine_module` and `control_module` are what `python -m` starts (None: no such process); `environment` is what
    gateways are told beside ours. Takes the sockets over.
    """

    def __init__(
        self,
        workspace: Path,
        sockets: Sequence[socket.socket],
        engines: Sequence[EngineSpec],
        say: Callable[[str], None],
        *,
        clock: Clock | None = None,
        gateway_module: str = GATEWAY_MODULE,
        engine_module: str = ENGINE_MODULE,
        control_module: str | None = CONTROL_MODULE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._say = say
        clock = clock or SystemClock()
        self._keepers = {
            spec.name: EngineKeeper(spec, workspace, engine_module, clock, self._engines_changed) for spec in engines
        }
        command = ["-m", gateway_module, "--workspace", str(workspace), "--workers", str(len(sockets))]
        self._workers = [
            Worker(
                "gateway" if len(sockets) == 1 else f"gateway {index}",
                [*command, "--worker", str(index)],
                sock,
                clock,
                environment,
                self._engines,
                self._hear,
            )
            for index, sock in enumerate(sockets)
        ]
        self._control: Helper | None = None
        if control_module is not None:
            helper = ["-m", control_module, "--workspace", str(workspace)]
            self._control = Helper("control", helper, clock, environment)
        self._living: set[Worker] = set()
        self._served = self._announced = self._draining = False
        self._broken: list[str] | None = None
        self._killed_by: signal.Signals | None = None

    async def run(self) -> int:
        """The exit status: 0 after a clean stop, 128 + the signal where a second one cut it short.

        Raises ConfigError if a gateway finds the workspace broken before any has ever served.
        """
        self._catch_signals()
        keepers = [asyncio.ensure_future(keeper.keep()) for keeper in self._keepers.values()]
        if self._control is not None:
            keepers.append(asyncio.ensure_future(self._control.keep()))
        try:
            await asyncio.gather(*(self._keep(worker) for worker in self._workers))
        finally:
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
        for worker in self._workers:
            worker.drain()

    # Gateways

    async def _keep(self, worker: Worker) -> None:
        self._living.add(worker)
        try:
            await worker.keep()
        finally:
            self._living.discard(worker)
        self._end_drained()

    def _hear(self, worker: Worker, message: ToSupervisor) -> None:
        match message:
            case Ready():
                self._served = True
                self._announce()
            case Broken(problems=problems):
                self._refused(worker, problems)
            case Drained():
                self._end_drained()
            case StopEngine(name=name) | StartEngine(name=name) if name not in self._keepers:
                _log.error("supervisor: there is no engine %s; there are: %s", name, ", ".join(self._keepers) or "none")
            case StopEngine(name=name):
                self._keepers[name].stop()
            case StartEngine(name=name):
                self._keepers[name].start()
            case _:
                _log.error("supervisor: a gateway said %s, which is an engine's word", type(message).__name__)

    def _refused(self, worker: Worker, problems: list[str]) -> None:
        """Broken from the first is our end; broken later (a restart after an edit) is tried again: engines are warm."""
        if not self._served:
            self._broken = problems
            for one in self._workers:
                one.drain()
            return
        for problem in problems:
            _log.error("%s: %s", worker.name, problem)

    def _end_drained(self) -> None:
        """All of them together, once none has a stream left. One that drains alone (it got the SIGTERM itself) ends
        alone: another process takes its socket over."""
        if not self._draining or all(worker.drained for worker in self._living):
            for worker in self._living:
                if worker.drained:
                    worker.end()

    # Engines

    def _engines(self) -> Engines:
        return Engines(engines=[keeper.status for keeper in self._keepers.values()])

    def _engines_changed(self) -> None:
        for worker in self._workers:
            worker.tell(self._engines())
        self._announce()

    def _announce(self) -> None:
        """Once: when every gateway is ready and no engine is still on its way."""
        waiting = any(keeper.status.state in ("starting", "restarting") for keeper in self._keepers.values())
        ready = [worker.ready for worker in self._workers if worker.ready is not None]
        if self._announced or len(ready) < len(self._workers) or waiting or self._draining:
            return
        self._announced = True
        try:
            for line in (f"Trimtab serves at {ready[0].url}", *ready[0].hints):
                self._say(line)
        except OSError as error:  # a reader that has left is no reason to stop serving
            _log.warning("supervisor: nobody reads what it says: %s", error)

    # Signals

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop, number)

    def _kill(self) -> None:
        for worker in self._workers:
            worker.kill()
        for keeper in self._keepers.values():
            keeper.kill()
        if self._control is not None:
            self._control.kill()
