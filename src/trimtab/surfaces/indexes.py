"""Indexes of corpora: found, compared with what is written, built anew. For the gateway and the command line alike."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.core.clock import Clock
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.retrieval import CorpusError, Stored, build, corpus_id, load, read_corpus, save
from trimtab.foundations.embed import Embedder, KeptVectors

CORPORA = "corpora"
INDEXES = "var/index"
LABELS = "var/index/labels.npz"
State = Literal["ready", "stale", "absent", "damaged", "no corpus"]


class IndexStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One corpus and its index. `stale`: documents have changed since; `passages` are those of the documents."""

    name: str
    state: State
    passages: int
    documents: int
    languages: list[str]
    index: str | None
    detail: str | None = None


def labels(workspace: Path, embedder: Embedder) -> KeptVectors:
    """Vectors of what channels' intents are told by, over restarts."""
    return KeptVectors(workspace / LABELS, embedder.name)


def used(tenancy: Tenancy) -> list[str]:
    """Names of the corpora that channels declare, sorted."""
    return sorted(
        {channel.corpus for one in tenancy.tenants.values() for channel in one.channels.values() if channel.corpus}
    )


def status(workspace: Path, name: str, embedder: str) -> IndexStatus:
    """Where the index of a corpus is, for the embedder of this name. Reads the documents; embeds nothing."""
    folder = workspace / CORPORA / name
    if not folder.is_dir():
        return IndexStatus(name=name, state="no corpus", passages=0, documents=0, languages=[], index=None)
    passages = read_corpus(folder)
    wanted = corpus_id(passages, embedder)
    state: State
    detail = None
    stored: Stored | None = None
    try:
        stored = load(workspace / INDEXES, name)
        state = "absent" if stored is None else "ready" if stored.id == wanted else "stale"
    except CorpusError as error:
        state, detail = "damaged", str(error)
    return IndexStatus(
        name=name,
        state=state,
        passages=len(passages),
        documents=len({one.id.rpartition(":")[0] for one in passages}),
        languages=sorted({one.language for one in passages if one.language}),
        index=stored.id if stored else None,
        detail=detail,
    )


async def ready(
    workspace: Path,
    name: str,
    embedder: Embedder,
    clock: Clock,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    anew: bool = False,
) -> Stored:
    """The index of a corpus as it is written now: the stored one if it fits, else built and stored.

    `anew`: embed everything again. Nothing of it blocks the event loop. Raises CorpusError, OSError.
    """
    lock = await clock.offload(_locked, workspace, name)  # of several processes one builds, and the others find it
    try:
        passages = await clock.offload(read_corpus, workspace / CORPORA / name)
        before = await clock.offload(_loaded, workspace, name)
        if not anew and before is not None and before.id == corpus_id(passages, embedder.name):
            return before
        usable = before if before is not None and not anew and before.vectors.shape[1:] == (embedder.dim,) else None
        made = await build(passages, embedder, usable, progress)
        await clock.offload(save, workspace / INDEXES, name, made)
        return made
    finally:
        os.close(lock)


def _locked(workspace: Path, name: str) -> int:
    """Wait for the lock of this index; it is held until what comes back is closed, or the process ends."""
    folder = workspace / INDEXES
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


def stored(workspace: Path, names: Iterable[str], embedder: str) -> tuple[dict[str, Stored], list[str]]:
    """Indexes that fit their documents, and the names of those that must be built. Blocking."""
    found, missing = {}, []
    for name in names:
        kept = _loaded(workspace, name)
        if kept is not None and kept.id == corpus_id(read_corpus(workspace / CORPORA / name), embedder):
            found[name] = kept
        else:
            missing.append(name)
    return found, missing


def _loaded(workspace: Path, name: str) -> Stored | None:
    """The stored index; a damaged one counts as none: it can be made again."""
    try:
        return load(workspace / INDEXES, name)
    except CorpusError:
        return None
