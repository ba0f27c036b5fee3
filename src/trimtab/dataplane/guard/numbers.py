"""Card numbers, IBANs and phone numbers in running text: found by shape, believed by checksum or numbering plan.

- *card*: 13 to 19 digits in groups, of a network that exists (ISO/IEC 7812 prefixes), with Luhn's check digit
  (`python-stdnum`). Without the prefix one in ten long order numbers would be one.
- *iban*: two letters, two check digits and up to 30 more in groups; country's length and mod 97 by `python-stdnum`.
- *phone*: `phonenumbers`, the numbering plans of all countries, leniency VALID. It costs milliseconds a kilobyte, so
  only stretches that could be one are shown to it; a number without `+` is read in the regions of the caller's markets.

Digits of any script count, invisible characters between them don't.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from unicodedata import digit

from trimtab.dataplane.guard.fold import IGNORABLE

_GAP: Final = rf"[ \-.\u00a0\u2007\u2009\u202f{IGNORABLE}]"
_digit_run = re.compile(rf"(?<!\w)\d(?:{_GAP}{{0,2}}\d){{12,}}")
_group = re.compile(r"\d+")
_CARD_DIGITS: Final = range(13, 20)
_MOST_GROUPS: Final = 19
"""Of one digit each."""
_iban = re.compile(rf"(?<![^\W_])[A-Za-z]{{2}}{_GAP}?\d{_GAP}?\d(?:{_GAP}{{0,2}}[A-Za-z0-9]){{11,30}}(?![^\W_])")
_phone = re.compile(rf"[+\uff0b(]?\d(?:[\s()./\u2010-\u2015\-{IGNORABLE}]{{0,3}}\d){{5,17}}")
_networks = re.compile(r"4|5[0-8]|6|3[0-9]|2[2-7]|9[0-9]")
_LETTERS_AROUND: Final = 3
REGION_OF_MARKET: Final = {"uk": "GB", "el": "GR"}
"""Where a market's usual name is not ISO 3166's."""


@lru_cache(maxsize=4096)
def regions_of(markets: tuple[str, ...]) -> tuple[str, ...]:
    """Markets, as tenants name them, as the regions of `phones`; names that are no country's are left out."""
    codes = (REGION_OF_MARKET.get(market.casefold(), market.upper()) for market in markets)
    return tuple(dict.fromkeys(code for code in codes if re.fullmatch("[A-Z]{2}", code)))


class Span(NamedTuple):
    """`[start, end)` of a text; `identity` is equal for equal values, however they were written."""

    start: int
    end: int
    identity: str


def cards(text: str) -> Iterator[Span]:
    """Any groups of digits side by side may be one, whatever number stands before or behind them. Where two overlap,
    all of both is taken: no digit of a card may stay because another number lent it some."""
    for run in _digit_run.finditer(text):
        groups = [match.span() for match in _group.finditer(text, run.start(), run.end())]
        if run.end() < len(text) and (text[run.end()].isalnum() or text[run.end()] == "_"):
            groups.pop()
        written = [_digits(text[start:end]) for start, end in groups]
        spans: list[tuple[int, int]] = []
        for first, (start, _) in enumerate(groups):
            digits = ""
            for index in range(first, min(first + _MOST_GROUPS, len(groups))):
                end = groups[index][1]
                digits += written[index]
                if len(digits) >= _CARD_DIGITS.stop:
                    break
                if len(digits) in _CARD_DIGITS and _is_card(digits):
                    if spans and start < spans[-1][1]:
                        spans[-1] = (spans[-1][0], max(end, spans[-1][1]))
                    else:
                        spans.append((start, end))
        for start, end in spans:
            yield Span(start, end, _digits(text[start:end]))


def _is_card(digits: str) -> bool:
    from stdnum import luhn  # who needs a check's name alone does not wait for it

    return bool(_networks.match(digits)) and bool(digits.strip("0")) and luhn.is_valid(digits)


def iban_numbers(text: str) -> Iterator[Span]:
    place = 0
    while match := _iban.search(text, place):
        end = _iban_end(match[0])
        place = match.start() + (end or 1)  # a candidate may reach into the next one, valid or not
        if end:
            yield Span(match.start(), place, _compact(match[0][:end]))


def phones(text: str, regions: Sequence[str]) -> Iterator[Span]:
    """`regions`: ISO 3166 codes in which a national number may be meant."""
    place = 0
    while match := _phone.search(text, place):
        place = match.end()
        start = max(0, match.start() - _LETTERS_AROUND)
        window = text[start : match.end() + _LETTERS_AROUND]
        for found_start, found_end, identity in _matched(window, tuple(regions)):
            yield Span(start + found_start, start + found_end, identity)
            place = start + found_end  # a candidate may reach into the next number


def may_hold_number(text: str) -> bool:
    """False: there is surely none of the three. What nearly every text is asked: six digits anywhere?"""
    return _six_digits.search(text) is not None


_six_digits = re.compile(r"(?:\d\D{0,3}){6}")


@lru_cache(maxsize=1024)
def _matched(window: str, regions: tuple[str, ...]) -> tuple[tuple[int, int, str], ...]:
    """Phone numbers of one stretch; conversations repeat themselves, so the last ones are kept in memory."""
    import phonenumbers

    for region in (None, *regions):
        if region is None and "+" not in window and "\uff0b" not in window:
            continue
        found = [
            (match.start, match.end, phonenumbers.format_number(match.number, phonenumbers.PhoneNumberFormat.E164))
            for match in phonenumbers.PhoneNumberMatcher(window, region)
        ]
        if found:
            return tuple(found)
    return ()


def _iban_end(candidate: str) -> int:
    """How much of a candidate is a valid IBAN: all of it, or without trailing words that follow it; 0 for none."""
    from stdnum import iban

    ends = [len(candidate)]
    ends += [match.start() for match in re.finditer(_GAP, candidate)][::-1]
    for end in ends:
        if len(_compact(candidate[:end])) < 15:
            break
        if iban.is_valid(_compact(candidate[:end])):
            return end
    return 0


def _compact(text: str) -> str:
    return re.sub(_GAP, "", text).upper()


def _digits(text: str) -> str:
    if text.isascii() and text.isdigit():
        return text
    return "".join(str(digit(character)) for character in text if character.isdigit())
