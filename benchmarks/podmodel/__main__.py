"""python -m benchmarks.podmodel: see README.md beside this file."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any, NamedTuple

from benchmarks.podmodel import closed
from benchmarks.podmodel.sets import FILES, HELD_OUT_MODEL, Combination, Point, read, silicon, splitwise
from benchmarks.podmodel.subjects import LOOPS, OURS, PASSES, Learn
from benchmarks.sets import AbsentError
from benchmarks.tables import table
from trimtab.foundations.podmodel import Fit, Pod, Predictor, Sample, Times
from trimtab.foundations.stats import lower, upper

FEW = (4, 8, 16)
DECODE_PCT, PREFILL_PCT = 3.3, 12.9
PERCENTILES = (0.5, 0.9, 0.95)
NOTHING = Pod(base_ms=0, sequence_ms=0, held_ms=0, prefill_ms=0, prompt_ms=0, attend_ms=0)
HALVES = ("decode", "prefill")


class Errors(NamedTuple):
    """Relative errors in percent, of one subject in one setting."""

    decode: list[float]
    prefill: list[float]

    def add(self, forecast: tuple[float, float], truth: tuple[float, float]) -> None:
        for errors, told, came in zip(self, forecast, truth, strict=True):
            errors.append(abs(told / came - 1) * 100)


def middle(errors: Sequence[float]) -> float:
    return round(median(errors), 1)


def p90(errors: Sequence[float]) -> float:
    return round(sorted(errors)[len(errors) * 9 // 10], 1)


def cells_left_out(samples: Sequence[Sample], learn: Learn) -> list[float]:
    """The error of each sample as learnt from all others."""
    found = []
    for at, sample in enumerate(samples):
        told = learn([*samples[:at], *samples[at + 1 :]])(sample)[0]
        found.append(abs(told / sample.ms - 1) * 100)
    return found


def first_seen(samples: Sequence[Sample], count: int, learn: Learn) -> list[float]:
    forecast = learn(samples[:count])
    return [abs(forecast(sample)[0] / sample.ms - 1) * 100 for sample in samples[count:]]


def places_left_out(combination: Combination, learn: Learn, errors: Errors) -> None:
    """All runs of one place (prompt, answer, callers) are left out together."""
    for place in sorted({point[:3] for point in combination.points}):
        forecast = learn([point for point in combination.points if point[:3] != place])
        for point in combination.points:
            if point[:3] == place:
                errors.add(forecast(point), (point.tpot_ms, point.ttft_ms))


def rest_foretold(combination: Combination, count: int, learn: Learn, errors: Errors) -> None:
    if len(combination.points) >= count + 2:
        forecast = learn(combination.points[:count])
        for point in combination.points[count:]:
            errors.add(forecast(point), (point.tpot_ms, point.ttft_ms))


def next_foretold(combination: Combination, learn: Learn) -> Iterator[tuple[tuple[float, float], Point]]:
    """Each point as learnt from all before it, four at least: what a gateway does while load grows."""
    for at in range(FEW[0], len(combination.points)):
        yield learn(combination.points[:at])(combination.points[at]), combination.points[at]


class Bench:
    def __init__(self, given: dict[str, str], quick: bool) -> None:
        self.given, self.quick = given, quick
        self.rows: list[dict[str, Any]] = []
        self.claims: list[dict[str, Any]] = []

    def tell(self, setting: str, half: str, errors: dict[str, list[float]], target: float | None = None) -> None:
        """A row of the table, and its claim: better than the best of the baselines, or than a target besides."""
        row: dict[str, Any] = {"setting": setting, "of": half, "n": len(errors[OURS])}
        for name, found in errors.items():
            row[name] = f"{middle(found)} ({p90(found)})"
        self.rows.append(row)
        ours = middle(errors[OURS])
        name, best = min(((name, middle(found)) for name, found in errors.items() if name != OURS), key=lambda x: x[1])
        aim = best if target is None else min(target, best)
        self.claims.append(
            {
                "claim": f"{setting}, {half}: median error in %, beside {name}",
                "ours": ours,
                "baseline": best,
                "ratio": round(ours / best, 3),
                "target": aim,
                "met": ours <= aim,
            }
        )

    def passes(self) -> None:
        """Splitwise: single passes."""
        cells = splitwise(read("splitwise", self.given))
        for held_out in (False, True):
            chosen = [one for one in cells if (one.model == HELD_OUT_MODEL) == held_out]
            if not chosen:
                continue
            what = "held out" if held_out else "development"
            for half, target in zip(HALVES, (DECODE_PCT, PREFILL_PCT), strict=True):
                errors = {
                    name: [error for one in chosen for error in cells_left_out(getattr(one, half), learn)]
                    for name, learn in PASSES.items()
                }
                self.tell(f"A100, {what}: cells left out", half, errors, target)
                few = {
                    name: [error for one in chosen for error in first_seen(getattr(one, half), FEW[0], learn)]
                    for name, learn in PASSES.items()
                }
                self.tell(f"A100, {what}: from the first {FEW[0]}", half, few)

    def loops(self) -> None:
        """aiconfigurator's measurements: steady states of a closed loop, of the combinations that are held out."""
        chosen = [one for one in silicon(read("silicon", self.given)) if one.held_out]
        if self.quick:
            chosen = chosen[::4]
        settings = ["cells left out", *(f"from the first {count}" for count in FEW), "the next from all before"]
        for setting in settings:
            found = {name: Errors([], []) for name in LOOPS}
            for name, learn in LOOPS.items():
                for one in chosen:
                    if setting == settings[0]:
                        places_left_out(one, learn, found[name])
                    elif setting == settings[-1]:
                        for forecast, point in next_foretold(one, learn):
                            found[name].add(forecast, (point.tpot_ms, point.ttft_ms))
                    else:
                        rest_foretold(one, int(setting.split()[-1]), learn, found[name])
            targets = (DECODE_PCT, PREFILL_PCT) if setting == settings[0] else (None, None)
            for at, target in enumerate(targets):
                errors = {name: both[at] for name, both in found.items()}
                if errors[OURS]:
                    self.tell(f"held out: {setting}", HALVES[at], errors, target)
        self.coverage(chosen)

    def coverage(self, chosen: Sequence[Combination]) -> None:
        """One Predictor over all combinations, one after another: how often what came lay below its percentile."""
        predictor, known = Predictor(Fit()), 0
        below = {(figure, percentile): [0, 0] for figure in ("itl", "ttft") for percentile in PERCENTILES}
        for one in chosen:
            for (tpot, ttft), point in next_foretold(one, LOOPS[OURS]):
                times = Times(ttft_ms=ttft, itl_ms=tpot, e2e_ms=ttft + (point.output - 1) * tpot)
                for figure, came in (("itl", point.tpot_ms), ("ttft", point.ttft_ms)):
                    for percentile in PERCENTILES:
                        if known >= round(1 / (1 - percentile)):  # before that there is nothing but a guess
                            seen = below[figure, percentile]
                            seen[0] += came <= predictor.at(times, figure, percentile)  # type: ignore[arg-type]
                            seen[1] += 1
                    predictor.learn(times, figure, came)  # type: ignore[arg-type]
                known += 1
        for (figure, percentile), (inside, count) in below.items():
            if not count:
                continue
            low, high = lower(inside, count, 0.995), upper(inside, count, 0.995)
            self.claims.append(
                {
                    "claim": f"share: {figure} below its {percentile:.0%} of {count} (99 %: {low:.3f}-{high:.3f})",
                    "ours": round(inside / count, 3),
                    "baseline": None,
                    "ratio": None,
                    "target": percentile,
                    "met": low <= percentile <= high,
                }
            )


def shape(given: dict[str, str]) -> Pod:
    """The mean pod of the combinations for development, each scaled to a millisecond."""
    found = []
    for one in silicon(read("silicon", given)):
        pod = None if one.held_out else closed.learn_first(one.points, NOTHING)
        if pod and pod.prompt_pass_ms(2000, 1000) > 0:
            found.append((pod, pod.decode_ms(16, 32_000), pod.prompt_pass_ms(2000, 1000)))
    decode = ("base_ms", "spread_ms", "sequence_ms", "held_ms")
    prefill = ("prefill_ms", "prompt_ms", "attend_ms")
    mean = {name: sum(getattr(pod, name) / by for pod, by, _ in found) / len(found) for name in decode}
    mean |= {name: sum(getattr(pod, name) / by for pod, _, by in found) / len(found) for name in prefill}
    return Pod(**mean, serial=sum(pod.serial for pod, _, _ in found) / len(found))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.podmodel", description="What a pod's passes take.")
    parser.add_argument("--quick", action="store_true", help="a quarter of the combinations that are held out")
    parser.add_argument("--json", action="store_true", help="one object with the claims")
    parser.add_argument("--markdown", action="store_true", help="tables (the default)")
    parser.add_argument("--shape", action="store_true", help="the typical pod alone, from the development set")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help=f"of {', '.join(FILES)}")
    asked = parser.parse_args(arguments)
    given = dict(one.partition("=")[::2] for one in asked.data)
    if not given.keys() <= FILES.keys():
        parser.error(f"--data: {', '.join(given)}: there are {', '.join(FILES)}")
    bench = Bench(given, asked.quick)
    try:
        if asked.shape:
            print(shape(given))
            return 0
        bench.passes()
        bench.loops()
    except AbsentError as error:
        print(f"podmodel: {error}", file=sys.stderr)
        return 2
    date = datetime.datetime.now(datetime.UTC).date().isoformat()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    if asked.json:
        whole = {"date": date, "machine": machine, "quick": asked.quick, "claims": bench.claims, "rows": bench.rows}
        print(json.dumps(whole))
        return 0
    print("\n\n".join([f"{date}, {machine}; median (p90) of the error in %", table(bench.rows), table(bench.claims)]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
