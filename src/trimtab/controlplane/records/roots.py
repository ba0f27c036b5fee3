"""Signed roots: beside a closed segment stands `.sig`, which says what it holds, signed; beside one that retention has
deleted also `.gone`, which says so, signed.

A root names its segment, first and last row, the digest of the last line (to which the next segment's first row is
chained), the digest of the whole file and that of the root before it. Who can write the folder and has no key can then
change no row, and take away no segment but the newest: CRC and chain can be computed anew, a signature can't.

Files are compared byte for byte with what their values encode to, so that no byte of them is free to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import msgspec

from trimtab.controlplane.records.segment import Segment, named
from trimtab.foundations.signature import PublicKey, SigningKey

T = TypeVar("T", bound="Statement")
_BYTES: Final = 32
_PIECE: Final = 1 << 20
_decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


class Statement(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What all that is signed says. `segment`: the file's name; `key`: the id of the key that signed; `at_ns`: when, by
    the wall clock of the gateway."""

    segment: str
    key: str
    at_ns: int


class Root(Statement, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="root v1"):
    """Of a closed segment. `late`: signed by a later start than the one that wrote it, after a crash or because signing
    began later: what happened to the file until `at_ns` is not vouched for."""

    first: int
    last: int
    size: int
    tail: str
    file: str
    before: str
    late: bool


class Gone(Statement, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="gone v1"):
    """Of a segment that retention deleted. `root`: the digest of its `.sig`; empty: it had none."""

    root: str
    days: int


class Signed(msgspec.Struct, Generic[T], frozen=True):
    """A statement with its signature, as read from a file. `digest`: of the file, what the next root refers to."""

    says: T
    signature: bytes
    digest: str

    def problem(self, keys: Mapping[str, PublicKey]) -> str | None:
        """Why it is not to be believed; None: one of these keys has signed it, or there are none to check it with."""
        if not keys:
            return None
        key = keys.get(self.says.key)
        if key is None:
            return f"is signed by the key {self.says.key}, which was not given"
        return None if key.signed(msgspec.json.encode(self.says), self.signature) else "has a signature that is false"


def signed(says: Statement, signer: SigningKey) -> bytes:
    """The file of a statement."""
    body = msgspec.json.encode(says)
    return b'{"says":%b,"signature":"%b"}\n' % (body, signer.sign(body).hex().encode())


def read(data: bytes, kind: type[T]) -> Signed[T] | None:
    """What a file says; None: it is not as it was written."""
    try:
        parts = _decode(data)
        says = msgspec.json.decode(parts["says"], type=kind)
        signature = bytes.fromhex(msgspec.json.decode(parts["signature"], type=str))
    except (msgspec.MsgspecError, KeyError, ValueError):
        return None
    again = b'{"says":%b,"signature":"%b"}\n' % (msgspec.json.encode(says), signature.hex().encode())
    return Signed(says, signature, digest_of(data)) if again == data else None


def read_file(path: Path, kind: type[T]) -> Signed[T] | None:
    """As `read`; also None where there is no such file. Raises OSError."""
    try:
        return read(path.read_bytes(), kind)
    except FileNotFoundError:
        return None


def digest_of(data: bytes) -> str:
    return blake2b(data, digest_size=_BYTES).hexdigest()


def new_digest() -> Any:
    """What takes a segment's bytes as they are written."""
    return blake2b(digest_size=_BYTES)


def file_digest(path: Path) -> tuple[str, int]:
    """Digest and size of a file. Raises OSError."""
    state, size = new_digest(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            state.update(piece)
            size += len(piece)
    return state.hexdigest(), size


def roots(folder: Path, worker: int | None = None) -> list[Segment]:
    """The segments, there or deleted, that have a `.sig` or a `.gone`, in order. `path` is where the rows stand."""
    if not folder.is_dir():
        return []
    found = (named(path.with_suffix(".jsonl")) for path in folder.iterdir() if path.suffix in (".sig", ".gone"))
    return sorted({one for one in found if one is not None and worker in (None, one.worker)})


def by_id(keys: Iterable[PublicKey]) -> dict[str, PublicKey]:
    return {key.id: key for key in keys}


__all__ = ["Gone", "Root", "Signed", "digest_of", "file_digest", "new_digest", "read", "read_file", "roots", "signed"]
