"""A record explained: what was decided, by which rule and value, what it cost, and whether the contract was kept.

A pure function of rows: the same words from a live gateway, a stopped one, or a copied folder. `null` in a record is
said as `unknown`, a measured zero as 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from trimtab.core.contract import Contract
from trimtab.core.errors import Code
from trimtab.core.money import usd
from trimtab.core.record import Record
from trimtab.core.rows import AdmissionRow, Attempt, Met, PlanRow, SeenFeature

UNKNOWN = "unknown"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What happened, in a dozen fields. `time`: RFC 3339 in UTC, to the millisecond."""

    id: str
    kind: str
    time: str
    tenant: str | None
    channel: str | None
    route: str | None
    key_id: str | None
    path: str | None
    tier: str | None
    variant: str | None
    replica: str | None
    status: int | None
    code: str | None
    rule: str | None
    finish_reason: str | None
    stream: bool | None
    experiment: str | None
    """Its experiment and arm, and why control answered in the arm's place, where it did."""
    setting: str | None
    """Of its model's engines: which one answered, why, and what it is known to gain."""
    cause: str | None
    """What the code means, for one that is not a success."""
    fix: str | None


class Bar(msgspec.Struct, frozen=True):
    """A stage of the waterfall, ms after arrival."""

    stage: str
    start_ms: float
    dur_ms: float


class Mark(msgspec.Struct, frozen=True):
    """One moment that the contract names: what was promised, what was measured, kept or not (None: unknown)."""

    name: str
    promised_ms: float | None
    measured_ms: float | None
    kept: bool | None


class RuleLine(msgspec.Struct, frozen=True):
    """One rule that was looked at, hit or not, with the values that decided."""

    at: str
    id: str
    hit: bool
    values: dict[str, Any]
    error: str | None


class Term(msgspec.Struct, frozen=True):
    """One term of the contract: what the caller asked, what was bound."""

    name: str
    asked: Any
    bound: Any


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Exact decimal dollars as text; None is unknown. `adjusted`: what later rows (`of` this one) added; `saved`:
    baseline less what it came to."""

    estimate_usd: str | None
    reserved_usd: str | None
    settled_usd: str | None
    adjusted_usd: str | None
    total_usd: str | None
    baseline_usd: str | None
    saved_usd: str | None
    cap_usd: str | None


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A plain value, ready for JSON."""

    header: Header
    waterfall: list[Bar]
    marks: list[Mark]
    contract: list[Term]
    raised_by: list[str]
    """Names of the events to which the contract owes its priority class."""
    asked_of: str | None
    """The contract's hash."""
    met: Met
    features: dict[str, Any]
    online: list[SeenFeature]
    """Figures of past requests, as its decision saw them."""
    rules: list[RuleLine]
    plans: list[PlanRow]
    admissions: list[AdmissionRow]
    """What each gate decided, and by which numbers."""
    attempts: list[Attempt]
    tokens: dict[str, Any]
    money: Money
    guards: list[str]
    snapshots: dict[str, str | None]
    later: list[str]
    """Ids and kinds of rows that say more of this one."""


def explain(record: Record, later: Sequence[Record] = ()) -> Explanation:
    """`later`: rows whose `of` is this record (adjust, lost, verdict, shadow)."""
    return Explanation(
        header=_header(record),
        waterfall=sorted((Bar(name, *row) for name, row in record.stages.items()), key=lambda bar: bar.start_ms),
        marks=_marks(record),
        contract=_terms(record),
        raised_by=record.events,
        asked_of=record.contract.hash or None if record.contract else None,
        met=record.met,
        features=_features(record),
        online=record.online,
        rules=[RuleLine(rule.at, rule.id, rule.hit, rule.values, rule.error) for rule in record.rules],
        plans=record.plans,
        admissions=record.admissions,
        attempts=record.attempts,
        tokens=msgspec.structs.asdict(record.tokens),
        money=_money(record, later),
        guards=[f"{guard.stage} {guard.check}: {guard.hits} hits, {guard.action}" for guard in record.guards],
        snapshots=msgspec.structs.asdict(record.snapshots),
        later=[f"{row.kind} {row.id}" for row in later],
    )


def instant(wall_ns: int) -> str:
    """RFC 3339, to the millisecond."""
    return (_EPOCH + timedelta(microseconds=wall_ns // 1000)).isoformat(timespec="milliseconds")


def _header(record: Record) -> Header:
    spec = next((code.value for code in Code if code.wire == record.code), None)
    return Header(
        id=record.id,
        kind=record.kind,
        time=instant(record.t_wall_ns),
        tenant=record.tenant,
        channel=record.channel,
        route=record.route,
        key_id=record.key_id,
        path=record.path,
        tier=record.tier,
        variant=record.variant,
        replica=record.replica,
        status=record.status,
        code=record.code,
        rule=record.rule,
        finish_reason=record.finish_reason,
        stream=record.stream,
        experiment=_experiment(record),
        setting=_setting(record),
        cause=spec.cause if spec else None,
        fix=spec.fix if spec else None,
    )


def _experiment(record: Record) -> str | None:
    found = record.experiment
    if found is None:
        return None
    instead = "" if found.instead is None else f"; control answered: {found.instead}"
    return f"{found.name}, arm {found.arm}{instead}"


def _setting(record: Record) -> str | None:
    found = record.setting
    if found is None:
        return None
    said = [f"{found.why}, {found.running} ran"]
    if found.gain is not None:
        said.append(f"{found.about} takes a token in 1/{found.gain:.2f} of the time")
    if found.name is not None and found.by is None:
        said.append(f"{found.name} had no room" if found.full else f"{found.name} did not answer")
    if found.drafted is not None:
        said.append(f"{found.accepted or 0} of {found.drafted} proposed tokens accepted")
    who = found.by or "the model's own endpoints"
    return f"{who}: {'; '.join(said)}"


def _marks(record: Record) -> list[Mark]:
    latency = record.contract.latency if record.contract else None
    itl = record.itl.p95 if record.itl else None
    return [
        _mark("ttft", latency.ttft_ms if latency else None, record.ttft_ms),
        _mark("itl p95", latency.itl_ms if latency else None, itl),
        _mark("e2e", latency.e2e_ms if latency else None, record.e2e_ms),
        _mark("deadline", latency.deadline_ms if latency else None, record.e2e_ms),
    ]


def _mark(name: str, promised: float | None, measured: float | None) -> Mark:
    kept = None if promised is None or measured is None else measured <= promised
    return Mark(name, promised, measured, kept)


def _terms(record: Record) -> list[Term]:
    contract, asked = record.contract, record.asked
    if contract is None:
        return []

    def wanted(name: str) -> Any:
        return getattr(asked, name) if asked is not None else None

    latency, max_cost = contract.latency, wanted("max_cost_nanousd")
    return [
        Term("ttft_ms", wanted("ttft_ms"), latency.ttft_ms),
        Term("itl_ms", wanted("itl_ms"), latency.itl_ms),
        Term("e2e_ms", wanted("latency_ms"), latency.e2e_ms),
        Term("percentile", None, latency.percentile),
        Term("deadline_ms", None, latency.deadline_ms),
        Term("quality min", wanted("min_quality"), contract.quality.min),
        Term(
            "max cost usd",
            None if max_cost is None else usd(max_cost),
            usd(contract.cost.max_per_request_nanousd),
        ),
        Term("priority", wanted("priority"), contract.priority),
        *_fixed(contract),
    ]


def _fixed(contract: Contract) -> list[Term]:
    """Terms that a caller can't ask for."""
    names = ("residency", "on_miss", "resume", "emit")
    return [Term(name, None, getattr(contract, name)) for name in names]


def _features(record: Record) -> dict[str, Any]:
    if record.features is None:
        return {}
    return msgspec.structs.asdict(record.features)


def _money(record: Record, later: Sequence[Record]) -> Money:
    cost = record.cost
    changes = [row.cost.settled_nanousd for row in later if row.kind in ("adjust", "lost")]
    known = [change for change in changes if change is not None]
    adjusted = sum(known) if known else None
    total = None if cost.settled_nanousd is None and adjusted is None else (cost.settled_nanousd or 0) + (adjusted or 0)
    saved = None if total is None or cost.baseline_nanousd is None else cost.baseline_nanousd - total
    cap = record.contract.cost.max_per_request_nanousd if record.contract else None
    return Money(
        estimate_usd=_usd(cost.estimate_nanousd),
        reserved_usd=_usd(cost.reserved_nanousd),
        settled_usd=_usd(cost.settled_nanousd),
        adjusted_usd=_usd(adjusted),
        total_usd=_usd(total),
        baseline_usd=_usd(cost.baseline_nanousd),
        saved_usd=_usd(saved),
        cap_usd=_usd(cap),
    )


def _usd(nano: int | None) -> str | None:
    return None if nano is None else usd(nano)
