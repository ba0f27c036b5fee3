"""Who is in which arm: a pure function of the session."""

from __future__ import annotations

import math
from hashlib import blake2b
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.experiments import ArmDoc, Experiment, Split

SESSIONS = [f"{number:016x}" for number in range(100_000)]
sessions = st.text("0123456789abcdef", min_size=16, max_size=16)
shares = st.floats(0, 1)


def split(name: str, *shares: float) -> Split:
    arms = {f"arm-{at}": ArmDoc(variant=f"v{at}", share=share) for at, share in enumerate(shares)}
    return Split.declared(name, Experiment(kind="ab", channels=["web"], of="old", arms=arms))


def within(count: int, share: float) -> bool:
    """Six standard deviations: once in 500 million honest splits."""
    total = len(SESSIONS)
    return abs(count - total * share) <= 6 * math.sqrt(total * share * (1 - share)) + 1


def test_the_formula_is_the_one_that_is_written_down() -> None:
    """int(blake2b(session, key=blake2b(experiment), digest_size=8)) < round(share x 2^64)."""
    found = split("new-prompt", 0.3)
    for session in SESSIONS[:1000]:
        key = blake2b(b"new-prompt").digest()
        point = int.from_bytes(blake2b(session.encode(), key=key, digest_size=8).digest(), "big")
        assert (found.arm_of(session) is not None) == (point < round(0.3 * 2**64))


@given(sessions, shares, shares)
def test_growing_the_share_moves_nobody_back(session: str, one: float, other: float) -> None:
    """Who is in the arm at a share is in it at every greater one."""
    low, high = sorted((one, other))
    if split("new-prompt", low).arm_of(session) is not None:
        assert split("new-prompt", high).arm_of(session) is not None


@given(sessions, st.floats(0, 0.5), st.floats(0, 0.5), st.floats(0, 0.5))
def test_growing_the_last_of_several_arms_takes_from_control_alone(
    session: str, first: float, one: float, other: float
) -> None:
    """Whoever is in the first arm stays there, and nobody comes to it."""
    low, high = sorted((one, other))
    before, after = split("x", first, low).arm_of(session), split("x", first, high).arm_of(session)
    if before is not None:
        assert after is not None
        assert after.name == before.name
    if after is not None and after.name == "arm-0":
        assert before is not None


@given(st.lists(st.floats(0, 0.25), min_size=1, max_size=4))
def test_arms_are_disjoint_and_within_the_whole(found: list[float]) -> None:
    """Intervals follow each other from 0 on, and none ends after 2^64."""
    ends = [0, *(arm.below for arm in split("x", *found).arms)]
    assert all(begin <= end <= 1 << 64 for begin, end in pairwise(ends))


def test_nobody_and_everybody() -> None:
    """Share 0 is nobody. Shares that are 1 in decimals leave nobody for control, as floats would."""
    nobody, everybody = split("x", 0.0), split("x", 0.7, 0.2, 0.1)
    assert all(nobody.arm_of(session) is None for session in SESSIONS[:1000])
    assert everybody.arms[-1].below == 1 << 64


def test_shares_are_those_that_are_declared() -> None:
    """Over 100,000 sessions each arm has its share, within what chance does."""
    found = split("x", 0.05, 0.2, 0.5)
    arms = [arm.name if (arm := found.arm_of(session)) is not None else "control" for session in SESSIONS]
    for name, share in (("arm-0", 0.05), ("arm-1", 0.2), ("arm-2", 0.5), ("control", 0.25)):
        assert within(arms.count(name), share), (name, arms.count(name))


def test_experiments_are_independent() -> None:
    """Half of those in one are in the other, as of those who are not."""
    one, other = split("one", 0.5), split("other", 0.5)
    both = sum(one.arm_of(session) is not None and other.arm_of(session) is not None for session in SESSIONS)
    assert within(both, 0.25), both
