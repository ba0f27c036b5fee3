"""Pods, and passes that they take."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import strategies as st

from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.podmodel import Pod, Sample

GPU = Pod(base_ms=20, sequence_ms=0.2, held_ms=0.0003, prefill_ms=8, prompt_ms=0.1, attend_ms=2e-6)
"""Of the size of a model of 70 billion parameters on four A100."""


COEFFICIENTS = ("base_ms", "spread_ms", "sequence_ms", "held_ms", "prefill_ms", "prompt_ms", "attend_ms")


def slowed(pod: Pod, pace: float) -> Pod:
    """All of it takes so many times as long."""
    return msgspec.structs.replace(pod, **{name: pace * getattr(pod, name) for name in COEFFICIENTS})


@st.composite
def pods(draw: st.DrawFn, serial: float | None = None) -> Pod:
    """From a small model on a fast machine to a large one on a slow one."""
    scale = draw(st.floats(0.2, 50))
    return Pod(
        base_ms=scale * draw(st.floats(0.5, 2)),
        spread_ms=scale * draw(st.sampled_from([0.0, 0.1, 0.3])),
        sequence_ms=scale * draw(st.floats(0.01, 0.1)),
        held_ms=scale * draw(st.floats(5e-6, 5e-5)),
        prefill_ms=scale * draw(st.floats(0.1, 2)),
        prompt_ms=scale * draw(st.floats(0.002, 0.02)),
        attend_ms=scale * draw(st.floats(1e-7, 1e-6)),
        serial=draw(st.sampled_from([0.0, 0.3, 1.0])) if serial is None else serial,
    )


@st.composite
def loads(draw: st.DrawFn) -> dict[str, float]:
    """What is in a pass: the arguments of `Pod.pass_ms`."""
    running = draw(st.integers(0, 128))
    return {
        "running": float(running),
        "held": float(running * draw(st.integers(1, 8000))),
        "prompt": float(draw(st.integers(0, 8000))),
        "attended": float(draw(st.integers(0, 8000))),
    }


def passes(
    pod: Pod,
    seed: int,
    count: int,
    *,
    kinds: str = "dp",
    noise: float = 0.0,
    wrong: Callable[[int], float] | None = None,
) -> list[Sample]:
    """What a pod would be seen to take, of kinds in turn: d decodes, p a prompt, m both; `wrong` multiplies times."""
    rng = ClockIds(SystemClock(), seed).random
    found = []
    for number in range(count):
        kind = kinds[number % len(kinds)]
        running = rng.randint(1, 64) if kind in "dm" else 0
        held = running * rng.randint(50, 4000)
        prompt = rng.choice((16, 200, 1500, 4000)) + rng.randint(0, 15) if kind in "pm" else 0
        attended = prompt / 2 + rng.choice((0, 0, 3000)) if prompt else 0
        took = pod.pass_ms(running, held, prompt, attended) * rng.uniform(1 - noise, 1 + noise)
        found.append(
            Sample(
                ms=took * (wrong(number) if wrong else 1), running=running, held=held, prompt=prompt, attended=attended
            )
        )
    return found


def mean_error(pod: Pod, truth: Pod, kinds: str = "dp") -> float:
    """The mean relative error over passes as they come."""
    fresh = passes(truth, 99, 200, kinds=kinds)
    return sum(abs(pod.pass_ms(s.running, s.held, s.prompt, s.attended) / s.ms - 1) for s in fresh) / len(fresh)
