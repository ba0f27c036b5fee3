"""The detectors of the way in, on an answer's stream that is cut anywhere: what they find leaves as `<EMAIL>`.

A finding can't be told before it is whole, so text is held from where one may have begun: the last word (an address),
the last run of digits and what may stand between them (a card, a phone number), the last two letters and digits that
may begin an IBAN. Each is bounded, so nothing grows with the stream: what is longer than any address or number is
none. What the caller wrote themselves is a placeholder at this point, and is no finding.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

from trimtab.dataplane.guard.detect import CHECKS, detect, may_hold
from trimtab.dataplane.guard.fold import IGNORABLE

_ADDRESS: Final = 320
"""An address has 64 + 1 + 255 characters at most (RFC 5321, 4.5.3.1)."""
_NUMBER: Final = 1024
"""Digits with their gaps. Cards have 19 digits, phone numbers 17; but where numbers follow each other, which digits are
one number can be said of all of them together only."""
_IBAN: Final = 110
"""34 characters with up to two between them."""
_CONTEXT: Final = 3
"""How much of what has left a detector may look back at (numbers.py, the letters before a phone number)."""

_numeric = re.compile(rf"[\d\s()./+\uff0b\u2010-\u2015\-{IGNORABLE}]")
_iban_begun = re.compile(
    rf"(?<![^\W_])[A-Za-z]{{1,2}}(?:[ \-.\u00a0\u2007\u2009\u202f{IGNORABLE}]{{0,2}}[A-Za-z0-9]){{0,34}}"
    rf"[ \-.\u00a0\u2007\u2009\u202f{IGNORABLE}]{{0,2}}\Z"
)
_iban_head = re.compile(rf"[A-Za-z]{{2}}[\s\-.{IGNORABLE}]?\d[\s\-.{IGNORABLE}]?\d")


class RedactStream:
    """One stream of text. `held` may still become a finding; `hits`: how many were replaced, by check.

    `regions`: ISO 3166 codes in which a phone number without `+` may be meant. `json`: the stream is JSON, and is read
    through its escapes.
    """

    __slots__ = ("_before", "_checks", "_json", "_regions", "held", "hits")

    def __init__(self, checks: Sequence[str], regions: Sequence[str], *, json: bool) -> None:
        self._checks, self._regions, self._json = checks, regions, json
        self._before = ""
        self.held = ""
        self.hits: Counter[str] = Counter()

    def feed(self, text: str, last: bool = False) -> str:
        """What may go now, of this text and what was held. `last`: nothing may be held any longer."""
        text = self.held + text
        cut = len(text) if last else self._open(text)
        if not cut:  # nothing can go, so nothing need be looked for yet
            self.held = text
            return ""
        found = self._found(text)
        for one in found:
            if one[0] < cut < one[1]:
                cut = one[0]
        self.held = text[cut:]
        pieces: list[str] = []
        end = 0
        for start, stop, check in found:
            if stop <= cut:
                pieces += (text[end:start], f"<{CHECKS[check].kind}>")
                end = stop
                self.hits[check] += 1
        out = "".join([*pieces, text[end:cut]]) if pieces else text[:cut]
        self._before = (self._before + text[:cut])[-_CONTEXT:]
        return out

    def _found(self, text: str) -> list[tuple[int, int, str]]:
        """Findings of `text`; what has left before it is only looked at."""
        if not may_hold(text, self._checks):
            return []
        shift = len(self._before)
        return [
            (max(0, one.start - shift), one.end - shift, one.check)
            for one in detect(self._before + text, self._checks, self._regions, nested=self._json)
            if one.end > shift
        ]

    def _open(self, text: str) -> int:
        """Where the longest ending of `text` that may still become a finding begins."""
        word = len(text)
        floor = max(0, word - _ADDRESS)
        while word > floor and not text[word - 1].isspace():
            word -= 1
        cut = word
        number = len(text)
        floor = max(0, number - _NUMBER)
        while number > floor and _numeric.match(text[number - 1]):
            number -= 1
        while number < len(text) and not (text[number].isdigit() or text[number] in "+(\uff0b"):
            number += 1
        cut = min(cut, number)
        if "iban" in self._checks:
            cut = min(cut, self._iban(text))
        return cut

    def _iban(self, text: str) -> int:
        """Where an IBAN may have begun that is not yet whole."""
        start = max(0, len(text) - _IBAN)
        for match in _iban_head.finditer(text, start):
            if _iban_begun.match(text, match.start()):
                return match.start()
        tail = re.search(rf"(?<![^\W_])[A-Za-z]{{2}}[\s\-.{IGNORABLE}]?(?:\d[\s\-.{IGNORABLE}]?)?\Z", text[start:])
        return start + tail.start() if tail else len(text)


__all__ = ["RedactStream"]
