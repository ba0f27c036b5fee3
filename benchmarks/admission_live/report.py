"""Rows and claims of what was found."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any, Final

from benchmarks.admission_live.live import PERCENTILE, Found, Phase, p95
from benchmarks.admission_live.refusals import TARGETS, TIMES, Refusals

OURS: Final = "ours"
KEPT: Final = 0.99
"""Attainment at which a baseline counts as tuned; where none reaches it, the one that keeps the most does."""
MORE, NO_LESS = 1.6, 0.95
"""Goodput in baselines: from the capacity on, and below it, where there is room for all."""
LEAST_MS: Final = 1.0
"""CPU of a refusal."""
USED: Final = 0.8
"""Share of the capacity that should be answered in time while much more is asked for."""


def engine(found: Found) -> list[dict[str, Any]]:
    """What it does with nothing in the way, and what is promised."""
    alone, targets = found.alone, found.alone.targets
    rows = [
        {
            "": "alone, median (p95)",
            "first token ms": f"{alone.ttft_p50_ms:.0f} ({alone.ttft_p95_ms:.0f})",
            "between tokens ms": f"{alone.pace_ms:.1f}",
            "end ms": f"{alone.e2e_p50_ms:.0f} ({alone.e2e_p95_ms:.0f})",
            "capacity, requests/s": round(alone.capacity, 2),
        }
    ]
    promised = (f"{value:.0f}" for value in targets[:3])
    names = list(rows[0])[1:4]
    return [
        *rows,
        {"": f"contract, at {PERCENTILE:.0%}", **dict(zip(names, promised, strict=True)), "capacity, requests/s": "-"},
    ]


def phases(found: Found) -> list[dict[str, Any]]:
    """Every policy at every load."""
    return [_row(found, one) for one in found.phases]


def _row(found: Found, phase: Phase) -> dict[str, Any]:
    targets = found.alone.targets
    admitted = [one for one in phase.seen if one.admitted]
    first = [one.ttft_ms for one in admitted if one.ttft_ms is not None]
    told = [one.retry_after_s for one in phase.seen if one.retry_after_s is not None]
    reasons = found.reasons[phase.policy.name, phase.load]
    return {
        "load": phase.load,
        "policy": phase.policy.name,
        "offered": len(phase.seen),
        "admitted": round(len(admitted) / len(phase.seen), 3) if phase.seen else None,
        "attainment": round(phase.attainment(targets), 4) if admitted else None,
        "kept/s": round(phase.goodput(targets), 3),
        "first token p50 ms": round(median(first)) if first else None,
        "p95 ms": round(p95(first)) if first else None,
        "refused": ", ".join(f"{name} {count}" for name, count in reasons.most_common()) or "-",
        "Retry-After s": round(median(told), 2) if told else "-",
    }


def forecasts(found: Found) -> list[dict[str, Any]]:
    """What `trimtab report --predictions` says, of our channel and of the others."""
    return [
        {
            "channel": line["group"]["channel"],
            "figure": line["figure"],
            "requests": line["requests"],
            "outcome/model": round(line["ratio"], 2),
            "error": round(line["error"], 3),
            "promised": line["percentile"],
            "within": round(line["within"], 3),
            "bounds": f"{line['lower']:.3f} to {line['upper']:.3f}",
        }
        for line in found.predictions
    ]


def best(found: Found, load: float) -> Phase:
    """The baseline's best setting at a load."""
    targets = found.alone.targets
    own = [one for one in found.phases if one.load == load and one.policy.name != OURS]
    able = [one for one in own if one.attainment(targets) >= KEPT]
    return max(able or own, key=lambda one: one.goodput(targets))


def live_claims(found: Found) -> list[dict[str, Any]]:
    """Of goodput and attainment at each load, and of what is left behind."""
    targets, claims = found.alone.targets, []
    for ours in (one for one in found.phases if one.policy.name == OURS):
        other = best(found, ours.load)
        kept, beside = ours.goodput(targets), other.goodput(targets)
        ratio = round(kept / beside, 3) if beside else None
        target = MORE if ours.load >= 1 else NO_LESS
        attained, theirs = ours.attainment(targets), other.attainment(targets)
        name = f"{ours.load:g} x capacity"
        met = attained >= PERCENTILE and (ratio is None or ratio >= target)
        best_of = f"{other.policy.name}, {theirs:.1%} attained"
        claims.append(claim(f"{name}: kept a second ({best_of})", round(kept, 3), round(beside, 3), ratio, target, met))
        own = round(attained, 4)
        claims.append(
            claim(f"{name}: attainment", own, round(theirs, 4), None, f">= {PERCENTILE}", attained >= PERCENTILE)
        )
    left = sum(one.left for one in found.phases)
    claims.append(claim("requests that gates still hold after all are answered", left, None, None, 0, left == 0))
    return claims


def costs(found: Sequence[Refusals]) -> list[dict[str, Any]]:
    """Every stretch before every upstream."""
    return [
        {
            "upstream": one.upstream.name,
            "stretch": stretch.name,
            "offered": len(stretch.seen),
            "answered": stretch.answered,
            "refused": ", ".join(f"{code} {count}" for code, count in stretch.codes.most_common()) or "-",
            "attainment": round(stretch.attainment, 4) if stretch.answered else "-",
            "CPU s": round(stretch.cpu_s, 2),
            "in s": round(stretch.seconds, 1),
            "RSS MiB": round(stretch.rss_mib, 1),
        }
        for one in found
        for stretch in (one.idle, one.below, one.over)
    ]


def cost_claims(found: Sequence[Refusals]) -> list[dict[str, Any]]:
    """What a refusal costs, and what becomes of the others meanwhile."""
    claims = []
    for one in found:
        name, ms, kept = f"{TIMES:g} x capacity, {one.upstream.name}", one.refusal_ms, one.over.attainment
        claims += [
            claim(
                f"{name}: CPU ms of a refusal (baseline: of an answer)",
                round(ms, 3),
                round(one.answer_ms, 3),
                round(ms / one.answer_ms, 3) if one.answer_ms else None,
                f"< {LEAST_MS:g}",
                ms < LEAST_MS,
            ),
            claim(
                f"{name}: attainment",
                round(kept, 4),
                None,
                None,
                f">= {TARGETS.percentile}",
                kept >= TARGETS.percentile,
            ),
            claim(
                f"{name}: answered in time, of what the model can answer",
                round(one.used, 3),
                None,
                None,
                f">= {USED}",
                one.used >= USED,
            ),
        ]
    return claims


def claim(what: str, ours: Any, baseline: Any, ratio: float | None, target: Any, met: bool) -> dict[str, Any]:
    return {"claim": what, "ours": ours, "baseline": baseline, "ratio": ratio, "target": target, "met": met}
