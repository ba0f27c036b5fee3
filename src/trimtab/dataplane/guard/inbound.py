"""The way in: what must not reach a model becomes a typed, numbered placeholder; the originals stay in the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from trimtab.core.request import Message
from trimtab.core.rows import GuardRow
from trimtab.dataplane.guard.checks import CHECKS_IN, known
from trimtab.dataplane.guard.detect import CHECKS, detect, may_hold
from trimtab.dataplane.guard.walk import rewrite, strings

_taken = re.compile(rf"({'|'.join(check.kind for check in CHECKS.values())})_([1-9][0-9]*)")


class Screened(msgspec.Struct, frozen=True):
    """Texts that may go further. `values`: each placeholder with what it stands for, as it was first written."""

    messages: tuple[Message, ...]
    extra: dict[str, Any]
    values: tuple[tuple[str, str], ...]
    rows: list[GuardRow]


def screen_in(
    messages: tuple[Message, ...], extra: dict[str, Any], checks: Sequence[str], regions: Sequence[str] = ()
) -> Screened:
    """Screen every string of the messages and of the body's other fields; names of fields are left alone.

    `regions`: ISO 3166 codes in which a phone number without `+` may be meant. Where nothing is found the same objects
    come back. Raises ValueError for an unknown check.
    """
    wanted = known(checks, CHECKS_IN)
    if not wanted:
        return Screened(messages, extra, (), [])
    if not any(may_hold(text, wanted) for text in strings(messages, extra)):
        return Screened(messages, extra, (), [_row(check, 0) for check in wanted])
    redactor = _Redactor(wanted, regions, messages, extra)
    given = list(messages)
    clean = rewrite(given, redactor.redact)
    clean_extra = rewrite(extra, redactor.redact)
    return Screened(
        messages if clean is given else tuple(clean),
        clean_extra,
        tuple(redactor.values.values()),
        [_row(check, redactor.hits[check]) for check in wanted],
    )


def holds(checks: Sequence[str], regions: Sequence[str], *roots: Any) -> bool:
    """Whether anything below `roots` holds what these checks find: names of fields and numbers too, which `screen_in`
    leaves alone. Raises ValueError for an unknown check."""
    wanted = known(checks, CHECKS_IN)
    texts = strings(*roots, keys=True, numbers=True)
    return any(bool(detect(text, wanted, regions)) for text in texts if may_hold(text, wanted))


def _row(check: str, hits: int) -> GuardRow:
    return GuardRow(stage="in", check=check, hits=hits, action="redacted" if hits else "none")


class _Redactor:
    """Numbers by order of first appearance, for each kind; never one that the input itself mentions."""

    def __init__(self, checks: Sequence[str], regions: Sequence[str], *inputs: Any) -> None:
        self._checks, self._regions = checks, regions
        self.values: dict[tuple[str, str], tuple[str, str]] = {}
        """By check and identity: placeholder, original."""
        self.hits = dict.fromkeys(checks, 0)
        texts = strings(*inputs, keys=True)
        self._taken = {found for text in texts if "_" in text for found in _taken.findall(text)}
        self._last = dict.fromkeys(checks, 0)

    def redact(self, text: str) -> str:
        if not may_hold(text, self._checks):
            return text
        pieces: list[str] = []
        end = 0
        for found in detect(text, self._checks, self._regions):
            pieces += (text[end : found.start], self._placeholder(found.check, found.identity, found.text))
            end = found.end
            self.hits[found.check] += 1
        return "".join([*pieces, text[end:]]) if pieces else text

    def _placeholder(self, check: str, identity: str, original: str) -> str:
        known_value = self.values.get((check, identity))
        if known_value is None:
            kind = CHECKS[check].kind
            self._last[check] += 1
            while (kind, str(self._last[check])) in self._taken:
                self._last[check] += 1
            known_value = self.values[check, identity] = (f"<{kind}_{self._last[check]}>", original)
        return known_value[0]
