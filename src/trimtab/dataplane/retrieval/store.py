"""Corpora on disk: documents read, passages embedded, the index written whole and found again.

    corpora/NAME/**/*.md                          what people write
    var/index/NAME/ID/{passages.json,vectors.npy} what was made of it; ID names content and embedder
    var/index/NAME/current                        the ID that serves, replaced by a rename

Vectors of passages that did not change are taken from the index before, so a changed sentence costs one embedding.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from trimtab.core.canonical import digest
from trimtab.core.errors import TrimtabError
from trimtab.dataplane.retrieval.adapters import create_index
from trimtab.dataplane.retrieval.corpus import Corpus
from trimtab.dataplane.retrieval.passages import Passage, passages_of
from trimtab.foundations.embed import Embedder

MOST_FILE_BYTES: Final = 4 << 20
MOST_PASSAGES: Final = 200_000
_BATCH: Final = 32


class CorpusError(TrimtabError):
    """The corpus can't be read or its index can't be used; the text says what to do."""


class Stored(msgspec.Struct, frozen=True):
    """A corpus with its vectors: row i belongs to passage i."""

    id: str
    passages: tuple[Passage, ...]
    vectors: NDArray[np.float32]

    def corpus(self, name: str) -> Corpus:
        """Ready to be searched."""
        return Corpus(name, self.id, self.passages, create_index(self.vectors))


def read_corpus(folder: Path) -> list[Passage]:
    """The passages of every `*.md` below the folder, by path. Raises CorpusError for what can't be read."""
    found: list[Passage] = []
    for path in sorted(folder.rglob("*.md")):
        file = path.relative_to(folder).as_posix()
        try:
            if path.stat().st_size > MOST_FILE_BYTES:
                raise CorpusError(f"{path}: larger than {MOST_FILE_BYTES >> 20} MiB; cut it into several documents")
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise CorpusError(f"{path}: can't be read as UTF-8 text: {error}") from error
        found += passages_of(file, text)
    if len(found) > MOST_PASSAGES:
        raise CorpusError(f"{folder}: {len(found)} passages; at most {MOST_PASSAGES} are held in memory")
    return found


def corpus_id(passages: Sequence[Passage], embedder: str) -> str:
    """`idx_` and 12 hex of what is searched and how."""
    return "idx_" + digest([embedder, [[one.id, one.source, one.whole, one.language] for one in passages]])


async def build(
    passages: Sequence[Passage],
    embedder: Embedder,
    before: Stored | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Stored:
    """Embed what is new. `progress(done, total)` after each batch. `before` must be of the same embedder."""
    known = {one.whole: row for one, row in zip(before.passages, before.vectors, strict=True)} if before else {}
    wanted = list(dict.fromkeys(one.whole for one in passages if one.whole not in known))
    for at in range(0, len(wanted), _BATCH):
        texts = wanted[at : at + _BATCH]
        known |= dict(zip(texts, await embedder.passages(texts), strict=True))
        progress(min(at + _BATCH, len(wanted)), len(wanted))
    rows = [known[one.whole] for one in passages]
    vectors = np.stack(rows).astype(np.float32) if rows else np.zeros((0, embedder.dim), dtype=np.float32)
    return Stored(corpus_id(passages, embedder.name), tuple(passages), vectors)


def save(root: Path, name: str, stored: Stored) -> None:
    """Whole or not there: a folder of its own, then `current`; older ones are removed. Raises OSError."""
    folder = root / name
    target = folder / stored.id
    fresh = folder / f".{stored.id}.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    (fresh / "passages.json").write_bytes(msgspec.json.encode(stored.passages))
    np.save(fresh / "vectors.npy", stored.vectors, allow_pickle=False)
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    pointer = folder / "current.new"
    pointer.write_text(stored.id)
    pointer.replace(folder / "current")
    for other in folder.glob("idx_*"):
        if other != target:
            shutil.rmtree(other, ignore_errors=True)


def load(root: Path, name: str) -> Stored | None:
    """The index that serves; None if none was built. Raises CorpusError for a damaged one."""
    pointer = root / name / "current"
    try:
        ident = pointer.read_text().strip()
        folder = root / name / ident
        passages = msgspec.json.decode((folder / "passages.json").read_bytes(), type=tuple[Passage, ...])
        vectors: NDArray[np.float32] = np.load(folder / "vectors.npy", allow_pickle=False)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        raise CorpusError(f"the index of {name} is damaged ({error}): trimtab index build {name}") from error
    if vectors.ndim != 2 or len(vectors) != len(passages) or vectors.dtype != np.float32:
        raise CorpusError(f"the index of {name} is damaged: trimtab index build {name}")
    return Stored(ident, passages, vectors)
