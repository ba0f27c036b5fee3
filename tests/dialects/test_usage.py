"""What each provider tells of cached, written, heard and thought tokens, and what it comes to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.test_upstreams import speaks
from dialects.wires import PROVIDERS, USED
from support.gateway import Gateway, events, replaced
from support.upstream import ScriptedUpstream
from trimtab.core.money import Price, Usage, settle
from trimtab.dataplane.inference.usage import UsageReducer
from trimtab.surfaces.twin import run_virtual

FILE = Path(__file__).parent / "golden" / "usage.txt"
KINDS = {
    "cached": "0.1", "written": "1.25", "written_1h": "2", "audio_in": "32", "audio_cached": "2.5",
    "reasoning": "3", "audio_out": "64",
}  # fmt: skip
"""US dollars per million, beside 1 for input and 4 for output."""
ALL = Price(
    input=10**9,
    output=4 * 10**9,
    **{kind: int(float(usd) * 10**9) for kind, usd in KINDS.items()},  # type: ignore[arg-type]
)
ONLY = Price(input=10**9, output=4 * 10**9)


def priced(*kinds: str) -> Any:
    """An edit: the small model's price has these kinds, too."""
    told = ", ".join(f'{kind}_usd_per_mtok: "{KINDS[kind]}"' for kind in kinds)
    old = 'small: {input_usd_per_mtok: "1", output_usd_per_mtok: "4", cached_usd_per_mtok: "0.1"}'
    return replaced("prices.yaml", old, f'small: {{input_usd_per_mtok: "1", output_usd_per_mtok: "4", {told}}}')


def test_every_kind_of_token_has_its_price(tmp_path: Path) -> None:
    """Of each dialect, streamed and whole: the tokens in the record, the usage that the caller gets and the same
    nano-dollars either way, as the golden file has them, and as the kinds add up one by one."""

    async def one(name: str) -> str:
        used = USED[name]
        async with ScriptedUpstream(lambda _: used.steps) as up:
            edits = [*speaks(name, tmp_path / name), priced(*KINDS)]
            async with Gateway(tmp_path / name, up.url, None, *edits) as gateway:
                whole = await gateway.ask("Hi", model="tier:S", temperature=1)
                asked: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
                streamed = await gateway.ask("Hi", model="tier:S", temperature=1, **asked)
                told = [one["usage"] for one in events(streamed.body) if isinstance(one, dict) and one.get("usage")]
                assert [whole.json["usage"]] == told
                first, second = gateway.records
                assert first.tokens == second.tokens
                assert first.cost.settled_nanousd == second.cost.settled_nanousd == used.nanousd
                assert (first.cost.unpriced, gateway.settled_nanousd()) == ([], 2 * used.nanousd)
                tokens = msgspec.json.encode({k: v for k, v in msgspec.structs.asdict(first.tokens).items() if v})
                return f"{name}\n{tokens.decode()}\n{msgspec.json.encode(told[0]).decode()}\n{used.nanousd}\n"

    async def main() -> str:
        return "".join([await one(name) for name in USED])

    told = run_virtual(main)
    if os.environ.get("UPDATE_GOLDEN"):
        FILE.write_text(told)
    assert FILE.read_text() == told, f"{FILE.name} has changed; UPDATE_GOLDEN=1 accepts it"


def test_a_missing_price_is_the_dearest_and_the_record_says_so(tmp_path: Path) -> None:
    """Audio that nobody has written a price for is not had at the price of text."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: USED["openai"].steps) as up:
            edits = [*speaks("openai", tmp_path), priced("written", "written_1h")]
            async with Gateway(tmp_path, up.url, None, *edits) as gateway:
                assert (await gateway.ask("Hi", model="tier:S", temperature=1)).status == 200
                cost, tokens = gateway.last.cost, gateway.last.tokens
                assert cost.unpriced == ["audio_in", "audio_out"]
                assert tokens.audio_in
                # 12 of prompt: 4 cached at 1 (no price of its own), 2 written at 1.25, 3 heard at 2, 3 read at 1
                assert cost.settled_nanousd == (4 * 1000 + 2 * 1250 + 3 * 2000 + 3 * 1000) + 9 * 4000

    run_virtual(main)


@pytest.mark.parametrize("spoken", [False, True])
def test_an_answer_that_may_be_heard_is_reserved_for_as_such(spoken: bool, tmp_path: Path) -> None:
    """What is held pays for audio in every token that the answer may have; for a text it is not held."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: PROVIDERS["openai"].text) as up:
            edits = [*speaks("openai", tmp_path), priced("audio_in", "audio_out")]
            edits.append(replaced("tenants/shop.yaml", 'max_per_request_usd: "0.05"', 'max_per_request_usd: "1"'))
            edits.append(replaced("tenants/shop.yaml", 'checks_out: [deny], deny: ["secret sauce"]', "checks_out: []"))
            async with Gateway(tmp_path, up.url, None, *edits) as gateway:
                fields: dict[str, Any] = {"modalities": ["text", "audio"]} if spoken else {}
                fields |= {"model": "tier:S", "temperature": 1, "max_tokens": 150}
                assert (await gateway.ask("Hi", **fields)).status == 200
                reserved = gateway.last.cost.reserved_nanousd
                assert reserved is not None
                assert (reserved >= 150 * 64_000) == spoken

    run_virtual(main)


counts = st.integers(0, 1 << 30)
maybe = st.none() | counts


@given(st.dictionaries(st.sampled_from(["prompt_tokens", "completion_tokens", "total_tokens"]), maybe), st.data())
def test_parts_are_never_more_than_their_whole(totals: dict[str, Any], data: st.DataObject) -> None:
    """Whatever a server tells, and in whatever pieces: what is inside is inside, and nothing of it is lost."""
    reducer = UsageReducer("openai", 1)
    for _ in range(data.draw(st.integers(1, 3))):
        names = ("cached_tokens", "cache_write_tokens", "cache_write_1h_tokens", "audio_tokens")
        read: dict[str, Any] = {name: data.draw(maybe) for name in names}
        read["cached_tokens_details"] = {"audio_tokens": data.draw(maybe)}
        said = {name: data.draw(maybe) for name in ("reasoning_tokens", "audio_tokens")}
        told = {**totals, "prompt_tokens_details": read, "completion_tokens_details": said}
        reducer.take({"choices": [], "usage": told})
    usage = reducer.result()
    if usage.prompt is not None:
        assert (usage.cached or 0) + (usage.written or 0) <= usage.prompt
        assert (usage.audio_in or 0) <= usage.prompt
    if usage.completion is not None:
        assert (usage.reasoning or 0) + (usage.audio_out or 0) <= usage.completion
    for whole, part in ((usage.written, usage.written_1h), (usage.cached, usage.audio_cached)):
        assert whole is None or (part or 0) <= whole
    assert usage.prompt is None or usage.prompt >= (reducer.prompt or 0)
    assert usage.completion is None or usage.completion >= (reducer.completion or 0)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    cached, written, plain = draw(counts), draw(counts), draw(counts)
    prompt, completion = cached + written + plain, draw(counts)
    audio = draw(st.none() | st.integers(0, cached + plain))
    held = draw(st.none() | st.integers(max(0, (audio or 0) - plain), min(cached, audio or 0)))
    spoken = draw(st.none() | st.integers(0, completion))
    return Usage(
        prompt=prompt,
        cached=cached,
        written=written,
        written_1h=draw(st.none() | st.integers(0, written)),
        audio_in=audio,
        audio_cached=held,
        completion=completion,
        audio_out=spoken,
        reasoning=draw(st.none() | st.integers(0, completion - (spoken or 0))),
    )


@given(usages(), st.sampled_from([ALL, ONLY]))
def test_more_never_costs_less(usage: Usage, price: Price) -> None:
    """One more token of the prompt or the answer, one that is audio, or one that is kept for an hour."""
    cost = price.units(usage)
    for kind in ("prompt", "completion"):
        more = msgspec.structs.replace(usage, **{kind: getattr(usage, kind) + 1})
        assert price.units(more) > cost
    if usage.written_1h is not None and usage.written is not None and usage.written_1h < usage.written:
        assert price.units(msgspec.structs.replace(usage, written_1h=usage.written_1h + 1)) >= cost
    if usage.audio_cached is not None:  # who does not say what of it was cached pays for the dearest
        assert price.units(msgspec.structs.replace(usage, audio_cached=None)) >= cost


@given(usages())
def test_a_price_that_is_missing_is_never_below_what_text_costs(usage: Usage) -> None:
    """Without prices of their own the kinds cost at least what all of it would as text."""
    text = Usage(prompt=usage.prompt, completion=usage.completion)
    assert ONLY.units(usage) >= ONLY.units(text)
    dear = msgspec.structs.replace(ONLY, written=5 * 10**9)
    hour = Usage(prompt=usage.written, written=usage.written, written_1h=usage.written)
    assert dear.units(hour) == 5 * 10**9 * (usage.written or 0)


@given(usages(), st.integers(0, 1 << 20), st.booleans())
def test_what_is_reserved_pays_for_what_can_come(usage: Usage, more: int, spoken: bool) -> None:
    """The bound of a request counts the dearest kinds that it asks for; sound is not taken in."""
    price = msgspec.structs.replace(ALL, hourly=True, spoken=spoken)
    told = msgspec.structs.replace(usage, audio_in=None, audio_cached=None)
    if not spoken:
        told = msgspec.structs.replace(told, audio_out=None)
    assert told.prompt is not None
    assert told.completion is not None
    most = price.most(told.prompt + more, told.completion)
    assert settle(price.units(told)) <= most
    assert price.tokens_for(most, told.prompt + more) >= told.completion
