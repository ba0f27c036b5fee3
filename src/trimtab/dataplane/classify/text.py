"""What a conversation says, whatever its shape: the last user turn, and what came before it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from trimtab.core.request import Message
from trimtab.foundations.embed import cleaned

_HEAD, _TAIL = 3000, 1000  # characters of a turn that are read: a question stands at the start or at the end of a text
_MOST_PARTS = 64
_BEFORE: Final = 400
"""Characters of earlier user turns, the latest first, that may say in which language the talk is held."""
_NO_PROSE = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|www\.\S+|[^\s@]{1,64}@\S+|<[A-Z_]{1,40}\d{0,6}>|\d+", re.DOTALL
)
_SIGNS_OF_IT = ("`", "@", "<", "://", "www.")
_digits = re.compile(r"\d+")


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """The last user turn. Texts are clean (no NUL, no lone surrogates) and bounded."""

    text: str
    before: str
    """Earlier user turns, for their language."""
    turns: int
    """User turns, this one counted."""
    tools: int
    """Results of tools among the messages."""

    @property
    def prose(self) -> str:
        """The text's beginning without what is no language: code, addresses, placeholders, numbers."""
        return prose(self.text, _BEFORE)


def last_turn(messages: Sequence[Message]) -> Turn | None:
    """None where no user has spoken."""
    said = [message for message in messages if _role(message) == "user"]
    if not said:
        return None
    before: list[str] = []
    room = _BEFORE
    for message in reversed(said[:-1]):
        if room <= 0:
            break
        before.append(prose(_text_of(message), room)[:room])
        room -= len(before[-1])
    return Turn(
        text=_text_of(said[-1]),
        before=" ".join(before).strip(),
        turns=len(said),
        tools=sum(_role(message) in ("tool", "function") for message in messages),
    )


def prose(text: str, most: int) -> str:
    """The first `most` characters at least, if there are so many."""
    # the whole pattern is tried at every letter: 30 us a KB, where nearly every text has nothing but digits to lose
    if any(sign in text for sign in _SIGNS_OF_IT):
        return _NO_PROSE.sub(" ", text).strip()
    start = _digits.sub(" ", text[: 2 * most]).strip()
    return start if len(start) >= most or len(text) <= 2 * most else _digits.sub(" ", text).strip()


def _role(message: Any) -> object:
    return message.get("role") if isinstance(message, Mapping) else None


def _text_of(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    text = content if isinstance(content, str) else "\n".join(_parts(content))
    if len(text) > _HEAD + _TAIL:
        text = f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    return cleaned(text, _HEAD + _TAIL + 1).strip()


def _parts(content: Any) -> Iterator[str]:
    """Texts of a list of parts; images, audio and what nobody knows say nothing."""
    if not isinstance(content, (list, tuple)):
        return
    for part in content[:_MOST_PARTS]:
        text = part.get("text") if isinstance(part, Mapping) else part
        if isinstance(text, str):
            yield text
