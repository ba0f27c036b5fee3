"""Signed roots against what stands in the folder: what an auditor with the public key finds out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from pathlib import Path

import msgspec

from trimtab.controlplane.records import line as lines
from trimtab.controlplane.records.roots import Gone, Root, Signed, by_id, digest_of, file_digest, read, roots
from trimtab.controlplane.records.segment import CorruptSegment, Segment, raw_lines, read_seal, segments
from trimtab.foundations.signature import PublicKey
from trimtab.foundations.store.line import unframe

Tell = Callable[[CorruptSegment], None]


class Proof(msgspec.Struct, kw_only=True):
    """What the signatures of a folder come to. Counts are of segments.

    `late`: signed by a later start than the one that wrote them; `open`: written to now, or left by a crash, and signed
    at the next start; `unsigned`: closed without a signature; `retired`: deleted by retention, whose root is left.
    """

    checked: bool = False
    """Whether a key was there to check signatures with; else they were compared with the files only."""
    signed: int = 0
    late: int = 0
    open: int = 0
    unsigned: int = 0
    retired: int = 0
    starts: dict[int, int] = {}
    """By worker: the row from which on rows are there; before it there are signatures alone."""
    heads: dict[int, str] = {}
    """By worker: the digest of the newest root. Kept elsewhere, it tells later whether newest segments were taken."""


def prove(folder: Path, keys: Sequence[PublicKey], tell: Tell) -> Proof:
    """Compare every root with its segment and with the one before it; `tell` takes what is wrong. Raises OSError."""
    proof = Proof(checked=bool(keys))
    there = {*segments(folder), *roots(folder)}
    for worker, found in groupby(sorted(there), key=lambda segment: segment.worker):
        _Worker(worker, list(found), by_id(keys), proof, tell).walk()
    return proof


class _Worker:
    """One worker's roots in order. `_before`: the digest of the root before; `_tail`: of the last line that it signs,
    None where that is not known; `_missing`: the segment before is deleted."""

    def __init__(
        self, worker: int, found: list[Segment], keys: Mapping[str, PublicKey], proof: Proof, tell: Tell
    ) -> None:
        self._worker, self._found, self._keys, self._proof, self._tell = worker, found, keys, proof, tell
        self._signs = bool(keys) or any(segment.root_path.exists() for segment in found)
        self._before, self._tail = "", None  # type: tuple[str, str | None]
        self._missing = self._began = False

    def walk(self) -> None:
        for segment in self._found:
            root = self._root(segment) if segment.root_path.exists() else None
            if segment.path.exists():
                self._there(segment, root)
            else:
                self._absent(segment, root)
            self._tail = root.says.tail if root is not None else None
        if self._before:
            self._proof.heads[self._worker] = self._before

    def _root(self, segment: Segment) -> Signed[Root] | None:
        """The root, if it is to be believed; what is wrong with it is told."""
        data = segment.root_path.read_bytes()
        before, self._before = self._before, digest_of(data)
        root = read(data, Root)
        if root is None:
            self._wrong(segment, "its signature file is damaged")
            return None
        problem = root.problem(self._keys)
        if problem is not None:
            self._wrong(segment, problem)
            return None
        if root.says.segment != segment.path.name:
            self._wrong(segment, f"has the signature of {root.says.segment}")
            return None
        if root.says.before != before:
            self._wrong(segment, "does not follow the signature before it: one was taken away or put in")
        self._proof.signed += 1
        self._proof.late += root.says.late
        return root

    def _there(self, segment: Segment, root: Signed[Root] | None) -> None:
        if not self._began:
            self._began = True
            if self._missing:
                self._proof.starts[self._worker] = segment.first_seq
        if self._missing and self._tail is not None and _first_prev(segment) != self._tail:
            self._wrong(segment, "does not follow the row that the signature before it ends with")
        self._missing = False
        if root is not None:
            self._compare(segment, root.says)
        elif segment.root_path.exists() or _is_empty(segment):
            return  # told; or opened and never written to
        elif segment == self._found[-1] and read_seal(segment) is None:
            self._proof.open += 1
        elif self._signs:
            self._wrong(
                segment, "was closed and has no signature: a start with the key signs it, unless one was taken away"
            )
        else:
            self._proof.unsigned += 1

    def _compare(self, segment: Segment, root: Root) -> None:
        try:
            found, size = file_digest(segment.path)
        except FileNotFoundError:
            return  # deleted by retention meanwhile
        if size != root.size:
            self._wrong(segment, f"was signed with {root.size} bytes, has {size}", _lines(segment) + 1)
        elif found != root.file:
            self._wrong(segment, f"rows {root.first} to {root.last} are not those that were signed", 1)

    def _absent(self, segment: Segment, root: Signed[Root] | None) -> None:
        self._missing = True
        rows = f"rows {root.says.first} to {root.says.last} are" if root is not None else "it is"
        try:
            gone = read(segment.gone_path.read_bytes(), Gone)
        except FileNotFoundError:
            self._wrong(segment, f"{rows} gone, and not by retention")
            return
        told = digest_of(segment.root_path.read_bytes()) if segment.root_path.exists() else ""
        if gone is None:
            self._wrong(segment, f"{rows} gone, and the word of retention is damaged")
        elif (problem := gone.problem(self._keys)) is not None:
            self._wrong(segment, f"{rows} gone, and the word of retention {problem}")
        elif (gone.says.segment, gone.says.root) != (segment.path.name, told):
            self._wrong(segment, f"{rows} gone, and the word of retention is about another")
        elif self._began:
            self._wrong(segment, f"{rows} gone, though older ones are there")
        else:
            self._proof.retired += 1

    def _wrong(self, segment: Segment, what: str, line: int = 0) -> None:
        self._tell(CorruptSegment(segment.path, line, what))


def _is_empty(segment: Segment) -> bool:
    try:
        return segment.path.stat().st_size == 0
    except FileNotFoundError:
        return True


def _lines(segment: Segment) -> int:
    return sum(1 for _ in raw_lines(segment.path))


def _first_prev(segment: Segment) -> str | None:
    first = next(iter(raw_lines(segment.path)), None)
    body = unframe(first.data) if first is not None and first.whole else None
    link = lines.link(body) if body is not None else None
    return link.prev if link is not None else None


__all__ = ["Proof", "prove"]
