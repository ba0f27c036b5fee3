"""The same objectives as Prometheus sees them: recording and alert rules from the metrics that a gateway has.

What a rule can't say: the e-detector (so these pages know no allowance of false ones, which the records' have), months
of the calendar (a range has a length: 30 days). Shares are of what the gateway counts for each objective
(`counted.py`), from when it has been told of it.
"""

from __future__ import annotations

from io import StringIO
from typing import Any, Final

from ruamel.yaml import YAML

from trimtab.controlplane.metrics import of_gateway
from trimtab.controlplane.metrics import of_requests as f
from trimtab.controlplane.slo.objectives import Objective
from trimtab.controlplane.slo.window import HOUR_NS, Pair, bad_rate, pairs, short
from trimtab.core.money import usd

BURN: Final = "slo:trimtab_burn:rate"
"""And the window, as `5m`: how many times faster than the budget allows."""
LEFT: Final = "slo:trimtab_budget_left:ratio"
SPEND_LEFT: Final = "slo:trimtab_spend_left:ratio"


def ratio(objective: Objective) -> tuple[str, str]:
    """(bad, total): selectors of counters. Raises ValueError for money."""
    if objective.is_money:
        raise ValueError(f"{objective.id} is money, and no share")
    mine = f'{f.OBJECTIVES.name}{{objective="{objective.id}"'
    return f'{mine},result="bad"}}', f"{mine}}}"


def rules(objectives: list[Objective], link: str | None = None) -> str:
    """A rule file."""
    groups = [_group(one, link) for one in objectives]
    yaml, out = YAML(), StringIO()
    yaml.width = 1000
    yaml.dump({"groups": groups}, out)
    head = (
        "# Written by `trimtab slo export`. Evidence with an allowance of false pages has `trimtab slo watch` alone.\n"
    )
    return head + out.getvalue()


def _group(objective: Objective, link: str | None) -> dict[str, Any]:
    made = _spend_rules(objective, link) if objective.is_money else _share_rules(objective, link)
    return {"name": f"trimtab-slo-{objective.id}", "rules": made}


def _share_rules(objective: Objective, link: str | None) -> list[dict[str, Any]]:
    allowed, labels = float(objective.allowed), _labels(objective)
    used = pairs(objective.window)
    spans = sorted({HOUR_NS, 6 * HOUR_NS, *(ns for pair in used for ns in (pair.short_ns, pair.long_ns))})
    made = [
        _record(f"{BURN}{short(ns)}", f"{_bad_share(objective, short(ns))} / {allowed:.10g}", labels) for ns in spans
    ]
    whole = short(objective.window.nominal_ns)
    made.append(_record(LEFT, f"1 - {_bad_share(objective, whole)} / {allowed:.10g}", labels))
    made += [_pair_alert(objective, pair, link) for pair in used]
    said = f"The budget of {objective.id} is spent."
    made.append(_alert("TrimtabBudgetSpent", f"{_mine(LEFT, objective)} <= 0", "ticket", objective, said, link))
    return made


def _pair_alert(objective: Objective, pair: Pair, link: str | None) -> dict[str, Any]:
    allowed = float(objective.allowed)
    factor = bad_rate(pair.factor(objective.window), allowed) / allowed
    over = [f"{_mine(f'{BURN}{short(ns)}', objective)} > {factor:.6g}" for ns in (pair.short_ns, pair.long_ns)]
    said = f"{objective.id} burns its budget {factor:.3g} times faster than it lasts, over {pair.name}."
    return _alert("TrimtabBudgetBurns", " and ".join(over), pair.severity, objective, said, link)


def _bad_share(objective: Objective, span: str) -> str:
    """Without a request it is no value. Both series are there from the start, at 0: what a series is born with would
    be no increase of it, so that the first failures of all would not be seen."""
    bad, total = ratio(objective)
    return f"sum(rate({bad}[{span}])) / sum(rate({total}[{span}]))"


def _spend_rules(objective: Objective, link: str | None) -> list[dict[str, Any]]:
    labels = _labels(objective)
    spent = f"{objective.id}: nothing is left."
    if not objective.declared:
        limit, window = usd(objective.usd_nano or 0), short(objective.window.nominal_ns)
        left = f"1 - sum(increase({f.COST.name}{{{_whose(objective)}}}[{window}])) / {limit}"
        exhausted = _alert(
            "TrimtabSpendExhausted", f"{_mine(SPEND_LEFT, objective)} <= 0", "page", objective, spent, link
        )
        return [_record(SPEND_LEFT, left, labels), exhausted]
    mine = _budget(objective)
    left, limit = f"max({of_gateway.BUDGET_LEFT.name}{mine})", f"max({of_gateway.BUDGET_LIMIT.name}{mine})"
    to_end = f"(max({of_gateway.BUDGET_ENDS.name}{mine}) - time())"
    pace = f"max(deriv({of_gateway.BUDGET_SPENT.name}{mine}[1h]))"
    said = f"{objective.id}: at the pace of the last hour nothing will be left before the period ends."
    return [
        _record(SPEND_LEFT, f"{left} / {limit}", labels),
        _alert("TrimtabSpendExhausted", f"{left} <= 0", "page", objective, spent, link),
        _alert("TrimtabSpendForecast", f"{pace} * {to_end} > {left}", "ticket", objective, said, link),
    ]


def _budget(objective: Objective) -> str:
    scope = "tenant" if objective.channel is None else "channel"
    period, tz = objective.window.period, objective.window.tz
    return f'{{scope="{scope}",name="{objective.place}",period="{period}",tz="{tz}"}}'


def _whose(objective: Objective) -> str:
    channel = f',channel="{objective.channel}"' if objective.channel is not None else ""
    return f'tenant="{objective.tenant}"{channel}'


def _mine(record: str, objective: Objective) -> str:
    return f'{record}{{slo="{objective.id}"}}'


def _labels(objective: Objective) -> dict[str, str]:
    whose = {"tenant": objective.tenant, **({"channel": objective.channel} if objective.channel is not None else {})}
    return {"slo": objective.id, "kind": objective.kind, **whose}


def _record(name: str, expr: str, labels: dict[str, str]) -> dict[str, Any]:
    return {"record": name, "expr": expr, "labels": dict(labels)}


def _alert(name: str, expr: str, severity: str, objective: Objective, said: str, link: str | None) -> dict[str, Any]:
    annotations = {"summary": said, **({"link": link} if link is not None else {})}
    return {
        "alert": name,
        "expr": expr,
        "labels": {**_labels(objective), "severity": severity},
        "annotations": annotations,
    }
