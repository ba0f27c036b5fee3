"""Prompts with images: bounded by what models declare, paid for, said in each dialect, and nowhere kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialects.test_upstreams import speaks
from support.gateway import KEY, Gateway, post, replaced
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream, answer, stream, usage
from trimtab.core.images import image_of, put_back, taken_out
from trimtab.dataplane.inference import prompt_of
from trimtab.foundations.tokens import prompt_bound
from trimtab.surfaces.twin import run_virtual

PNG, GIF = "iVBORw0KGgo4111111111111111=", "R0lGODlhAQABAAAAACw="
"""The first has a number in it that passes for a card's: it is nobody's."""
ALLOW = replaced("tenants/shop.yaml", "guards: {checks_in: [email]", "guards: {images: allow, checks_in: [email, card]")
SEES = replaced("models.yaml", "tier: M, ", "tier: M, images: 800, ")
SMALL_SEES = replaced("models.yaml", "tier: S, ", "tier: S, images: 300, ")


def shown(data: str = PNG, kind: str = "image/png", **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": f"data:{kind};base64,{data}", **more}}


def asked(*parts: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}]


def test_the_model_that_declares_images_gets_them_as_they_came(tmp_path: Path) -> None:
    """To the byte, though the channel looks for card numbers; who declares none is not asked, as the record says."""

    async def main() -> None:
        async with ScriptedUpstream() as up, ScriptedUpstream(lambda _: stream(["A fox"], usage(700, 3))) as two:
            async with Gateway(tmp_path, up.url, two.url, ALLOW, SEES) as gateway:
                messages = asked(shown(), shown(GIF, "image/gif", detail="low"))
                assert (await gateway.ask(messages)).status == 200
                assert up.requests == []
                assert two.requests[0].json["messages"][1:] == messages
                plans = {row.tier: row.outcome for row in gateway.last.plans}
                assert plans == {"S": "has no words for messages with images", "M": "taken"}
                assert gateway.last.tokens.prompt == 700
                estimate = gateway.last.cost.estimate_nanousd
                bound = prompt_bound(messages, None, 800)
                assert bound is not None
                assert estimate is not None
                assert estimate >= bound * 3000, "two images are 1,600 tokens of the prompt"
                got = await gateway.ask(messages, model="tier:S")
                assert (got.status, got.json["error"]["param"]) == (400, "messages")

    run_virtual(main)


def test_an_image_counts_where_nobody_tells_usage(tmp_path: Path) -> None:
    """By what its model declares, and it is paid for."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: stream(["A fox"])) as up:
            async with Gateway(tmp_path, up.url, None, ALLOW, SMALL_SEES) as gateway:
                for messages in (asked(), asked(shown(), shown())):
                    assert (await gateway.ask(messages, model="tier:S")).status == 200
                plain, seen = (row.tokens.prompt or 0 for row in gateway.records)
                assert seen - plain >= 600

    run_virtual(main)


def test_a_cap_that_pays_for_no_image_refuses_before_anybody_is_asked(tmp_path: Path) -> None:
    """Money is held for the most that an image may become."""
    dear = replaced("models.yaml", "tier: S, ", "tier: S, images: 500000, ")

    async def main() -> None:
        async with ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, None, ALLOW, dear) as gateway:
                got = await gateway.ask(asked(shown()), model="tier:S")
                assert (got.status, got.json["error"]["trimtab"]["code"]) == (429, "cost_cap")
                assert up.requests == []

    run_virtual(main)


def test_a_channel_takes_none_unless_it_says_so(tmp_path: Path) -> None:
    """Nobody is asked, nothing is spent, and the caller is told which declaration it takes."""

    async def main() -> None:
        async with ScriptedUpstream() as up, ScriptedUpstream() as two:
            async with Gateway(tmp_path, up.url, two.url, SEES) as gateway:
                got = await gateway.ask(asked(shown()))
                assert (got.status, got.json["error"]["param"]) == (400, "messages")
                assert "guards.images" in got.json["error"]["message"]
                assert up.requests == two.requests == []
                assert gateway.settled_nanousd() == 0

    run_virtual(main)


def test_answers_are_kept_by_what_is_to_be_seen(tmp_path: Path) -> None:
    """The same image is a hit; another one, under the same words, is not."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: stream(["A fox"], usage(9, 3))) as up:
            async with Gateway(tmp_path, up.url, None, ALLOW, SMALL_SEES) as gateway:
                for data in (PNG, PNG, GIF):
                    assert (await gateway.ask(asked(shown(data)), temperature=0)).status == 200
                assert len(up.requests) == 2

    run_virtual(main)


@pytest.mark.parametrize(
    ("name", "place", "image"),
    [
        ("openai", ["messages", -1, "content", -1], shown()),
        ("vllm", ["messages", -1, "content", -1], shown()),
        (
            "anthropic",
            ["messages", -1, "content", -1, "content", -1],
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
        ),
        ("gemini", ["contents", -1, "parts", -1], {"inlineData": {"mimeType": "image/png", "data": PNG}}),
        (
            "bedrock",
            ["messages", -1, "content", -1, "toolResult", "content", -1],
            {"image": {"format": "png", "source": {"bytes": PNG}}},
        ),
        (
            "responses",
            ["input", -1, "output", -1],
            {"type": "input_image", "image_url": f"data:image/png;base64,{PNG}", "detail": "auto"},
        ),
    ],
)
def test_what_a_tool_shows_in_the_words_of_each_provider(
    tmp_path: Path, name: str, place: list[Any], image: dict[str, Any]
) -> None:
    """An agent reads a screenshot through `/v1/messages`: its result has the text, the model gets the image, in the
    result where the dialect knows such, else right behind it."""
    body = {
        "model": "tier:S",
        "max_tokens": 50,
        "messages": [
            {"role": "user", "content": "Look."},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "read", "input": {}}]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [
                            {"type": "text", "text": "1 x 1"},
                            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                        ],
                    }
                ],
            },
        ],
        "tools": [{"name": "read", "input_schema": {"type": "object"}}],
    }

    async def main() -> None:
        async with ScriptedUpstream(lambda _: answer({"error": {"message": "no"}}, 400)) as up:
            edits = [ALLOW, *speaks(name, tmp_path), SMALL_SEES]
            async with Gateway(tmp_path, up.url, None, *edits) as gateway, RawClient(gateway.port) as client:
                client.send(post(msgspec.json.encode(body), path="/v1/messages", key=KEY))
                await client.answer()
                value = up.requests[0].json
                for step in place:
                    value = value[step]
                assert value == image
                said = msgspec.json.encode(up.requests[0].json)
                assert said.count(PNG.encode()) == 1
                assert said.count(b"1 x 1") == 1

    run_virtual(main)


_data = st.binary(min_size=1, max_size=40).map(lambda raw: msgspec.json.encode(raw).decode()[1:-1])
_part = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, st.text(max_size=5)),
    st.builds(shown, _data, st.sampled_from(["image/png", "image/jpeg", "image/gif", "image/webp"])),
)
_message = st.builds(
    lambda role, content: {"role": role, "content": content},
    st.sampled_from(["user", "assistant", "tool"]),
    st.text(max_size=5) | st.lists(_part, max_size=4),
)


@given(st.lists(_message, max_size=5), st.integers(1, 5000))
def test_images_leave_messages_and_come_back(messages: list[dict[str, Any]], tokens: int) -> None:
    """None of their data stays; equal images have one name; each counts as what is declared; all come back as they
    were."""
    inside, images = taken_out(messages)
    parts = [part for one in messages if isinstance(one["content"], list) for part in one["content"]]
    addresses = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    assert {image.address for image in images.values()} == set(addresses)
    assert len(images) == len(set(addresses))
    assert "base64" not in msgspec.json.encode(inside).decode().replace("Base64", "")
    assert not any(digit in name for name in images for digit in "0123456789@")
    assert list(put_back(inside, images)) == messages
    bound, bare = prompt_bound(inside, None, tokens), prompt_bound(inside, None, 0)
    assert bound is not None
    assert bare is not None
    assert bound - bare == tokens * len(addresses)
    assert (prompt_bound(inside) is None) == bool(addresses)


def test_prefixes_are_told_apart_by_images() -> None:
    """What an engine holds of a prompt with one image says nothing of the same words with another."""
    text = {"type": "text", "text": "x" * 2000}
    one, other = (
        prompt_of("shop", None, None, taken_out([{"role": "user", "content": [shown(data), text]}])[0])
        for data in (PNG, GIF)
    )
    assert one.part == other.part
    assert not set(one.blocks) & set(other.blocks)


@pytest.mark.parametrize(
    "address",
    ["data:image/svg+xml;base64,eA==", "data:text/plain;base64,eA==", "data:image/png,x", "data:image/png;base64,"],
)
def test_what_is_no_image(address: str) -> None:
    """Kinds that no model takes, and nothing at all."""
    assert image_of(address) is None
