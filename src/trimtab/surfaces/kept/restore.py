"""A backup back into a folder, looked over as a whole before it is called restored.

Everything is written to a folder beside, compared and read; then that gets its name. So a folder is either the whole
backup or not there.

Money after a restore: what an account had drawn when the backup was made counts as spent or in doubt, and so does what
the rows of the backup cost. What was spent later nobody here can know; `close_periods` counts what was left then as in
doubt, so that nothing can be spent twice before the period ends or somebody grants more.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from trimtab import __version__
from trimtab.controlplane import records
from trimtab.controlplane.records import Report
from trimtab.controlplane.registry import AuditError, Workspace, audit_rows, examine, own_keys
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError, NewerVersionError, TrimtabError
from trimtab.dataplane.spend import Budgets, Kept, MemoryStore, all_drawn
from trimtab.foundations.store import Disk, Journal
from trimtab.surfaces.kept.archive import ArchiveError, Manifest, unpack
from trimtab.surfaces.kept.backup import this_machine
from trimtab.surfaces.kept.contents import MONEY, RECORDS, VAR
from trimtab.surfaces.kept.layouts import LAYOUT

_RUN: Final = "run"


class NotEmptyError(TrimtabError):
    """There is something in the folder."""


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What was restored. `records`: as `report --verify` has it; `problems`: what is damaged, and was when the backup
    was made; `differs`: what is not as it was where the backup was made; `closed`: budgets of which all that was left
    counts as in doubt."""

    manifest: Manifest
    records: Report
    problems: list[str]
    differs: list[str]
    closed: int = 0


def restore(archive: Path, folder: Path, clock: Clock, *, close_periods: bool = False) -> Restored:
    """Restore into `folder`, which is new or empty. Raises NotEmptyError, ArchiveError, NewerVersionError,
    OSError; nothing is there then. With `close_periods` also ConfigError, where the documents can't be loaded."""
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise NotEmptyError(f"{folder} is not empty: a restore writes over nothing. Name a new folder")
    if not archive.is_file():
        raise ArchiveError(f"{archive}: there is no such file")
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{folder.resolve().name}.", suffix=".new", dir=folder.resolve().parent))
    try:
        manifest = unpack(archive, beside)
        if manifest.layout > LAYOUT:
            raise NewerVersionError(f"what {archive} holds", manifest.layout, LAYOUT)
        _make_private(beside)
        workspace, found = examine(beside, clock)
        report = records.verify(beside / RECORDS, own_keys(beside))
        restored = Restored(
            manifest=manifest,
            records=report,
            problems=[*report.problems, *_heads(beside, manifest, report), *_damaged(beside)],
            differs=[*_differs(manifest), *_bound(workspace), *map(str, found)],
            closed=_close(beside, workspace, clock) if close_periods else 0,
        )
        beside.replace(folder.resolve())
        Disk().sync_folder(folder.resolve().parent)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return restored


def _make_private(folder: Path) -> None:
    """Folders as `init` makes them; what is in `var` is its owner's alone."""
    for part in (folder / _RUN, folder / VAR):
        part.mkdir(exist_ok=True)
        part.chmod(0o700)
    for path in (folder / VAR).rglob("*"):
        if path.is_dir():
            path.chmod(0o700)
    for path in (folder, *folder.rglob("*")):
        if path.is_dir():
            Disk().sync_folder(path)


def _heads(folder: Path, manifest: Manifest, report: Report) -> Iterator[str]:
    """Where the chains end, against what the manifest says."""
    if report.problems:
        return
    found = {row.worker: row.seq for row in records.rows(folder / RECORDS, verify=False)}
    for worker, head in manifest.heads.items():
        if found.get(worker) != head.seq:
            yield f"records of worker {worker} end at row {found.get(worker)}, not at {head.seq}"


def _damaged(folder: Path) -> Iterator[str]:
    """What else says of itself that it is damaged."""
    try:
        Kept(Journal.peek(folder / MONEY))
    except TrimtabError as error:
        yield f"{MONEY}: {error}"
    try:
        for _ in audit_rows(folder):
            pass
    except AuditError as error:
        yield str(error)


def _differs(manifest: Manifest) -> Iterator[str]:
    """What is not as it was there, and what that means."""
    here, there = this_machine(), manifest.machine
    if manifest.trimtab != __version__:
        yield f"it was made by Trimtab {manifest.trimtab}, this is {__version__}"
    if here.host != there.host:
        yield f"it was made on {there.host}, this is {here.host}: see that only one of them serves"
    if (here.system, here.cpus) != (there.system, there.cpus):
        yield (
            f"it was made on {there.cpus} CPUs ({there.system}), here are {here.cpus} ({here.system}): var/learned "
            "knows embedded engines by the other's pace, until it has learned this one's"
        )
    if not manifest.keys:
        yield "it was made without the keys of captured texts: those can't be read, new ones can"


def _bound(workspace: Workspace | None) -> Iterator[str]:
    if workspace is not None and workspace.settings.storage.is_shared:
        yield "limits and budgets are in the shared store, whose counters go on as they stand there"


def _close(folder: Path, workspace: Workspace | None, clock: Clock) -> int:
    """Draw all of every running period, which nobody accounts for: it is in doubt from the next start on."""
    if workspace is None:
        raise ConfigError(["budgets can't be closed: the documents of the backup can't be loaded"])
    places = Budgets(clock, MemoryStore(clock)).places(workspace.snapshot.tenancy)
    if places and not workspace.settings.storage.is_shared:
        journal = Journal.open(folder / MONEY)
        try:
            journal.append([all_drawn(places)])
        finally:
            journal.close()
    return len(places)


__all__ = ["NotEmptyError", "Restored", "restore"]
