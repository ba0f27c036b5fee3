"""W3C Trace Context (www.w3.org/TR/trace-context-1): whose trace a request is part of, in and out.

What comes is read by the rules or not at all: a broken `traceparent` begins a new trace, and drops `tracestate` with
it. A new trace's id is the 128 bits of the record's ULID, span ids are hashes of the record's id and a name: spans made
later of the record, here or elsewhere, have the ids that upstreams were told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from hashlib import blake2b
from typing import Final

import msgspec

from trimtab.core.ids import ulid_bits
from trimtab.core.record import Record
from trimtab.core.rows import TraceRow
from trimtab.core.telemetry import Telemetry

MOST_MEMBERS: Final = 32
MOST_STATE: Final = 512
"""Characters of `tracestate` that are passed on, whole members: what the standard asks for at least, so that no caller
can make an upstream's head too large."""
_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_KEY = r"(?:[a-z][a-z0-9_*/-]{0,255}|[a-z0-9][a-z0-9_*/-]{0,240}@[a-z][a-z0-9_*/-]{0,13})"
_MEMBER = re.compile(rf"({_KEY})=[ -+\--<>-~]{{0,255}}[!-+\--<>-~]")
_SAMPLED: Final = 1
_R_BITS: Final = 56


class Parent(msgspec.Struct, frozen=True):
    """What a caller's headers say. `state`: its `tracestate`, as it may be passed on; empty where it sent none."""

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""


class Context(msgspec.Struct, frozen=True):
    """A request's place in its trace. `record_id` is what its span ids are made of."""

    record_id: str
    trace_id: str
    sampled: bool
    state: str
    telemetry: Telemetry

    def headers(self, span_id: str, *, private: bool) -> tuple[tuple[str, str], ...]:
        """What an upstream is sent by a span of ours; nothing where it is not to be told."""
        told = self.telemetry.propagate
        if told == "none" or (told == "private" and not private):
            return ()
        parent = ("traceparent", f"00-{self.trace_id}-{span_id}-{'01' if self.sampled else '00'}")
        return (parent, ("tracestate", self.state)) if self.state else (parent,)


def begin(record: Record, headers: Mapping[str, str], telemetry: Telemetry) -> Context:
    """The caller's trace gone on with, or a new one; noted in the record. `headers`: names in lower case, repeated ones
    joined by a comma. Never raises."""
    parent = parse(headers.get("traceparent"), headers.get("tracestate"))
    if parent is None:
        trace_id = f"{ulid_bits(record.id):032x}"
        sampled, state = telemetry.otlp is not None and within(trace_id, telemetry.share), ""
    else:
        trace_id, sampled, state = parent.trace_id, parent.sampled, parent.state
    record.trace = TraceRow(
        trace_id=trace_id,
        span_id=span_id(record.id, "request"),
        parent_span_id=None if parent is None else parent.span_id,
        sampled=sampled,
    )
    return Context(record.id, trace_id, sampled, state, telemetry)


def parse(traceparent: str | None, tracestate: str | None = None) -> Parent | None:
    """None where there is no parent, or none that the rules allow: then a new trace begins."""
    found = _PARENT.fullmatch(traceparent) if traceparent is not None else None
    if found is None:
        return None
    version, trace_id, span, flags, rest = found.groups()
    if version == "ff" or (version == "00" and rest is not None) or not int(trace_id, 16) or not int(span, 16):
        return None
    return Parent(trace_id, span, bool(int(flags, 16) & _SAMPLED), _state(tracestate or ""))


def span_id(record_id: str, name: str) -> str:
    """16 hex, of a span of this record."""
    return blake2b(f"{record_id}/{name}".encode(), digest_size=8).hexdigest()


def within(trace_id: str, share: float) -> bool:
    """Whether a trace is of the share that is kept: its last 56 bits are at or above 1 - share of them, as
    OpenTelemetry's consistent probability sampling has it (the last 7 bytes are random where anything is)."""
    return int(trace_id[-14:], 16) >= round((1 - share) * (1 << _R_BITS))


def _state(text: str) -> str:
    """The members, empty ones left out; nothing at all where they are too many, doubled, or not of the grammar."""
    members = [member for part in text.split(",") if (member := part.strip(" \t"))]
    if len(members) > MOST_MEMBERS:
        return ""
    keys = set()
    for member in members:
        found = _MEMBER.fullmatch(member)
        if found is None or found[1] in keys:
            return ""
        keys.add(found[1])
    while sum(map(len, members)) + len(members) - 1 > MOST_STATE:
        members.pop()
    return ",".join(members)


__all__ = ["Context", "Parent", "begin", "parse", "span_id", "within"]
