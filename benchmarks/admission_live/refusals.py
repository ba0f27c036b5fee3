"""What a refusal costs: the gateway's CPU while ten times as many come as its model can answer.

The model is a server of a known capacity in another process: so many slots, so long an answer, whoever asks. The
gateway has a core of its own. Four stretches, each as long as the others: nobody comes; fewer come than can be
answered, which tells what an answer costs; a stretch of the overload that is not counted, in which the gate learns; the
overload.
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from benchmarks.admission_live.client import Callers, Seen, open_loop
from benchmarks.admission_live.workspace import TRIMTAB, Targets
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead import workspace as layout
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.soak.watch import MIB, gateway_pid

SLOTS: Final = 16
GAP_MS: Final = 25


class Upstream(NamedTuple):
    """A model's server: a second an answer, whoever else is there."""

    name: str
    first_ms: int
    tokens: int

    @property
    def capacity(self) -> float:
        """Requests a second."""
        return 1000 * SLOTS / (self.first_ms + (self.tokens - 1) * GAP_MS)

    @property
    def script(self) -> str:
        """Of its answers: it stands in the prompt."""
        return f"say-n{self.tokens}-w{self.first_ms}-g{GAP_MS}"


NEAR: Final = Upstream("near", 25, 40)
FAR: Final = Upstream("far", 500, 20)
"""The first token is half of the answer's time, as behind a long way or somebody else's queue, and takes no longer for
those who come with others."""
BELOW, TIMES = 0.5, 10.0
"""Loads, in capacities."""
TARGETS: Final = Targets(1_500, 100, 2_500, 0.99)
START_S: Final = 60.0
WARM_S: Final = 3.0
_TEXT: Final = "where is the parcel that was sent to me last week and when will it be here " * 3


class Cost(NamedTuple):
    """Seconds of CPU over a stretch, with what came of its requests."""

    name: str
    seconds: float
    cpu_s: float
    rss_mib: float
    """Of the gateway, at its end."""
    seen: Sequence[Seen]

    @property
    def answered(self) -> int:
        return sum(one.admitted for one in self.seen)

    @property
    def refused(self) -> int:
        return len(self.seen) - self.answered

    @property
    def codes(self) -> Counter[str]:
        return Counter(one.code for one in self.seen if not one.admitted)

    @property
    def attainment(self) -> float:
        return sum(one.keeps(TARGETS) for one in self.seen) / self.answered if self.answered else 0.0


class Refusals(NamedTuple):
    """The stretches: nobody, below capacity, the overload."""

    upstream: Upstream
    idle: Cost
    below: Cost
    over: Cost
    seconds: float
    """In which requests came, of each."""

    @property
    def used(self) -> float:
        """Share of the capacity that was answered in the overload, within contract."""
        return sum(one.keeps(TARGETS) for one in self.over.seen) / (self.upstream.capacity * self.seconds)

    @property
    def _costs_ms(self) -> tuple[float, float]:
        """CPU of one answer and of one refusal: what explains both stretches, beside what is computed for nobody."""
        (low, a, b), (high, c, d) = (self._row(one) for one in (self.below, self.over))
        whole = a * d - b * c
        return (low * d - high * b) / whole, (high * a - low * c) / whole

    def _row(self, stretch: Cost) -> tuple[float, int, int]:
        idle = self.idle.cpu_s / self.idle.seconds
        return 1000 * (stretch.cpu_s - idle * stretch.seconds), stretch.answered, stretch.refused

    @property
    def answer_ms(self) -> float:
        """CPU of one answer."""
        return self._costs_ms[0]

    @property
    def refusal_ms(self) -> float:
        """CPU of one refusal."""
        return self._costs_ms[1]


def run(upstream: Upstream, seconds: float, seed: int, folder: Path) -> Refusals:
    """All stretches. Raises CannotRunError."""
    folder.mkdir()
    mine = os.sched_getaffinity(0)
    with _serving(folder) as (port, pid, key):
        os.sched_setaffinity(0, {processes.cores().rest})
        try:
            return asyncio.run(_Bench(upstream, port, pid, key).run(seconds, seed))
        finally:
            os.sched_setaffinity(0, mine)


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[int, int, str]]:
    """The model's server, and the gateway in front of it; its port, process and key."""
    cores, upstream, port = processes.cores(), processes.free_port(), processes.free_port()
    workspace, log = folder / "refusals", folder / "refusals.log"
    layout.lay_out(workspace, upstream, lambda made: layout.call(TRIMTAB, "init", str(made)))
    for name, changes in _CHANGES.items():
        text = (workspace / name).read_text()
        for old, new in changes:
            if old not in text:
                raise CannotRunError(f"{name} of the workspace has no {old!r}")
            text = text.replace(old, new)
        (workspace / name).write_text(text)
    key = layout.create_key(TRIMTAB, workspace)
    model = [sys.executable, "-m", "benchmarks.scripted", str(upstream), "--untraced"]
    serve = [TRIMTAB, "serve", "--workspace", str(workspace), "--port", str(port)]
    with (
        processes.running(model, cores.rest, folder / "model.log"),
        processes.running(serve, cores.gateway, log) as supervisor,
    ):
        until = time.monotonic() + START_S
        while "Trimtab serves at" not in log.read_text():
            if supervisor.poll() is not None or time.monotonic() > until:
                raise CannotRunError(f"the gateway does not start: {log.read_text()}")
            time.sleep(0.1)
        yield port, gateway_pid(supervisor.pid), key


_CHANGES: Final = {
    "models.yaml": [("slots: 1024", f"slots: {SLOTS}")],
    f"tenants/{layout.TENANT}.yaml": [
        (
            "{ttft_ms: 60000, itl_ms: 10000, e2e_ms: 120000, percentile: 0.95}",
            f"{{ttft_ms: {TARGETS.ttft_ms}, itl_ms: {TARGETS.itl_ms}, e2e_ms: {TARGETS.e2e_ms}, "
            f"percentile: {TARGETS.percentile}}}",
        ),
        ("reuse: true", "reuse: false"),
    ],
}


def _rss_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MIB


class _Bench:
    """The stretches, one after the other."""

    def __init__(self, upstream: Upstream, port: int, pid: int, key: str) -> None:
        self._upstream, self._pid = upstream, pid
        self._callers = Callers(port, (f"Authorization: Bearer {key}",))

    async def run(self, seconds: float, seed: int) -> Refusals:
        await self._stretch("warm", BELOW, max(seconds / 2, WARM_S), seed)
        idle = await self._stretch("idle", 0.0, seconds, seed)
        below = await self._stretch("below", BELOW, seconds, seed)
        await self._stretch("learning", TIMES, seconds, seed + 1)
        over = await self._stretch("over", TIMES, seconds, seed + 2)
        self._callers.close()
        if not below.answered or not over.refused:
            raise CannotRunError(f"nothing to compare: {below.codes} below capacity, {over.codes} above")
        return Refusals(self._upstream, idle, below, over, seconds)

    async def _stretch(self, name: str, load: float, seconds: float, seed: int) -> Cost:
        """From its first request until the last of them has been answered."""
        chosen, at, times = random.Random(seed), 0.0, []
        while load and (at := at + chosen.expovariate(load * self._upstream.capacity)) < seconds:
            times.append(at)

        async def each(number: int, due_s: float) -> Seen:
            return await self._callers.ask(self._body(f"{name} {number}"), due_s)

        began, cpu_s = time.monotonic(), processes.cpu_s(self._pid)
        seen = await open_loop(times, each)
        await asyncio.sleep(max(0.0, began + seconds - time.monotonic()))
        took_s = processes.cpu_s(self._pid) - cpu_s
        return Cost(name, time.monotonic() - began, took_s, _rss_mib(self._pid), seen)

    def _body(self, name: str) -> bytes:
        text = f"{name}: {self._upstream.script} {_TEXT}"
        return msgspec.json.encode({"model": "auto", "stream": True, "messages": [{"role": "user", "content": text}]})
