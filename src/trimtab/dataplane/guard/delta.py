"""The guarded streams of one choice, and the parts of a delta that hold them. See outbound.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias

from trimtab.core.request import CALL_PARTS
from trimtab.dataplane.guard.deny import DenyStream
from trimtab.dataplane.guard.redact import RedactStream
from trimtab.dataplane.guard.restore import RestoreStream

Name: TypeAlias = tuple[str | int, ...]
"""Of a guarded stream within its choice: the delta's field, or the tool call's index, its part and the part's field."""

_BARE_CALL: Final = frozenset({"index", "type", *(part for part, _ in CALL_PARTS)})


class GuardedStream:
    """One guarded stream: redacted while the caller's own values are still placeholders, restored, then searched."""

    __slots__ = ("deny", "redact", "restore")

    def __init__(self, redact: RedactStream | None, restore: RestoreStream | None, deny: DenyStream | None) -> None:
        self.redact = redact
        self.restore = restore
        self.deny = deny

    def feed(self, text: str, last: bool) -> str:
        out = text if self.redact is None else self.redact.feed(text, last)
        out = out if self.restore is None else self.restore.feed(out, last)
        return out if self.deny is None else self.deny.feed(out, last)

    @property
    def holds(self) -> bool:
        if (self.redact and self.redact.held) or (self.restore and self.restore.held):
            return True
        return bool(self.deny and (self.deny.holds or self.deny.violated))


class ChoiceState:
    """What is known of one choice: its streams, and logprobs whose text is still held."""

    __slots__ = ("_redacted", "logprobs", "streams")

    def __init__(self) -> None:
        self._redacted = 0
        self.streams: dict[Name, GuardedStream] = {}
        self.logprobs: list[dict[str, Any]] = []

    @property
    def idle(self) -> bool:
        """Nothing is held."""
        return not self.logprobs and not any(stream.holds for stream in self.streams.values())

    def ready_logprobs(self) -> dict[str, Any] | None:
        """The entries that waited, once no text of the choice is held."""
        if not self.logprobs or any(len(name) == 1 and stream.holds for name, stream in self.streams.items()):
            return None
        entries, self.logprobs = self.logprobs, []
        redacted = sum(stream.redact.hits.total() for stream in self.streams.values() if stream.redact is not None)
        if redacted > self._redacted:  # the tokens would tell what was taken out
            self._redacted = redacted
            return None
        return entries[0] if len(entries) == 1 else _joined(entries)


def tool_calls(calls: list[Any], text: Callable[[Name, str], str]) -> list[Any]:
    """Tool calls with their arguments screened; a call that is left with nothing to say is left out."""
    clean: list[Any] = []
    changed = False
    for position, call in enumerate(calls):
        new = call
        if isinstance(call, dict):
            index = call.get("index", position)
            for part, field in CALL_PARTS:
                inner = new.get(part)
                if isinstance(inner, dict):
                    screened = part_of((index, part), inner, field, text)
                    if screened is not inner:
                        new = {**new, part: screened}
        changed = changed or new is not call
        if new is call or not _says_nothing(new):
            clean.append(new)
    return clean if changed else calls


def part_of(name: Name, part: dict[str, Any], field: str, text: Callable[[Name, str], str]) -> dict[str, Any]:
    """A part with its text screened: the same object, or a copy without the text if that became empty."""
    value = part.get(field)
    if not isinstance(value, str):
        return part
    new = text((*name, field), value)
    if new is value:
        return part
    if new or len(part) > 1:
        return {**part, field: new}
    return {}


def _says_nothing(call: dict[str, Any]) -> bool:
    return call.keys() <= _BARE_CALL and not any(call.get(part) for part, _ in CALL_PARTS)


def _joined(entries: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Several chunks' logprobs as one: lists of tokens one after the other."""
    joined: dict[str, Any] = {}
    for entry in entries:
        for name, tokens in entry.items():
            known = joined.get(name)
            both = isinstance(tokens, list) and isinstance(known, list)
            joined[name] = known + tokens if both else tokens or known
    return joined
