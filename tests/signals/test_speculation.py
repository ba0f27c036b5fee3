"""A setting that speculates on vLLM or SGLang: its own metrics say what it proposes in vain, and beyond its overhead it
is left alone, however fast it is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.engines import exposition
from support.gateway import Edit, Gateway, replaced
from support.upstream import Head, Raw, ScriptedUpstream, Seen, Step, stream, usage
from trimtab.dataplane.inference import Signals
from trimtab.dataplane.inference.signals import wasted
from trimtab.surfaces.listening import Listening
from trimtab.surfaces.twin import run_virtual

LABELS = {"model_name": "a/b"}


def vllm(passes: int, proposed: int, accepted: int) -> bytes:
    counts = {"drafts": passes, "draft_tokens": proposed, "accepted_tokens": accepted}
    return exposition(
        {f"vllm:num_requests_{name}": [(LABELS, 0)] for name in ("running", "waiting")},
        {f"vllm:spec_decode_num_{name}": [(LABELS, count)] for name, count in counts.items()},
    )


def sglang(length: float) -> bytes:
    told = {"num_running_reqs": 0.0, "num_queue_reqs": 0.0, "spec_accept_length": length}
    return exposition({f"sglang:{name}": [(LABELS, value)] for name, value in told.items()})


def declared(dialect: str) -> Edit:
    """The second upstream is a setting of the first one's model, which proposes five tokens at once."""

    def edit(documents: dict[str, str]) -> None:
        old = 'small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4,'
        terms = '{endpoint: "MEDIUM/v1", speculative: true, overhead: 1, proposes: 5}'
        new = f"{old} dialect: {dialect}, metrics: /metrics, settings: {{quick: {terms}}},"
        replaced("models.yaml", old, new)(documents)
        replaced("models.yaml", '"MEDIUM/v1", tier: M', '"http://127.0.0.1:9/v1", tier: M')(documents)

    return edit


def engine(told: Callable[[], bytes], delay_s: float) -> Callable[[Seen], Iterable[Step]]:
    def script(seen: Seen) -> Iterable[Step]:
        if seen.path == "/metrics":
            body = told()
            return [Head(200, (("content-type", "text/plain"), ("content-length", str(len(body))))), Raw(body)]
        return stream(["word "] * 20, usage(10, 20), delay_s=delay_s)

    return script


@pytest.mark.parametrize(
    ("dialect", "thrifty", "wasteful"),
    [
        ("vllm", lambda n: vllm(100 * n, 500 * n, 400 * n), lambda n: vllm(9000 * n, 45_000 * n, 5000)),
        ("sglang", lambda _: sglang(5), lambda _: sglang(1.5)),
    ],
)
def test_what_it_proposes_in_vain_is_read(
    tmp_path: Path, dialect: str, thrifty: Callable[[int], bytes], wasteful: Callable[[int], bytes]
) -> None:
    """It accepts four of five, and gets the requests, since it is faster. Then it accepts nearly none."""

    async def main() -> None:
        told = thrifty(1)

        def now() -> bytes:
            return told

        async with ScriptedUpstream(engine(now, 0.02)) as own, ScriptedUpstream(engine(now, 0.005)) as quick:
            async with Gateway(tmp_path, own.url, quick.url, declared(dialect)) as gateway:
                watching = asyncio.create_task(Listening(gateway.plane).watch())
                await asyncio.sleep(1)
                for number in range(2, 6):
                    told = thrifty(number)
                    for _ in range(12):
                        await gateway.ask(f"question {number}", temperature=1)
                    await asyncio.sleep(5)
                late = [record.setting for record in gateway.records[-8:] if record.setting is not None]
                assert [one.by for one in late if one.why == "measured"].count("quick") >= 6
                assert gateway.plane.governor.wasted("small", "quick", "shop") == pytest.approx(0.2, abs=0.01)
                for number in range(1, 40):
                    told = wasteful(number)
                    await asyncio.sleep(5)
                await gateway.ask("question", temperature=1)
                last = gateway.last.setting
                assert last is not None
                assert (last.why, last.by, last.gain is not None) == ("overhead", None, True)
                watching.cancel()

    run_virtual(main)


def signals(passes: int | None, proposed: int | None, accepted: int | None) -> Signals:
    return Signals(running=0, waiting=0, drafts=passes, draft_tokens=proposed, accepted_tokens=accepted)


@given(st.integers(1, 10**6), st.integers(0, 64), st.floats(0, 1))
def test_each_pass_writes_what_it_accepted_and_one_more(passes: int, each: int, share: float) -> None:
    proposed = passes * each
    accepted = int(proposed * share)
    found = wasted(signals(7, 9, 3), signals(7 + passes, 9 + proposed, 3 + accepted), None)
    assert found == pytest.approx((proposed - accepted) / (accepted + passes))


@pytest.mark.parametrize(
    ("before", "now"),
    [
        (None, signals(1, 5, 4)),
        (signals(1, 5, 4), signals(1, 5, 4)),
        (signals(10, 50, 40), signals(1, 5, 4)),
        (signals(None, None, None), signals(1, 5, 4)),
        (signals(1, 5, 4), signals(None, None, None)),
    ],
)
def test_what_says_nothing(before: Signals | None, now: Signals) -> None:
    """The first time; nothing proposed; another process under the same name; no counters."""
    assert wasted(before, now, 5) is None


def test_a_length_says_nothing_without_what_is_proposed() -> None:
    told = Signals(running=0, waiting=0, accept_length=3.0)
    assert wasted(None, told, None) is None
    assert wasted(None, told, 5) == pytest.approx(1.0)
