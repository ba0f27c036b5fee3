"""`/v1/feedback`: what came of an answer is a row of its own, by its tenant alone, and reports count it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway import KEY, OTHER_KEY, Gateway, chat, post
from support.rawhttp import RawAnswer, RawClient
from support.upstream import ScriptedUpstream
from trimtab.controlplane.records.report import summarise
from trimtab.core.errors import Refusal
from trimtab.surfaces.server.feedback import read
from trimtab.surfaces.twin import run_virtual


async def say(gateway: Gateway, body: dict[str, Any], key: str = KEY) -> RawAnswer:
    async with RawClient(gateway.port) as client:
        client.send(post(msgspec.json.encode(body), key=key, path="/v1/feedback"))
        return await client.answer()


async def asked(gateway: Gateway) -> str:
    async with RawClient(gateway.port) as client:
        client.send(chat("Hello", temperature=1))
        answer = await client.answer()
    return answer.headers["trimtab-record"]


def test_what_is_said_is_counted_once_by_its_last_word(tmp_path: Path) -> None:
    """A row of the answer's tenant, channel and variant; a thumb judges quality, a conversion does not."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            record = await asked(gateway)
            request = gateway.last
            for body in ({"score": 0}, {"score": 1}, {"name": "conversion", "value": 19.5}, {"label": "billing"}):
                answer = await say(gateway, {"record": record, **body})
                assert answer.status == 200, answer.json
                assert answer.json["record"] == record
            said = [row for row in gateway.records if row.kind == "verdict"]
            assert {(row.of, row.tenant, row.channel, row.variant, row.tier) for row in said} == {
                (record, "shop", "web", request.variant, request.tier)
            }
            assert [row.met.quality for row in said] == [False, True, None, None]
            total = summarise(gateway.records, ["channel"]).total
            assert (total.requests, total.cost_nanousd) == (1, request.cost.settled_nanousd)
            found = {name: (one.answers, one.score, one.value, one.labels) for name, one in total.verdicts.items()}
            assert found == {
                "conversion": (1, None, 19.5, {}),
                "label": (1, None, None, {"billing": 1}),
                "thumb": (1, 1.0, None, {}),
            }
            gateway.assert_nothing_held()

    run_virtual(main)


def test_nobody_speaks_of_anothers_answers(tmp_path: Path) -> None:
    """Nor of one that is not there: both are the same 404. Without a key it is 401."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            record = await asked(gateway)
            unknown = f"rec_{record[4:14]}{'0' * 16}"
            told = [await say(gateway, {"record": one, "score": 1}, OTHER_KEY) for one in (record, unknown, "nothing")]
            assert [one.status for one in told] == [404] * 3
            assert len({one.json["error"]["message"] for one in told}) == 1
            assert told[0].json["error"]["code"] == "record_not_found"
            assert (await say(gateway, {"record": record, "score": 1}, "tt-nobody")).status == 401
            assert not [row for row in gateway.records if row.kind == "verdict"]

    run_virtual(main)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"score": 1}, "record"),
        ({"record": "rec_1"}, "score"),
        ({"record": "rec_1", "score": 2}, "score"),
        ({"record": "rec_1", "score": True}, "score"),
        ({"record": "rec_1", "label": "it was bad, call me: 0123"}, "label"),
        ({"record": "rec_1", "name": "a b", "score": 1}, "name"),
        ({"record": "rec_1", "name": "csat", "value": 6}, "value"),
        ({"record": "rec_1", "score": 1, "comment": "thanks"}, "comment"),
        ({"record": "rec_1", "thumb": 1}, "thumb"),
        ({"record": 7, "score": 1}, "record"),
    ],
)
def test_what_does_not_hold_is_named(body: dict[str, Any], param: str) -> None:
    found = read(msgspec.json.encode(body))
    assert isinstance(found, Refusal)
    assert found.param == param
    assert param in found.message


@given(st.integers(1, 5))
def test_stars_are_a_score(stars: int) -> None:
    found = read(msgspec.json.encode({"record": "chatcmpl-01ABC", "name": "csat", "value": stars}))
    assert not isinstance(found, Refusal)
    assert found.record == "rec_01ABC"
    assert found.verdict.score == pytest.approx((stars - 1) / 4)


@given(st.binary(max_size=60))
def test_no_bytes_raise(data: bytes) -> None:
    assert isinstance(read(data), Refusal)
