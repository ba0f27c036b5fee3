"""One gateway through all scenarios: started, warmed, measured, stopped."""

from __future__ import annotations

import contextlib
import http.client
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmarks.gateway_overhead import admin, native, processes
from benchmarks.gateway_overhead.gateways import PATH, Found, Gateway, Launch, Place
from benchmarks.gateway_overhead.scenarios import (
    DISTINCT_PROMPTS,
    SCENARIOS,
    WARM_UP,
    WARM_UP_STREAMS,
    Prompts,
    Scenario,
)

TOLERATED_FAILURES = 0.001
"""Share of failed requests above which a scenario's figures stand for nothing."""
SATURATED = 0.1
"""Share of open-loop requests unanswered when sending ended, above which the rate is more than a gateway carries."""
_DRAIN_S = 10.0
_FIRST = 10**12
"""Each load starts its counter at a multiple of this, so that no scenario repeats another's requests."""


class GatewayFailedError(Exception):
    """A gateway did not start, or broke; the message has the end of its log."""


@dataclass(frozen=True)
class Measured:
    """One scenario on one gateway in one run."""

    load: native.LoadResult
    cpu_s: float | None = None
    pss_mb: float | None = None
    largest_rss_mb: float | None = None
    stolen_pct: float = 0.0
    upstream_requests: int = 0
    problem: str | None = None
    """Why its figures can't be used."""


@dataclass
class Run:
    """One gateway's pass."""

    gateway: str
    ready_s: float | None = None
    rss_idle_mb: float | None = None
    measured: dict[str, Measured] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Started:
    """A gateway that runs."""

    process: subprocess.Popen[bytes]
    launch: Launch
    port: int
    log: Path
    ready_s: float


class Bench:
    """The mock and what all passes share. `deadline`: monotonic seconds after which nothing more is begun."""

    def __init__(
        self, folder: Path, cores: processes.Cores, prompts: Prompts, seconds: float, quick: bool, deadline: float
    ) -> None:
        self._folder, self._cores, self._prompts = folder, cores, prompts
        self._seconds, self._quick, self._deadline = seconds, quick, deadline
        self._load = str(native.compiled("load"))
        self._mock_port = processes.free_port()
        self._loads = self._passes = 0
        self._extras_until = deadline

    @property
    def mock_command(self) -> list[str]:
        return [str(native.compiled("mock")), str(self._mock_port)]

    def wait_for_mock(self, mock: subprocess.Popen[bytes]) -> None:
        """Until it answers. Raises CannotRunError."""
        end = time.monotonic() + 5
        while mock.poll() is None and time.monotonic() < end:
            try:
                self._upstream_requests()
                return
            except OSError:
                time.sleep(0.02)
        raise native.CannotRunError("the mock model does not answer")

    def one_pass(self, gateway: Gateway, found: Found, passes_left: int) -> Run:
        """Start a gateway, take every scenario, stop it. Raises GatewayFailedError, CannotRunError.

        `passes_left`, this one included: scenarios that no claim needs keep to its share of the time.
        """
        run = Run(gateway.name)
        now = time.monotonic()
        self._extras_until = now + (self._deadline - now) / passes_left
        if gateway.launch is None:
            self._scenarios(run, Launch([]), self._mock_port, None)
            return run
        with self._started(gateway, found) as it:
            run.ready_s = it.ready_s
            time.sleep(0.3)
            run.rss_idle_mb = processes.usage(it.process.pid).pss_mb
            self._warm(gateway, it.launch, it.port, it.process.pid)
            self._scenarios(run, it.launch, it.port, it.process)
            if it.process.poll() is not None:
                raise GatewayFailedError(f"{gateway.name} ended while it was measured:\n{_tail(it.log)}")
        return run

    def hold(self, gateway: Gateway, found: Found, scenario: Scenario, say: Callable[[str], None]) -> None:
        """Keep a gateway under one scenario's load until the deadline, for a profiler."""
        with self._started(gateway, found) as it:
            say(f"{gateway.name} under {scenario.name}: process {it.process.pid}, port {it.port}; Ctrl-C ends it")
            while it.process.poll() is None and time.monotonic() < self._deadline:
                load = self._drive(scenario, it.launch, it.port, 5)
                failures = f", {load.failed} failed: {load.error}" if load.failed else ""
                say(f"{load.rps:,.0f} requests/s, {load.chunks_s:,.0f} chunks/s{failures}")

    @contextlib.contextmanager
    def _started(self, gateway: Gateway, found: Found) -> Iterator[Started]:
        """A gateway that is ready, in a folder of its own; stopped with the block."""
        assert gateway.launch is not None
        self._passes += 1
        folder = self._folder / f"{gateway.name}-{self._passes}"
        folder.mkdir()
        place = Place(folder, processes.free_port(), self._mock_port)
        launch = gateway.launch(found, place)
        log = folder / "log"
        began = time.monotonic()
        with processes.running(launch.command, self._cores.gateway, log, launch.env, folder) as process:
            ready_s = self._wait_ready(gateway, launch, place.port, process, log, began)
            yield Started(process, launch, place.port, log, ready_s)

    def _wait_ready(
        self, gateway: Gateway, launch: Launch, port: int, process: subprocess.Popen[bytes], log: Path, began: float
    ) -> float:
        """Seconds from the start of the process until it is ready; then one completion must succeed."""
        end = began + min(gateway.start_limit_s, max(1.0, self._deadline - began))
        ready_s, said = None, "nothing"
        while time.monotonic() < end and process.poll() is None:
            try:
                if ready_s is None and gateway.ready_path:
                    status, _ = _request(port, "GET", gateway.ready_path)
                    said = f"{status} on {gateway.ready_path}"
                    ready_s = time.monotonic() - began if status == 200 else None
                if ready_s is not None or gateway.ready_path is None:
                    status, text = self._one_completion(launch, port)
                    if status == 200:
                        return ready_s if ready_s is not None else time.monotonic() - began
                    said = f"{status} to a completion: {text[:300]}"
            except (OSError, http.client.HTTPException) as error:
                said = str(error)
            time.sleep(0.02)
        raise GatewayFailedError(f"{gateway.name} did not start (last seen: {said})\n{_tail(log)}".rstrip())

    def _one_completion(self, launch: Launch, port: int) -> tuple[int, str]:
        body = self._prompts.bodies(WARM_UP, launch.model).partition(b"\n")[0]
        headers = dict(one.split(": ", 1) for one in launch.headers) | {"Content-Type": "application/json"}
        return _request(port, "POST", PATH, body, headers)

    def _warm(self, gateway: Gateway, launch: Launch, port: int, pid: int) -> None:
        seconds = 1.0 if self._quick else gateway.warm_s
        self._drive(WARM_UP, launch, port, seconds)
        self._drive(WARM_UP_STREAMS, launch, port, seconds / 2)
        self._settle(pid)

    def _scenarios(self, run: Run, launch: Launch, port: int, process: subprocess.Popen[bytes] | None) -> None:
        order = sorted(SCENARIOS, key=lambda one: one.is_extra) if self._quick else SCENARIOS
        for scenario in order:
            if not scenario.runs_on(run.gateway, self._quick):
                continue
            seconds = scenario.seconds(self._seconds)
            until = self._extras_until if scenario.is_extra else self._deadline
            if time.monotonic() + seconds + 1 > until:
                run.notes.append(f"{run.gateway}: {scenario.name} was not run, time was up")
                continue
            if scenario.repeats:  # each of them once, so that the rest are hits
                self._drive(scenario, launch, port, 0.3)
            measured = self._measure(scenario, launch, port, process, seconds)
            run.measured[scenario.name] = measured
            if scenario.mode == "open" and measured.load.late > SATURATED * measured.load.sent:
                run.notes.append(
                    f"{run.gateway}: {scenario.name} is more than it can carry, its latencies are queueing"
                )
            if process is not None and not self._settle(process.pid):
                run.notes.append(f"{run.gateway}: still busy after {scenario.name}")

    def _measure(
        self, scenario: Scenario, launch: Launch, port: int, process: subprocess.Popen[bytes] | None, seconds: float
    ) -> Measured:
        upstream, stolen = self._upstream_requests(), processes.stolen_ticks()
        state = admin.read(launch.workspace) if launch.workspace else ""
        cpu_s = processes.cpu_s(process.pid) if process else 0.0
        load = self._drive(scenario, launch, port, seconds)
        after = processes.usage(process.pid) if process else None
        stolen_now = processes.stolen_ticks()
        forwarded = self._upstream_requests() - upstream
        problem = _unusable(load)
        if problem is None and launch.workspace:
            distinct = DISTINCT_PROMPTS if scenario.repeats else None
            problem = admin.counted(launch.workspace, state, load.sent, distinct)
        if problem is None and not scenario.repeats and forwarded < load.answered:
            problem = f"only {forwarded} of {load.answered} answers came from the model"
        return Measured(
            load=load,
            cpu_s=after.cpu_s - cpu_s if after else None,
            pss_mb=after.pss_mb if after else None,
            largest_rss_mb=after.largest_rss_mb if after else None,
            stolen_pct=100 * (stolen_now[0] - stolen[0]) / max(1, stolen_now[1] - stolen[1]),
            upstream_requests=forwarded,
            problem=problem,
        )

    def _drive(self, scenario: Scenario, launch: Launch, port: int, seconds: float) -> native.LoadResult:
        """One load from its start to its end. Raises GatewayFailedError if it does not end."""
        bodies = self._folder / f"{scenario.name}.{launch.model}.jsonl"
        if not bodies.is_file():
            bodies.write_bytes(self._prompts.bodies(scenario, launch.model))
        self._loads += 1
        options = {
            "mode": scenario.mode,
            "target": f"127.0.0.1:{port}",
            "path": PATH,
            "bodies": bodies,
            "amount": scenario.amount,
            "seconds": seconds,
            "first": self._loads * _FIRST,
            "repeat": int(scenario.repeats),
            "expect": scenario.chunks,
            "drain": _DRAIN_S,
        }
        command = [self._load, *(f"{name}={value}" for name, value in options.items())]
        command += [f"header={one}" for one in launch.headers]
        child = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=processes.pinned(self._cores.rest)
        )
        try:
            out, err = child.communicate(timeout=seconds + _DRAIN_S + 10)
        except subprocess.TimeoutExpired:
            raise GatewayFailedError(f"{scenario.name}: the load did not end") from None
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        if child.returncode:
            raise GatewayFailedError(f"{scenario.name}: the load failed: {err.decode(errors='replace').strip()}")
        return msgspec.json.decode(out, type=native.LoadResult)

    def _settle(self, pid: int) -> bool:
        return processes.wait_idle(pid, 1.0 if self._quick else 15.0)

    def _upstream_requests(self) -> int:
        status, text = _request(self._mock_port, "GET", "/mock")
        if status != 200:
            raise native.CannotRunError(f"the mock model answers {status}")
        count: int = msgspec.json.decode(text)["requests"]
        return count


def _unusable(load: native.LoadResult) -> str | None:
    if load.answered == 0:
        return f"no request was answered ({load.error or 'none ended in time'})"
    if load.failed > TOLERATED_FAILURES * load.sent:
        return f"{load.failed} of {load.sent} requests failed ({load.error or 'unfinished'})"
    return None


def _request(
    port: int, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request(method, path, body or None, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def _tail(log: Path, characters: int = 1500) -> str:
    try:
        return log.read_text(errors="replace")[-characters:].strip()
    except OSError:
        return ""
