"""A backup of a workspace, while a gateway serves it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

from trimtab import __version__
from trimtab.core.clock import Clock
from trimtab.surfaces.kept.archive import ArchiveError, Machine, Manifest, file_sha256, writing
from trimtab.surfaces.kept.contents import Contents
from trimtab.surfaces.kept.layouts import LAYOUT
from trimtab.surfaces.server.ask import flushed


class BackedUp(msgspec.Struct, frozen=True, kw_only=True):
    """What was written. `sha256`: of the whole file; `problems`: what is damaged in the workspace itself, and stands so
    in the backup; `flushed`: rows that the gateway had in memory are in it (false: they may lack)."""

    manifest: Manifest
    sha256: str
    bytes: int
    flushed: bool
    problems: list[str]


def back_up(workspace: Path, target: Path, clock: Clock, *, keys: bool) -> BackedUp:
    """Write a backup of `workspace` to `target`. `keys`: with the keys of captured texts.

    Raises ArchiveError, ConfigError, JournalDamagedError, JournalDiskError, OSError; there is no file at `target` then.
    """
    if workspace.resolve() in target.resolve().parents:
        raise ArchiveError(f"{target} lies in the workspace: the next backup would hold it. Choose a place elsewhere")
    made_ns = clock.wall_ns()
    with writing(target) as writer:
        contents = Contents(workspace, writer, keys=keys)
        contents.documents()
        contents.money()
        contents.beside()
        flushed(workspace)
        contents.records()
        written = flushed(workspace)
        contents.texts()
        manifest = Manifest(
            layout=LAYOUT,
            trimtab=__version__,
            made_ns=made_ns,
            machine=this_machine(),
            keys=keys,
            heads=dict(sorted(contents.heads.items())),
            members=writer.members,
        )
        writer.finish(manifest)
    return BackedUp(
        manifest=manifest,
        sha256=file_sha256(target),
        bytes=target.stat().st_size,
        flushed=written,
        problems=contents.problems,
    )


def this_machine() -> Machine:
    return Machine(
        host=platform.node(),
        system=f"{platform.system()} {platform.machine()}",
        cpus=os.cpu_count() or 1,
        python=platform.python_version(),
    )


__all__ = ["BackedUp", "back_up", "this_machine"]
