"""Keeps one engine as it is wanted: running (restarted when it dies) or stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import signal
from collections.abc import Callable
from pathlib import Path

from trimtab.core.clock import Clock
from trimtab.surfaces.processes.backoff import Backoff
from trimtab.surfaces.processes.channel import (
    EngineFailed,
    EngineReady,
    EngineSpec,
    EngineStateName,
    EngineStatus,
    Run,
    ToSupervisor,
)
from trimtab.surfaces.processes.child import Child, how_it_ended

_log = logging.getLogger(__name__)
_GRACE_S = 2.0
_ASSERTION = re.compile(r"[\w./-]+\.(?:c|cc|cpp|cu|h|hpp):\d+: (?:GGML_ASSERT|GGML_ABORT|fatal error)")


class EngineKeeper:
    """One engine's life. `changed` is called after each change of `status`.

    A new process has a new address and a new key. An engine that says that it can't start is `failed` and stays so
    until it is asked for again: its file will not appear by trying.
    """

    def __init__(
        self, spec: EngineSpec, workspace: Path, module: str, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self.status = EngineStatus(name=spec.name, state="starting")
        self._spec, self._changed = spec, changed
        self._command = ["-m", module, "--workspace", str(workspace)]
        self._backoff = Backoff(clock)
        self._wanted = True
        self._ending = False  # the present process ends because it was told to, or said that it must
        self._wake = asyncio.Event()
        self._child: Child | None = None
        self._stopping: asyncio.Task[int] | None = None
        self._key = ""

    async def keep(self) -> None:
        """Until cancelled; the process is ended before this returns."""
        try:
            while True:
                if self._wanted:
                    await self._live()
                else:
                    await self._sleep(None)
        finally:
            self._wanted = False
            if self._child is not None:
                await asyncio.shield(asyncio.ensure_future(self._child.stop(_GRACE_S)))

    def start(self) -> None:
        """Ask for the process; nothing happens if it is already wanted."""
        if not self._wanted:
            self._wanted = True
            self._set("starting")
            self._wake.set()

    def stop(self) -> None:
        """Ask for the process's end: SIGTERM, and SIGKILL 2 s later."""
        if not self._wanted:
            return
        self._wanted, self._ending = False, True
        self._wake.set()
        if self._child is None:
            self._set("stopped")
        else:
            self._stopping = asyncio.ensure_future(self._child.stop(_GRACE_S))

    def kill(self) -> None:
        """At once, without a word."""
        self._wanted = False
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    async def _live(self) -> None:
        """One process from its start to its end, and the pause after it."""
        self._key, self._ending = secrets.token_urlsafe(32), False
        try:
            self._child = child = await Child.start(self._command, self._hear, printed=self._read)
        except OSError as error:
            await self._rest(f"no process could be started: {error}")
            return
        child.tell(Run(spec=self._spec, api_key=self._key))
        if self._ending:  # stopped while it started
            self._stopping = asyncio.ensure_future(child.stop(_GRACE_S))
        status = await child.ended()
        self._child = None
        if not self._ending:
            await self._rest(how_it_ended(status))
        elif not self._wanted and self.status.state != "failed":
            self._set("stopped")

    async def _rest(self, why: str) -> None:
        pause_s = self._backoff.pause_s()
        _log.warning("engine %s %s; starting it again in %g s", self._spec.name, why, pause_s)
        self._set("restarting", detail=why, restarts=self.status.restarts + 1)
        self._wake.clear()
        await self._sleep(pause_s)

    async def _sleep(self, pause_s: float | None) -> None:
        """Until somebody asks for something, or the pause is over."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), pause_s)
        self._wake.clear()

    def _read(self, line: bytes) -> None:
        """What the engine prints. Once it serves it is asked things, and prints what it chokes on: from then on only a
        failed assertion is shown, which names a place in its source."""
        text = line.decode(errors="replace").strip()
        if text and (self.status.state != "ready" or _ASSERTION.match(text)):
            _log.warning("%s", text, extra={"role": f"engine {self._spec.name}"})

    def _hear(self, message: ToSupervisor) -> None:
        if isinstance(message, EngineReady) and not self._ending and self._child is not None:
            self._backoff.started()
            self._set("ready", url=message.url, api_key=self._key, pid=self._child.pid)
            _log.info("engine %s serves at %s (pid %d)", self._spec.name, message.url, self._child.pid)
        elif isinstance(message, EngineFailed):
            self._wanted, self._ending = False, True
            self._set("failed", detail=message.reason)
            _log.error("engine %s can't start: %s", self._spec.name, message.reason)

    def _set(
        self,
        state: EngineStateName,
        *,
        url: str | None = None,
        api_key: str | None = None,
        pid: int | None = None,
        detail: str | None = None,
        restarts: int | None = None,
    ) -> None:
        count = self.status.restarts if restarts is None else restarts
        self.status = EngineStatus(
            name=self._spec.name, state=state, url=url, api_key=api_key, pid=pid, detail=detail, restarts=count
        )
        self._changed()
