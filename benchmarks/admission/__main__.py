"""python -m benchmarks.admission: see README.md beside this file."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks.admission.after import KEPT, WINDOW, Recovery, recovery, word
from benchmarks.admission.arrivals import SETS, TRACES, Request, load, paced
from benchmarks.admission.ours import Ours
from benchmarks.admission.run import Return
from benchmarks.admission.sweep import GATE, OURS, Capacity, Job, Runs, Spec, Tally, World, best, capacity, specs
from benchmarks.sets import AbsentError
from benchmarks.tables import tell

LOADS = (1.0, 2.0, 4.0)
COUNTS = {"azure_llm_2023_conv": 6_000, "mooncake_conversation": 3_000, "servegen_m_small": 12_000, "burst": 6_000}
"""Requests of each trace: about as much work each."""
QUICK_LOADS, QUICK_PART, QUICK_EVERY = (2.0,), 10, 6
TARGET = 1.6
PACES = {"twice too fast": 0.5, "twice too slow": 2.0}
RIGHT = "right"
RUNS = 5
RECOVERED = 200
"""Answers after which a wrong belief should no longer matter."""
SHARE, IN_TIME, TOO_EARLY = 0.5, 0.95, 0.5
"""Of those refused who come back; of these, who should be let in when they come in time, and at most at half of it."""
PROCESSES = os.cpu_count() or 1


class Bench:
    """All worlds, and what is found of them."""

    def __init__(self, given: Mapping[str, str], *, quick: bool, seed: int, alone: bool) -> None:
        self.seed, self.every, self.alone = seed, QUICK_EVERY if quick else 1, alone
        self.loads = QUICK_LOADS if quick else LOADS
        self.capacities: dict[str, Capacity] = {}
        self.worlds: dict[tuple[str, float], World] = {}
        for name in TRACES:
            trace = load(name, given, COUNTS[name], seed)
            self.capacities[name] = capacity(trace, seed)
            if quick:
                trace = load(name, given, COUNTS[name] // QUICK_PART, seed)
            for times in self.loads:
                requests: Sequence[Request] = paced(trace, times * self.capacities[name].requests, seed)
                self.worlds[name, times] = World(trace.setting, requests)
        self.runs = Runs(self.worlds, PROCESSES)
        self.rows: list[dict[str, Any]] = []
        self.steady: list[dict[str, Any]] = []
        self.recoveries: list[dict[str, Any]] = []
        self.words: list[dict[str, Any]] = []
        self.claims: list[dict[str, Any]] = []

    def measure(self) -> None:
        try:
            self.sweep()
            self.wrong()
            self.words_kept()
        finally:
            self.runs.close()

    def sweep(self) -> None:
        """Goodput and attainment of every policy."""
        by_trace: dict[str, dict[float, list[Tally]]] = {}
        for (name, times), world in self.worlds.items():
            tried = specs(world.setting.replicas, self.capacities[name].tokens, self.every)
            if self.alone:
                tried = [one for one in tried if one.kind == OURS]
            found = self.runs.tallies(Job((name, times), one, self.seed) for one in tried)
            by_trace.setdefault(name, {})[times] = found
            for kind in dict.fromkeys(one.kind for one in found):
                own = [one for one in found if one.kind == kind]
                chosen = [best(own)] if kind == OURS else [best(own, KEPT), best(own)]
                self.rows += [self.row(name, times, kind, one) for one in dict.fromkeys(chosen)]
            self.claim_goodput(name, times, found)
        for name, found_at in by_trace.items():
            self.one_setting(name, found_at)

    def row(self, name: str, times: float, kind: str, one: Tally | None) -> dict[str, Any]:
        row = {"trace": name, "load": times, "policy": kind}
        if one is None:
            return {**row, "setting": f"none keeps {KEPT:.0%}", "goodput": None, "of capacity": None} | {
                "attainment": None,
                "admitted": None,
            }
        return {
            **row,
            "setting": one.name,
            "goodput": round(one.goodput, 3),
            "of capacity": round(one.goodput / self.capacities[name].requests, 3),
            "attainment": round(one.attainment, 4),
            "admitted": round(one.admitted / one.asked, 3),
        }

    def claim_goodput(self, name: str, times: float, found: Sequence[Tally]) -> None:
        ours = next(one for one in found if one.kind == OURS)
        other = best([one for one in found if one.kind != OURS], KEPT)
        keeps = ours.attainment >= KEPT
        ratio = round(ours.goodput / other.goodput, 3) if other and other.goodput else None
        beside = f"{other.kind}, {other.name}" if other else f"none keeps {KEPT:.0%}"
        baseline = round(other.goodput, 3) if other else None
        met = keeps and (ratio is None or ratio >= TARGET)
        what = f"{name} at {times:g} x capacity"
        self.claim(f"{what}: kept a second ({beside})", round(ours.goodput, 3), baseline, ratio, TARGET, met)
        attained = other.attainment if other else None
        self.claim(
            f"{what}: attainment",
            round(ours.attainment, 4),
            round(attained, 4) if attained else None,
            None,
            f">= {KEPT}",
            keeps,
        )

    def one_setting(self, name: str, found: Mapping[float, Sequence[Tally]]) -> None:
        """Each baseline at the one setting that is best for all loads of a trace together, beside ours."""
        whole = [list(tallies) for tallies in zip(*found.values(), strict=True)]
        for kind in dict.fromkeys(tallies[0].kind for tallies in whole):
            own = [tallies for tallies in whole if tallies[0].kind == kind]
            able = [tallies for tallies in own if all(one.attainment >= KEPT for one in tallies)]
            if kind == OURS:
                able = own
            row: dict[str, Any] = {"trace": name, "policy": kind, "setting": f"none keeps {KEPT:.0%} at all loads"}
            chosen = max(able, key=lambda tallies: sum(one.goodput for one in tallies), default=None)
            row["setting"] = chosen[0].name if chosen else row["setting"]
            for at, times in enumerate(found):
                row[f"at {times:g} x"] = round(chosen[at].goodput, 3) if chosen else None
            self.steady.append(row)
        self.claim_steady(name)

    def claim_steady(self, name: str) -> None:
        """Ours, with one setting for everything, beside the best baseline with one for all loads of a trace."""
        able = {
            row["policy"]: sum(row[at] for at in row if at.startswith("at "))
            for row in self.steady
            if row["trace"] == name and row[f"at {self.loads[0]:g} x"] is not None
        }
        ours = able.pop(OURS)
        kind, most = max(able.items(), key=lambda one: one[1], default=(f"none keeps {KEPT:.0%}", None))
        ratio = round(ours / most, 3) if most else None
        keeps = all(row["attainment"] >= KEPT for row in self.rows if row["trace"] == name and row["policy"] == OURS)
        loads = len(self.loads)
        what = f"{name}, one setting for all loads: kept a second, mean ({kind})"
        baseline = round(most / loads, 3) if most else None
        self.claim(what, round(ours / loads, 3), baseline, ratio, TARGET, keeps and (ratio is None or ratio >= TARGET))

    def wrong(self) -> None:
        """The gate believes in pods of another pace. Which requests are let in differs so much by chance that one run
        says nothing: the median of several, and beside it how long a right belief takes to be as good as another
        run's."""
        at = self.loads[len(self.loads) // 2]
        beliefs = {RIGHT: 1.0, **PACES}
        seeds = [self.seed + more for more in range(RUNS)]
        jobs = [
            Job((name, at), Spec(OURS, belief, partial(Ours, pace=pace)), seed)
            for name in TRACES
            for belief, pace in beliefs.items()
            for seed in seeds
        ]
        found = dict(
            zip([(job.world[0], job.spec.name, job.seed) for job in jobs], self.runs.attempts(jobs), strict=True)
        )
        for name in TRACES:
            rights = [found[name, RIGHT, seed] for seed in seeds]
            right = _middle(recovery(one, rights[number - 1]) for number, one in enumerate(rights))
            for belief in PACES:
                came = _middle(
                    recovery(found[name, belief, seed], own) for seed, own in zip(seeds, rights, strict=True)
                )
                row = {"trace": name, "load": at, "belief": belief, "attainment after": came.attainment}
                self.recoveries.append({**row, "and goodput after": came.both, "right, beside another": right.both})
                met = came.both is not None and came.both <= RECOVERED
                what = f"{name}, {belief}: answers until the next {WINDOW} are right, median of {RUNS} runs"
                self.claim(what, came.both, right.both, None, f"<= {RECOVERED}", met)

    def words_kept(self) -> None:
        """Half of those refused come back, when they were told to or at half of that."""
        cases = [(name, times, part) for name, times in self.worlds if times > 1 for part in (1.0, 0.5)]
        jobs = [Job((name, times), GATE, self.seed, Return(SHARE, part)) for name, times, part in cases]
        for (name, times, part), attempts in zip(cases, self.runs.attempts(jobs), strict=True):
            found = word(attempts, self.worlds[name, times].requests[-1].at_s)
            admitted = None if found.admitted is None else round(found.admitted, 4)
            when = "when told" if part == 1 else "at half of it"
            self.words.append(
                {
                    "trace": name,
                    "load": times,
                    "come back": when,
                    "refused": found.refused,
                    "told a time": round(found.told, 3),
                    "came": found.came,
                    "admitted": admitted,
                }
            )
            target = f">= {IN_TIME}" if part == 1 else f"<= {TOO_EARLY}"
            met = admitted is not None and (admitted >= IN_TIME if part == 1 else admitted <= TOO_EARLY)
            what = f"{name} at {times:g} x capacity: let in of those who come back {when}"
            self.claim(what, admitted, None, None, target, met)

    def claim(self, what: str, ours: Any, baseline: Any, ratio: float | None, target: Any, met: bool) -> None:
        self.claims.append(
            {"claim": what, "ours": ours, "baseline": baseline, "ratio": ratio, "target": target, "met": met}
        )

    def report(self) -> dict[str, Any]:
        return {
            "capacity": [
                {
                    "trace": name,
                    "requests": len(self.worlds[name, self.loads[0]].requests),
                    "replicas": self.worlds[name, self.loads[0]].setting.replicas,
                    "capacity, requests/s": round(one.requests, 2),
                    "tokens/s": round(one.tokens),
                }
                for name, one in self.capacities.items()
            ],
            "policies": self.rows,
            "one setting for all loads": self.steady,
            "recovery": self.recoveries,
            "retry": self.words,
            "claims": self.claims,
        }


def _middle(found: Iterable[Recovery]) -> Recovery:
    """The median of each; never counts as the latest."""
    rows = list(found)

    def of(values: Iterable[int | None]) -> int | None:
        return sorted(values, key=lambda one: math.inf if one is None else one)[len(rows) // 2]

    return Recovery(of(one.attainment for one in rows), of(one.both for one in rows))


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.admission", description="What is kept when too much is asked for."
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of requests, one load, a sixth of settings")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("--markdown", action="store_true", help="tables (the default)")
    parser.add_argument("--ours", action="store_true", help="the gate alone, without baselines")
    parser.add_argument("--seed", type=int, default=1, help="of samples, prompts' bytes and engines (1)")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help=f"of {', '.join(SETS)}")
    asked = parser.parse_args(arguments)
    given = dict(one.partition("=")[::2] for one in asked.data)
    if not given.keys() <= SETS.keys():
        parser.error(f"--data: {', '.join(given)}: there are {', '.join(SETS)}")
    try:
        bench = Bench(given, quick=asked.quick, seed=asked.seed, alone=asked.ours)
    except AbsentError as error:
        print(f"admission: {error}", file=sys.stderr)
        return 2
    bench.measure()
    found = bench.report()
    tell(found, quick=asked.quick, as_json=asked.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
