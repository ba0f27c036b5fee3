"""python -m benchmarks.gateway_overhead: see README.md beside this file."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.gateway_overhead import figures, processes, report, scenarios
from benchmarks.gateway_overhead.gateways import BY_NAME, Found, Gateway, chosen
from benchmarks.gateway_overhead.native import CannotRunError, compiled
from benchmarks.gateway_overhead.runner import Bench, GatewayFailedError, Run
from benchmarks.gateway_overhead.scenarios import Prompts

QUICK_LIMIT_S = 52
"""After it --quick begins nothing more; what is under way then ends within the minute."""
HOLD_LIMIT_S = 600
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
        if given.hold:
            _hold(given, prompts)
        else:
            _measure(given, gateways, prompts)
    except (CannotRunError, GatewayFailedError) as error:
        print(f"gateway_overhead: {error}", file=sys.stderr)
        return CANNOT_RUN
    return 0


def _measure(given: argparse.Namespace, gateways: list[Gateway], prompts: Prompts) -> None:
    cores = processes.cores()
    found, state = _look_for(gateways)
    absent = {name: "not asked for (--gateways)" for name in BY_NAME if name not in state}
    absent |= {name: reason for name, reason in state.items() if name not in found}
    whole_s = given.runs * sum(_longest_s(gateway, given.seconds) for gateway in gateways)
    with _bench(given, cores, prompts, QUICK_LIMIT_S if given.quick else whole_s) as bench:
        rounds = _rounds(bench, given.runs, found, absent)
    passes = {name: [one[name] for one in rounds if name in one] for name in found}
    claims, rows = figures.claims(rounds, absent), figures.rows(passes)
    state |= {name: reason for name, reason in absent.items() if name in state}
    notes = [] if cores.is_split else ["only one core: gateway, mock and load share it, figures are no overhead"]
    notes += dict.fromkeys(note for this in rounds for run in this.values() for note in (*run.notes, *_problems(run)))
    notes += _stolen(rounds)
    if given.json:
        settings = {"runs": given.runs, "seconds": given.seconds, "quick": given.quick, "data": given.data}
        print(report.as_json(settings, cores, state, claims, rows, notes))
    elif given.markdown:
        print(report.as_markdown(state, claims, rows, notes, cores))
    else:
        report.show(state, claims, rows, notes, cores)


def _hold(given: argparse.Namespace, prompts: Prompts) -> None:
    gateway = chosen(given.hold)[0]
    found = gateway.find()
    scenario = scenarios.BY_NAME.get(given.scenario)
    if gateway.launch is None or found is None:
        raise CannotRunError(f"{gateway.name} can't be held: {gateway.hint or 'it is no gateway'}")
    if scenario is None:
        raise CannotRunError(f"there is no scenario {given.scenario!r}; known: {', '.join(scenarios.BY_NAME)}")
    with _bench(given, processes.cores(), prompts, HOLD_LIMIT_S) as bench:
        bench.hold(gateway, found, scenario, _say)


@contextlib.contextmanager
def _bench(given: argparse.Namespace, cores: processes.Cores, prompts: Prompts, limit_s: float) -> Iterator[Bench]:
    """The mock, answering, and a folder for what is started; both are gone after the block."""
    deadline = time.monotonic() + limit_s
    os.sched_setaffinity(0, {cores.rest})
    folder = Path(tempfile.mkdtemp(prefix="tt-bench-"))  # a short path: Unix sockets allow about 100 bytes
    try:
        bench = Bench(folder, cores, prompts, given.seconds, given.quick, deadline)
        with processes.running(bench.mock_command, cores.rest, folder / "mock.log") as mock:
            bench.wait_for_mock(mock)
            yield bench
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _rounds(bench: Bench, runs: int, found: dict[str, Found], absent: dict[str, str]) -> list[dict[str, Run]]:
    """Every gateway's pass of every run; the order turns by one from run to run."""
    began = time.monotonic()
    present = [BY_NAME[name] for name in found]
    rounds = []
    for number in range(runs):
        turn = number % max(1, len(present))
        this: dict[str, Run] = {}
        for place, gateway in enumerate(present[turn:] + present[:turn]):
            left = (runs - number) * len(present) - place
            run = _one_pass(bench, gateway, found[gateway.name], left, absent)
            if run is not None:
                this[gateway.name] = run
                _say(f"run {number + 1} of {runs}: {gateway.name} done, {time.monotonic() - began:.0f} s")
        rounds.append(this)
    return rounds


def _one_pass(bench: Bench, gateway: Gateway, found: Found, passes_left: int, absent: dict[str, str]) -> Run | None:
    """A pass, or None with the reason in `absent`: one that fails once has no claims."""
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
    parser.add_argument("--hold", metavar="GATEWAY", help="measure nothing: keep one under load, for a profiler")
    parser.add_argument("--scenario", default="s1_c16", help="that load (default %(default)s)")
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
