"""Steps, limits and waits of the memory ladder, worked out from figures."""

from __future__ import annotations

from pathlib import Path

import pytest

from trimtab.surfaces.ladder import BEGINS, HURRY_IDLE_S, HYSTERESIS, LONGEST_WAIT_S, Ladder, Step, due
from trimtab.surfaces.memory import MIB, Bound, bounds

GIB = 1 << 30


class Still:
    """A clock that stands where it is put."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    wall_ns = now_ns

    async def offload(self, fn, *args, **kwargs):
        return fn(*args, **kwargs)


@pytest.mark.parametrize(
    ("share", "up", "down"),
    [
        (0.0, Step.NORMAL, Step.NORMAL),
        (0.669, Step.NORMAL, Step.NORMAL),
        (0.671, Step.NORMAL, Step.SPARE),
        (0.70, Step.SPARE, Step.SPARE),
        (0.821, Step.SPARE, Step.HURRY),
        (0.85, Step.HURRY, Step.HURRY),
        (0.891, Step.HURRY, Step.CLOSE),
        (0.92, Step.CLOSE, Step.REFUSE),
        (0.919, Step.HURRY, Step.CLOSE),
        (0.95, Step.REFUSE, Step.REFUSE),
        (1.2, Step.REFUSE, Step.REFUSE),
    ],
)
def test_a_step_begins_at_its_share_and_ends_three_points_below(share: float, up: Step, down: Step) -> None:
    """Coming from nothing, and coming from refusing."""
    assert (due(share, Step.NORMAL), due(share, Step.REFUSE)) == (up, down)


def test_noise_around_a_limit_changes_nothing_back_and_forth() -> None:
    """Within the hysteresis a step is taken once."""
    steps: list[Step] = []
    readings = [699, 701, 690, 705, 671, 700, 669, 690, 851, 700]
    ladder = Ladder(Still(), [Bound(1000, iter(readings).__next__, "test")], steps.append)
    for _ in readings:
        ladder.look()
    assert steps == [Step.SPARE, Step.NORMAL, Step.HURRY, Step.SPARE]


def test_the_fullest_of_several_limits_counts() -> None:
    """A container that is full is full, however little the gateway itself takes."""
    steps: list[Step] = []
    ladder = Ladder(Still(), [Bound(1000, lambda: 100, "own"), Bound(1000, lambda: 960, "container")], steps.append)
    ladder.look()
    assert steps == [Step.REFUSE]
    assert ladder.state() == {"step": "refuse", "used_bytes": 960, "limit_bytes": 1000, "limit_of": "container"}


def test_without_a_limit_nothing_is_ever_done() -> None:
    """And nothing is said but that."""
    ladder = Ladder(Still(), [], lambda step: pytest.fail("obeyed"))
    ladder.look()
    assert ladder.state() == {"step": "normal", "used_bytes": None, "limit_bytes": None, "limit_of": None}


def test_retry_after_follows_how_fast_memory_falls() -> None:
    """While it rises, the shortened idle timeout; while it falls, when it will be below the step at that rate."""
    clock = Still()
    readings = iter([980, 990, 970, 989])
    ladder = Ladder(clock, [Bound(1000, readings.__next__, "test")], lambda step: None)
    ladder.look()
    assert ladder.retry_after_s == HURRY_IDLE_S
    clock.ns = 1 * 10**9
    ladder.look()
    assert ladder.retry_after_s == HURRY_IDLE_S
    clock.ns = 3 * 10**9  # 20 less in 2 s, and 50 more to go
    ladder.look()
    assert ladder.retry_after_s == pytest.approx((970 - (BEGINS[Step.REFUSE] - HYSTERESIS) * 1000) / 10)
    clock.ns = 10**12
    ladder.look()
    assert ladder.retry_after_s == LONGEST_WAIT_S


def test_the_declared_limit_is_of_this_process(tmp_path: Path) -> None:
    """It is compared with the resident set."""
    (bound,) = bounds(512, tmp_path, tmp_path / "none")
    assert (bound.limit_bytes, bound.source) == (512 * MIB, "memory_limit_mib")
    assert 10 * MIB < bound.used_bytes() < 2 * GIB


def test_the_containers_limit_is_read_from_cgroup_v2(tmp_path: Path) -> None:
    """Of every group from our own up to the root, that has one; what the kernel can take back is not used."""
    own = tmp_path / "cgroup"
    own.write_text("1:cpu:/x\n0::/pod/gateway\n")
    pod = tmp_path / "pod"
    inner = pod / "gateway"
    inner.mkdir(parents=True)
    group(pod, str(2 * GIB), GIB)
    group(inner, "max", GIB // 2)
    (bound,) = bounds(None, tmp_path, own)
    assert (bound.limit_bytes, bound.source) == (2 * GIB, "container")
    assert bound.used_bytes() == GIB - 300 - 40 - 2
    group(inner, str(GIB), GIB // 2)
    assert [one.limit_bytes for one in bounds(512, tmp_path, own)] == [512 * MIB, GIB, 2 * GIB]


@pytest.mark.parametrize("told", ["", "4:memory:/v1\n", "0::/nowhere\n"])
def test_a_system_without_cgroup_v2_has_no_limit(tmp_path: Path, told: str) -> None:
    """What can't be read bounds nothing."""
    (tmp_path / "cgroup").write_text(told)
    assert bounds(None, tmp_path, tmp_path / "cgroup") == []


def group(folder: Path, limit: str, used: int) -> None:
    """A cgroup as the kernel shows it."""
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    rows = {"anon": 7, "inactive_file": 300, "active_file": 40, "slab_reclaimable": 2, "slab_unreclaimable": 5}
    (folder / "memory.stat").write_text("".join(f"{name} {number}\n" for name, number in rows.items()))
