"""What each inbound dialect makes of one conversation, to the byte: what the upstream is asked, what the client gets.

`UPDATE_GOLDEN=1` writes the files anew.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from clients import scripts
from dialects.wire import told
from support.upstream import Script, failure

FILES = Path(__file__).parent / "files"
_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}

MESSAGES: dict[str, Any] = {
    "model": "auto",
    "max_tokens": 64,
    "system": [
        {"type": "text", "text": "You are a fox.", "cache_control": {"type": "ephemeral"}},
        {"type": "text", "text": "Be short."},
    ],
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Weather?", "cache_control": {"type": "ephemeral"}}]},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "x"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Zürich"}},
                {"type": "tool_use", "id": "toolu_2", "name": "time", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "content": [{"type": "text", "text": "rain"}]},
                {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no clock", "is_error": True},
                {"type": "text", "text": "And?"},
            ],
        },
    ],
    "tools": [
        {"name": "weather", "description": "Forecast", "input_schema": _SCHEMA},
        {"name": "time", "type": "custom", "input_schema": {"type": "object"}, "strict": True},
    ],
    "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
    "stop_sequences": ["END"],
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "thinking": {"type": "enabled", "budget_tokens": 4096},
    "metadata": {"user_id": "ann"},
    "service_tier": "auto",
}
RESPONSES: dict[str, Any] = {
    "model": "auto",
    "max_output_tokens": 64,
    "instructions": "You are a fox.",
    "input": [
        {"role": "developer", "content": "Be short."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Weather?"}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Zürich"}'},
        {"type": "function_call", "call_id": "call_2", "name": "time", "arguments": "{}", "id": "fc_2"},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        {"type": "function_call_output", "call_id": "call_2", "output": [{"type": "input_text", "text": "noon"}]},
        {"role": "user", "content": "And?"},
    ],
    "tools": [
        {"type": "function", "name": "weather", "description": "Forecast", "parameters": _SCHEMA, "strict": False},
        {"type": "function", "name": "time", "parameters": {"type": "object"}},
    ],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "reasoning": {"effort": "low", "summary": "auto"},
    "text": {"format": {"type": "json_schema", "name": "fox", "schema": _SCHEMA, "strict": True}, "verbosity": "low"},
    "include": ["reasoning.encrypted_content"],
    "prompt_cache_key": "one",
    "metadata": {"case": "7"},
    "store": True,
    "temperature": 0.5,
    "top_p": 0.9,
}
PATHS = {"messages": ("/v1/messages", MESSAGES), "responses": ("/v1/responses", RESPONSES)}
SCRIPTS: dict[str, Script] = {
    "text": scripts.COUNTED,
    "thoughts": scripts.UNKNOWN,
    "tools": scripts.TOOLS,
    "mixed": scripts.MIXED,
    "declined": scripts.DECLINED,
    "cut short": scripts.CUT_SHORT,
    "empty": scripts.EMPTY,
    "broken off": scripts.CUT_MIDWAY,
    "rejected": lambda seen: failure(400, "Temperature is too high", **scripts.INVALID),
    "down": lambda seen: failure(503, "busy"),
}


def same(name: str, text: str) -> None:
    """`text` is what the golden file says."""
    path = FILES / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, f"{name} has changed; UPDATE_GOLDEN=1 accepts it"


@pytest.mark.parametrize("dialect", PATHS)
def test_what_the_upstream_is_asked(dialect: str, tmp_path: Path) -> None:
    """System texts, turns, calls, results, tools and options in chat's words, nothing lost and nothing added."""
    path, body = PATHS[dialect]
    (asked,) = told(tmp_path, path, body, scripts.COUNTED).asked
    same(f"{dialect}-asked.json", msgspec.json.format(msgspec.json.encode(asked), indent=1).decode() + "\n")


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("dialect", PATHS)
def test_what_the_client_gets(dialect: str, streamed: bool, tmp_path: Path) -> None:
    """Answers of every kind with their heads: text, thoughts, calls, a cut, faults before the start and after it."""
    path, body = PATHS[dialect]
    wire = ""
    for number, (name, script) in enumerate(SCRIPTS.items()):
        found = told(tmp_path / str(number), path, {**body, "stream": streamed}, script)
        head = "\n".join(f"{name}: {value}" for name, value in found.answer.headers.items())
        whole = "" if found.answer.whole else "(cut)\n"
        wire += f"=== {name}\n{found.answer.status}\n{head}\n\n{found.answer.body.decode()}\n{whole}"
        assert found.record.route == path
    same(f"{dialect}-{'streamed' if streamed else 'whole'}.txt", wire)
