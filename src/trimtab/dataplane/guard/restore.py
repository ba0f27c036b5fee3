"""Placeholders of this request become the caller's own values again, in a stream that is cut anywhere.

A placeholder begins with `<`, ends with `>` and has neither inside, so no placeholder is the beginning of another
(`<EMAIL_1>`, `<EMAIL_11>`), none overlaps another, and what has to be held back is at most the last `<` and what
follows it. Inside JSON (tool-call arguments) servers may write both as escapes, and the value is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

_mark, _json_mark = re.compile("<"), re.compile(r"[<\\]")
_plain = re.compile("<[A-Z]+_[0-9]+>")
_json = re.compile(r"(?:<|\\u003[cC])[A-Z]+_[0-9]+(?:>|\\u003[eE])")


class Forms(msgspec.Struct, frozen=True):
    """How placeholders may be written in one kind of stream, and what each form becomes."""

    values: dict[str, str]
    starts: frozenset[str]
    """Every text that is the beginning of a form and not all of it."""
    longest: int
    mark: re.Pattern[str]
    """Where this is not found, a text neither holds nor begins a form."""
    pattern: re.Pattern[str]


def forms(values: Sequence[tuple[str, str]], *, json: bool) -> Forms:
    """The forms of these (placeholder, value) pairs."""
    table = dict(values)
    if json:
        table = {}
        for placeholder, value in values:
            escaped = msgspec.json.encode(value).decode()[1:-1]
            for opening, closing in (("<", ">"), (r"\u003c", r"\u003e"), (r"\u003C", r"\u003E")):
                table[opening + placeholder[1:-1] + closing] = escaped
    starts = frozenset(form[:length] for form in table for length in range(1, len(form)))
    longest = max(map(len, table), default=0)
    return Forms(table, starts, longest, _json_mark if json else _mark, _json if json else _plain)


class RestoreStream:
    """One stream of text; `held` may still become a placeholder. `hits`: how many were restored."""

    __slots__ = ("_forms", "held", "hits")

    def __init__(self, forms: Forms) -> None:
        self._forms = forms
        self.held = ""
        self.hits = 0

    def feed(self, text: str, last: bool = False) -> str:
        """What may go now, of this text and what was held. `last`: nothing may be held any longer."""
        if not self.held and self._forms.mark.search(text) is None:
            return text
        text, self.held = self.held + text, ""
        if not last:
            cut = self._open(text)
            text, self.held = text[:cut], text[cut:]
        return self._forms.pattern.sub(self._restored, text)

    def _open(self, text: str) -> int:
        """Where the longest ending of `text` that may still become a placeholder begins."""
        starts = self._forms.starts
        for cut in range(max(0, len(text) - self._forms.longest + 1), len(text)):
            if text[cut:] in starts:
                return cut
        return len(text)

    def _restored(self, match: re.Match[str]) -> str:
        value = self._forms.values.get(match[0])
        if value is None:
            return match[0]
        self.hits += 1
        return value
