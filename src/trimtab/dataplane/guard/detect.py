"""All that the way in looks for in one text: each check's findings, in order, none overlapping.

A string that is JSON itself (tool-call arguments) is read through its escapes, for every check alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

from trimtab.dataplane.guard.addresses import address_spans, is_json, may_hold_address, raw, unescaped
from trimtab.dataplane.guard.numbers import Span, cards, iban_numbers, may_hold_number, phones

Find = Callable[[str, bool, Sequence[str]], Iterable[Span]]


class Check(NamedTuple):
    """`kind`: the placeholder's word; `may`: False where there is surely nothing, at next to no cost."""

    kind: str
    may: Callable[[str], bool]
    find: Find


CHECKS: Final[dict[str, Check]] = {
    "email": Check("EMAIL", may_hold_address, lambda text, nested, regions: address_spans(text, nested)),
    "iban": Check("IBAN", may_hold_number, lambda text, nested, regions: iban_numbers(text)),
    "card": Check("CARD", may_hold_number, lambda text, nested, regions: cards(text)),
    "phone": Check("PHONE", may_hold_number, lambda text, nested, regions: phones(text, regions)),
}
"""In order of trust: what an earlier check finds, a later one does not see."""
_TAKEN: Final = ";"
"""Is part of no address and of no number."""


class Found(NamedTuple):
    """`[start, end)` of the text as it stands; `text` is without escapes."""

    start: int
    end: int
    text: str
    check: str
    identity: str


def may_hold(text: str, checks: Sequence[str]) -> bool:
    return any(CHECKS[check].may(text) for check in checks)


def detect(text: str, checks: Sequence[str], regions: Sequence[str], nested: bool | None = None) -> list[Found]:
    """`checks`: names of CHECKS. `nested`: whether to read through JSON's escapes; None: by the text itself."""
    nested = is_json(text) if nested is None else nested
    plain, ends, shifts = unescaped(text) if nested else (text, [0], [0])
    found: list[Found] = []
    left = plain
    for name, check in CHECKS.items():
        if name in checks and check.may(plain):
            spans = list(check.find(left, nested, regions))
            found += [Found(one.start, one.end, plain[one.start : one.end], name, one.identity) for one in spans]
            left = _without(left, spans)
    found.sort()
    if nested:
        return [Found(raw(one.start, ends, shifts), raw(one.end, ends, shifts), *one[2:]) for one in found]
    return found


def _without(text: str, spans: Sequence[Span]) -> str:
    """What one check has found is part of nothing that a later one finds: digits of a card before a phone number don't
    count as that number's."""
    pieces: list[str] = []
    end = 0
    for one in sorted(spans):
        pieces += (text[end : one.start], _TAKEN * (one.end - one.start))
        end = one.end
    return "".join([*pieces, text[end:]]) if pieces else text
