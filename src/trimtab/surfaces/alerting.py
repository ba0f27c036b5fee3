"""The loop behind `trimtab slo watch`: reads on in the records, asks the engine, tells receivers. Restarts go on where
it was: what the engine has counted and what was said last is in var/slo/state.json.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

import msgspec

from trimtab.controlplane.records import CorruptSegment, query
from trimtab.controlplane.registry import PATTERNS, Workspace, load
from trimtab.controlplane.slo import Engine, Status, objectives
from trimtab.controlplane.slo.changes import changes
from trimtab.controlplane.slo.notices import Notice, Told, notices
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import ConfigError
from trimtab.dataplane.inference.dialer import Dialer
from trimtab.foundations.config import Fingerprint, fingerprint
from trimtab.foundations.store import Disk
from trimtab.surfaces.objectives import read_on, replayed
from trimtab.surfaces.outbox import Outbox
from trimtab.surfaces.slo_state import FILE, Saved, SloStateError, decode, encode

_LOOK_BACK_NS: Final = 30 * 60 * NS_PER_S
"""Least span of which "what changed" is told."""

_log = logging.getLogger(__name__)


class Watch:
    """`step` once a minute or so. Raises ConfigError at the start for a workspace that can't be loaded (later ones that
    are broken leave the last good one in force), NewerVersionError where a newer Trimtab has kept the state."""

    def __init__(self, folder: Path, clock: Clock, dialer: Dialer, disk: Disk | None = None) -> None:
        self._folder, self._clock, self._dialer, self._disk = folder, clock, dialer, disk or Disk()
        self._records = folder / "var" / "records"
        self._seen = fingerprint(folder, PATTERNS)
        self._told: dict[str, Told] = {}
        self._take(load(folder, clock), self._saved())

    async def step(self) -> tuple[list[Status], list[Notice]]:
        """Count what is new and tell what is to be told; the states, and what is on its way to receivers."""
        await self._reload()
        await self._clock.offload(read_on, self._engine, self._records, _tell_damage)
        now_ns = self._clock.wall_ns()
        self._engine.trim(now_ns)
        statuses = self._engine.at(now_ns)
        found, self._told = notices(statuses, self._told, now_ns, self._workspace.slo.link)
        found = [self._explained(notice) for notice in found]
        for notice in found:
            self.outbox.put(notice)
        self._save()
        return statuses, found

    def _take(self, workspace: Workspace, saved: Saved | None) -> None:
        self._workspace = workspace
        wanted = objectives(workspace.snapshot.tenancy, workspace.slo)
        self.outbox = Outbox(workspace.slo.receivers, self._folder, self._dialer, self._clock)
        if saved is not None:
            self._told = saved.told
            try:
                self._engine = Engine.from_state(wanted, saved.engine)
            except ValueError:
                _log.info("objectives have changed: counting anew from the records")
            else:
                return
        self._engine = replayed(wanted, self._records, self._clock.wall_ns(), _tell_damage)

    async def _reload(self) -> None:
        now: Fingerprint = fingerprint(self._folder, PATTERNS)
        if now == self._seen:
            return
        self._seen = now
        try:
            workspace = load(self._folder, self._clock)
        except ConfigError as error:
            _log.error("the changed workspace can't be loaded, the last one stays in force: %s", error)
            return
        await self.outbox.drain()
        self._take(workspace, Saved(engine=self._engine.state(), told=self._told))

    def _explained(self, notice: Notice) -> Notice:
        """With what changed since it began; nothing is looked up for what is over."""
        if notice.state == "ended":
            return notice
        since_ns = min(notice.since_ns, notice.at_ns - _LOOK_BACK_NS)
        rows = query(
            self._records,
            kinds=("request",),
            tenant=notice.tenant,
            since_wall_ns=2 * since_ns - notice.at_ns,
            on_corrupt=_tell_damage,
        )
        told = changes(rows, notice.tenant, notice.channel, since_ns, notice.at_ns)
        return msgspec.structs.replace(notice, changes=told)

    def _saved(self) -> Saved | None:
        try:
            return decode(self._disk.read(self._folder / FILE))
        except FileNotFoundError:
            return None
        except (OSError, SloStateError) as error:
            _log.warning("objectives are counted anew from the records: %s", error)
            return None

    def _save(self) -> None:
        path = self._folder / FILE
        self._disk.make_folder(path.parent)
        self._disk.put(path, encode(Saved(engine=self._engine.state(), told=self._told)))


def _tell_damage(corrupt: CorruptSegment) -> None:
    _log.warning("left out, damaged: %s", corrupt)
