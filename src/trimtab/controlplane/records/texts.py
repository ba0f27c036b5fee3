"""Captured texts: an encrypted sidecar of the records, by record id. `Texts` writes, `captured` reads.

A line is CRC, space, JSON `{"record", "tenant", "subject", "box"}`; the box is AES-256-GCM of the texts under the data
subject's key. Each start and each hour have a file of their own, so that no file is ever repaired: a torn last line is
passed over.

One thread encrypts and writes a group every 100 ms. While the disk refuses, texts wait within 16 MiB; beyond that they
are counted as lost. Texts are the least of what is kept: they never delay a row, and no row depends on them.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from base64 import b64decode, b64encode
from collections import deque
from pathlib import Path
from typing import Final

import msgspec

from trimtab.controlplane.records.textkeys import TextKeys
from trimtab.core.captured import CapturedText
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import NewerVersionError
from trimtab.foundations.sealed import seal, unseal
from trimtab.foundations.store.disk import Disk
from trimtab.foundations.store.line import frame, unframe

FOLDER: Final = Path("var") / "texts"
VERSION: Final = 1
"""Of a line."""
GROUP_S: Final = 0.1
FILE_S: Final = 3600.0
QUEUE_BYTES: Final = 16 << 20
RETRY_S: Final = 1.0
RETIRE_S: Final = 60.0
"""Between two looks at what is past retention."""
_DAY_NS: Final = 86_400 * NS_PER_S
_NAME: Final = re.compile(r"w(\d{4})-t(\d{19})\.texts")
_log = logging.getLogger(__name__)
_encode = msgspec.json.Encoder(enc_hook=repr).encode


class _Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """`v`: version of its layout; left out where it is 1."""

    record: str
    tenant: str
    subject: str
    box: str
    v: int = VERSION


_line = msgspec.json.Decoder(_Line).decode


class Texts:
    """A TextSink. `keep` may be called from any thread. A thread of its own writes, from the first text on."""

    def __init__(
        self,
        workspace: Path,
        worker: int,
        secret: bytes,
        clock: Clock,
        *,
        retention_days: int | None = None,
        group_s: float = GROUP_S,
        disk: Disk | None = None,
    ) -> None:
        self._folder, self._worker, self._clock, self._days = workspace / FOLDER, worker, clock, retention_days
        self._disk, self._group_s = disk or Disk(), group_s
        self._keys = TextKeys(workspace, secret, self._disk)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[str, str, str, bytes]] = deque()
        self._bytes = self._writing = self.lost = 0
        self._closing = self._urgent = self._failed = False
        self._thread: threading.Thread | None = None
        self._fd: int | None = None
        self._opened_ns = 0
        self._retired_ns: int | None = None
        if retention_days is not None:
            self._start()

    def keep(self, text: CapturedText) -> None:
        """Hand texts over; they are encoded here, so that nothing of them changes later."""
        try:
            data = _encode(text)
        except (TypeError, ValueError, OverflowError):
            _log.exception("captured texts: those of %s have no JSON and are lost", text.record)
            self.lost += 1
            return
        with self._changed:
            if self._closing or self._bytes + len(data) > QUEUE_BYTES:
                self.lost += 1
                if self.lost & (self.lost - 1) == 0:
                    _log.error("captured texts: %d lost so far: the disk takes none", self.lost)
                return
            self._bytes += len(data)
            self._waiting.append((text.record, text.tenant, text.subject, data))
            if self._thread is None:
                self._start()
            self._changed.notify_all()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Block until what waits is synced; False: not in time."""
        with self._changed:
            self._urgent = True
            self._changed.notify_all()
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, timeout_s)

    def forget(self) -> None:
        """Keys were destroyed: hold none of them in memory."""
        self._keys.forget()

    def close(self, timeout_s: float = 5.0) -> None:
        """Write what waits, and stop."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"texts-{self._worker}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            self._retire()
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting) or self._closing, RETIRE_S)
                if self._waiting and not self._closing:
                    self._changed.wait_for(lambda: self._urgent or self._closing, self._group_s)
                group = list(self._waiting)
                self._writing = len(group)
            written = self._write(group) if group else True
            with self._changed:
                if written:
                    for *_, data in group:
                        self._waiting.popleft()
                        self._bytes -= len(data)
                    self._urgent = self._urgent and bool(self._waiting)
                self._writing = 0
                self._changed.notify_all()
                if self._closing and (not self._waiting or not written):
                    break
                if not written:
                    self._changed.wait_for(lambda: self._closing, RETRY_S)
        self._drop()

    def _write(self, group: list[tuple[str, str, str, bytes]]) -> bool:
        try:
            lines = b"".join(self._sealed(*one) for one in group)
            fd = self._open()
            self._disk.append(fd, lines)
            self._disk.sync(fd)
        except OSError as error:
            self._drop()  # what is half written is passed over by readers; the next try has a file of its own
            if not self._failed:
                _log.error("captured texts: the disk refuses (%s); they wait in memory", error)
            self._failed = True
            return False
        except Exception:  # noqa: BLE001 - one group that can't be sealed must not end the thread for all others
            _log.exception("captured texts: %d could not be sealed and are lost", len(group))
            self.lost += len(group)
        self._failed = False
        return True

    def _sealed(self, record: str, tenant: str, subject: str, data: bytes) -> bytes:
        key = self._keys.of(tenant, subject, create=True)
        if key is None:
            raise OSError(f"the key of a data subject of {tenant} can't be made")
        box = b64encode(seal(key, data, record)).decode()
        return frame(msgspec.json.encode(_Line(record, tenant, subject, box))) + b"\n"

    def _open(self) -> int:
        now_ns = self._clock.wall_ns()
        if self._fd is not None and now_ns - self._opened_ns >= FILE_S * NS_PER_S:
            self._drop()
        if self._fd is None:
            self._opened_ns = max(now_ns, self._opened_ns + 1)
            self._fd = self._disk.create(self._folder / f"w{self._worker:04d}-t{self._opened_ns:019d}.texts")
        return self._fd

    def _drop(self) -> None:
        fd, self._fd = self._fd, None
        if fd is not None:
            os.close(fd)

    def _retire(self) -> None:
        """Delete files whose texts are all past retention, of every worker: none is written to for over an hour."""
        now_ns = self._clock.now_ns()
        if self._days is None or (self._retired_ns is not None and now_ns - self._retired_ns < RETIRE_S * NS_PER_S):
            return
        self._retired_ns = now_ns
        oldest_ns = self._clock.wall_ns() - self._days * _DAY_NS - 2 * int(FILE_S * NS_PER_S)
        try:
            for opened_ns, path in _files(self._folder):
                if opened_ns < oldest_ns:
                    self._disk.remove(path)
        except OSError as error:
            _log.error("captured texts past their retention can't be deleted: %s", error)


class Erased(msgspec.Struct, frozen=True):
    """Texts of this record were kept, and their key is destroyed."""

    record: str


def captured(workspace: Path, secret: bytes, record: str) -> CapturedText | Erased | None:
    """The texts of a record; None: none were kept, or they are past retention. Raises OSError, NewerVersionError."""
    needle = b'"record":"%b"' % record.encode()
    for _, path in reversed(_files(workspace / FOLDER)):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        at = data.find(needle)
        while at >= 0:
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            body = unframe(data[start:end]) if end >= 0 else None
            if body is not None and (line := _line(body)).record == record:
                return _opened(workspace, secret, line)
            at = data.find(needle, at + 1)
    return None


def _opened(workspace: Path, secret: bytes, line: _Line) -> CapturedText | Erased:
    if line.v > VERSION:
        raise NewerVersionError(str(FOLDER), line.v, VERSION)
    key = TextKeys(workspace, secret).of(line.tenant, line.subject, create=False)
    data = unseal(key, b64decode(line.box), line.record) if key is not None else None
    return Erased(line.record) if data is None else msgspec.json.decode(data, type=CapturedText)


def _files(folder: Path) -> list[tuple[int, Path]]:
    """Oldest first."""
    if not folder.is_dir():
        return []
    found = ((_NAME.fullmatch(path.name), path) for path in folder.iterdir())
    return sorted((int(match[2]), path) for match, path in found if match is not None)


__all__ = ["Erased", "Texts", "captured"]
