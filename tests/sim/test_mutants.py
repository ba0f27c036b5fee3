"""Bugs that are put in on purpose: the seeds of every test run find each of them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sim.mutants.apply import Mutant, applied
from sim.mutants.catalogue import MUTANTS
from sim.run import SEEDS, run


@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name.partition(":")[0].replace(" ", "-"))
def test_the_seeds_find_it(mutant: Mutant, record_property: Callable[[str, object], None]) -> None:
    """With this bug in the program some seed fails; without it none does (test_seeds)."""
    with applied(mutant):
        for seed in range(SEEDS):
            result = run(seed)
            if result.broken is not None:
                print(f"seed {seed}: {result.broken}")
                record_property("seed", seed)
                break
        else:
            pytest.fail(f"{SEEDS} seeds don't see it: {mutant.name}")
    assert run(seed).broken is None, "it is out again"


def test_there_are_enough() -> None:
    """At least twenty, each by its own name."""
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 20


def test_a_stale_mutant_fails_loudly() -> None:
    """One whose text the code no longer has is an error, not a bug that was not found."""
    stale = Mutant("stale", "dataplane/settle.py", "this text is nowhere", "")
    with pytest.raises(LookupError, match="0 times"), applied(stale):
        pass
