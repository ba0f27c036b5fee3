"""python -m benchmarks.gateway_overhead: see README.md beside this file."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.gateway_overhead import figures, processes, report
from benchmarks.gateway_overhead.gateways import BY_NAME, Found, Gateway, chosen
from benchmarks.gateway_overhead.native import CannotRunError, compiled
from benchmarks.gateway_overhead.runner import Bench, GatewayFailedError, Run
from benchmarks.gateway_overhead.scenarios import Prompts

QUICK_LIMIT_S = 52
"""After it --quick begins nothing more; what is under way then ends within the minute."""
CANNOT_RUN = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured (whatever the claims say), 2 when it can't be."""
    given = _parse(arguments)
    processes.end_on_signals()
    try:
        gateways = chosen(given.gateways)
        prompts = _prompts(given.data)
        for name in ("mock", "load"):
            compiled(name)
        _measure(given, gateways, prompts)
    except CannotRunError as error:
        print(f"gateway_overhead: {error}", file=sys.stderr)
        return CANNOT_RUN
    return 0


def _measure(given: argparse.Namespace, gateways: list[Gateway], prompts: Prompts) -> None:
    began = time.monotonic()
    cores = processes.cores()
    os.sched_setaffinity(0, {cores.rest})
    found, state = _look_for(gateways)
    absent = {name: "not asked for (--gateways)" for name in BY_NAME if name not in state}
    absent |= {name: reason for name, reason in state.items() if name not in found}
    notes = [] if cores.is_split else ["only one core: gateway, mock and load share it, figures are no overhead"]
    limit_s = (
        QUICK_LIMIT_S if given.quick else given.runs * sum(_longest_s(gateway, given.seconds) for gateway in gateways)
    )
    folder = Path(tempfile.mkdtemp(prefix="tt-bench-"))  # a short path: Unix sockets allow about 100 bytes
    rounds: list[dict[str, Run]] = []
    try:
        bench = Bench(folder, cores, prompts, given.seconds, given.quick, began + limit_s)
        with processes.running(bench.mock_command, cores.rest, folder / "mock.log") as mock:
            bench.wait_for_mock(mock)
            for number in range(given.runs):
                present = [one for one in gateways if one.name in found]
                turn = number % len(present) if present else 0
                this: dict[str, Run] = {}
                for place, gateway in enumerate(present[turn:] + present[:turn]):
                    left = (given.runs - number) * len(present) - place
                    run = _one_pass(bench, gateway, found[gateway.name], left, absent)
                    if run is None:
                        continue
                    this[gateway.name] = run
                    notes += [*run.notes, *_problems(run)]
                    _say(f"run {number + 1} of {given.runs}: {gateway.name} done, {time.monotonic() - began:.0f} s")
                rounds.append(this)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    passes = {name: [one[name] for one in rounds if name in one] for name in found}
    claims, rows = figures.claims(rounds, absent), figures.rows(passes)
    notes = list(dict.fromkeys([*notes, *_stolen(rounds)]))
    state |= {name: reason for name, reason in absent.items() if name in state}
    if given.json:
        settings = {"runs": given.runs, "seconds": given.seconds, "quick": given.quick, "data": given.data}
        print(report.as_json(settings, cores, state, claims, rows, notes))
    elif given.markdown:
        print(report.as_markdown(state, claims, rows, notes, cores))
    else:
        report.show(state, claims, rows, notes, cores)


def _one_pass(bench: Bench, gateway: Gateway, found: Found, passes_left: int, absent: dict[str, str]) -> Run | None:
    """A pass, or None with the reason in `absent`: a gateway that fails once is not asked again for its claims."""
    try:
        return bench.one_pass(gateway, found, passes_left)
    except (GatewayFailedError, CannotRunError) as error:
        absent[gateway.name] = str(error)
        _say(f"{gateway.name}: {error}")
        return None


def _look_for(gateways: list[Gateway]) -> tuple[dict[str, Found], dict[str, str]]:
    """(what is installed, for each gateway asked for its version or why it is absent)."""
    found: dict[str, Found] = {}
    state: dict[str, str] = {}
    for gateway in gateways:
        here = gateway.find()
        if here is None:
            state[gateway.name] = f"not installed ({gateway.hint})"
            _say(f"{gateway.name}: {state[gateway.name]}")
        else:
            found[gateway.name] = here
            state[gateway.name] = here.version or "version unknown" if gateway.launch else "the mock itself"
    return found, state


def _longest_s(gateway: Gateway, seconds: float) -> float:
    """A bound of one pass, so that no run is without an end."""
    return gateway.start_limit_s + 3 * gateway.warm_s + 40 * seconds + 300


def _problems(run: Run) -> list[str]:
    return [f"{run.gateway} {name}: {one.problem}" for name, one in run.measured.items() if one.problem]


def _stolen(rounds: Sequence[dict[str, Run]]) -> list[str]:
    worst = max(
        (one.stolen_pct for this in rounds for run in this.values() for one in run.measured.values()), default=0
    )
    return [f"the hypervisor took up to {worst:.0f} % of the machine's time in a scenario"] if worst >= 3 else []


def _prompts(data: Sequence[str]) -> Prompts:
    file = None
    for one in data:
        name, separator, path = one.partition("=")
        if not separator or name != "prompts":
            raise CannotRunError(f"--data {one}: the one set is prompts=FILE, .csv or .jsonl with a column `text`")
        file = Path(path)
    try:
        return Prompts(file)
    except (OSError, ValueError) as error:
        raise CannotRunError(f"--data: {error}") from None


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway_overhead", description="What a gateway costs.")
    parser.add_argument("--quick", action="store_true", help="direct, nginx and Trimtab once; ends within a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--markdown", action="store_true", help="tables for the README on stdout")
    parser.add_argument("--runs", type=int, help="passes of every gateway (default 3, quick 1)")
    parser.add_argument("--seconds", type=float, help="base length of a scenario (default 4, quick 1)")
    parser.add_argument("--gateways", help=f"a list (default {','.join(BY_NAME)}; quick: direct,nginx,trimtab)")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="prompts=FILE: your own texts")
    given = parser.parse_args(arguments)
    given.runs = given.runs if given.runs is not None else 1 if given.quick else 3
    given.seconds = given.seconds if given.seconds is not None else 1.0 if given.quick else 4.0
    given.gateways = given.gateways or ("direct,nginx,trimtab" if given.quick else ",".join(BY_NAME))
    if given.runs < 1 or not 0.1 <= given.seconds <= 120:
        parser.error("--runs is at least 1, --seconds between 0.1 and 120")
    return given


def _say(text: str) -> None:
    """Progress, beside the result."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
