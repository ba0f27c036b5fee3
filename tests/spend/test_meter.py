"""The meter alone: how a lease follows the count of an answer."""

from __future__ import annotations

import pytest

from spend.world import HandClock, Purse, day, entry, in_memory
from trimtab.core.money import NANO, Price
from trimtab.dataplane.spend import Meter
from trimtab.surfaces.twin import run_virtual


def characters(text: str, pieces: int) -> int:
    return len(text)


CENT_A_TOKEN = Price(input=0, output=NANO // 100 * 1_000_000)


@pytest.mark.parametrize(("usd", "over"), [(1, 0), (0.5, 450)])
def test_only_what_is_not_paid_for_is_over(usd: float, over: int) -> None:
    """A piece may hold more tokens than the whole answer may have, by a count that is an estimate: where all that the
    answer may use is paid for it goes on, else it is over by what the money lacks."""

    async def main() -> None:
        purse = Purse(in_memory(HandClock()), entry(day(str(usd))))
        lease = await purse.lease(0.2)
        meter = Meter(lease, CENT_A_TOKEN, prompt=0, spent=0, most=100, count=characters)
        assert await meter.over("x" * 10, 1) == 0
        assert await meter.over("x" * 490, 1) == over
        assert lease.granted == int(usd * NANO)

    run_virtual(main)


def test_an_answer_that_heeds_no_cap_is_over_though_all_of_it_is_paid_for() -> None:
    """Sixteen bytes for each token that it may have: no text has so many."""

    async def main() -> None:
        purse = Purse(in_memory(HandClock()), entry(day("1")))
        meter = Meter(await purse.lease(1), CENT_A_TOKEN, prompt=0, spent=0, most=100, count=characters)
        assert await meter.over("x" * 1600, 1) == 0
        assert await meter.over("x", 1) == 1

    run_virtual(main)
