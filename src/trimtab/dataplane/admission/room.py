"""When there will be room on a tier: how long who comes now would take, how soon answers end, how many must."""

from __future__ import annotations

from trimtab.dataplane.admission.tier import Tier, targets_of
from trimtab.dataplane.admission.turn import Turn
from trimtab.foundations.podmodel import FIGURES, Ask, Load, decode_pass_ms


def takes_ms(tier: Tier, ask: Ask, now_ns: int) -> float | None:
    """From its admission to its end, as it is now; None: nobody knows."""
    return tier.predictor.forecast(tier.fewest(now_ns).load(now_ns), ask).e2e_ms if tier.is_ready else None


def endings_ms(tier: Tier, number: int, now_ns: int) -> float | None:
    """Until so many of those who run now, and of those that follow them, have ended: as often as answers end, which
    is not when the shortest is expected to. None: nobody knows."""
    if not tier.is_ready:
        return None
    pod = tier.predictor.fit.pod
    rests: list[float] = []
    for place in tier.places:
        pass_ms = decode_pass_ms(pod, place.load(now_ns))
        rests += [one.left(one.ask.output) * pass_ms for one in place.running]
    if not any(rests):
        return None
    return number * 2 * sum(rests) / len(rests) ** 2  # who runs is half through, on average


def endings_until(tier: Tier, turn: Turn, now_ns: int) -> int | None:
    """How many of those who run must end for its own targets to be met; None: all would not do."""
    load, running = tier.fewest(now_ns).load(now_ns), sum(map(len, tier.places))
    level, targets = tier.level(turn.latency.percentile), targets_of(turn)
    judged = {
        figure: targets[figure] / tier.predictor.ratio(figure, level)
        for figure in FIGURES
        if turn.strict or figure in tier.on_idle(turn)[1]
    }

    def fits(ended: int) -> bool:
        left = (running - ended) / running if running else 0.0
        lighter = Load(
            running=(load.running + load.coming) * left,
            held=(load.held + load.coming_held) * left,
            busy=load.busy * left,
        )
        times = tier.predictor.forecast(lighter, turn.warmest)
        return all(times.of(figure) <= target for figure, target in judged.items())

    if not fits(running):
        return None
    low, high = 0, running
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low


__all__ = ["endings_ms", "endings_until", "takes_ms"]
