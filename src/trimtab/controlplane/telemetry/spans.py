"""A record as spans: one of the request, one of each stage, one of each attempt. A pure function of the row.

The request's span is the server's, under the caller's if it told one. Stages and attempts are its children; attempts
are not put under a stage, since `infer` is one sum over all plans. Ids are in the row or hashes of it, so that spans of
the same row are the same wherever they are made. There is no text in a record, so there is none here.

`gen_ai.usage.*` stands on the attempts alone, as the conventions have it: whoever adds it up over all spans must not
count twice. What a request took in all is `trimtab.tokens.*`, on its own span.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, TypeAlias

import msgspec

from trimtab.controlplane.telemetry import names as n
from trimtab.core.clock import NS_PER_MS
from trimtab.core.record import Record
from trimtab.core.rows import Attempt, TraceRow
from trimtab.core.trace import span_id

Value: TypeAlias = str | bool | int | float | tuple[str, ...]
Attributes: TypeAlias = Mapping[str, Value]
_EMBEDDINGS: Final = "/v1/embeddings"
_MS_PER_S: Final = 1000


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """One span. Times are nanoseconds since 1970 (UTC); ids are hex. `error`: what failed, a code or a reason."""

    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: Literal["server", "client", "internal"]
    start_ns: int
    end_ns: int
    attributes: Attributes
    error: str | None = None


def spans(record: Record) -> tuple[Span, ...]:
    """The request's span first. Nothing for a row that is no request's, or one of a time without traces."""
    if record.kind != "request" or record.trace is None:
        return ()
    return (_request(record, record.trace), *_stages(record, record.trace), *_attempts(record, record.trace))


def failed(record: Record) -> bool:
    """Whether the gateway failed the request: a status of 500 and above, also where a stream broke in the middle. What
    it refused because of who asked (4xx), and callers who hung up (499), are no faults of its own."""
    return (record.status or 0) >= 500


def _request(record: Record, trace: TraceRow) -> Span:
    error = record.code or str(record.status) if failed(record) else None
    tokens, cost, met, contract = record.tokens, record.cost, record.met, record.contract
    told: dict[str, Value | None] = {
        n.HTTP_METHOD: "POST",
        n.HTTP_ROUTE: record.route,
        n.HTTP_STATUS: record.status,
        n.ERROR_TYPE: error,
        n.CONVERSATION: record.session,
        "trimtab.record.id": record.id,
        "trimtab.tenant": record.tenant,
        "trimtab.channel": record.channel,
        "trimtab.path": record.path,
        "trimtab.tier": record.tier,
        "trimtab.variant": record.variant,
        "trimtab.replica": record.replica,
        "trimtab.code": record.code,
        "trimtab.rule": record.rule,
        "trimtab.finish_reason": record.finish_reason,
        "trimtab.ttft_ms": record.ttft_ms,
        "trimtab.met.latency": met.latency,
        "trimtab.met.quality": met.quality,
        "trimtab.met.cost": met.cost,
        "trimtab.tokens.source": tokens.source,
        "trimtab.cost.nanousd": cost.settled_nanousd,
        "trimtab.cost.reserved_nanousd": cost.reserved_nanousd,
        "trimtab.cost.baseline_nanousd": cost.baseline_nanousd,
    }
    for name in _TOKENS:
        told[f"trimtab.tokens.{name}"] = getattr(tokens, name)
    if contract is not None:
        told["trimtab.contract.id"] = contract.hash
        told["trimtab.contract.priority"] = contract.priority
        told["trimtab.contract.ttft_ms"] = contract.latency.ttft_ms
        told["trimtab.contract.e2e_ms"] = contract.latency.e2e_ms
        told["trimtab.contract.max_nanousd"] = contract.cost.max_per_request_nanousd
    for part in ("tenancy", "release", "prices"):
        told[f"trimtab.snapshot.{part}"] = getattr(record.snapshots, part)
    return Span(
        trace_id=trace.trace_id,
        span_id=trace.span_id,
        parent_span_id=trace.parent_span_id,
        name=f"POST {record.route}" if record.route is not None else "POST",
        kind="server",
        start_ns=record.t_wall_ns,
        end_ns=_at(record, _end_ms(record)),
        attributes=_known(told),
        error=error,
    )


def _stages(record: Record, trace: TraceRow) -> Iterator[Span]:
    """A stage that was entered again is one span, from its first start on and as long as all its times together."""
    for name, (start_ms, dur_ms) in record.stages.items():
        yield Span(
            trace_id=trace.trace_id,
            span_id=span_id(record.id, f"stage {name}"),
            parent_span_id=trace.span_id,
            name=name,
            kind="internal",
            start_ns=_at(record, start_ms),
            end_ns=_at(record, start_ms + dur_ms),
            attributes=_known(dict(_of_stage(record, name))),
        )


def _of_stage(record: Record, name: str) -> Iterator[tuple[str, Value | None]]:
    """What is known of one stage alone."""
    tokens = record.tokens
    if name in ("guard_in", "guard_out"):
        for row in record.guards:
            if f"guard_{row.stage}" == name:
                yield f"trimtab.guard.{row.check}.hits", row.hits
        if name == "guard_out":
            yield "trimtab.tokens.guard", tokens.guard
    elif name == "retrieve":
        yield "trimtab.tokens.retrieved", tokens.retrieved
        yield "trimtab.tokens.compressed", tokens.compressed
    elif name == "reserve":
        yield "trimtab.cost.estimate_nanousd", record.cost.estimate_nanousd
        yield "trimtab.cost.reserved_nanousd", record.cost.reserved_nanousd
    elif name == "admit" and record.admissions:
        yield "trimtab.admission.how", record.admissions[-1].how
        yield "trimtab.admission.waited_ms", record.admissions[-1].waited_ms
    elif name == "decide":
        yield "trimtab.rules.hit", tuple(rule.id for rule in record.rules if rule.hit)


def _attempts(record: Record, trace: TraceRow) -> Iterator[Span]:
    caps = {plan.variant: plan.max_tokens for plan in record.plans}
    last = len(record.attempts) - 1
    for number, attempt in enumerate(record.attempts):
        end_ms = _end_ms(record) if attempt.dur_ms is None else attempt.start_ms + attempt.dur_ms
        told = _of_attempt(record, attempt, answers=number == last)
        told[n.REQUEST_MAX_TOKENS] = caps.get(attempt.variant or "")
        yield Span(
            trace_id=trace.trace_id,
            span_id=attempt.span_id or span_id(record.id, f"attempt {number}"),
            parent_span_id=trace.span_id,
            name=f"{told[n.OPERATION]} {told[n.REQUEST_MODEL]}",
            kind="client" if attempt.dialect is not None else "internal",
            start_ns=_at(record, attempt.start_ms),
            end_ns=_at(record, max(end_ms, attempt.start_ms)),
            attributes=_known(told),
            error=attempt.reason or "dropped" if attempt.outcome == "dropped" else None,
        )


def _of_attempt(record: Record, attempt: Attempt, *, answers: bool) -> dict[str, Value | None]:
    told: dict[str, Value | None] = {
        n.OPERATION: "embeddings" if record.route == _EMBEDDINGS else "chat",
        n.PROVIDER: n.PROVIDERS.get(attempt.dialect, attempt.dialect),
        n.REQUEST_MODEL: attempt.model or attempt.replica,
        n.REQUEST_STREAM: record.stream,
        n.CONVERSATION: record.session,
        n.FIRST_CHUNK: None if attempt.first_ms is None else attempt.first_ms / _MS_PER_S,
        n.ERROR_TYPE: attempt.reason or "dropped" if attempt.outcome == "dropped" else None,
        "trimtab.attempt.why": attempt.why,
        "trimtab.attempt.outcome": attempt.outcome,
        "trimtab.attempt.reason": attempt.reason,
        "trimtab.variant": attempt.variant,
        "trimtab.replica": attempt.replica,
    }
    if answers and attempt.outcome == "success" and record.finish_reason is not None:
        told[n.FINISH_REASONS] = (record.finish_reason,)
    if attempt.usage is not None:
        told[n.INPUT_TOKENS] = attempt.usage.prompt
        told[n.OUTPUT_TOKENS] = attempt.usage.completion
        told[n.CACHE_READ_TOKENS] = attempt.usage.cached
        told[n.CACHE_WRITE_TOKENS] = attempt.usage.written
        told[n.REASONING_TOKENS] = attempt.usage.reasoning
        told["trimtab.tokens.source"] = attempt.usage.source
    return told


_TOKENS: Final = (
    *("system", "history", "user", "retrieved", "compressed", "prompt", "cached", "written"),
    *("completion", "reasoning", "guard"),
)
"""Tokens of a request by where they came from."""


def _at(record: Record, ms: float) -> int:
    return record.t_wall_ns + round(ms * NS_PER_MS)


def _end_ms(record: Record) -> float:
    return record.e2e_ms or 0.0


def _known(told: Mapping[str, Any]) -> dict[str, Value]:
    """An attribute that is not known is left out; a zero is one."""
    return {name: value for name, value in told.items() if value is not None}


__all__ = ["Attributes", "Span", "Value", "failed", "spans"]
