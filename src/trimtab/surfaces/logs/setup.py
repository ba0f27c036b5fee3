"""Puts a process's log in place: level, form, and a writer that never makes an event loop wait for a slow reader."""

from __future__ import annotations

import logging
import os
import sys
import threading
import warnings
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, TextIO

from trimtab.surfaces.logs.lines import JsonLines, TextLines
from trimtab.surfaces.logs.settings import LogSettings

MOST_LINES: Final = 10_000
"""That wait for a reader; further ones are counted as lost."""
CLOSE_S: Final = 1.0
_STDERR: Final = 2
_log = logging.getLogger(__name__)


class Output(logging.Handler):
    """Lines to a descriptor. `aside`: by a thread of its own, so that a full pipe stops nobody but that thread."""

    def __init__(self, descriptor: int = _STDERR, *, aside: bool = False, most: int = MOST_LINES) -> None:
        super().__init__()
        self._descriptor, self._most = descriptor, most
        self._lines: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.lost = 0
        """Lines not written since their reader was too slow, or gone."""
        self._thread = threading.Thread(target=self._run, name="log", daemon=True) if aside else None
        if self._thread is not None:
            self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Never raises: a line is never worth a request."""
        try:
            line = self.format(record).encode(errors="backslashreplace") + b"\n"
        except Exception:  # noqa: BLE001 - as said; what could not be formatted is not shown either
            line = b'{"level":"error","message":"a log line could not be written"}\n'
        if self._thread is None:
            self._write(line)
            return
        with self._changed:
            if len(self._lines) >= self._most:
                self.lost += 1
                return
            self._lines.append(line)
            self._changed.notify()

    def close(self) -> None:
        """What waits is written, if the reader takes it in time."""
        if self._thread is not None:
            with self._changed:
                self._closing = True
                self._changed.notify()
            self._thread.join(CLOSE_S)
        super().close()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._lines or self._closing)
                if not self._lines:
                    return
                block = b"".join(self._lines)
                count = len(self._lines)
                self._lines.clear()
            self._write(block, count)

    def _write(self, block: bytes, lines: int = 1) -> None:
        try:
            while block:
                block = block[os.write(self._descriptor, block) :]
        except OSError:
            self.lost += lines


def set_up(role: str, settings: LogSettings, *, aside: bool = False) -> Output:
    """The log of this process: its own lines at the level asked for, foreign ones from warnings on. What would go to
    stderr as a traceback (warnings, exceptions that nobody catches) goes through it, too."""
    output = Output(aside=aside)
    output.setFormatter((JsonLines if settings.format == "json" else TextLines)(role))
    root = logging.getLogger()
    root.handlers = [output]
    root.setLevel(logging.WARNING)
    logging.getLogger("trimtab").setLevel(settings.level.upper())
    if settings.access == "all":
        logging.getLogger("trimtab.access").setLevel(logging.INFO)
    logging.raiseExceptions = False
    warnings.showwarning = _warned
    sys.excepthook = _uncaught
    threading.excepthook = lambda found: _uncaught(found.exc_type, found.exc_value, found.exc_traceback)
    return output


def _uncaught(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
    if not issubclass(kind, (KeyboardInterrupt, SystemExit)):
        _log.critical("an exception that nobody caught", exc_info=error or kind())


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Where and of what kind; the message may quote what was at hand."""
    _log.warning("%s at %s:%d", category.__name__, Path(filename).name, lineno)


__all__ = ["CLOSE_S", "MOST_LINES", "Output", "set_up"]
