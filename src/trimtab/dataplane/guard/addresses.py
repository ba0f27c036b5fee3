"""E-mail addresses in running text, in time linear in the text.

An address is `local@label.label...`: a dot-atom (RFC 5321), a domain with at least one dot whose last label begins with
a letter and has two characters or more, letters of any script on both sides (SMTPUTF8, IDN). Invisible characters and
compatibility forms (`＠`, full-width letters) are taken for what they look like.

The domain is one possessive regular expression anchored at the `@`; the local part is read backwards from it to the
`@` before at most. So no character is looked at more than a few times. The obvious `[\\w.+-]+@...` is quadratic: on a
long run without an `@` it starts anew at each character.

Where writing leaves a choice:
- `= / ? & | { } * `` ` `` may stand in a local part, but in practice they end one (`?to=a@b.de`, `*a@b.de*`): they do
  so here, unless they stand right before the `@`.
- Chinese, Japanese, Korean, Thai and their neighbours set no spaces: where such text touches an ASCII address, the
  address ends (`请写信到a@b.com谢谢`).
- A string that is JSON itself (tool-call arguments, tool results) is read with its escapes: in `"...\\na@b.de"` the
  `n` belongs to the escape, and `m\\u00fcnchen.de` is a domain.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from typing import Final
from unicodedata import normalize

from trimtab.dataplane.guard.fold import IGNORABLE, visible
from trimtab.dataplane.guard.numbers import Span

_AT: Final = "@\uff20\ufe6b"
_MARKS: Final = (  # \w has letters but not the marks that Indic, Arabic, Thai and other words are written with
    "\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670"
    "\u06d6-\u06dc\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0900-\u0963\u0966-\u0dff\u0e31-\u0e4e\u0eb1-\u0ece"
    "\u0f71-\u0f84\u102b-\u103e\u17b6-\u17d3"
)
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3000-\u30ff\u3130-\u318f\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
)
_SEPARATORS: Final = r"=/?&|{}*`"
_SPECIAL: Final = r"!#$%'+^~.\-_" + "\uff0b\uff0d\uff0e\uff3f"
_LABEL: Final = rf"[\w{_MARKS}{IGNORABLE}-]"
_ASCII_LABEL: Final = rf"[A-Za-z0-9{IGNORABLE}-]"
# An ideographic full stop is a dot of a domain (RFC 3490), but after ASCII it more often ends the sentence.
_DOT: Final = r"(?:[.\uff0e]|[\u3002\uff61](?=[A-Za-z0-9])|(?<![A-Za-z0-9])[\u3002\uff61])"

_domain = re.compile(rf"[{_AT}](?:{_LABEL}++{_DOT})+[{IGNORABLE}]*+[^\W\d_]{_LABEL}++")
_ascii_domain = re.compile(rf"[{_AT}](?:{_ASCII_LABEL}++[.\uff0e])+[A-Za-z]{_ASCII_LABEL}++(?=[{_UNSPACED}])")
# These three read backwards.
_local = re.compile(rf"[\w{_MARKS}{IGNORABLE}{_SPECIAL}{_SEPARATORS}]+")
_ascii_local = re.compile(rf"[A-Za-z0-9{IGNORABLE}{_SPECIAL}]*[A-Za-z0-9][{IGNORABLE}{_SPECIAL}]*(?=[{_UNSPACED}])")
_last_piece = re.compile(rf"[{_SEPARATORS}]*[^{_SEPARATORS}]+")

_leading = re.compile(rf"[^\w{_MARKS}]+")
_trailing = re.compile(rf"[{IGNORABLE}_-]+")  # backwards too
_escape = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_inner_escape = re.compile(r"u[0-9a-fA-F]{4}|[bfnrt]")
_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}


def may_hold_address(text: str) -> bool:
    """False: there is surely no address. The only question that nearly every text is asked."""
    if "@" in text or "u0040" in text:
        return True
    return not text.isascii() and ("\uff20" in text or "\ufe6b" in text)


def address_spans(text: str, nested: bool) -> Iterator[Span]:
    """All addresses, in order, none overlapping. `nested`: escapes of one level of JSON may be left in the text."""
    for start, end in _spans(text, nested):
        yield Span(start, end, _identity(text[start:end]))


def is_json(text: str) -> bool:
    """Whether a string is to be read through JSON's escapes."""
    return "\\" in text and text.lstrip()[:1] in ("{", "[", '"')


def _spans(text: str, nested: bool) -> Iterator[tuple[int, int]]:
    floor = 0
    for match in _domain.finditer(text):
        at = match.start()
        start = _start(text, floor, at, nested)
        floor = at + 1
        if start is not None:
            early = None if match[0].isascii() else _ascii_domain.match(text, at)
            end = (early or match).end()
            trailing = _trailing.match(text[at:end][::-1])
            floor = end - trailing.end() if trailing else end
            yield start, floor


def _start(text: str, floor: int, at: int, nested: bool) -> int | None:
    """Where the local part that ends at `at` begins; None if there is none after `floor`."""
    backwards = text[floor:at][::-1]
    run = _local.match(backwards)
    if run is None:
        return None
    tight = None if backwards.isascii() else _ascii_local.match(backwards)
    piece = tight or _last_piece.match(backwards, 0, run.end())
    start = at - (piece.end() if piece else run.end())
    if nested and start and text[start - 1] == "\\":  # JSON within JSON: one level of escapes is left
        inner = _inner_escape.match(text, start, at - 1)
        start = inner.end() if inner else start
    leading = _leading.match(text, start, at)
    start = leading.end() if leading else start
    return start if start < at else None


def _identity(address: str) -> str:
    """The local part as it is, the domain without case; both as they look."""
    local, _, domain = normalize("NFKC", visible(address)).replace("\u3002", ".").rpartition("@")
    return f"{local}@{domain.casefold()}"


def unescaped(text: str) -> tuple[str, list[int], list[int]]:
    """The text without JSON's escapes; and from which of its positions on the raw text is how much further."""
    pieces: list[str] = []
    ends, shifts = [0], [0]
    length = last = 0
    for match in _escape.finditer(text):
        code, letter = match.groups()
        character = chr(int(code, 16)) if code else _CONTROLS.get(letter, letter)
        pieces += (text[last : match.start()], character)
        length += match.start() - last + 1
        last = match.end()
        ends.append(length)
        shifts.append(last - length)
    pieces.append(text[last:])
    return "".join(pieces), ends, shifts


def raw(position: int, ends: list[int], shifts: list[int]) -> int:
    """Where a position of `unescaped`'s text is in the raw one."""
    return position + shifts[bisect_right(ends, position) - 1]
