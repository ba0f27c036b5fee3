"""Sixteen scenarios after Failover Bench's catalogue (failoverbench/failoverbench, methodology 0.1), judged by its
rules: *pass*: the whole answer, and every check held; *partial*: an advisory check did not; *safe*: an error that says
so, and every required check held; *fail*: anything else. In S13 the provider's refusal is the right answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from benchmarks.faults.client import Saw
from benchmarks.faults.provider import Provider, Times

Ask = Callable[[str, float], Awaitable[Saw]]
"""A model's name and how long a call may take."""
Check = tuple[str, bool, bool]
"""What it says, whether it holds, whether it is only advice."""


@dataclass(frozen=True)
class Scenario:
    id: str
    title: str
    limit_s: float
    check: Callable[[Run], list[Check]]
    fallback: str = "fb-ok"
    wants: str = "whole"

    @property
    def model(self) -> str:
        return f"fb-{self.id.lower()}"


@dataclass(frozen=True)
class Run:
    """What came of one."""

    scenario: Scenario
    saw: Saw
    times: Times
    first: list[float]
    """When the model itself was asked."""
    stood_in: list[float]
    prefills: int
    """Requests with a prefill that the stand-in refused."""
    alive: bool
    served: int = 0
    asked: int = 0
    back_s: float | None = None
    """S15: answers while it was down, of so many; when it answered again after that."""

    @property
    def gap_s(self) -> float:
        return self.first[1] - self.first[0] if len(self.first) > 1 else -1.0

    def within(self, window_s: float) -> int:
        return sum(at - self.first[0] < window_s for at in self.first)


@dataclass(frozen=True)
class Verdict:
    run: Run
    word: str
    missed: list[str] = field(default_factory=list)


def judge(run: Run) -> Verdict:
    saw, checks = run.saw, run.scenario.check(run)
    required = [text for text, holds, advice in checks if not holds and not advice]
    advised = [text for text, holds, advice in checks if not holds and advice]
    if saw.how in ("hang", "truncated") or required:
        return Verdict(run, "fail", [saw.how, *required])
    if saw.how == run.scenario.wants:
        return Verdict(run, "partial" if advised else "pass", advised)
    return Verdict(run, "partial" if run.scenario.wants == "error" else "safe", [saw.message])


def _quick(run: Run) -> bool:
    return run.times.slow_first < 10


SCENARIOS = (
    Scenario(
        "S01",
        "429 with Retry-After",
        20,
        lambda run: [
            ("asked again", len(run.first) >= 2, True),
            ("when it was told", run.gap_s >= 0.9 * run.times.retry_after, True),
            ("not hammered", run.within(1.5) <= 2, False),
        ],
    ),
    Scenario(
        "S02",
        "429 without Retry-After, for ever",
        40,
        lambda run: [("not hammered", run.within(3) <= 4, False), ("six attempts", len(run.first) <= 6, False)],
    ),
    Scenario("S03", "500 once", 20, lambda run: [("asked again there", len(run.first) >= 2, True)]),
    Scenario("S04", "503 for ever", 40, lambda run: [("six attempts", len(run.first) <= 6, False)]),
    Scenario("S05", "connection reset before a byte", 20, lambda run: []),
    Scenario(
        "S06",
        "no answer at all",
        130,
        lambda run: [
            ("within 100 s", run.saw.took_s <= 100, False),
            ("a silent route is asked once", len(run.first) <= 1, True),
        ],
    ),
    Scenario(
        "S07",
        "first token after 20 s",
        60,
        lambda run: [("within 15 s", run.saw.took_s <= (run.times.slow_first if _quick(run) else 15), True)],
    ),
    Scenario("S08", "stream cut after 40 tokens", 40, lambda run: []),
    Scenario(
        "S09",
        "stream stalls after 20 tokens",
        70,
        lambda run: [("within 45 s", run.saw.took_s <= 45, False), ("well afterwards", run.alive, False)],
    ),
    Scenario(
        "S10",
        "malformed chunk",
        30,
        lambda run: [("well afterwards", run.alive, False), ("whole", run.saw.how == "whole", True)],
    ),
    Scenario(
        "S11",
        "no [DONE]",
        30,
        lambda run: [("within 8 s", run.saw.took_s <= 8, False), ("usage", run.saw.usage, True)],
    ),
    Scenario("S12", "context length exceeded", 20, lambda run: [("asked once", len(run.first) == 1, False)]),
    Scenario("S13", "content filter", 20, lambda run: [("asked once", len(run.first) == 1, False)], wants="error"),
    Scenario(
        "S14",
        "cut, and the stand-in takes no prefill",
        40,
        lambda run: [("its 400 hides nothing", not (run.saw.how == "error" and run.prefills), False)],
        fallback="fb-ok-noprefill",
    ),
    Scenario(
        "S15",
        "down for a minute, then well",
        200,
        lambda run: [
            ("served all the while", run.served == run.asked > 0, False),
            ("back within 30 s", run.back_s is not None and run.back_s <= 30, False),
        ],
    ),
    Scenario(
        "S16",
        "who answered is told",
        40,
        lambda run: [
            ("the stand-in's name", not run.stood_in or "fb-ok" in (run.saw.model or ""), False),
            ("usage", run.saw.usage, True),
            ("six attempts", len(run.first) <= 6, False),
        ],
    ),
)


async def play(scenario: Scenario, ask: Ask, provider: Provider) -> Verdict:
    """One scenario, and a healthy call after it."""
    provider.reset()
    if scenario.id == "S15":
        saw, served, asked = await _sequence(scenario, ask, provider.times)
    else:
        saw, served, asked = await ask(scenario.model, scenario.limit_s), 0, 0
    first = [one.at for one in provider.asked.get(scenario.model, [])]
    stood_in = provider.asked.get(scenario.fallback, [])
    refused = sum(one.prefill for one in stood_in) if "noprefill" in scenario.fallback else 0
    well = [at - provider.times.down for at in first if at >= provider.times.down]
    alive = (await ask("fb-ok", 10)).how == "whole"
    run = Run(
        scenario, saw, provider.times, first, [one.at for one in stood_in], refused, alive, served, asked,
        min(well, default=None),
    )  # fmt: skip
    return judge(run)


async def _sequence(scenario: Scenario, ask: Ask, times: Times) -> tuple[Saw, int, int]:
    """Twenty calls while it is down and after: the worst of them, and how many were served while it was down."""
    since, saws, down = time.monotonic(), list[Saw](), list[Saw]()
    for n in range(20):
        await asyncio.sleep(max(0.0, since + n * times.down / 15 - time.monotonic()))
        at = time.monotonic() - since
        saws.append(await ask(scenario.model, 30))
        if at < times.down:
            down.append(saws[-1])
    worst = next((saw for saw in saws if saw.how != "whole"), saws[-1])
    return worst, sum(saw.how == "whole" for saw in down), len(down)
