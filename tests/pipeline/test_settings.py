"""A model with a second setting of its engines: who gets it, where it stands in the record, and who answers when it
can't."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from support.gateway import OTHER_KEY, Gateway, chat, replaced
from support.rawhttp import RawClient
from support.scrape import scrape, value
from support.upstream import Script, ScriptedUpstream, Seen, Step, failure, stream, usage
from trimtab.controlplane.records import explain
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

SETTING = replaced(
    "models.yaml",
    "private: true}\n  medium",
    'private: true, settings: {quick: {endpoint: "MEDIUM/v1", speculative: true, slots: 1}}}\n  medium',
)
ALONE = replaced("models.yaml", '"MEDIUM/v1", tier: M', '"http://127.0.0.1:1/v1", tier: M')
"""The second server is there for the setting alone."""
WORDS = ["word "] * 20


def paced(delay_s: float) -> Script:
    def script(seen: Seen) -> Iterable[Step]:
        return stream(WORDS, usage(10, 20), delay_s=delay_s)

    return script


async def ask(gateway: Gateway, content: str, key: str = "") -> Record:
    async with RawClient(gateway.port) as client:
        client.send(chat(content, temperature=1, **({"key": key} if key else {})))
        assert (await client.answer()).status == 200
    return gateway.last


def test_who_is_faster_gets_the_requests(tmp_path: Path) -> None:
    """Requests alternate until a bet is won; then nearly all go there, each with the certificate. The answer is the
    same variant's, at the same price."""

    async def main() -> None:
        async with ScriptedUpstream(paced(0.02)) as own, ScriptedUpstream(paced(0.005)) as quick:
            async with Gateway(tmp_path, own.url, quick.url, SETTING, ALONE) as gateway:
                rows = [await ask(gateway, f"question {number}") for number in range(60)]
                assert [row.setting.name for row in rows[:4] if row.setting] == [None, "quick", None, "quick"]
                assert {row.replica for row in rows} == {"small/0", "small+quick/0"}
                late = rows[40:]
                measured = [row for row in late if row.setting is not None and row.setting.why == "measured"]
                assert len(measured) >= 18
                for row in measured:
                    assert row.setting is not None
                    assert (row.setting.by, row.replica) == ("quick", "small+quick/0")
                    assert row.setting.gain is not None
                    assert row.setting.gain > 2
                    assert any("new arm" in one.claim for one in row.certificates)
                assert len({(row.variant, row.tier, row.cost.settled_nanousd) for row in rows}) == 1
                found = await scrape(gateway)
                name = "trimtab_setting_requests_total"
                assert value(found, name, setting="small+quick", why="measured") >= len(measured)
                assert value(found, name, setting="small", why="exploring") >= 2
                told = explain(late[-1]).header.setting
                assert told is not None
                assert told.startswith(("quick: measured, 0 ran; quick takes a token in 1/", "the model's own"))
                other = await ask(gateway, "question", key=OTHER_KEY)
                assert other.setting is not None
                assert other.setting.why == "measured for all"
                gateway.assert_nothing_held()

    run_virtual(main)


def test_without_room_or_health_the_models_own_endpoints_answer(tmp_path: Path) -> None:
    """Nobody waits for a setting; one that fails is left to its own health."""

    async def main() -> None:
        def broken(seen: Seen) -> Iterable[Step]:
            return failure(500)

        async with ScriptedUpstream(paced(0.01)) as own, ScriptedUpstream(broken) as quick:
            async with Gateway(tmp_path, own.url, quick.url, SETTING, ALONE) as gateway:
                rows = [await ask(gateway, f"question {number}") for number in range(12)]
                assert {row.replica for row in rows} == {"small/0"}
                first = rows[1]
                assert [one.replica for one in first.attempts] == ["small+quick/0", "small+quick/0", "small/0"]
                assert first.setting is not None
                assert (first.setting.name, first.setting.by) == ("quick", None)
                late = [row for row in rows[-4:] if row.setting is not None and row.setting.name]
                assert [(row.setting.full, len(row.attempts)) for row in late if row.setting] == [(True, 1)] * 2
                gateway.assert_nothing_held()

    run_virtual(main)


def test_nobody_can_name_a_setting(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedUpstream() as own, ScriptedUpstream() as quick:
            async with Gateway(tmp_path, own.url, quick.url, SETTING, ALONE) as gateway:
                async with RawClient(gateway.port) as client:
                    client.send(chat("Hello", model="small+quick"))
                    answer = await client.answer()
                assert (answer.status, answer.json["error"]["code"]) == (404, "model_not_found")

    run_virtual(main)
