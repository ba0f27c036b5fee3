"""What is known of models' pace, and of what their settings gain, over restarts: small files in `var/learned`.

Each gateway worker writes its own, `w0000.json`, every minute when something was learned and at a clean stop; `trimtab
doctor --measure` writes `measured.json`. Who starts goes by the newest that knows a model. Measured coefficients come
without lengths of answers: those are then the newest that were learned.

A file is one line behind its CRC, whole or not there. What can't be read, is of another version, or of a model that is
declared otherwise by now, is ignored and said: nothing here is needed to serve. How wrong forecasts were is not in it:
a certificate rests on the records of one process.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Final

import msgspec

from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import Clock
from trimtab.core.errors import TrimtabError
from trimtab.core.models import own_model, setting_model
from trimtab.dataplane.admission import Gates
from trimtab.dataplane.admission.tier import TierState
from trimtab.dataplane.inference import Gain, Governor
from trimtab.foundations.podmodel import FitState
from trimtab.foundations.store import Disk
from trimtab.foundations.store.line import frame, unframe

VERSION: Final = 1
EVERY_S: Final = 60.0
"""Between two writes: what a crash forgets."""
FOLDER: Final = Path("var") / "learned"
MEASURED: Final = "measured.json"

_log = logging.getLogger(__name__)


class UnusableError(TrimtabError):
    """A file says nothing that can be used; the text says why. `newer`: it is of a version that comes later."""

    def __init__(self, why: str, *, newer: bool = False) -> None:
        super().__init__(why)
        self.newer = newer


class Known(msgspec.Struct, frozen=True):
    """One model's: `of` says as what it was declared."""

    of: str
    state: TierState


class Gained(msgspec.Struct, frozen=True):
    """What was decided of one setting: `of` says as what it and its model were declared."""

    of: str
    decided: list[Gain]


class File(msgspec.Struct, frozen=True, kw_only=True):
    """What a file says. `wall_ns`: when it was written, since the Unix epoch."""

    version: int = VERSION
    wall_ns: int
    models: dict[str, Known]
    gains: dict[str, Gained] = {}
    """Of settings of engines, by `MODEL+SETTING`."""


class _Version(msgspec.Struct):
    version: int


class Learned:
    """One gateway's: what others left is put into its `gates`, and what those learn is written down.

    await learned.begin()    # before the first request
    await learned.close()    # after the last one
    """

    def __init__(
        self,
        workspace: Callable[[], Workspace],
        worker: int,
        gates: Gates,
        governor: Governor,
        clock: Clock,
        disk: Disk | None = None,
    ) -> None:
        self._workspace, self._gates, self._governor = workspace, gates, governor
        self._clock, self._disk = clock, disk or Disk()
        self._path = workspace().folder / FOLDER / f"w{worker:04d}.json"
        self._written: dict[str, Known] = {}
        self._gains: dict[str, Gained] = {}
        """What is on the disk by now, or was before this process."""
        self._ended = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self._failing = False

    async def begin(self) -> None:
        declared = declarations(self._workspace())
        files = await self._clock.offload(read, self._path.parent, self._disk)
        self._gains = gains(files, declared)
        for one in self._gains.values():
            self._governor.remember(one.decided)
        for model, state in tiers(files, declared).items():
            try:
                self._gates.restore({model: state})
            except ValueError:
                _log.warning("what was learned of %s is ignored: no requests leave such numbers behind", model)
            else:
                self._written[model] = Known(declared[model], state)
        if self._written:
            _log.info("requests are foreseen by what was learned before: %s", ", ".join(self._written))
        self._keeping = asyncio.create_task(self._keep())

    async def close(self) -> None:
        """What was learned since is written first."""
        self._ended.set()
        if self._keeping is not None:
            await self._keeping

    async def _keep(self) -> None:
        ended = False
        while not ended:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(EVERY_S):
                    ended = await self._ended.wait()
            await self._save()

    async def _save(self) -> None:
        """Models that too little is known of, or that are not served at the moment, stay as they were written."""
        declared = declarations(self._workspace())
        kept = {model: one for model, one in self._written.items() if model in declared}
        learned = {
            model: Known(declared[model], state)
            for model, state in self._gates.states().items()
            if model in declared and state.is_enough
        }
        kept |= learned
        gained = {name: one for name, one in self._gains.items() if one.of == _both(name, declared)}
        for name, decided in _by_setting(self._governor.decided()).items():
            if (of := _both(name, declared)) is not None:
                gained[name] = Gained(of, decided)
        if (kept, gained) == (self._written, self._gains):
            return
        try:
            await self._clock.offload(write, self._path, kept, self._clock.wall_ns(), self._disk, gained)
        except (OSError, UnusableError) as error:
            if not self._failing:
                _log.error("what is learned of models can't be kept in %s, a restart forgets it: %s", FOLDER, error)
            self._failing = True
        else:
            self._written, self._gains, self._failing = kept, gained, False


def declarations(workspace: Workspace) -> dict[str, str]:
    """By model, a hash of what decides its pace: where it runs, under which name, and how its engines are declared."""
    engines, found = workspace.settings.engines, {}
    for name, model in workspace.snapshot.release.models.items():
        own = [engines.get(endpoint.removeprefix("engine:")) for endpoint in model.endpoints]
        parts = (name, model.endpoints, model.upstream_name, model.dialect, own)
        found[name] = blake2b(msgspec.json.encode(parts), digest_size=8).hexdigest()
    return found


def read(folder: Path, disk: Disk) -> list[tuple[str, File]]:
    """The files of the folder by name, the newest last. What is ignored is said in the log."""
    files: list[tuple[int, str, File]] = []
    try:
        names = disk.names(folder)
    except FileNotFoundError:
        return []
    except OSError as error:
        _log.warning("what was learned before is ignored: %s", error)
        return []
    for name in sorted(names):
        if name.endswith(".json"):
            try:
                file = decode(disk.read(folder / name))
            except (OSError, UnusableError) as error:
                _log.warning("%s is ignored: %s", FOLDER / name, error)
            else:
                files.append((file.wall_ns, name, file))
    return [(name, file) for _, name, file in sorted(files, key=lambda one: one[:2])]


def tiers(files: Iterable[tuple[str, File]], declared: Mapping[str, str]) -> dict[str, TierState]:
    """What they say of models that are declared so."""
    found: dict[str, TierState] = {}
    for name, file in files:
        for model, one in file.models.items():
            if declared.get(model, one.of) != one.of:
                _log.warning("%s is ignored for %s, which is declared otherwise by now", FOLDER / name, model)
            elif model in declared:
                before = found.get(model) if name == MEASURED else None
                found[model] = one.state if before is None else msgspec.structs.replace(before, fit=one.state.fit)
    return found


def gains(files: Iterable[tuple[str, File]], declared: Mapping[str, str]) -> dict[str, Gained]:
    """What they say of settings that are declared so."""
    return {name: one for _, file in files for name, one in file.gains.items() if one.of == _both(name, declared)}


def _both(setting: str, declared: Mapping[str, str]) -> str | None:
    """As what a setting and the model's own endpoints are declared; None: one of them is not."""
    own, other = declared.get(setting), declared.get(own_model(setting))
    return None if own is None or other is None else f"{own}{other}"


def _by_setting(decided: Iterable[Gain]) -> dict[str, list[Gain]]:
    found: dict[str, list[Gain]] = {}
    for one in decided:
        found.setdefault(setting_model(one.model, one.setting), []).append(one)
    return found


def decode(data: bytes) -> File:
    """Raises UnusableError for what is no such file, whole and of this version."""
    body = unframe(data)
    if body is None:
        raise UnusableError("it is damaged")
    try:
        version = msgspec.json.decode(body, type=_Version).version
        if version != VERSION:
            raise UnusableError(f"it is of version {version}, not {VERSION}", newer=version > VERSION)
        return msgspec.json.decode(body, type=File)
    except msgspec.MsgspecError as error:
        raise UnusableError("it is whole, and no such file") from error


def write(
    path: Path, models: Mapping[str, Known], wall_ns: int, disk: Disk, gains: Mapping[str, Gained] | None = None
) -> None:
    """Whole and durable, or as it was before. Raises OSError, and UnusableError for a file of a newer Trimtab, which is
    never written over."""
    try:
        decode(disk.read(path))
    except FileNotFoundError:
        pass
    except UnusableError as error:
        if error.newer:
            raise UnusableError(f"{path.name} was written by a newer Trimtab: {error}", newer=True) from None
    disk.make_folder(path.parent)
    disk.put(path, frame(msgspec.json.encode(File(wall_ns=wall_ns, models=dict(models), gains=dict(gains or {})))))


def write_measured(workspace: Workspace, engines: Mapping[str, FitState], wall_ns: int) -> list[str]:
    """What was measured of embedded engines, for each model that runs on one of them, where it is enough to foresee
    something; those models. Raises OSError, UnusableError."""
    declared, models = declarations(workspace), {}
    for name, model in workspace.snapshot.release.models.items():
        measured = [engines[one] for one in engines if f"engine:{one}" in model.endpoints]
        if measured and (state := TierState(fit=measured[0])).is_enough:
            models[name] = Known(declared[name], state)
    if models:
        write(workspace.folder / FOLDER / MEASURED, models, wall_ns, Disk())
    return list(models)


__all__ = [
    "EVERY_S",
    "FOLDER",
    "MEASURED",
    "VERSION",
    "File",
    "Gained",
    "Known",
    "Learned",
    "UnusableError",
    "declarations",
    "decode",
    "gains",
    "read",
    "tiers",
    "write",
    "write_measured",
]
