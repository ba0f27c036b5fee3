"""An answer as a row of blocks, for dialects that write blocks where OpenAI's chat has one delta with everything in it.

A block is a run of text, of thought or of refusal, or one tool call. Exactly one is open at a time: it is opened, told
more, closed, and then the next one is. Models write so, too, but no upstream must: a piece of a later block waits
until the open one is over. A text is over when something else begins, a call when its arguments are whole JSON. One
whose input is free text says nowhere that it is over: it is when the answer is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import msgspec

from trimtab.core.request import CALL_PARTS

Kind = Literal["text", "thought", "refusal", "call", "custom"]
Step: TypeAlias = "tuple[Literal['open', 'more', 'close'], Block, str]"
"""What to write next: a block begins, it goes on by this text, it ends."""

_FIELDS: tuple[tuple[str, Kind], ...] = (
    ("reasoning_content", "thought"),
    ("reasoning", "thought"),
    ("content", "text"),
    ("refusal", "refusal"),
)
"""Fields of a delta, in the order in which a model writes them. `reasoning` is what some servers call it."""
_CALLS: tuple[tuple[Kind, str, str], ...] = (("call", *CALL_PARTS[0]), ("custom", *CALL_PARTS[1]))
"""Kinds of calls, each with the part and the field of its words."""


class Block:
    """One block; `index` is its place in the answer."""

    __slots__ = ("call", "call_id", "index", "is_closed", "is_open", "kind", "name", "texts", "waiting")

    def __init__(self, index: int, kind: Kind, call: int = -1) -> None:
        self.index, self.kind, self.call = index, kind, call
        self.call_id = self.name = ""
        self.texts: list[str] = []
        """All that was told of it."""
        self.waiting: list[str] = []
        """Pieces that came before its turn."""
        self.is_open = self.is_closed = False
        """Whether it was begun; whether it has ended since."""

    @property
    def is_call(self) -> bool:
        return self.kind in ("call", "custom")

    @property
    def text(self) -> str:
        return "".join(self.texts)

    @property
    def arguments(self) -> dict[str, Any]:
        """A call's arguments as the object that they are. Where they are none (the answer was cut in the middle, or the
        model wrote something else) their text is under `unparsed`."""
        text = self.text
        if not text.strip():
            return {}
        found = _json(text)
        return found if isinstance(found, dict) else {"unparsed": text}


class Blocks:
    """Deltas of the only choice in, steps out: `for step in blocks.feed(delta)`, and `blocks.end()` after the last."""

    def __init__(self) -> None:
        self.all: list[Block] = []
        self._rest: deque[Block] = deque()
        """The open one, then those that wait."""

    @property
    def open_text(self) -> Block | None:
        """The open block, if it is text and nothing waits behind it: then more text is simply its next piece."""
        if len(self._rest) == 1 and self._rest[0].kind == "text" and self._rest[0].is_open:
            return self._rest[0]
        return None

    @property
    def has_calls(self) -> bool:
        return any(block.is_call for block in self.all)

    def feed(self, delta: Mapping[str, Any]) -> Iterator[Step]:
        """What a delta, or a whole message, adds."""
        thought = False
        for name, kind in _FIELDS:
            text = delta.get(name)
            if not isinstance(text, str) or not text or (kind == "thought" and thought):
                continue
            thought = thought or kind == "thought"  # some servers tell it under both names
            self._text(kind, text)
        calls = delta.get("tool_calls")
        for place, call in enumerate(calls if isinstance(calls, list) else ()):
            if isinstance(call, dict):
                self._call(call, place)
        yield from self._steps(last=False)

    def end(self) -> Iterator[Step]:
        """Nothing more comes."""
        yield from self._steps(last=True)

    def _text(self, kind: Kind, text: str) -> None:
        if not self._rest or self._rest[-1].kind != kind:
            self._new(kind)
        self._rest[-1].waiting.append(text)

    def _call(self, told: dict[str, Any], place: int) -> None:
        number = told.get("index", place)
        block = next((one for one in self.all if one.is_call and one.call == number), None)
        kind, part, field = _CALLS[isinstance(told.get("custom"), dict)]
        if block is None:
            block = self._new(kind, number)
        words = told.get(part)
        words = words if isinstance(words, dict) else {}
        block.call_id = block.call_id or str(told.get("id") or "")
        block.name = block.name or str(words.get("name") or "")
        said = words.get(field)
        if isinstance(said, str) and said and block in self._rest:
            block.waiting.append(said)  # what comes after whole JSON is no part of it

    def _new(self, kind: Kind, call: int = -1) -> Block:
        block = Block(len(self.all), kind, call)
        self.all.append(block)
        self._rest.append(block)
        return block

    def _steps(self, *, last: bool) -> Iterator[Step]:
        while self._rest:
            block = self._rest[0]
            if not block.is_open:
                if block.is_call and not block.name and not last:
                    return  # a block is opened under its name
                block.is_open = True
                yield "open", block, ""
            if block.waiting:
                text = "".join(block.waiting)
                block.waiting.clear()
                block.texts.append(text)
                yield "more", block, text
            if not last and (len(self._rest) == 1 or not _is_over(block)):
                return
            self._rest.popleft()
            block.is_closed = True
            yield "close", block, ""


def _is_over(block: Block) -> bool:
    """Whether another block that waits may have its turn."""
    return not block.is_call or (block.kind == "call" and _json(block.text) is not None)


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
