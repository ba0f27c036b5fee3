"""Reads the header of a GGUF file: metadata only, tensors are never touched (github.com/ggml-org/ggml docs/gguf.md).

Layout, little endian: magic `GGUF`, u32 version (2 or 3), u64 tensors, u64 pairs; a pair = string key, u32 type, value;
a string = u64 length, UTF-8 bytes; an array = u32 element type, u64 count, elements.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Any, Final

from trimtab.core.errors import TrimtabError

_SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_MOST_PAIRS = 1 << 16


class GgufError(TrimtabError):
    """The file is no GGUF that we can read; the text says where it went wrong."""


def metadata(path: Path) -> dict[str, Any]:
    """All key-value pairs of the header. Raises GgufError, OSError. 49,000 tokens and as many merges take 50 ms."""
    with path.open("rb") as file:
        if path.stat().st_size < 24:
            raise GgufError(f"{path}: too short for a GGUF header")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            try:
                return _Cursor(data).header()
            except (struct.error, IndexError, UnicodeDecodeError, KeyError, OverflowError) as error:
                raise GgufError(f"{path}: the header is damaged or cut off ({error})") from error
            except GgufError as error:
                raise GgufError(f"{path}: {error}") from None


class _Cursor:
    """A position in the mapped file."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data, self._at = data, 0

    def header(self) -> dict[str, Any]:
        if self._data[:4] != b"GGUF":
            raise GgufError("is no GGUF file (its first four bytes are not GGUF)")
        self._at = 4
        version, _tensors, pairs = self._scalar("I"), self._scalar("Q"), self._scalar("Q")
        if version not in (2, 3):
            raise GgufError(f"is of GGUF version {version}; 2 and 3 are read")
        if pairs > _MOST_PAIRS:
            raise GgufError(f"claims {pairs} metadata pairs")
        return {self._string(): self._value(self._scalar("I")) for _ in range(pairs)}

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            return self._array()
        return self._scalar(_SCALARS[kind])

    def _array(self) -> list[Any]:
        kind, count = self._scalar("I"), self._scalar("Q")
        if count > len(self._data) - self._at:
            raise GgufError(f"claims an array of {count} elements, more than the file has bytes")
        if kind in (_STRING, _ARRAY):
            return [self._value(kind) for _ in range(count)]
        form = f"<{count}{_SCALARS[kind]}"
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return list(values)

    def _scalar(self, form: str) -> Any:
        form = "<" + form
        value = struct.unpack_from(form, self._data, self._at)[0]
        self._at += struct.calcsize(form)
        return value

    def _string(self) -> str:
        start = self._at + 8
        end = start + int(struct.unpack_from("<Q", self._data, self._at)[0])
        if end > len(self._data):
            raise GgufError("claims a string beyond its own end")
        self._at = end
        return self._data[start:end].decode("utf-8")
