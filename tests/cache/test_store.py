"""Answers by key, and single flight, on virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache._answers import entry, text_of
from trimtab.dataplane.cache import AnswerCache, Entry, Flight
from trimtab.dataplane.cache.store import LARGEST_SHARE
from trimtab.surfaces.twin import Deadlock, VirtualLoop, run_virtual

KEY, OTHER = b"k" * 32, b"o" * 32
MEBI = 1 << 20
LONG_S = 1e6


def run(scenario: Callable[[AnswerCache], Coroutine[Any, Any, None]], max_bytes: int = MEBI) -> None:
    """Run a scenario with a fresh cache on virtual time."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        await scenario(AnswerCache(loop.clock, max_bytes))

    run_virtual(main)


def anything(_: Entry) -> bool:
    """Takes every entry."""
    return True


def nothing(_: Entry) -> bool:
    """Takes none."""
    return False


async def leads(looking: Awaitable[Entry | Flight | None]) -> Flight:
    """The flight that this look-up gets."""
    found = await looking
    assert isinstance(found, Flight)
    return found


async def answers(looking: Awaitable[Entry | Flight | None]) -> str:
    """The text of the entry that this look-up gets."""
    found = await looking
    assert isinstance(found, Entry)
    return text_of(found)


def follow(cache: AnswerCache, timeout_s: float = LONG_S, takes: Callable[[Entry], bool] = anything) -> Any:
    """A look-up of KEY as a task."""
    return asyncio.ensure_future(cache.look_up(KEY, takes, timeout_s))


async def settle() -> None:
    """Let everything run that can run now."""
    for _ in range(5):
        await asyncio.sleep(0)


def counts(cache: AnswerCache) -> tuple[int, int, int]:
    """Hits, misses, followers."""
    return cache.stats.hits, cache.stats.misses, cache.stats.followers


def test_a_stored_answer_is_found() -> None:
    """What a leader stores the next one gets at once, under the same key only."""

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, 0))
        flight.store(entry("one"))
        assert await answers(cache.look_up(KEY, anything, 0)) == "one"
        (await leads(cache.look_up(OTHER, anything, 0))).end()
        assert counts(cache) == (1, 2, 0)
        assert (cache.stats.stored, cache.stats.entries) == (1, 1)
        assert cache.stats.bytes == entry("one").size
        assert repr(flight) == "<Flight 6b6b6b6b ended>"

    run(scenario)


def test_followers_get_the_leaders_answer() -> None:
    """All who ask while the answer is made get it when it is there, and none of them makes it."""

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        tasks = [follow(cache) for _ in range(5)]
        await asyncio.sleep(3)
        assert not any(task.done() for task in tasks)
        assert repr(flight) == "<Flight 6b6b6b6b 5 waiting>"
        flight.store(entry("one"))
        assert [await answers(task) for task in tasks] == ["one"] * 5
        assert counts(cache) == (0, 1, 5)

    run(scenario)


def test_if_the_leader_fails_the_first_follower_leads() -> None:
    """Followers take over in the order in which they came, one at a time, and the rest go on waiting."""

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        tasks = []
        for _ in range(3):
            tasks.append(follow(cache))
            await settle()
        for number in range(2):
            flight.end()
            flight.end()
            await settle()
            assert [task.done() for task in tasks] == [True] * (number + 1) + [False] * (2 - number)
            flight = await leads(tasks[number])
        late = follow(cache)
        await settle()
        flight.store(entry("at last"))
        assert await answers(tasks[2]) == await answers(late) == "at last"
        assert counts(cache) == (0, 3, 2)

    run(scenario)


def test_an_ended_flight_does_nothing_more() -> None:
    """After its end a flight neither stores nor ends another's; after storing it can't end without an answer."""

    async def scenario(cache: AnswerCache) -> None:
        first = await leads(cache.look_up(KEY, anything, 0))
        first.end()
        second = await leads(cache.look_up(KEY, anything, 0))
        task = follow(cache)
        await settle()
        first.store(entry("too late"))
        first.end()
        await settle()
        assert not task.done()
        second.store(entry("right"))
        second.end()
        second.store(entry("again"))
        assert await answers(task) == await answers(cache.look_up(KEY, anything, 0)) == "right"

    run(scenario)


@pytest.mark.parametrize("timeout_s", [0.0, 2.5])
def test_nobody_waits_longer_than_asked(timeout_s: float) -> None:
    """A follower whose time is up gets None at that moment, leaves the line, and is counted nowhere."""

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        assert await cache.look_up(KEY, anything, timeout_s) is None
        assert asyncio.get_running_loop().time() == timeout_s
        assert repr(flight) == "<Flight 6b6b6b6b 0 waiting>"
        assert counts(cache) == (0, 1, 0)
        flight.end()
        (await leads(cache.look_up(KEY, anything, 0))).end()

    run(scenario)


def test_a_cancelled_follower_leaves_nothing_behind() -> None:
    """Cancelled while it waits, a follower leaves the line, and the lead goes to the next."""

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        first, second = follow(cache), follow(cache)
        await settle()
        first.cancel()
        await settle()
        assert repr(flight) == "<Flight 6b6b6b6b 1 waiting>"
        flight.end()
        (await leads(second)).end()
        assert cache._making == {}

    run(scenario)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("others", [0, 1])
def test_a_promoted_follower_cancelled_at_any_point(turns: int, others: int) -> None:
    """Cancelled before it learns of its lead, it hands it on; with it, its own `end` does; nobody waits for ever."""

    async def request(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        try:
            await asyncio.sleep(1)
        finally:
            flight.end()

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        promoted = asyncio.ensure_future(request(cache))
        await settle()
        rest = [asyncio.ensure_future(request(cache)) for _ in range(others)]
        await settle()
        flight.end()
        for _ in range(turns):
            await asyncio.sleep(0)
        promoted.cancel()
        await asyncio.gather(promoted, *rest, return_exceptions=True)
        assert promoted.cancelled()
        assert all(not task.cancelled() and task.exception() is None for task in rest)
        assert cache._making == {}
        assert asyncio.get_running_loop().time() == others

    run(scenario)


def test_an_entry_that_is_not_taken_is_made_anew() -> None:
    """Who can't take the stored answer leads a flight of its own that others follow, and replaces it."""

    async def scenario(cache: AnswerCache) -> None:
        (await leads(cache.look_up(KEY, anything, 0))).store(entry("small"))
        flight = await leads(cache.look_up(KEY, lambda kept: text_of(kept) == "large", 0))
        task = follow(cache, takes=lambda kept: text_of(kept) == "large")
        await settle()
        assert await answers(cache.look_up(KEY, anything, 0)) == "small"
        flight.store(entry("large"))
        assert await answers(task) == await answers(cache.look_up(KEY, anything, 0)) == "large"
        assert cache.stats.entries == 1

    run(scenario)


def test_a_follower_that_does_not_take_the_answer_goes_alone() -> None:
    """It waited once, so it waits no more: the first leads, the others go beside it, and what they store counts."""

    async def scenario(cache: AnswerCache) -> None:
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        tasks = [follow(cache, takes=nothing) for _ in range(2)]
        await settle()
        flight.store(entry("one"))
        leading, alone = [await leads(task) for task in tasks]
        assert repr(leading) == "<Flight 6b6b6b6b 0 waiting>"
        assert repr(alone) == "<Flight 6b6b6b6b alone>"
        waiting = follow(cache, takes=lambda kept: text_of(kept) == "three")
        await settle()
        alone.store(entry("two"))
        await settle()
        assert not waiting.done()
        leading.store(entry("three"))
        assert await answers(waiting) == "three"
        assert counts(cache) == (0, 3, 1)

    run(scenario)


def test_time_to_live_is_exact() -> None:
    """An entry is served up to the nanosecond before it expires, and gone at that nanosecond."""

    async def scenario(cache: AnswerCache) -> None:
        (await leads(cache.look_up(KEY, anything, 0))).store(entry("one", expires_ns=10**9))
        await asyncio.sleep(0.999999999)
        assert await answers(cache.look_up(KEY, anything, 0)) == "one"
        await asyncio.sleep(0.000000001)
        flight = await leads(cache.look_up(KEY, anything, 0))
        assert (cache.stats.entries, cache.stats.bytes) == (0, 0)
        task = follow(cache)
        await settle()
        flight.store(entry("stale", expires_ns=10**9))
        assert await answers(task) == "stale"
        assert cache.stats.entries == 0

    run(scenario)


def test_large_answers_are_handed_on_but_not_kept() -> None:
    """An answer of more than its share of the cache reaches those who wait for it, and nobody after them."""

    async def scenario(cache: AnswerCache) -> None:
        for size, entries in ((MEBI // LARGEST_SHARE + 1, 0), (MEBI // LARGEST_SHARE, 1)):
            flight = await leads(cache.look_up(KEY, anything, 0))
            task = follow(cache)
            await settle()
            flight.store(entry("large", size=size))
            assert await answers(task) == "large"
            assert cache.stats.entries == entries

    run(scenario)


def test_clear_forgets_what_is_being_made_too() -> None:
    """After `clear` the old answers are gone, those in the making reach only who already waited, new ones are kept."""

    async def scenario(cache: AnswerCache) -> None:
        (await leads(cache.look_up(OTHER, anything, 0))).store(entry("old"))
        before = await leads(cache.look_up(KEY, anything, 0))
        alone = Flight(cache, OTHER, None, cache._epoch)
        task = follow(cache)
        await settle()
        cache.clear()
        assert (cache.stats.entries, cache.stats.bytes) == (0, 0)
        after = await leads(cache.look_up(KEY, anything, 0))
        late = follow(cache)
        await settle()
        before.store(entry("before"))
        alone.store(entry("before"))
        assert await answers(task) == "before"
        assert cache.stats.entries == 0
        assert not late.done()
        after.store(entry("after"))
        assert await answers(late) == await answers(cache.look_up(KEY, anything, 0)) == "after"

    run(scenario)


def test_the_bound_holds() -> None:
    """However much is stored, the cache never holds more than its bytes, and says how much it evicted."""

    async def scenario(cache: AnswerCache) -> None:
        for number in range(200):
            key = number.to_bytes(32, "big")
            (await leads(cache.look_up(key, anything, 0))).store(entry("x" * (number * 37 % 4000)))
            assert cache.stats.bytes <= 100_000
        stats = cache.stats
        assert stats.stored == 200
        assert stats.entries + stats.evicted == 200
        assert stats.bytes > 90_000

    run(scenario, max_bytes=100_000)


def test_what_is_asked_for_again_is_kept() -> None:
    """A hit protects an entry while those that nobody asks for again come and go."""

    async def scenario(cache: AnswerCache) -> None:
        for number in range(100):
            key = number.to_bytes(32, "big")
            (await leads(cache.look_up(key, anything, 0))).store(entry(size=60))
            assert await answers(cache.look_up(bytes(32), anything, 0)) == "hello"

    run(scenario, max_bytes=1000)


def test_an_answered_follower_leaves_no_timer() -> None:
    """When all is answered nothing more is due: the loop has nothing to wake up for."""
    loops: list[VirtualLoop] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loops.append(loop)
        cache = AnswerCache(loop.clock, MEBI)
        flight = await leads(cache.look_up(KEY, anything, LONG_S))
        task = follow(cache)
        await asyncio.sleep(1)
        flight.store(entry())
        await task
        await asyncio.Event().wait()

    with pytest.raises(Deadlock):
        run_virtual(main)
    assert loops[0].time() == 1


_requests = st.lists(
    st.tuples(
        st.integers(0, 4),  # when it comes
        st.integers(0, 3),  # how long it takes to make the answer
        st.sampled_from(["store", "fail", "fail", "large"]),
        st.none() | st.integers(0, 8),  # when it is cancelled
        st.sampled_from([LONG_S, LONG_S, 2.0]),  # how long it would wait
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=250, deadline=None)
@given(_requests)
def test_single_flight_under_any_trouble(requests: list[tuple[int, int, str, int | None, float]]) -> None:
    """Whatever leaders do and whoever is cancelled whenever: never two lead at once, nobody waits for ever or past
    its time, everybody who is not cancelled has an answer, the lead or no time left, and nothing stays behind."""

    async def scenario(cache: AnswerCache) -> None:
        loop = asyncio.get_running_loop()
        leading = 0

        async def request(comes: int, works: int, outcome: str, wait_s: float) -> None:
            nonlocal leading
            await asyncio.sleep(comes)
            found = await cache.look_up(KEY, anything, wait_s)
            assert loop.time() <= comes + min(wait_s, 8 * 3)
            if found is None:
                assert loop.time() == comes + wait_s
            if not isinstance(found, Flight):
                return
            assert not leading
            leading += 1
            try:
                await asyncio.sleep(works)
                if outcome != "fail":
                    leading -= 1
                    found.store(entry(size=None if outcome == "store" else MEBI))
            finally:
                leading -= not found.ended
                found.end()

        tasks = []
        for comes, works, outcome, cancelled, wait_s in requests:
            task = asyncio.ensure_future(request(comes, works, outcome, wait_s))
            tasks.append(task)
            if cancelled is not None:
                loop.call_later(cancelled, task.cancel)
        done = await asyncio.gather(*tasks, return_exceptions=True)
        for result, (_, _, _, cancelled, _) in zip(done, requests, strict=True):
            assert result is None or (isinstance(result, asyncio.CancelledError) and cancelled is not None)
        assert cache._making == {}
        assert leading == 0

    run(scenario)
