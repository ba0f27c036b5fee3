"""python -m benchmarks.faults: see README.md beside this file."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import openai
from ruamel.yaml import YAML

from benchmarks.faults import provider as faulty
from benchmarks.faults import workspace
from benchmarks.faults.client import Saw, call
from benchmarks.faults.hangups import hang_ups
from benchmarks.faults.scenarios import SCENARIOS, Verdict, play
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.tables import claim, tell

TRIMTAB = Path(sys.executable).with_name("trimtab")
BEST = {"pass": 11, "fail": 3}
"""Of the gateways on Failover Bench's card of 2026-09, full profile: Bifrost, as released."""
TABLE = tuple(name for name in faulty.FAULTS if not name.startswith("fb-"))
HANG_UPS = "hang-ups"
CLAIMS = {
    "continue": ("passed as answers come (S14 safe)", 15),
    "hold": ("passed held back", 16),
}


@contextlib.contextmanager
def serving(folder: Path, provider: int, quick: bool) -> Iterator[tuple[int, str]]:
    """A gateway in front of the provider: its port and a key."""
    port, log = processes.free_port(), folder / "serve.log"
    first_ms, itl_ms, eject_s = (3000.0, 40.0, 0.2) if quick else (10_000.0, 200.0, 2.0)
    key = workspace.write(str(TRIMTAB), folder / "ws", provider, first_ms, itl_ms, eject_s)
    serve = [str(TRIMTAB), "serve", "--workspace", str(folder / "ws"), "--port", str(port)]
    with processes.running(serve, None, log) as supervisor:
        until = time.monotonic() + 60
        while "Trimtab serves at" not in log.read_text():
            if supervisor.poll() is not None or time.monotonic() > until:
                raise CannotRunError(f"the gateway does not start: {log.read_text()}")
            time.sleep(0.1)
        yield port, key


async def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    times = faulty.QUICK if given.quick else faulty.FULL
    async with faulty.Provider(times) as provider:
        with serving(folder, provider.port, given.quick) as (port, key):
            client = openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=key, max_retries=0)
            found: dict[str, Any] = {"saw": await _table(client, provider)}
            for channel in CLAIMS:

                async def ask(model: str, limit_s: float, channel: str = channel) -> Saw:
                    return await call(client, model, stream=True, channel=channel, limit_s=limit_s)

                chosen = [one for one in SCENARIOS if not given.only or one.id in given.only]
                found[channel] = [await play(one, ask, provider) for one in chosen]
            await client.close()
            if not given.only or HANG_UPS in given.only:
                found["hang-ups"] = await hang_ups(
                    port, key, provider, 40 if given.quick else 200, folder / "ws/var/records"
                )
    return found


async def _table(client: openai.AsyncOpenAI, provider: faulty.Provider) -> list[dict[str, Any]]:
    """What a client saw of each fault, at once with all others: fallback on and off, streamed and not."""
    provider.reset()
    cases = [
        (fault, stream, alone, channel)
        for fault in TABLE
        for stream, channel in ((True, "error"), (True, "continue"), (False, "error"))
        for alone in (False, True)
    ]
    saws = await asyncio.gather(
        *(
            call(client, fault + (workspace.ALONE if alone else ""), stream=stream, channel=channel, limit_s=90)
            for fault, stream, alone, channel in cases
        )
    )
    rows: dict[str, dict[str, Any]] = {fault: {"fault": fault} for fault in TABLE}
    for (fault, stream, alone, channel), saw in zip(cases, saws, strict=True):
        name = f"{'stream' if stream else 'whole'}{', continue' if channel == 'continue' else ''}"
        rows[fault][f"{name}, {'alone' if alone else 'fallback'}"] = f"{saw.how} {saw.took_s:.1f} s"
    return list(rows.values())


def harness(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Failover Bench's own harness, in the folder given: its wall behind a gateway, its runner in front of it."""
    wall, profile = processes.free_port(), "fast" if given.quick else "full"
    found: dict[str, Any] = {}
    command = [sys.executable, "-m", "failoverbench"]
    with processes.running(
        [*command, "wall", "--port", str(wall), "--profile", profile], None, folder / "wall.log", cwd=given.harness
    ):
        names = _scenario_models(given.harness)
        with _serving_names(folder, wall, names, given.quick) as (port, key):
            for channel in CLAIMS:
                system = folder / f"trimtab-{channel}.yaml"
                params: dict[str, Any] = {"base_url": f"http://127.0.0.1:{port}/v1", "api_key": key}
                params |= {"headers": {"trimtab-channel": channel}}
                told = {"name": f"trimtab-{channel}", "adapter": "endpoint", "params": params}
                system.write_text(json.dumps(told))  # JSON is YAML
                options = ["--system", str(system), "--wall", f"http://127.0.0.1:{wall}", "--profile", profile]
                subprocess.run([*command, "run", *options, "--out", str(folder)], check=True, cwd=given.harness)
                found[channel] = json.loads((folder / profile / f"trimtab-{channel}.json").read_text())
    return found


def _scenario_models(folder: Path) -> dict[str, str]:
    """Each model of the catalogue, and who stands in for it."""
    catalogue = YAML(typ="safe").load(folder / "scenarios" / "catalogue.yaml")
    default = catalogue.get("default_fallback", "fb-ok")
    return {one["model"]: one.get("fallback_model", default) for one in catalogue["scenarios"]}


@contextlib.contextmanager
def _serving_names(folder: Path, wall: int, names: dict[str, str], quick: bool) -> Iterator[tuple[int, str]]:
    """The same gateway, with the models of the catalogue."""
    faulty.FAULTS.update(dict.fromkeys([*names, *names.values()], faulty.ok))
    until = time.monotonic() + 30
    while time.monotonic() < until:
        with contextlib.suppress(OSError):
            connection = http.client.HTTPConnection("127.0.0.1", wall, timeout=5)
            connection.request("GET", "/control/health")
            connection.getresponse().read()
            break
        time.sleep(0.1)
    with serving(folder, wall, quick) as found:
        yield found


def words(verdicts: Sequence[Verdict]) -> dict[str, int]:
    return {word: sum(one.word == word for one in verdicts) for word in ("pass", "partial", "safe", "fail")}


def claims(counts: dict[str, dict[str, int]]) -> list[dict[str, Any]]:
    """`baseline`: the best gateway of the card."""
    found = []
    for channel, (what, target) in CLAIMS.items():
        ours = counts[channel]["pass"]
        met = ours >= target and not counts[channel]["fail"]
        found.append(claim(what, ours, BEST["pass"], f">= {target}", met))
    failed = sum(one["fail"] for one in counts.values())
    return [*found, claim("failed, both ways together", failed, BEST["fail"], "0", not failed)]


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A scenario a row, both ways."""
    both = zip(*(found[channel] for channel in CLAIMS), strict=True)
    return [
        {"id": pair[0].run.scenario.id, "fault": pair[0].run.scenario.title}
        | {channel: f"{one.word}, {one.run.saw.took_s:.1f} s" for channel, one in zip(CLAIMS, pair, strict=True)}
        | {"why": "; ".join(dict.fromkeys(text for one in pair for text in one.missed))}
        for pair in both
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0 when it was measured, whatever the claims say; 2 when it can't be."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description="What callers see of faults.")
    parser.add_argument("--quick", action="store_true", help="shorter faults, and contracts to match")
    parser.add_argument("--json", action="store_true", help="one object")
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FILE", help="takes none: all is made")
    parser.add_argument("--only", nargs="+", default=[], metavar="ID", help=f"these scenarios, or {HANG_UPS}")
    parser.add_argument("--harness", type=Path, metavar="DIR", help="Failover Bench's own harness")
    given = parser.parse_args(arguments)
    if given.data:
        parser.error("--data: this benchmark reads no data")
    processes.end_on_signals()
    try:
        with tempfile.TemporaryDirectory(prefix="tt-faults-") as temporary:
            if given.harness is not None:
                told = harness(given, Path(temporary))
                counts = {channel: told[channel]["summary"] for channel in CLAIMS}
                tables: dict[str, Any] = {
                    "scenarios": [
                        {"id": one["id"], "title": one["title"], channel: one["verdict"], "reason": one["reason"]}
                        for channel in CLAIMS
                        for one in told[channel]["scenarios"]
                    ]
                }
            else:
                found = asyncio.run(measure(given, Path(temporary)))
                counts = {channel: words(found[channel]) for channel in CLAIMS}
                tables = {"saw": found["saw"], "scenarios": rows(found), **found.get("hang-ups", {})}
    except (CannotRunError, subprocess.CalledProcessError) as error:
        print(f"faults: {error}", file=sys.stderr)
        return 2
    if tables["scenarios"]:
        tables["counts"] = [{"way": channel, **counts[channel]} for channel in CLAIMS]
    if not given.only:
        tables["claims"] = claims(counts)
    tell({name: one for name, one in tables.items() if one}, quick=given.quick, as_json=given.json)
    return 0


if __name__ == "__main__":
    sys.exit(main())
