"""Decisions of recorded requests, made anew by the code and the documents of today, from what their rows keep.

A row holds no text. So each part of a decision is made anew where the row has what it rests on, and else counts as
*untold*:

- rules: each that was looked at is looked at again with the values that it read then, and those at `decide` that are
  new; untold: a rule reads what no rule read then and the row does not have (how many turns, whether there are tools);
- variants: which of them tier, policy, residency and quality keep from answering;
- order: of the plans by preference and what they were to cost; untold where the caller had named a model, or where caps
  below a variant's own leave open what was asked.

Contract, features and estimates are those of the row: what the classifier or a price list would say of it today is not
asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from trimtab.core.decision import Allowed, At, RuleTrace, Value
from trimtab.core.features import OF_PLANS, PREFIX
from trimtab.core.models import Variant
from trimtab.core.record import Record
from trimtab.core.rows import PlanRow
from trimtab.core.tenancy import Channel
from trimtab.dataplane import policy, routing
from trimtab.dataplane.policy import Tables, contract_values, feature_values, known_by
from trimtab.dataplane.snapshot import Snapshot

_BODY = frozenset({"has_tools", "has_format", "images", "n", "prompt_tokens", "turns"})
"""Of what rules may read, what a row does not have."""


class Difference(msgspec.Struct, frozen=True):
    """What is decided otherwise about one record."""

    record: str
    what: str


class Decisions(msgspec.Struct, kw_only=True):
    """`requests`: those that were decided and whose channel is there; `untold`: parts of their decisions that could not
    be made anew, by why."""

    requests: int = 0
    differences: list[Difference] = []
    untold: dict[str, int] = {}


def decide_anew(rows: Iterable[Record], snapshot: Snapshot) -> Decisions:
    """All rows of requests that had reached `decide`."""
    found = Decisions()
    for row in rows:
        if row.kind != "request" or row.contract is None or row.features is None or row.tenant is None:
            continue
        tenant = snapshot.tenancy.tenants.get(row.tenant)
        channel = tenant.channels.get(row.channel or "") if tenant is not None else None
        found.requests += 1
        if channel is None:
            found.differences.append(Difference(row.id, f"the channel {row.tenant}/{row.channel} is gone"))
            continue
        one = _Again(row, channel, snapshot)
        found.differences += [Difference(row.id, what) for what in one.differences()]
        for why in one.untold:
            found.untold[why] = found.untold.get(why, 0) + 1
    return found


class _Again:
    """One row's decision."""

    def __init__(self, row: Record, channel: Channel, snapshot: Snapshot) -> None:
        self._row, self._channel, self._policy = row, channel, snapshot.release.policy
        self._variants = snapshot.release.variants
        self._base = _values(row, channel, snapshot)
        self.untold: list[str] = []

    @property
    def _at_route(self) -> set[str]:
        """What rules forbid that hit at `route`, for one plan or another."""
        hit = {trace.id for trace in self._row.rules if trace.at == "route" and trace.hit}
        return {what for one in self._policy.rules("route") if one.rule.id in hit for what in one.rule.then.forbid}

    def differences(self) -> Iterator[str]:
        yield from self._rules()
        values = dict(self._base)
        for trace in self._row.rules:
            if trace.at == "decide":
                values |= _read(trace, self._policy.tables)
        missing = self._missing(values)
        if missing:
            self.untold.append(f"what is allowed rests on {', '.join(missing)}")
            return
        allowed, traces = policy.allowed(self._policy, values, self._channel)
        known = {trace.id for trace in self._row.rules if trace.at == "decide"}
        for trace in traces:
            if trace.hit and trace.id not in known:
                yield f"rule {trace.id} is new, and hits"
        if self._row.plans and allowed.answer is None:
            yield from self._plans(allowed)

    def _rules(self) -> Iterator[str]:
        for then in self._row.rules:
            rule = next((one for one in self._policy.rules(then.at) if one.rule.id == then.id), None)
            if rule is None:
                if then.hit:
                    yield f"rule {then.id} hit, and is gone"
                continue
            values = self._base | _read(then, self._policy.tables)
            table, unknowable = self._policy.tables[then.at], _unknowable(then.at, self._policy.tables)
            reads = dict.fromkeys(known_by(name, table) or name for name in rule.condition.reads)
            missing = [name for name in reads if name in unknowable and name not in values]
            if missing:
                self.untold.append(f"rule {then.id} reads {', '.join(missing)}")
                continue
            now = next(one for one in self._policy.trace(then.at, values) if one.id == then.id)
            if now.hit != then.hit:
                yield f"rule {then.id} {_hits(then.hit)}, and now {_hits(now.hit)}"

    def _plans(self, allowed: Allowed) -> Iterator[str]:
        """Who may answer, and in which order."""
        contract = self._row.contract
        assert contract is not None
        candidates: list[tuple[PlanRow, Variant]] = []
        for plan in self._row.plans:
            name = plan.variant.rpartition("@")[0]
            variant = self._variants.get(name)
            if variant is None:
                yield f"variant {name} is gone"
                continue
            then = plan.outcome if plan.outcome in routing.BARRED else None
            now = routing.barred(variant, allowed, contract)
            if then is not None and now is None and self._at_route & {f"variant:{name}", f"tier:{variant.tier}"}:
                continue  # a rule at route keeps it out; that it hits is compared already
            if (then is None) != (now is None) and plan.outcome != routing.NOT_ASKED:
                yield f"variant {name} {_may(then)}, and now {_may(now)}"
            elif plan.estimate_nanousd is not None and now is None:
                candidates.append((plan, variant))
        yield from self._order(candidates, allowed)

    def _order(self, candidates: list[tuple[PlanRow, Variant]], allowed: Allowed) -> Iterator[str]:
        if len(candidates) < 2:
            return
        if any(plan.outcome == routing.NOT_ASKED for plan in self._row.plans) or self._row.experiment is not None:
            self.untold.append("the order rests on whom the caller or an experiment named")
            return
        if any(plan.max_tokens != variant.max_tokens for plan, variant in candidates):
            self.untold.append("the order rests on how long an answer was asked for")
            return
        contract = self._row.contract
        assert contract is not None
        prefer = dict.fromkeys(allowed.prefer)
        for trace in self._row.rules:
            if trace.at == "route" and trace.hit:
                rule = next((one.rule for one in self._policy.rules("route") if one.rule.id == trace.id), None)
                prefer.update(dict.fromkeys(rule.then.prefer if rule is not None else ()))
        ordered = sorted(
            candidates,
            key=lambda one: (
                contract.residency is not None and one[1].region != contract.residency,
                routing.order(one[1], one[0].estimate_nanousd, "tier" not in one[0].degradations, tuple(prefer)),
            ),
        )
        if ordered != candidates:
            then, now = ([variant.name for _, variant in found] for found in (candidates, ordered))
            yield f"plans were {', '.join(then)}, and now are {', '.join(now)}"

    def _missing(self, values: Mapping[str, Value | None]) -> list[str]:
        return sorted(self._policy.reads("decide") & _unknowable("decide", self._policy.tables) - values.keys())


def _unknowable(at: At, tables: Tables) -> frozenset[str]:
    """What a rule there may read, and a row has only where a rule read it then."""
    of_features = {name for name in tables[at] if name.startswith(PREFIX)}
    return _BODY | of_features | (tables[at].keys() - tables["decide"].keys())


def _values(row: Record, channel: Channel, snapshot: Snapshot) -> dict[str, Value | None]:
    """What every rule may read, as far as the row has it."""
    contract, features = row.contract, row.features
    assert contract is not None
    assert features is not None
    declared = snapshot.release.features.features
    same = {(name, one.definition) for name, one in declared.items() if one.of not in OF_PLANS}
    return {
        "tenant": row.tenant,
        "channel": row.channel,
        "route": row.route,
        "persona": row.persona,
        "market": row.market,
        **contract_values(contract),
        "stream": row.stream,
        "cache_unclassified": channel.cache.unclassified == "allow",
        **feature_values(features),
        **{PREFIX + one.name: one.value for one in row.online if (one.name, one.definition) in same},
    }


def _read(trace: RuleTrace, tables: Tables) -> dict[str, Value | None]:
    """What a rule read; None where something stood for the unknown."""
    table = tables[trace.at]
    unknown = {about for name, value in trace.values.items() if (about := known_by(name, table)) and value is False}
    known = {name: value for name, value in trace.values.items() if name in table and not known_by(name, table)}
    return known | dict.fromkeys(unknown)


def _hits(hit: bool) -> str:
    return "hit" if hit else "did not hit"


def _may(reason: str | None) -> str:
    return "might answer" if reason is None else f"was out ({reason})"


__all__ = ["Decisions", "Difference", "decide_anew"]
