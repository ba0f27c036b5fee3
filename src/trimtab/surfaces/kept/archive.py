"""A backup as a file: a tar, gzipped where its name says so, whose last member is the manifest.

    workspace/...     the files
    manifest.json     what they are: size and SHA-256 of each, heads of the records' chains, where it was made

The manifest comes last because sizes and digests are known once all is written, and because a file that was cut has
none then. What is read is not believed before its digest was compared, and never named by the archive alone: only plain
files, whose names stay below the folder.
"""

from __future__ import annotations

import io
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import IO, Final

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.foundations.store import Disk

VERSION: Final = 1
PREFIX: Final = "workspace/"
MANIFEST: Final = "manifest.json"
_FORMAT: Final = "trimtab backup"
_PIECE: Final = 1 << 20
_MOST_MANIFEST_BYTES: Final = 64 << 20


class ArchiveError(TrimtabError):
    """The file is no backup that can be used; the text says why."""


class Member(msgspec.Struct, frozen=True):
    """A file: bytes, and the SHA-256 of them in hex."""

    size: int
    sha256: str


class Head(msgspec.Struct, frozen=True):
    """Where the chain of one gateway worker's records ends: number and digest of the last row, and its segment."""

    seq: int
    digest: str
    segment: str


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where a backup was made."""

    host: str
    system: str
    cpus: int
    python: str


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a backup holds. `version`: of the archive; `layout`: of the files in it; `made_ns`: since the Unix epoch;
    `keys`: whether the keys of captured texts are in it; `heads`: by worker."""

    format: str = _FORMAT
    version: int = VERSION
    layout: int
    trimtab: str
    made_ns: int
    machine: Machine
    keys: bool
    heads: dict[int, Head]
    members: dict[str, Member]


class _Version(msgspec.Struct):
    format: str
    version: int


class Writer:
    """Use `writing`. Members are added once each; `finish` makes the file a backup."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, Member] = {}

    def add(self, name: str, data: bytes, mode: int) -> None:
        self.add_stream(name, io.BytesIO(data), len(data), mode)

    def add_stream(self, name: str, file: IO[bytes], size: int, mode: int) -> None:
        """The next `size` bytes of the file. Raises ArchiveError if there are fewer."""
        if name in self.members:
            raise ArchiveError(f"{name} is there twice")
        source = _Counted(file, size)
        self._tar.addfile(_entry(PREFIX + name, size, mode), source)  # type: ignore[arg-type]  # it only reads
        self.members[name] = Member(size, source.digest())

    def finish(self, manifest: Manifest) -> None:
        data = msgspec.json.format(msgspec.json.encode(manifest), indent=1) + b"\n"
        self._tar.addfile(_entry(MANIFEST, len(data), 0o600), io.BytesIO(data))


class _Counted:
    """Reads at most `left` bytes, and hashes them."""

    def __init__(self, file: IO[bytes], left: int) -> None:
        self._file, self._left, self._state = file, left, sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(min(size, self._left))
        if not data and self._left:
            raise ArchiveError("a file became shorter while it was read")
        self._left -= len(data)
        self._state.update(data)
        return data

    def digest(self) -> str:
        return self._state.hexdigest()


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A backup at `path`, whole and durable once the block has ended, or not there at all. Raises ArchiveError where
    something is at `path` already, OSError."""
    if path.exists():
        raise ArchiveError(f"{path} is there already: a backup is never written over")
    beside = path.with_name(path.name + ".new")
    fd = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz" if _gzipped(path) else "w", format=tarfile.PAX_FORMAT) as tar:
                yield Writer(tar)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, path)  # unlike a rename, it fails where somebody was faster
        Disk().sync_folder(path.parent)
    except FileExistsError:
        raise ArchiveError(f"{path} is there already: a backup is never written over") from None
    finally:
        beside.unlink(missing_ok=True)


def unpack(path: Path, folder: Path) -> Manifest:
    """Write the files of a backup below `folder`, which is empty, each compared with the manifest. Raises ArchiveError
    for what is damaged, cut, of a newer version or names a file outside; what was written until then stays there."""
    found: dict[str, Member] = {}
    manifest: Manifest | None = None
    try:
        with tarfile.open(path, "r|gz" if _is_gzip(path) else "r|") as tar:
            for entry in tar:
                if manifest is not None:
                    raise ArchiveError(f"{path}: something stands behind its manifest")
                file = tar.extractfile(entry) if entry.type == tarfile.REGTYPE else None
                if file is None:
                    raise ArchiveError(f"{path}: {entry.name!r} is no plain file")
                if entry.name == MANIFEST:
                    manifest = _manifest(path, file.read(_MOST_MANIFEST_BYTES))
                else:
                    name = safe(path, entry.name)
                    if name in found:
                        raise ArchiveError(f"{path}: {name!r} is there twice")
                    found[name] = _write(folder / name, file, entry.mode)
    except (tarfile.TarError, zlib.error, EOFError, FileExistsError, NotADirectoryError) as error:
        raise ArchiveError(f"{path} is damaged, or no backup: {error}") from error
    if manifest is None:
        raise ArchiveError(f"{path} was cut: its manifest is missing")
    _compare(path, manifest.members, found)
    return manifest


def safe(path: Path, name: str) -> str:
    """The name below the folder. Raises ArchiveError for one that leads elsewhere."""
    inner = name.removeprefix(PREFIX)
    parts = PurePosixPath(inner).parts
    if inner == name or not parts or ".." in parts or inner.startswith("/") or "\0" in inner:
        raise ArchiveError(f"{path}: {name!r} is no name below {PREFIX}")
    if str(PurePosixPath(*parts)) != inner:
        raise ArchiveError(f"{path}: {name!r} is not written as a name should be")
    return inner


def file_sha256(path: Path) -> str:
    """Raises OSError."""
    with path.open("rb") as file:
        return _digest(file)


def _digest(file: IO[bytes]) -> str:
    state = sha256()
    while piece := file.read(_PIECE):
        state.update(piece)
    return state.hexdigest()


def _write(path: Path, file: IO[bytes], mode: int) -> Member:
    """A new file below a folder of ours, in which there is no link."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state, size = sha256(), 0
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as target:
        while piece := file.read(_PIECE):
            target.write(piece)
            state.update(piece)
            size += len(piece)
        target.flush()
        os.fsync(target.fileno())
        os.fchmod(target.fileno(), mode & 0o755)
    return Member(size, state.hexdigest())


def _compare(path: Path, told: dict[str, Member], found: dict[str, Member]) -> None:
    for name in sorted(told.keys() | found.keys()):
        if name not in found:
            raise ArchiveError(f"{path}: {name} is missing")
        if name not in told:
            raise ArchiveError(f"{path}: {name} is not in its manifest")
        if told[name] != found[name]:
            raise ArchiveError(f"{path}: {name} is damaged: its SHA-256 is not that of the manifest")


def _manifest(path: Path, data: bytes) -> Manifest:
    try:
        head = msgspec.json.decode(data, type=_Version)
        if head.format == _FORMAT and head.version > VERSION:
            raise ArchiveError(
                f"{path} is of version {head.version}, made by a newer Trimtab; this one reads {VERSION}"
            )
        manifest = msgspec.json.decode(data, type=Manifest)
    except msgspec.MsgspecError as error:
        raise ArchiveError(f"{path}: its manifest is damaged: {error}") from error
    if manifest.format != _FORMAT:
        raise ArchiveError(f"{path} is no backup of Trimtab")
    return manifest


def _entry(name: str, size: int, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = size, mode
    return entry


def _gzipped(path: Path) -> bool:
    return path.suffix in (".gz", ".tgz")


def _is_gzip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


__all__ = ["ArchiveError", "Head", "Machine", "Manifest", "Member", "Writer", "file_sha256", "unpack", "writing"]
