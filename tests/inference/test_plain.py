"""Events that only say more of a text: told apart from all others, and nothing is lost of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.gateway import Gateway, text_of
from support.upstream import EVENTS, Data, Head, ScriptedUpstream, Seen, Step
from trimtab.core.request import Text
from trimtab.dataplane.inference.plain import PlainText
from trimtab.surfaces.twin import run_virtual

EVENT = {"id": "a", "object": "chat.completion.chunk", "created": 1, "model": "m"}
CHOICE = {"index": 0, "delta": {"content": "x"}, "finish_reason": None}


def read(**changed: Any) -> Text | None:
    return PlainText().read(msgspec.json.encode({**EVENT, "choices": [CHOICE], **changed}))


def test_a_text_is_its_choice_and_its_content() -> None:
    """Whatever else stands there says nothing, but for what belongs beside the choices."""
    assert read() == Text(0, "x", {})
    assert read(choices=[{**CHOICE, "index": 2, "logprobs": None}], usage=None) == Text(2, "x", {}, True)
    assert read(system_fingerprint="f", service_tier=None) == Text(
        0, "x", {"system_fingerprint": "f", "service_tier": None}
    )


@pytest.mark.parametrize(
    "changed",
    [
        {"choices": []},
        {"choices": [CHOICE, CHOICE]},
        {"choices": [{**CHOICE, "finish_reason": "stop"}]},
        {"choices": [{**CHOICE, "logprobs": {"content": []}}]},
        {"choices": [{**CHOICE, "seen": 1}]},
        {"choices": [{**CHOICE, "delta": {"content": ""}}]},
        {"choices": [{**CHOICE, "delta": {"role": "assistant", "content": "x"}}]},
        {"choices": [{**CHOICE, "delta": {"content": None}}]},
        {"choices": [{**CHOICE, "delta": {"tool_calls": []}}]},
        {"usage": {"prompt_tokens": 1}},
        {"error": {"message": "no"}},
        {"object": "error"},
        {"weather": "fine"},
    ],
)
def test_what_says_anything_else_is_looked_at_closely(changed: dict[str, Any]) -> None:
    """A role, a finish, a tool's call, usage, an error, a field that nobody has heard of."""
    assert read(**changed) is None


def test_a_stream_of_other_events_is_not_tried_for_ever() -> None:
    """Four in a row; one text in between begins the count anew."""
    plain, text = PlainText(), msgspec.json.encode({**EVENT, "choices": [CHOICE]})
    for _ in range(3):
        assert plain.read(b"{}") is None
    assert plain.read(text) is not None
    for _ in range(4):
        assert plain.read(b"[DONE]") is None
    assert plain.read(text) is None


def test_what_came_before_a_fault_in_the_same_piece_is_told_first(tmp_path: Path) -> None:
    """Texts and an error event in one piece: the caller has the texts, then the error, whatever the network joined."""

    def one(delta: dict[str, Any]) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        return b"data: %b\n\n" % msgspec.json.encode({**EVENT, "choices": [choice]})

    def script(seen: Seen) -> list[Step]:
        texts = one({"role": "assistant"}) + one({"content": "a"}) + one({"content": "b"})
        return [Head(200, (EVENTS,)), Data(texts + b'data: {"error": {"message": "no"}}\n\n')]

    async def main() -> None:
        async with ScriptedUpstream(script) as up, Gateway(tmp_path, up.url) as gateway:
            got = await gateway.ask("Hello", stream=True, temperature=1)
            assert (got.status, got.whole, text_of(got.body)) == (200, False, "ab")
            assert b'"error"' in got.body

    run_virtual(main)
