"""An answer's money while it is written: reserved for what answers use, grown as it goes, and cut where money ends."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.gateway import Gateway, chat, events, replaced, text_of
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream, Seen, Step, answer, completion, stream, usage
from trimtab.core.money import Price
from trimtab.surfaces.twin import run_virtual

SMALL = Price(input=1_000_000_000, output=4_000_000_000)
"""What `small` costs, nano-dollars per million tokens."""


def long(seen: Seen) -> Iterable[Step]:
    """An answer of as many words as it may have, one every 20 ms."""
    said = seen.json["max_tokens"]
    return stream([f"word{number} " for number in range(said)], usage(20, said), finish="length", delay_s=0.02)


def lasting(seconds: int) -> list[tuple[str, str, str]]:
    return [("tenants/shop.yaml", "e2e_ms: 4000", f"e2e_ms: {seconds * 1000}")]


def budget(usd: str) -> list[tuple[str, str, str]]:
    return [("tenants/shop.yaml", 'usd: "10"', f'usd: "{usd}"'), *lasting(60)]


async def whole(gateway: Gateway, question: str) -> tuple[str, str | None]:
    """A streamed answer's text and why it ended."""
    async with RawClient(gateway.port) as client:
        client.send(chat(question, stream=True, temperature=1))
        got = await client.answer()
    told = [event for event in events(got.body) if isinstance(event, dict) and event.get("choices")]
    assert all("error" not in event for event in told), told
    return text_of(got.body), told[-1]["choices"][0]["finish_reason"]


def test_a_lease_grows_with_its_answer(tmp_path: Path) -> None:
    """At first what an answer is expected to use is held, in the end what it did use, by steps between."""

    async def main() -> None:
        edits = [replaced(*edit) for edit in lasting(60)]
        async with ScriptedUpstream(long) as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            asked = asyncio.create_task(whole(gateway, "tell"))
            held: list[int] = []
            while not asked.done():
                ((_, level),) = [one for one in gateway.levels() if one[0].account.scope == "shop"]
                if level.reserved not in held:
                    held.append(level.reserved)
                await asyncio.sleep(0.01)
            text, _ = await asked
            assert len(text.split()) == 200
            assert len(held) > 3, "it grows by steps"
            assert held[1:-1] == sorted(held[1:-1])
            cost = gateway.last.cost
            assert cost.estimate_nanousd is not None
            assert held[1] < cost.estimate_nanousd, "not all that it may use is held from the start"
            assert gateway.settled_nanousd() == cost.settled_nanousd == SMALL.most(20, 200)
            gateway.assert_nothing_held()

    run_virtual(main)


def test_what_answers_used_is_what_is_reserved_next(tmp_path: Path) -> None:
    """After some answers of a few words a lease holds a few words' money and what is kept ahead, not the first
    guess."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("first", temperature=1)
            guess = gateway.last.cost.reserved_nanousd
            for number in range(30):
                await gateway.ask(f"a b c {number}", temperature=1)
            learnt = gateway.last.cost.reserved_nanousd
            assert guess is not None
            assert learnt is not None
            assert learnt < 0.7 * guess

    run_virtual(main)


@pytest.mark.parametrize("together", [1, 4])
def test_an_answer_ends_where_its_money_does(tmp_path: Path, together: int) -> None:
    """Answers that outgrow the budget are cut with `length`, never overspend, and leave nothing that a further one
    could have used; the record names the budget."""

    async def main() -> None:
        limit = 3_000_000
        edits = [replaced(*edit) for edit in budget("0.003")]
        async with ScriptedUpstream(long) as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            answers = await asyncio.gather(*(whole(gateway, f"tell {number}") for number in range(together)))
            for number in range(60):  # what is left is spent by short ones
                got = await gateway.ask(f"more {number}", temperature=1, max_tokens=16)
                if got.status != 200:
                    assert got.json["error"]["code"] == "budget_exhausted"
                    break
            assert {finish for _, finish in answers} == {"length"}
            settled = gateway.settled_nanousd()
            assert settled == sum(record.cost.settled_nanousd or 0 for record in gateway.records)
            assert settled <= limit
            least = SMALL.most(220, 16)  # the bound of such a prompt is less than 220 tokens
            assert limit - settled < least
            gateway.assert_nothing_held()
            cut = [record for record in gateway.records if record.rule == "budget shop/day" and record.status == 200]
            if together > 1:
                assert cut
                assert all(record.code is None and record.finish_reason == "length" for record in cut)
                assert up.hang_ups >= len(cut), "the upstream is hung up on"

    run_virtual(main)


def test_a_cut_answer_is_not_stored(tmp_path: Path) -> None:
    """What its money cut short is nobody else's answer."""

    async def main() -> None:
        edits = [replaced(*edit) for edit in budget("0.003")]
        async with ScriptedUpstream(long) as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            await asyncio.gather(*(gateway.ask(f"tell {number}") for number in range(4)))
            cut = [record for record in gateway.records if record.rule == "budget shop/day" and record.status == 200]
            assert cut
            assert gateway.plane.cache.stats.stored == sum(
                record.status == 200 and record.finish_reason == "stop" for record in gateway.records
            )

    run_virtual(main)


def test_what_a_provider_bills_beyond_is_a_row_of_its_own(tmp_path: Path) -> None:
    """A server that answers whole and says more tokens than it was asked for: the request's row holds what was
    reserved, an `adjust` row the rest, and both together are what the budget says."""

    async def main() -> None:
        def greedy(seen: Seen) -> Iterable[Step]:
            return answer(completion("a b", usage(20, seen.json["max_tokens"] + 500)))

        edits = [*lasting(60), ("models.yaml", "tier: S, ", "tier: S, streams: false, ")]
        made = [replaced(*edit) for edit in edits]
        async with ScriptedUpstream(greedy) as up, Gateway(tmp_path, up.url, None, *made) as gateway:
            assert (await gateway.ask("x", temperature=1)).status == 200
            request, adjust = gateway.records
            assert (request.kind, adjust.kind, adjust.of) == ("request", "adjust", request.id)
            assert request.cost.settled_nanousd == request.cost.reserved_nanousd == request.cost.estimate_nanousd
            assert adjust.cost.settled_nanousd is not None
            assert adjust.cost.settled_nanousd > 0
            total = (request.cost.settled_nanousd or 0) + adjust.cost.settled_nanousd
            assert gateway.settled_nanousd() == total == SMALL.most(20, 700)

    run_virtual(main)


def test_exactly_what_fits_is_served(tmp_path: Path) -> None:
    """A thousand at once against a hundred requests' worth: what fits is served, and nobody is refused while there is
    money for one."""

    async def main() -> None:
        edits = [
            replaced("tenants/shop.yaml", 'usd: "10"', 'usd: "0.01"'),
            replaced("tenants/shop.yaml", "cache: {reuse", "on_miss: wait\n    cache: {reuse"),
            *(replaced(*edit) for edit in lasting(600)),
        ]
        one = SMALL.most(3, 25)
        script = stream(["word "] * 25, usage(3, 25))
        async with ScriptedUpstream(lambda seen: script) as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            answers = await asyncio.gather(
                *(gateway.ask(f"w{number}", temperature=1, max_tokens=25) for number in range(1000))
            )
            served = sum(got.status == 200 for got in answers)
            refused = [got.json["error"]["code"] for got in answers if got.status != 200]
            assert set(refused) == {"budget_exhausted"}
            settled = gateway.settled_nanousd()
            assert settled == served * one <= 10_000_000
            least = gateway.records[0].plans[0].estimate_nanousd
            assert least is not None
            assert 10_000_000 - settled < least
            gateway.assert_nothing_held()

    run_virtual(main)


def test_what_an_endpoint_writes_beyond_its_cap_is_reserved_where_it_is_declared(tmp_path: Path) -> None:
    """With `overrun_tokens` a provider that bills 50 tokens beyond each cap takes no budget over its limit, and no row
    says that it did."""

    async def main() -> None:
        def greedy(seen: Seen) -> Iterable[Step]:
            said = seen.json["max_tokens"]
            return stream([f"word{number} " for number in range(said)], usage(20, said + 50), finish="length")

        edits = [*budget("0.003"), ("models.yaml", "tier: S, ", "tier: S, overrun_tokens: 50, ")]
        made = [replaced(*edit) for edit in edits]
        async with ScriptedUpstream(greedy) as up, Gateway(tmp_path, up.url, None, *made) as gateway:
            for number in range(60):
                got = await gateway.ask(f"more {number}", temperature=1, max_tokens=30)
                if got.status != 200:
                    assert got.json["error"]["code"] == "budget_exhausted"
                    break
            else:
                raise AssertionError("never refused")
            assert {record.kind for record in gateway.records} == {"request"}
            assert 3_000_000 - SMALL.most(220, 16 + 50) < gateway.settled_nanousd() <= 3_000_000
            gateway.assert_nothing_held()

    run_virtual(main)


def test_an_answer_that_heeds_no_cap_is_ended(tmp_path: Path) -> None:
    """Its upstream is hung up on, and the record says why."""

    async def main() -> None:
        def endless(seen: Seen) -> Iterable[Step]:
            return stream([f"word{number} " for number in range(5000)], usage(20, 5000), delay_s=0.02)

        edits = [replaced(*edit) for edit in lasting(200)]
        async with ScriptedUpstream(endless) as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(chat("tell", stream=True, temperature=1, max_tokens=40))
                got = await client.answer()
            told = [event for event in events(got.body) if isinstance(event, dict) and event.get("choices")]
            assert told[-1]["choices"][0]["finish_reason"] == "length"
            assert 40 <= len(text_of(got.body).split()) <= 120
            await up.hung_up()
            assert gateway.records[0].rule == "max_tokens"
            gateway.assert_nothing_held()

    run_virtual(main)
