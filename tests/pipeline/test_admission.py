"""Admission by forecast through the whole gateway: what the record and the error say of a refusal, that the certificate
can be computed anew, that the next tier takes over, and that a promise is kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway import Gateway, chat, replaced
from support.rawhttp import RawClient
from support.upstream import Delay, ScriptedUpstream, Seen, Step, stream, usage, words
from trimtab.controlplane.records.recheck import recheck
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

LENGTH = 20
ROOMY = (
    replaced("tenants/shop.yaml", "e2e_ms: 4000}", "e2e_ms: 9000}"),
    replaced("models.yaml", "context: 8192, slots: 4", "context: 8192, slots: 64"),
)
ALONE = (*ROOMY, replaced("tenants/shop.yaml", "tiers: [S, M]\nkeys", "tiers: [S]\nkeys"))
"""The channel `fresh` has the small model only."""


class Pod:
    """Reads one prompt at a time, a ms a word."""

    def __init__(self) -> None:
        self.free_at = 0.0

    def __call__(self, seen: Seen) -> Iterable[Step]:
        prompt = sum(words(message["content"]) for message in seen.json["messages"])
        now = asyncio.get_running_loop().time()
        self.free_at = max(self.free_at, now) + prompt / 1000
        yield Delay(self.free_at - now)
        yield from stream([f"w{at} " for at in range(LENGTH)], usage(prompt, LENGTH), delay_s=0.02)


async def ask(gateway: Gateway, name: str, *headers: str, many: int = 200, **fields: Any) -> Any:
    async with RawClient(gateway.port) as client:
        client.send(chat(f"question {name} " + "word " * many, *headers, stream=True, temperature=1, **fields))
        return await client.answer()


async def teach(gateway: Gateway, *headers: str, **fields: Any) -> None:
    for together in (1, 2, 3, 4) * 5:
        await asyncio.gather(
            *(ask(gateway, f"{together}", *headers, many=40 * number, **fields) for number in range(together))
        )


def of(gateway: Gateway, *, code: str | None) -> list[Record]:
    return [one for one in gateway.records if one.code == code and one.admissions]


def test_a_refusal_by_forecast_says_by_which_numbers(tmp_path: Path) -> None:
    """In the error what it would have taken and what was promised; in the record the same, the level, who ran and who
    waited, and a certificate, which the records before it give once more to the last bit."""

    async def main() -> None:
        async with ScriptedUpstream(Pod()) as up, Gateway(tmp_path, up.url, None, *ALONE) as gateway:
            await teach(gateway, "trimtab-channel: fresh")
            answers = await asyncio.gather(*(ask(gateway, f"n{n}", "trimtab-channel: fresh") for n in range(20)))
            refused = [one for one in answers if one.status == 429]
            assert 8 <= len(refused) <= 17
            await gateway.sink.reached(50 + 20)
            records = of(gateway, code="queue_full")
            assert len(records) == len(refused)
            for answer in refused:
                error = msgspec.json.decode(answer.body)["error"]
                assert error["code"] == "queue_full"
                assert float(answer.headers["retry-after-ms"]) > 0
            record = next(one for one in records if one.admissions[-1].short == "ttft")
            row = record.admissions[-1]
            assert (row.model, row.how) == ("small", "refused")
            assert row.ttft_ms is not None
            assert row.ttft_ms + (row.waited_ms or 0.0) > 1000
            (told,) = [one for one in refused if one.headers["trimtab-record"] == record.id]
            assert "would begin the answer after 1," in msgspec.json.decode(told.body)["error"]["message"]
            assert row.retry_after_s is not None
            assert row.running >= 3
            (certificate,) = record.certificates
            assert certificate.over is not None
            assert certificate.observations > 20
            numbered = [msgspec.structs.replace(one, seq=number) for number, one in enumerate(gateway.records)]
            assert recheck(numbered, certificate).ok
            certificate.upper *= 0.9
            assert not recheck(numbered, certificate).ok
            kept = [one.met.latency for one in gateway.records[50:] if one.status == 200]
            assert all(kept)
            gateway.assert_nothing_held()

    run_virtual(main)


def test_whoever_comes_back_when_told_is_let_in(tmp_path: Path) -> None:
    """The same request once more, at the time of its Retry-After, while others go on asking."""

    async def main() -> None:
        async with ScriptedUpstream(Pod()) as up, Gateway(tmp_path, up.url, None, *ALONE) as gateway:
            await teach(gateway, "trimtab-channel: fresh")
            back: list[int] = []

            async def patient(name: str) -> None:
                answer = await ask(gateway, name, "trimtab-channel: fresh")
                if answer.status == 429:
                    await asyncio.sleep(float(answer.headers["retry-after-ms"]) / 1000)
                    again = await ask(gateway, name, "trimtab-channel: fresh")
                    back.append(again.status)

            tasks = []
            for number in range(150):
                tasks.append(asyncio.create_task(patient(f"p{number}")))
                await asyncio.sleep(0.1)
            await asyncio.gather(*tasks)
            assert len(back) > 40
            assert back.count(200) >= 0.95 * len(back)

    run_virtual(main)


def test_the_next_tier_takes_what_the_first_would_be_late_with(tmp_path: Path) -> None:
    """At once, and the record says why."""

    async def main() -> None:
        async with (
            ScriptedUpstream(Pod()) as small,
            ScriptedUpstream(Pod()) as medium,
            Gateway(
                tmp_path, small.url, medium.url, *ROOMY, replaced("models.yaml", "slots: 2", "slots: 8")
            ) as gateway,
        ):
            await teach(gateway)
            before = len(gateway.records)
            answers = await asyncio.gather(*(ask(gateway, f"n{n}") for n in range(8)))
            assert [one.status for one in answers] == [200] * 8
            rows = gateway.records[before:]
            moved = [one for one in rows if one.tier == "M"]
            assert moved
            for one in moved:
                assert [(row.model, row.how) for row in one.admissions] == [
                    ("small", "refused"),
                    ("medium", one.admissions[1].how),
                ]
                assert one.plans[0].outcome in (
                    "would begin too late",
                    "others wait before it",
                    "would make others late",
                )

    run_virtual(main)


@pytest.mark.parametrize("on_miss", ["reroute", "wait", "refuse"])
def test_a_contract_that_no_tier_can_keep_even_when_idle_is_late_and_not_refused(on_miss: str, tmp_path: Path) -> None:
    """One request at a time, of two tiers that are known: each gate looks for one that can keep it, none can, and the
    best one answers late. Only who says `refuse` is refused."""

    async def main() -> None:
        says = replaced("tenants/shop.yaml", "  fresh:\n", f"  fresh:\n    on_miss: {on_miss}\n")
        async with (
            ScriptedUpstream(Pod()) as small,
            ScriptedUpstream(Pod()) as medium,
            Gateway(tmp_path, small.url, medium.url, *ROOMY, says) as gateway,
        ):
            await teach(gateway)
            await teach(gateway, model="tier:M")
            before = len(gateway.records)
            answers = []
            for number in range(6):
                answers.append(await ask(gateway, f"n{number}", "trimtab-channel: fresh", "trimtab-ttft-ms: 20"))
            rows = gateway.records[before:]
            if on_miss == "refuse":
                assert [one.status for one in answers].count(429) >= 4, "but for one now and then that shows"
                return
            assert [one.status for one in answers] == [200] * 6
            for one in rows:
                assert one.met.latency is False
                last = one.admissions[-1]
                assert (last.model, last.how) == ("small", "free") or last.how == "probe"
            late = [one for one in rows if len(one.admissions) == 3]
            assert len(late) >= 4
            for one in late:
                assert [row.how for row in one.admissions] == ["refused", "refused", "free"]
                assert "ttft" in one.admissions[-1].waived

    run_virtual(main)
