"""Which files a workspace keeps, in which versions, and the steps between those.

A layout is a set of versions, one of each kind of file; a Trimtab writes the newest and reads what it says it reads.
Nothing of a newer version is read, and nothing is written over it or behind it.

`migrate` takes a workspace to another layout, up after a Trimtab was replaced by a newer one (which is not needed where
it reads both), or down before it is replaced by an older one. Every file is looked at before the first is changed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from trimtab.controlplane import records
from trimtab.controlplane.records import line, texts
from trimtab.controlplane.records.segment import raw_lines
from trimtab.controlplane.registry import audit_rows
from trimtab.controlplane.registry.audit import VERSION as AUDIT_VERSION
from trimtab.core.errors import NewerVersionError, TrimtabError
from trimtab.dataplane.spend import LINE_VERSION, Kept
from trimtab.foundations.store import Disk, Journal
from trimtab.foundations.store.line import unframe
from trimtab.surfaces import features, learned, slo_state
from trimtab.surfaces.kept.contents import MONEY, RECORDS
from trimtab.surfaces.server.ask import NotRunningError, ask

LAYOUT: Final = 2
"""The newest, which is written."""
OLDEST: Final = 1


class Step(msgspec.Struct, frozen=True):
    """A file that has another version in some layouts. `to(data, version)`: the same in that version; raises
    TrimtabError for what can't be read. `lock`: held by who writes it."""

    versions: dict[int, int]
    """By layout."""
    lock: str
    version_of: Callable[[bytes], int]
    to: Callable[[bytes, int], bytes]


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of file. `version`: the newest; None: it has none, and why is told in `where`, else where the number
    stands; `newer`: what a Trimtab does with one that it does not know; `seen`: (file, version) of those in a
    workspace, raising TrimtabError for what is newer or damaged."""

    file: str
    holds: str
    version: int | None
    where: str
    newer: str
    step: Step | None = None
    seen: Callable[[Path], Iterator[tuple[str, int]]] | None = None


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """A file that is not of the wanted layout."""

    file: str
    version: int
    wanted: int


class _V(msgspec.Struct):
    v: int = 1


_v = msgspec.json.Decoder(_V).decode


def migrate(workspace: Path, layout: int, *, check: bool) -> list[Change]:
    """What is to be changed for `layout`, in order; unless `check`, it is changed when this returns. Nobody may serve
    or watch the workspace meanwhile. Raises NewerVersionError, BusyError, TrimtabError for a file that can't be read;
    OSError. Nothing is changed then."""
    if not check:
        _at_rest(workspace)
    for kind in KINDS:
        for _ in kind.seen(workspace) if kind.seen is not None else ():
            pass
    steps = [(kind.file, kind.step) for kind in KINDS if kind.step is not None]
    changes: list[Change] = []
    for file, step in steps:
        path, wanted = workspace / file, step.versions[layout]
        if not path.is_file():
            continue
        with _held(workspace / step.lock, check):
            data = path.read_bytes()
            version = step.version_of(data)
            if version != wanted:
                changes.append(Change(file=file, version=version, wanted=wanted))
                if not check:
                    Disk().put(path, step.to(data, wanted))
    return changes


def _at_rest(workspace: Path) -> None:
    """Raises TrimtabError where a gateway answers."""
    try:
        ask(workspace, "GET", "/state")
    except NotRunningError:
        return
    raise TrimtabError(f"a gateway serves {workspace}: stop it first")


@contextmanager
def _held(lock: Path, check: bool) -> Iterator[None]:
    if check:
        yield
        return
    held = Disk().lock(lock, "writes this file")
    try:
        yield
    finally:
        os.close(held)


# --- what there is, by kind


def _records(workspace: Path) -> Iterator[tuple[str, int]]:
    """By the first row of each segment: a process writes one version."""
    for segment in records.segments(workspace / RECORDS):
        body = _first(segment.path)
        if body is not None:
            yield from _seen(f"{RECORDS}/{segment.path.name}", _v(body).v, line.VERSION)


def _texts(workspace: Path) -> Iterator[tuple[str, int]]:
    for path in sorted((workspace / texts.FOLDER).glob("*.texts")):
        body = _first(path)
        if body is not None:
            yield from _seen(f"{texts.FOLDER}/{path.name}", _v(body).v, texts.VERSION)


def _first(path: Path) -> bytes | None:
    """The body of the first whole line."""
    return next((body for raw in raw_lines(path) if raw.whole and (body := unframe(raw.data)) is not None), None)


def _money(workspace: Path) -> Iterator[tuple[str, int]]:
    payloads = Journal.peek(workspace / MONEY)
    Kept(payloads)
    if payloads:
        yield str(MONEY), max(_v(one).v for one in payloads)


def _audit(workspace: Path) -> Iterator[tuple[str, int]]:
    found = max((row.v for row in audit_rows(workspace)), default=None)
    if found is not None:
        yield "var/audit", found


def _learned(workspace: Path) -> Iterator[tuple[str, int]]:
    for path in sorted((workspace / learned.FOLDER).glob("*.json")):
        try:
            yield f"{learned.FOLDER}/{path.name}", learned.decode(path.read_bytes()).version
        except learned.UnusableError as error:
            if error.newer:
                raise


def _slo(workspace: Path) -> Iterator[tuple[str, int]]:
    path = workspace / slo_state.FILE
    if path.is_file():
        yield from _seen(slo_state.FILE, slo_state.version_of(path.read_bytes()), slo_state.VERSION)


def _features(workspace: Path) -> Iterator[tuple[str, int]]:
    try:
        yield str(features.FILE), features.read(workspace).version
    except (FileNotFoundError, features.FeaturesError):  # a damaged one is made anew
        return


def _seen(file: str, version: int, known: int) -> Iterator[tuple[str, int]]:
    if version > known:
        raise NewerVersionError(file, version, known)
    yield file, version


def _slo_to(data: bytes, version: int) -> bytes:
    return slo_state.encode(slo_state.decode(data), version)


KINDS: Final = (
    Kind(
        file="var/records/*.jsonl",
        holds="a row for each request, and that gateways are there, with their `.seal`, `.sig` and `.gone`",
        version=line.VERSION,
        where="`v` of each row; `root v1`, `gone v1` in signatures",
        newer="the row is not read, no gateway starts on it",
        seen=_records,
    ),
    Kind(
        file="var/money/*",
        holds="what was drawn of budgets",
        version=LINE_VERSION,
        where="`v` of each line, left out where it is 1; the mirrored file has a 2 of its own, in its first digest",
        newer="no gateway starts on it",
        seen=_money,
    ),
    Kind(
        file="var/texts/*.texts",
        holds="captured texts, sealed",
        version=texts.VERSION,
        where="`v` of each line, left out where it is 1",
        newer="the text is not read",
        seen=_texts,
    ),
    Kind(
        file="var/keys/**/*.key",
        holds="keys of captured texts, wrapped",
        version=1,
        where="in what wraps them (`trimtab captured texts v1`)",
        newer="it opens nothing",
    ),
    Kind(
        file="var/audit/audit.jsonl",
        holds="who changed what",
        version=AUDIT_VERSION,
        where="`v` of each row, left out where it is 1",
        newer="nothing is written behind it, so no command changes a document",
        seen=_audit,
    ),
    Kind(
        file=slo_state.FILE,
        holds="what objectives have counted, and what was told",
        version=slo_state.VERSION,
        where="`version`; 1 has none, and is read",
        newer="objectives are not watched",
        step=Step(versions={1: 1, 2: 2}, lock=slo_state.LOCK, version_of=slo_state.version_of, to=_slo_to),
        seen=_slo,
    ),
    Kind(
        file="var/learned/*.json",
        holds="the pace of models, what their settings gain",
        version=learned.VERSION,
        where="`version`",
        newer="it is ignored",
        seen=_learned,
    ),
    Kind(
        file="var/lake/**",
        holds="records as a Delta table",
        version=None,
        where="its log names the protocol; a column that is new is null before",
        newer="delta-rs refuses a protocol that it does not know",
    ),
    Kind(
        file=str(features.FILE),
        holds="the newest values of features",
        version=features.VERSION,
        where="`version`",
        newer="it is not read, and not written over: features are unknown",
        seen=_features,
    ),
    Kind(
        file="var/lake-features/**",
        holds="every value of a feature that was published, as a Delta table",
        version=None,
        where="its log names the protocol",
        newer="delta-rs refuses a protocol that it does not know",
    ),
    Kind(file="var/secret", holds="32 random bytes", version=None, where="nothing to read in it", newer="-"),
    Kind(file="var/index/**", holds="passages and vectors", version=None, where="made anew", newer="it is made anew"),
    Kind(file="var/eval/*", holds="answers of golden sets", version=None, where="asked anew", newer="asked anew"),
    Kind(
        file="*.yaml, tenants/, templates/, golden/",
        holds="documents",
        version=None,
        where="`check` knows every field",
        newer="a field that is not known keeps them from being loaded",
    ),
)
"""All that a workspace keeps."""


__all__ = ["KINDS", "LAYOUT", "OLDEST", "Change", "Kind", "Step", "migrate"]
