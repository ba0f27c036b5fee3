"""The text of an answer as it comes: a string for each piece would take ten times its size."""

from __future__ import annotations

from io import StringIO
from typing import Final

_MOST: Final = 32
"""Pieces that are kept by themselves."""


class Produced:
    """Text, and in how many pieces it came."""

    __slots__ = ("_length", "_told", "_told_pieces", "_waiting", "_whole", "pieces")

    def __init__(self) -> None:
        self._whole, self._length = StringIO(newline=""), 0
        self._waiting: list[str] = []
        self._told = self._told_pieces = 0
        self.pieces = 0

    def __repr__(self) -> str:
        return f"<Produced {self.pieces} pieces>"

    def add(self, piece: str) -> None:
        self._waiting.append(piece)
        self.pieces += 1
        if len(self._waiting) >= _MOST:
            self._fold()

    def fresh(self) -> tuple[str, int]:
        """What has come since this was last asked, and in how many pieces."""
        if self._told == self._length:
            text = self._fold()
        else:
            text = self.text[self._told :]
            self._fold()
        count, self._told, self._told_pieces = self.pieces - self._told_pieces, self._length, self.pieces
        return text, count

    @property
    def text(self) -> str:
        """All of it."""
        return self._whole.getvalue() + "".join(self._waiting)

    def _fold(self) -> str:
        text = "".join(self._waiting)
        self._waiting.clear()
        self._whole.write(text)
        self._length += len(text)
        return text


__all__ = ["Produced"]
