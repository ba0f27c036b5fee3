"""Thousands of worlds, each with its own faults: money and limits hold at every step, and everything ends."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.run import SEEDS, run

CHUNK = 100
_TESTS = Path(__file__).parent.parent


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_all_holds_in_every_world(first: int) -> None:
    """No budget is over its limit, nobody is refused in vain, every request ends once and nothing stays held."""
    for seed in range(first, first + CHUNK):
        result = run(seed)
        assert result.broken is None, f"\n{result}"


def test_one_seed_is_one_run() -> None:
    """Another process with another order of hashes gives the same trace, to the last event."""
    told = [_digests(hash_seed) for hash_seed in ("1", "4711")]
    assert told[0] == told[1] == [run(seed).digest for seed in range(15)]
    assert len(set(told[0])) == 15


def _digests(hash_seed: str) -> list[str]:
    code = "from sim.run import run\nfor seed in range(15): print(run(seed).digest)"
    paths = os.pathsep.join([str(_TESTS), *sys.path])
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": paths}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.split()
