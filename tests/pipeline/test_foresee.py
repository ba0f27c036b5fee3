"""What is foreseen of a request stands in its record beside what came: an upstream that takes 1 ms for a word of its
prompt and 20 ms between words of its answer is known after some requests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from support.gateway import Gateway, chat, replaced
from support.rawhttp import RawClient
from support.upstream import Cut, Delay, ScriptedUpstream, Seen, Step, completion, stream, usage, words
from trimtab.core.outcome import learnt_ms
from trimtab.core.record import Record
from trimtab.surfaces.twin import run_virtual

PATIENT = replaced("tenants/shop.yaml", "e2e_ms: 4000", "e2e_ms: 60000")
LENGTH = 30
NAMES = {
    "epoch",
    *("sent_ms", "percentile", "ttft_ms", "itl_ms", "e2e_ms", "model_ttft_ms", "model_itl_ms", "model_e2e_ms"),
    *("output_tokens", "input_token_length", "num_request_running", "num_request_waiting"),
    *("prefill_tokens_in_flight", "decode_tokens_in_flight"),
}


def pod(seen: Seen) -> Iterable[Step]:
    prompt = sum(words(message["content"]) for message in seen.json["messages"])
    yield Delay(prompt / 1000)
    if seen.json.get("stream"):
        yield from stream([f"w{at} " for at in range(LENGTH)], usage(prompt, LENGTH), delay_s=0.02)
    else:
        yield from completion("w " * LENGTH, usage(prompt, LENGTH))


async def ask(gateway: Gateway, number: int, *, many: int, streamed: bool = True) -> Record:
    async with RawClient(gateway.port) as client:
        client.send(chat(f"question {number} " + "word " * many, stream=streamed, temperature=1))
        assert (await client.answer()).status == 200
    return gateway.last


def test_a_models_pace_is_known_after_some_requests(tmp_path: Path) -> None:
    """Nothing is foreseen before anything was seen; then first token, time between tokens and end, each within a tenth
    of what comes."""

    async def main() -> None:
        async with ScriptedUpstream(pod) as up, Gateway(tmp_path, up.url, None, PATIENT) as gateway:
            first = await ask(gateway, 0, many=50)
            assert first.predicted == {}
            for number in range(1, 80):
                await ask(gateway, number, many=20 + 7 * (number % 40))
            last = await ask(gateway, 80, many=200)
            assert set(last.predicted) == NAMES
            for figure in ("ttft", "itl", "e2e"):
                learnt = learnt_ms(last, figure)
                assert learnt is not None
                foreseen, came = learnt
                assert foreseen == pytest.approx(came, rel=0.1), figure
            assert last.predicted["output_tokens"] == pytest.approx(LENGTH, rel=0.1)
            assert last.predicted["input_token_length"] == pytest.approx(last.tokens.prompt, rel=0.2)

    run_virtual(main)


def test_who_waits_for_the_whole_is_foreseen_its_end(tmp_path: Path) -> None:
    """When its first token came nobody sees, so nothing is said of it."""

    async def main() -> None:
        async with ScriptedUpstream(pod) as up, Gateway(tmp_path, up.url, None, PATIENT) as gateway:
            for number in range(80):
                await ask(gateway, number, many=20 + 7 * (number % 40))
            last = await ask(gateway, 80, many=100, streamed=False)
            assert set(last.predicted) == NAMES - {"ttft_ms", "itl_ms", "model_ttft_ms", "model_itl_ms"}
            learnt = learnt_ms(last, "e2e")
            assert learnt is not None
            assert learnt[0] == pytest.approx(learnt[1], rel=0.15)

    run_virtual(main)


def test_who_runs_beside_it_is_seen(tmp_path: Path) -> None:
    """Of two at once the second knows of the first; who hangs up is counted no more."""

    async def main() -> None:
        async with ScriptedUpstream(pod) as up, Gateway(tmp_path, up.url, None, PATIENT) as gateway:
            for number in range(40):
                await ask(gateway, number, many=20 + 7 * number)
            async with RawClient(gateway.port) as client:
                client.send(chat("held " + "word " * 100, stream=True, temperature=1))
                await client.head()
                await client.chunk()
                beside = await ask(gateway, 41, many=50)
                assert beside.predicted["num_request_running"] == 1
                assert beside.predicted["decode_tokens_in_flight"] > 100
                client.hang_up()
            await gateway.sink.reached(42)
            alone = await ask(gateway, 42, many=50)
            assert alone.predicted["num_request_running"] == 0
            assert alone.predicted["decode_tokens_in_flight"] == 0
            gateway.assert_nothing_held()

    run_virtual(main)


def test_what_failed_teaches_nothing(tmp_path: Path) -> None:
    """Forty answers that break off after some words are no forty short answers."""

    async def main() -> None:
        script = [pod]

        def broken(seen: Seen) -> Iterable[Step]:
            return [*list(pod(seen))[:14], Cut()]

        async with ScriptedUpstream(lambda seen: script[0](seen)) as up:
            async with Gateway(tmp_path, up.url, None, PATIENT) as gateway:
                for number in range(40):
                    await ask(gateway, number, many=20 + 7 * number)
                before = (await ask(gateway, 40, many=100)).predicted
                script[0] = broken
                for number in range(40):
                    assert (await ask(gateway, 100 + number, many=100)).code == "upstream_failed"
                script[0] = pod
                after = (await ask(gateway, 41, many=100)).predicted
                assert after["model_e2e_ms"] == pytest.approx(before["model_e2e_ms"], rel=0.05)
                assert 0.9 < after["e2e_ms"] / before["e2e_ms"] < 1.5

    run_virtual(main)
