"""The way in: what must not reach a model becomes a typed, numbered placeholder; the originals stay in the request."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from trimtab.core.record import GuardRow
from trimtab.core.request import Message
from trimtab.dataplane.guard.addresses import addresses, may_hold_address
from trimtab.dataplane.guard.checks import CHECKS_IN, known
from trimtab.dataplane.guard.walk import rewrite, strings

_number = re.compile(r"EMAIL_([1-9][0-9]*)")


class Screened(msgspec.Struct, frozen=True):
    """Texts that may go further. `values`: each placeholder with what it stands for, as it was first written."""

    messages: tuple[Message, ...]
    extra: dict[str, Any]
    values: tuple[tuple[str, str], ...]
    rows: list[GuardRow]


def screen_in(messages: tuple[Message, ...], extra: dict[str, Any], checks: Sequence[str]) -> Screened:
    """Screen every string of the messages and of the body's other fields; names of fields are left alone.

    Where nothing is found the same objects come back. Raises ValueError for an unknown check.
    """
    if "email" not in known(checks, CHECKS_IN):
        return Screened(messages, extra, (), [])
    if not any(may_hold_address(text) for text in strings(messages, extra)):
        return Screened(messages, extra, (), [_row(0)])
    redactor = _Redactor(messages, extra)
    given = list(messages)
    clean = rewrite(given, redactor.redact)
    clean_extra = rewrite(extra, redactor.redact)
    return Screened(
        messages if clean is given else tuple(clean),
        clean_extra,
        tuple(redactor.values.values()),
        [_row(redactor.hits)],
    )


def _row(hits: int) -> GuardRow:
    return GuardRow(stage="in", check="email", hits=hits, action="redacted" if hits else "none")


class _Redactor:
    """Numbers by order of first appearance; never a number that the input itself mentions."""

    def __init__(self, *inputs: Any) -> None:
        self.values: dict[str, tuple[str, str]] = {}
        """By identity: placeholder, original."""
        self.hits = 0
        texts = strings(*inputs, keys=True)
        self._taken = {number for text in texts if "EMAIL_" in text for number in _number.findall(text)}
        self._last = 0

    def redact(self, text: str) -> str:
        if not may_hold_address(text):
            return text
        pieces: list[str] = []
        end = 0
        for found in addresses(text):
            pieces += (text[end : found.start], self._placeholder(found.identity, found.text))
            end = found.end
            self.hits += 1
        return "".join([*pieces, text[end:]]) if pieces else text

    def _placeholder(self, identity: str, original: str) -> str:
        known_value = self.values.get(identity)
        if known_value is None:
            self._last += 1
            while str(self._last) in self._taken:
                self._last += 1
            known_value = self.values[identity] = (f"<EMAIL_{self._last}>", original)
        return known_value[0]
