"""The grammars of both streams, checked event by event; each returns the answer that the events tell."""

from __future__ import annotations

from typing import Any

import msgspec

Event = tuple[str, dict[str, Any]]
Kinds = list[tuple[str, str]]
"""Blocks in order: what they are (a call by its name) and what they say."""

_SAID = {"text_delta": "text", "thinking_delta": "thinking", "input_json_delta": "partial_json"}
_STARTED = {"text": "text", "thinking": "thinking", "tool_use": "input"}
_CALLS = {"function_call": "arguments", "custom_tool_call": "input"}


def of_messages(events: list[Event]) -> Kinds:
    """Anthropic's: one start, blocks one after the other with rising index, one delta, one stop, nothing after it."""
    assert all(name == data["type"] for name, data in events)
    names = [name for name, _ in events]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert sum(name.startswith("message_") for name in names) == 3
    blocks: Kinds = []
    is_open = False
    for name, data in events[1:-2]:
        if name == "content_block_start":
            assert not is_open
            assert data["index"] == len(blocks)
            block = data["content_block"]
            assert not block[_STARTED[block["type"]]], "a block starts empty"
            blocks.append((block.get("name", block["type"]), ""))
            is_open = True
            continue
        assert is_open
        assert data["index"] == len(blocks) - 1
        if name == "content_block_stop":
            is_open = False
        elif data["delta"]["type"] != "signature_delta":
            kind, said = blocks[-1]
            blocks[-1] = (kind, said + data["delta"][_SAID[data["delta"]["type"]]])
    assert not is_open
    return blocks


def of_responses(events: list[Event]) -> Kinds:
    """OpenAI's: numbered from 0, items one after the other, deltas that add up to what their end says, the whole
    response last, with the same items."""
    assert all(name == data["type"] for name, data in events)
    assert [data["sequence_number"] for _, data in events] == list(range(len(events)))
    names = [name.removeprefix("response.") for name, _ in events]
    assert names[:2] == ["created", "in_progress"]
    assert names[-1] in ("completed", "incomplete")
    assert not {"created", "in_progress", "completed", "incomplete"} & set(names[2:-1])
    done: list[dict[str, Any]] = []
    item: dict[str, Any] | None = None
    said = ""
    for name, (_, data) in zip(names[2:-1], events[2:-1], strict=True):
        assert data["output_index"] == len(done)
        if name == "output_item.added":
            assert item is None
            item, said = data["item"], ""
            continue
        assert item is not None
        if name == "output_item.done":
            assert {**data["item"], "status": ""}.keys() == {**item, "status": ""}.keys()
            assert _said(data["item"]) in (said, said or "{}")
            done.append(data["item"])
            item = None
            continue
        assert data["item_id"] == item["id"]
        if name.endswith(".delta"):
            said += data["delta"]
        elif name.endswith(".done") and "part" not in data:
            told = [data[field] for field in ("text", "refusal", "arguments", "input") if field in data]
            assert told == [said] or told == ["{}"]
    assert item is None
    assert events[-1][1]["response"]["output"] == done
    return [(_kind(one), _said(one)) for one in done]


def _kind(item: dict[str, Any]) -> str:
    if item["type"] in _CALLS:
        return str(item["name"])
    return "thinking" if item["type"] == "reasoning" else "text"


def _said(item: dict[str, Any]) -> str:
    if item["type"] in _CALLS:
        return str(item[_CALLS[item["type"]]])
    (part,) = item["content"]
    return str(part.get("text", part.get("refusal")))


def whole_json(text: str) -> Any:
    """What arguments say."""
    return msgspec.json.decode(text or "{}")
