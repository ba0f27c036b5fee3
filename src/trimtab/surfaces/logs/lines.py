"""A log record as one line, text or JSON.

Two rules hold for both. A line is one line: line breaks, escape sequences and what else steers a terminal are written
out, so that no field can forge a line or hide one. And an exception is told by its type and where it was raised, not by
its message: `KeyError` and the decoders quote what they were given, which is what a caller wrote. The messages of our
own errors and of the system (OSError) are told, where a log call names them: they are written for people.
"""

from __future__ import annotations

import contextlib
import logging
import re
from datetime import UTC, datetime
from pathlib import PurePath
from types import TracebackType
from typing import Any, Final

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.core.record import answering
from trimtab.foundations.config import SecretError

_STEERS: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_MOST_CHARACTERS: Final = 8192
_MOST_FRAMES: Final = 24
_SPOKEN: Final = (TrimtabError, SecretError, OSError)
"""Errors whose words are ours or the system's."""
_OURS: Final = "trimtab"
_encode = msgspec.json.Encoder(enc_hook=repr).encode


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, logger, role, message, record, the fields of the event, exception."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "role": getattr(record, "role", self._role),
            "message": message_of(record),
        }
        if (owner := owner_of(record)) is not None:
            line["record"] = owner
        line |= {name: _cleaned(value) for name, value in getattr(record, "fields", {}).items()}
        if (error := _error_of(record)) is not None:
            line["exception"] = {"type": _type(error), "trace": frames(error)}
        return _encode(line).decode()


class TextLines(logging.Formatter):
    """Time, level, message, and what else is known, for a person."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role

    def format(self, record: logging.LogRecord) -> str:
        role = getattr(record, "role", None)
        line = f"{_time(record)} {record.levelname} {f'{role}: ' if role else ''}{message_of(record)}"
        owner = owner_of(record)
        if owner is not None and owner not in line:
            line += f" {owner}"
        fields = getattr(record, "fields", {})
        line += "".join(f" {name}={_cleaned(value)}" for name, value in fields.items() if value is not None)
        if (error := _error_of(record)) is not None:
            line += f": {_type(error)} at {' < '.join(frames(error)) or 'an unknown place'}"
        return line


def message_of(record: logging.LogRecord) -> str:
    """The message on one line. Foreign loggers' messages end at their first line, the loop's at its first words: they
    go on with the `repr` of whatever was at hand."""
    if record.name == "asyncio":
        return "an exception outside of any request" if _error_of(record) else "the event loop has a complaint"
    text = str(record.msg)
    if record.args:
        given = record.args
        with contextlib.suppress(TypeError, ValueError, KeyError):  # other arguments than its words have places
            text %= tuple(_argument(value) for value in given) if isinstance(given, tuple) else given
    if record.name.partition(".")[0] != _OURS:
        text = text.partition("\n")[0]
    return clean(text)


def clean(text: str) -> str:
    """The text with everything written out that could end a line, steer a terminal or turn the direction of writing;
    cut where it is longer than a line should be."""
    if len(text) > _MOST_CHARACTERS:
        text = f"{text[:_MOST_CHARACTERS]}... ({len(text)} characters)"
    return _STEERS.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def frames(error: BaseException) -> list[str]:
    """Where it was raised, innermost first, and what it came from; never what it says."""
    found: list[str] = []
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen and len(found) < _MOST_FRAMES:
        seen.add(id(one))
        if one is not error:
            found.append(f"from {_type(one)}")
        found += _places(one.__traceback__)
        one = one.__cause__ or (None if one.__suppress_context__ else one.__context__)
    return found[:_MOST_FRAMES]


def owner_of(record: logging.LogRecord) -> str | None:
    """Id of the record of the request that the line belongs to."""
    told = getattr(record, "record", None) or answering.get()
    return None if told is None else clean(str(told))


def _places(trace: TracebackType | None) -> list[str]:
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        way = PurePath(code.co_filename).parts
        start = len(way) - 1 - way[::-1].index(_OURS) if _OURS in way else len(way) - 2
        places.append(f"{'/'.join(way[max(0, start) :])}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return places[::-1]


def _error_of(record: logging.LogRecord) -> BaseException | None:
    return record.exc_info[1] if record.exc_info else None


def _argument(value: object) -> object:
    if isinstance(value, BaseException) and not isinstance(value, _SPOKEN):
        return _type(value)
    return value


def _cleaned(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


def _type(error: BaseException) -> str:
    number = f" {error.errno}" if isinstance(error, OSError) and error.errno is not None else ""
    return f"{type(error).__name__}{number}"


def _time(record: logging.LogRecord) -> str:
    """RFC 3339, UTC, milliseconds."""
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


__all__ = ["JsonLines", "TextLines", "clean", "frames"]
