"""The iteration model of an engine from the passes that were seen of it, and how wrong it is on those held out."""

from __future__ import annotations

from collections.abc import Sequence

from trimtab.controlplane.records.report import rank
from trimtab.dataplane.admission.tier import TierState
from trimtab.foundations.podmodel import Fit, Pod, fit
from trimtab.surfaces.doctor.measured import Fitted, HeldOut
from trimtab.surfaces.doctor.passes import Seen


def fitted(seen: Sequence[Seen]) -> Fitted:
    """From at least one pass that is not held out."""
    known = learned(seen)
    return Fitted(
        pod=known.pod,
        passes=sum(1 for one in seen if not one.held_out),
        enough=TierState(fit=known.state()).is_enough,
        held_out=[error for error in (_error(seen, known.pod, first) for first in (True, False)) if error is not None],
    )


def learned(seen: Sequence[Seen]) -> Fit:
    """What a gateway goes on from: the coefficients that fit all passes at once, and those passes behind them."""
    samples = [one.sample for one in seen if not one.held_out]
    made = Fit(fit(samples))
    for sample in samples:
        made.observe(sample)
    return made


def _error(seen: Sequence[Seen], pod: Pod, first: bool) -> HeldOut | None:
    """None where none of the kind is held out."""
    errors = sorted(one.error(pod) for one in seen if one.held_out and one.is_first_token == first)
    median, most = rank(errors, 0.5), rank(errors, 0.9)
    if median is None or most is None:
        return None
    return HeldOut(
        figure="first token" if first else "time between tokens", points=len(errors), median=median, p90=most
    )


def words(pod: Pod) -> list[str]:
    """The coefficients, for people; what costs nothing is left out."""
    token = [
        (pod.base_ms, ""),
        (pod.sequence_ms, "for each answer"),
        (pod.spread_ms, "times the root of their number"),
        (1000 * pod.held_ms, "for each 1,000 tokens that they hold"),
    ]
    prompt = [
        (pod.prefill_ms, ""),
        (100 * pod.prompt_ms, "for each 100 tokens"),
        (1e5 * pod.attend_ms, "for each 100 tokens and 1,000 before them"),
    ]
    return [
        f"a token for all answers under way takes {_sum(token)}",
        f"a prompt takes {_sum(prompt)}",
        f"where both come together, the longer and {pod.serial:.0%} of the shorter",
    ]


def _sum(parts: Sequence[tuple[float, str]]) -> str:
    told = [f"{_ms(value)} {what}".rstrip() for value, what in parts if value > 0]
    return " + ".join(told) or "no time"


def _ms(value: float) -> str:
    return f"{value:,.0f} ms" if value >= 100 else f"{value:.2g} ms"


__all__ = ["fitted", "learned", "words"]
