"""Keys of captured texts: a random one for each tenant and data subject, wrapped by the tenant's, which is wrapped by
one derived from the workspace's secret.

    var/keys/TENANT/tenant.key          destroyed: nothing of the tenant can be read any more
    var/keys/TENANT/ab/ab12....key      destroyed: nothing of this data subject can be read any more

Erasing is destroying a key: no text is looked for, and none is rewritten, however many there are. A key file is
overwritten, synced and removed; what a disk keeps of overwritten blocks (flash, snapshots, backups) is beyond it.
"""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from trimtab.foundations.derive import hkdf_sha256
from trimtab.foundations.sealed import KEY_BYTES, new_key, seal, unseal
from trimtab.foundations.store.disk import Disk

FOLDER: Final = Path("var") / "keys"
MOST_KEPT: Final = 4096
"""Keys held in memory."""
_SALT: Final = b"trimtab captured texts v1"
_SUBJECT: Final = re.compile(r"[0-9a-f]{16}")
_TENANT_KEY: Final = "tenant.key"


class TextKeys:
    """The keys of one workspace. From any thread; several processes may use the same folder."""

    def __init__(self, workspace: Path, secret: bytes, disk: Disk | None = None) -> None:
        self._folder, self._secret, self._disk = workspace / FOLDER, secret, disk or Disk()
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], bytes] = {}

    def of(self, tenant: str, subject: str, *, create: bool) -> bytes | None:
        """The key of a data subject; None: there is none, or none any more. Raises OSError."""
        with self._lock:
            known = self._kept.get((tenant, subject))
            if known is not None:
                return known
            wrapping = self._at(self._folder / tenant / _TENANT_KEY, self._root(tenant), tenant, create)
            if wrapping is None:
                return None
            found = self._at(self._subject(tenant, subject), wrapping, f"{tenant}/{subject}", create)
            if found is not None:
                if len(self._kept) >= MOST_KEPT:
                    self._kept.clear()
                self._kept[tenant, subject] = found
            return found

    def has(self, tenant: str, subject: str) -> bool:
        return self._subject(tenant, subject).is_file()

    def forget(self) -> None:
        """Hold no key in memory: the next is read from its file, if that is still there."""
        with self._lock:
            self._kept.clear()

    def destroy(self, tenant: str, subject: str | None) -> int:
        """Destroy the key of a data subject, or the tenant's with all of its subjects'; how many there were. Durable
        when it returns. Raises OSError."""
        with self._lock, self._held():
            self._kept.clear()
            folder = self._folder / tenant
            if subject is not None:
                return self._shred(self._subject(tenant, subject))
            count = self._shred(folder / _TENANT_KEY)
            for path in folder.glob("*/*.key"):  # wrapped by it, and so worth nothing: they need not be overwritten
                path.unlink(missing_ok=True)
                count += 1
            return count

    def _subject(self, tenant: str, subject: str) -> Path:
        if not _SUBJECT.fullmatch(subject):
            raise ValueError("a data subject stands here as 16 hex digits")
        return self._folder / tenant / subject[:2] / f"{subject}.key"

    def _root(self, tenant: str) -> bytes:
        return hkdf_sha256(self._secret, _SALT, tenant.encode(), KEY_BYTES)

    def _at(self, path: Path, wrapping: bytes, about: str, create: bool) -> bytes | None:
        """The key in a file. One that can't be unwrapped is of a tenant whose own key was destroyed: it is replaced."""
        found = self._read(path, wrapping, about)
        if found is not None or not create:
            return found
        with self._held():
            found = self._read(path, wrapping, about)  # another process may have been first
            if found is None:
                self._disk.make_folder(path.parent)
                found = new_key()
                self._disk.put(path, seal(wrapping, found, about))
        return found

    @contextmanager
    def _held(self) -> Iterator[None]:
        """One process at a time makes or destroys keys."""
        self._disk.make_folder(self._folder)
        with (self._folder / "lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def _read(self, path: Path, wrapping: bytes, about: str) -> bytes | None:
        try:
            return unseal(wrapping, path.read_bytes(), about)
        except FileNotFoundError:
            return None

    def _shred(self, path: Path) -> int:
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return 0
        try:
            os.write(fd, bytes(os.fstat(fd).st_size))
            os.fsync(fd)
        finally:
            os.close(fd)
        path.unlink(missing_ok=True)
        self._disk.sync_folder(path.parent)
        return 1


__all__ = ["TextKeys"]
