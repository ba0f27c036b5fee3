"""Features of a workspace: published from the lake to a table beside it, and to the file that its gateways follow.

    take in rows -> reckon every feature as of one instant -> append to the table -> replace the file

All gateways of a workspace read one file, replaced whole, so they see the same values. The instant lies before the
moment at which running gateways were asked to put their rows on the disk, so that no row that ended before it can come
into the lake afterwards: what is published is what the lake says of that instant at any later time.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from trimtab.controlplane import lake as lakes
from trimtab.controlplane.features import Reckoned, of_all_keys
from trimtab.controlplane.lake import Place, need_libraries
from trimtab.controlplane.lake.schema import NOBODY
from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import NewerVersionError, TrimtabError
from trimtab.core.features import Entity, Feature
from trimtab.foundations.store import Disk
from trimtab.foundations.store.line import frame, unframe
from trimtab.surfaces.lake import STAGING, open_lake, place_of
from trimtab.surfaces.server.ask import NotRunningError, ask

if TYPE_CHECKING:
    from trimtab.controlplane.lake import Table

VERSION: Final = 1
FOLDER: Final = Path("var") / "features"
FILE: Final = FOLDER / "online.json"
MOST_VALUES: Final = 50_000
"""In the file, of all features together: some 5 MB in a gateway's memory. Keys with most rows go first."""
SETTLED_NS: Final = NS_PER_S
"""Published values are as of so long ago: a row's end is its arrival by the wall clock and a time by the monotonic one,
which small corrections of the wall clock set apart."""
_LOCK, _TABLE_LOCK, _STAGING = FOLDER / "lock", FOLDER / "table.lock", FOLDER / "staging.new"
_PUBLISHING: Final = "publishes features"


class FeaturesError(TrimtabError):
    """Values can't be published or read; the text says what to do."""


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """Of one feature. `left_out`: keys beyond what the file may hold."""

    definition: str
    of: Entity
    values: dict[str, float]
    left_out: int = 0


class Published(msgspec.Struct, frozen=True, kw_only=True):
    """The file: all values, reckoned from what had ended before `as_of_ns`; by feature."""

    version: int = VERSION
    as_of_ns: int
    features: dict[str, Values]


class Done(msgspec.Struct, frozen=True, kw_only=True):
    """What was published. `damaged`: rows of the journal that can't be believed."""

    as_of_ns: int
    values: dict[str, int]
    left_out: dict[str, int]
    damaged: list[str]


class _Row(msgspec.Struct, frozen=True):
    name: str
    definition: str
    of: Entity
    key: str
    value: float
    n: int
    as_of_ns: int
    known_ns: int
    day: str
    tenant: str


class _Version(msgspec.Struct):
    version: int


def materialise(workspace: Workspace, clock: Clock) -> Done:
    """Publish all declared features. Raises LakeError, BusyError while another process takes rows in or publishes,
    FeaturesError where a gateway's rows can't be had."""
    folder, declared = workspace.folder, workspace.snapshot.release.features.features
    with Disk().held(folder / _LOCK, _PUBLISHING):
        table, as_of_ns, damaged = settled(workspace, clock)
        found = {name: of_all_keys(table, one, as_of_ns) for name, one in declared.items()}
        _append(workspace, declared, found, as_of_ns, clock.wall_ns())
        most = MOST_VALUES // max(1, len(declared))
        values = {name: _values(declared[name], known, most) for name, known in found.items()}
        write(folder, Published(as_of_ns=as_of_ns, features=values))
    return Done(
        as_of_ns=as_of_ns,
        values={name: len(one.values) for name, one in values.items()},
        left_out={name: one.left_out for name, one in values.items() if one.left_out},
        damaged=damaged,
    )


class Settled(NamedTuple):
    """The lake, which has all rows that ended before `as_of_ns`, but for those that are `damaged`."""

    table: Table
    as_of_ns: int
    damaged: list[str]


def settled(workspace: Workspace, clock: Clock) -> Settled:
    """Have everything that has ended taken in. Raises LakeError, BusyError while another process does, FeaturesError
    where a gateway's rows can't be had."""
    need_libraries()
    folder, terms = workspace.folder, workspace.settings.lake
    as_of_ns = clock.wall_ns() - SETTLED_NS
    _flushed(folder)
    table = open_lake(terms, folder)
    done = lakes.ingest(folder / "var" / "records", table, folder / STAGING, source=terms.source)
    return Settled(table, as_of_ns, done.damaged)


def compact(workspace: Workspace, now_ns: int) -> None:
    """Keep the table of published values as small as the lake is kept. Raises LakeError, BusyError."""
    table, terms = published_table(workspace), workspace.settings.lake
    if table.exists:
        lakes.compact(table, keep_days=terms.keep_days, history_h=terms.history_h, now_ns=now_ns)


@contextmanager
def erasing(workspace: Workspace, tenant: str) -> Iterator[None]:
    """While a tenant's rows are removed nothing is published; then its values are gone from the table and the file, as
    are those that were reckoned from the rows of several: the next publication reckons them from what is left."""
    folder = workspace.folder
    with Disk().held(folder / _LOCK, _PUBLISHING):
        yield
        table = published_table(workspace)
        if table.exists:
            for name in {tenant, NOBODY}:
                lakes.erase(table, name)
        with suppress(FileNotFoundError, FeaturesError):
            known = read(folder)
            left = {name: _without(one, tenant) for name, one in known.features.items()}
            write(folder, msgspec.structs.replace(known, features=left))


def published_table(workspace: Workspace) -> Table:
    """Every value that was published, with when: a Delta table beside the lake."""
    from trimtab.controlplane.lake import Table

    place = place_of(workspace.settings.lake, workspace.folder)
    lock = workspace.folder / _TABLE_LOCK if place.is_local else None
    return Table(Place(url=f"{place.url.rstrip('/')}-features", options=place.options), lock)


def read(folder: Path) -> Published:
    """What is published. Raises FileNotFoundError, OSError, FeaturesError, NewerVersionError."""
    return decode((folder / FILE).read_bytes())


def decode(data: bytes) -> Published:
    """Raises FeaturesError for what is no such file, whole; NewerVersionError."""
    body = unframe(data)
    if body is None:
        raise FeaturesError(f"{FILE} is damaged. Make it anew: trimtab features materialise")
    try:
        version = msgspec.json.decode(body, type=_Version).version
        if version > VERSION:
            raise NewerVersionError(str(FILE), version, VERSION)
        return msgspec.json.decode(body, type=Published)
    except msgspec.MsgspecError as error:
        raise FeaturesError(f"{FILE} is whole, and holds no features") from error


def write(folder: Path, published: Published) -> None:
    """Replace the file, whole. Raises OSError, NewerVersionError for one of a newer Trimtab."""
    with suppress(FileNotFoundError, FeaturesError):
        read(folder)
    Disk().make_folder(folder / FOLDER)
    Disk().put(folder / FILE, frame(msgspec.json.encode(published)))


def _flushed(folder: Path) -> None:
    """Rows of all that has ended are on the disk. Raises FeaturesError."""
    try:
        done = ask(folder, "POST", "/records/flush")["flushed"]
    except NotRunningError:
        return
    if not done:
        raise FeaturesError("the gateway can't put its rows on the disk: what has ended is not known")


def _append(
    workspace: Workspace, declared: dict[str, Feature], found: dict[str, list[Reckoned]], as_of_ns: int, known_ns: int
) -> None:
    from trimtab.controlplane.features.adapters.duck import arrow

    day = datetime.fromtimestamp(as_of_ns // NS_PER_S, UTC).date().isoformat()
    staging = workspace.folder / _STAGING
    rows = [
        _Row(name, of.definition, of.of, key, value, n, as_of_ns, known_ns, day, tenant_of(of.of, key))
        for name, of in declared.items()
        for key, n, value in found[name]
        if value is not None
    ]
    if not rows:
        return
    table = published_table(workspace)
    with table.alone(_PUBLISHING):
        try:
            staging.write_bytes(b"".join(msgspec.json.encode(row) + b"\n" for row in rows))
            with arrow(staging) as stream:
                table.add(stream)
        finally:
            staging.unlink(missing_ok=True)


def tenant_of(of: Entity, key: str) -> str:
    """Whose rows alone a value was reckoned from; `_`: those of several."""
    return key.partition("/")[0] if of in ("tenant", "channel") else NOBODY


def _values(feature: Feature, known: list[Reckoned], most: int) -> Values:
    kept = {one.key: one.value for one in known[:most] if one.value is not None}
    return Values(definition=feature.definition, of=feature.of, values=kept, left_out=max(0, len(known) - most))


def _without(one: Values, tenant: str) -> Values:
    left = {key: value for key, value in one.values.items() if tenant_of(one.of, key) not in (tenant, NOBODY)}
    return msgspec.structs.replace(one, values=left)


__all__ = [
    "FILE",
    "FOLDER",
    "VERSION",
    "Done",
    "FeaturesError",
    "Published",
    "Settled",
    "Values",
    "compact",
    "decode",
    "erasing",
    "materialise",
    "published_table",
    "read",
    "settled",
    "tenant_of",
    "write",
]
