"""Streams of chunks, cut in any way, and what a client makes of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

from trimtab.core.request import Chunk
from trimtab.dataplane.guard import OutScreen

Where: TypeAlias = tuple[int, str | int]
"""A choice, and a field of its delta or the index of a tool call."""
Piece: TypeAlias = tuple[Where, str]


def chunk(*pieces: Piece, finish: Iterable[int] = ()) -> Chunk:
    """One chunk with these pieces; choices in `finish` end with it."""
    choices: dict[int, dict[str, Any]] = {}
    ended = list(finish)
    for index in [*(where[0] for where, _ in pieces), *ended]:
        choices.setdefault(index, {"index": index, "delta": {}, "finish_reason": "stop" if index in ended else None})
    for (index, field), text in pieces:
        delta = choices[index]["delta"]
        if isinstance(field, str):
            delta[field] = text
        else:
            delta.setdefault("tool_calls", []).append({"index": field, "function": {"arguments": text}})
    return Chunk({"id": "c", "object": "chat.completion.chunk", "choices": list(choices.values())})


def pieces(chunk: Chunk) -> Iterator[Piece]:
    """Every piece of text in a chunk."""
    for choice in chunk.choices:
        for field, value in choice["delta"].items():
            if field == "tool_calls":
                for call in value:
                    yield (choice["index"], call["index"]), call["function"]["arguments"]
            elif isinstance(value, str) and field != "role":
                yield (choice["index"], field), value


def sent(screen: OutScreen, chunks: Iterable[Chunk]) -> dict[Where, str]:
    """What a client has of each text once all chunks went through the screen and it was finished."""
    texts: dict[Where, str] = {}
    for given in chunks:
        for part in filter(None, [screen.feed(given)]):
            _add(texts, part)
    for part in screen.finish():
        _add(texts, part)
    return texts


def content(screen: OutScreen, texts: Iterable[str]) -> str:
    """As `sent`, for one choice's content, cut as given."""
    return sent(screen, [chunk(((0, "content"), text)) for text in texts]).get((0, "content"), "")


def _add(texts: dict[Where, str], part: Chunk) -> None:
    for where, text in pieces(part):
        texts[where] = texts.get(where, "") + text
