"""What each provider's server says on the wire, and what our callers are to get of it: scripts for real HTTP servers.

Every answer says the same: `Hello wörld`, or calls `weather` with {"city": "Zürich"}.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from support.upstream import EVENTS, Data, Head, Sse, Step, answer
from trimtab.dataplane.inference.dialects.eventstream import frame

FRAMES = ("content-type", "application/vnd.amazon.eventstream")


def typed(*events: dict[str, Any]) -> list[Step]:
    """Server-sent events that are named by their `type`."""
    return [
        Head(200, (EVENTS,)),
        *(Data(f"event: {one['type']}\ndata: ".encode() + _json(one) + b"\n\n") for one in events),
    ]


def plain(*events: dict[str, Any] | str) -> list[Step]:
    return [Head(200, (EVENTS,)), *(Sse(one) for one in events)]


def frames(*events: tuple[str, dict[str, Any]]) -> list[Step]:
    return [Head(200, (FRAMES,)), *(Data(_frame(kind, told)) for kind, told in events)]


def _frame(kind: str, told: dict[str, Any]) -> bytes:
    if kind.startswith("exception:"):
        headers = {":message-type": "exception", ":exception-type": kind.removeprefix("exception:")}
    else:
        headers = {":message-type": "event", ":event-type": kind, ":content-type": "application/json"}
    return frame(headers, _json(told))


_json = msgspec.json.encode


def _gemini(*parts: dict[str, Any], finish: str | None = None, usage: dict[str, Any] | None = None) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": list(parts)}, "index": 0}
    if finish is not None:
        candidate["finishReason"] = finish
    told: dict[str, Any] = {"candidates": [candidate], "modelVersion": "g"}
    return {**told, "usageMetadata": usage} if usage is not None else told


def _openai(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [choice]}


def _openai_usage(**usage: Any) -> dict[str, Any]:
    return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": [], "usage": usage}


_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "weather", "arguments": ""}}
_ARGS = [{"index": 0, "function": {"arguments": piece}} for piece in ('{"city": "Zü', 'rich"}')]
_FILTERS = {"hate": {"filtered": False, "severity": "safe"}}


@dataclass(frozen=True)
class Provider:
    """One dialect: paths and headers of its requests, and its server's answers."""

    path: str
    credential: tuple[str, str]
    text: list[Step]
    tool: list[Step]
    usage: tuple[int, int, int, int, int | None]
    """Of `text`: prompt, cached, written (0: not told), completion, reasoning."""
    broken: list[Step]
    """Says `Hello`, then that it is overloaded, in its stream."""
    full: list[Step]
    """400 or what stands for it: the prompt is too long."""
    filtered: list[Step]
    """The provider's filter refuses."""
    base: str = "/v1"
    model: str = ""
    """More fields of the model's document."""


def chat(**extra: Any) -> Provider:
    """Whoever speaks as OpenAI does."""
    usage = {
        "prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17,
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "completion_tokens_details": {"reasoning_tokens": 2},
    }  # fmt: skip
    first = _openai({"role": "assistant", "content": ""})
    said = [first, _openai({"content": "Hello"}), _openai({"content": " wörld"}), _openai({}, "stop")]
    called = [first, _openai({"tool_calls": [_CALL]}), *(_openai({"tool_calls": [one]}) for one in _ARGS)]
    found: dict[str, Any] = {
        "path": "/v1/chat/completions",
        "credential": ("authorization", "Bearer sk-provider"),
        "text": plain(*said, _openai_usage(**usage), "[DONE]"),
        "tool": plain(*called, _openai({}, "tool_calls"), _openai_usage(**usage), "[DONE]"),
        "usage": (12, 4, 2, 5, 2),
        "broken": plain(*said[:2], {"error": {"message": "overloaded", "type": "server_error", "code": 503}}),
        "full": answer({"error": {"message": "maximum context length is 8", "code": "context_length_exceeded"}}, 400),
        "filtered": answer({"error": {"message": "filtered", "code": "content_filter"}}, 400),
    }
    return Provider(**{**found, **extra})


_AZURE_FIRST = {"id": "", "object": "", "created": 0, "model": "", "choices": []}
PROVIDERS: dict[str, Provider] = {
    "openai": chat(),
    "vllm": chat(
        full=answer({"object": "error", "message": "maximum context length is 8 tokens", "code": 400}, 400),
        filtered=answer({"error": {"message": "no", "code": "content_policy_violation"}}, 400),
    ),
    "sglang": chat(
        broken=plain(
            _openai({"role": "assistant", "content": ""}),
            _openai({"content": "Hello"}),
            {"object": "error", "message": "aborted", "code": 500},
        ),
        full=answer({"object": "error", "message": "The input is longer than the context length", "code": 400}, 400),
    ),
    "azure": chat(
        path="/openai/deployments/gpt/chat/completions?api-version=2024-10-21",
        base="/openai/deployments/gpt",
        model=', api_version: "2024-10-21"',
        credential=("api-key", "sk-provider"),
        text=plain(
            {**_AZURE_FIRST, "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _FILTERS}]},
            _openai({"role": "assistant", "content": ""}),
            _openai({"content": "Hello"}),
            _openai({"content": " wörld"}),
            {**_AZURE_FIRST, "content_filter_results": _FILTERS},
            _openai({}, "stop"),
            _openai_usage(
                prompt_tokens=12,
                completion_tokens=5,
                total_tokens=17,
                prompt_tokens_details={"cached_tokens": 4, "cache_write_tokens": 2},
                completion_tokens_details={"reasoning_tokens": 2},
            ),
            "[DONE]",
        ),
    ),
    "anthropic": Provider(
        path="/v1/messages",
        credential=("x-api-key", "sk-provider"),
        text=typed(
            {
                "type": "message_start",
                "message": {
                    "id": "msg_1",
                    "type": "message",
                    "role": "assistant",
                    "content": [],
                    "usage": {
                        "input_tokens": 6,
                        "cache_read_input_tokens": 4,
                        "cache_creation_input_tokens": 2,
                        "output_tokens": 1,
                    },
                },
            },
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "ping"},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": " wörld"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ),
        tool=typed(
            {"type": "message_start", "message": {"usage": {"input_tokens": 12, "output_tokens": 1}}},
            {
                "type": "content_block_start",
                "index": 0,
                "content_block": {"type": "tool_use", "id": "call_1", "name": "weather", "input": {}},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": '{"city": "Zü'},
            },
            {
                "type": "content_block_delta",
                "index": 0,
                "delta": {"type": "input_json_delta", "partial_json": 'rich"}'},
            },
            {"type": "content_block_stop", "index": 0},
            {"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ),
        usage=(12, 4, 2, 5, None),
        broken=typed(
            {"type": "message_start", "message": {"usage": {"input_tokens": 12, "output_tokens": 1}}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        ),
        full=answer(
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "prompt is too long: 9 tokens > 8"},
            },
            400,
        ),
        filtered=answer(
            {
                "type": "error",
                "error": {"type": "invalid_request_error", "message": "blocked", "code": "content_policy"},
            },
            400,
        ),
    ),
    "gemini": Provider(
        path="/v1beta/models/upstream:streamGenerateContent?alt=sse",
        base="/v1beta",
        credential=("x-goog-api-key", "sk-provider"),
        text=plain(
            _gemini({"text": "let me see", "thought": True}, usage={"promptTokenCount": 12, "thoughtsTokenCount": 2}),
            _gemini(
                {"text": "Hello"}, usage={"promptTokenCount": 12, "candidatesTokenCount": 1, "thoughtsTokenCount": 2}
            ),
            _gemini(
                {"text": " wörld"},
                finish="STOP",
                usage={
                    "promptTokenCount": 12,
                    "cachedContentTokenCount": 4,
                    "candidatesTokenCount": 3,
                    "thoughtsTokenCount": 2,
                },
            ),
        ),
        tool=plain(
            _gemini(
                {"functionCall": {"name": "weather", "args": {"city": "Zürich"}}},
                finish="STOP",
                usage={"promptTokenCount": 12, "candidatesTokenCount": 5},
            )
        ),
        usage=(12, 4, 0, 5, 2),
        broken=plain(
            _gemini({"text": "Hello"}, usage={"promptTokenCount": 12, "candidatesTokenCount": 1}),
            {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}},
        ),
        full=answer(
            [
                {
                    "error": {
                        "code": 400,
                        "message": "The input token count (9) exceeds the maximum number of tokens",
                        "status": "INVALID_ARGUMENT",
                    }
                }
            ],
            400,
        ),
        filtered=plain({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 12}}),
    ),
    "bedrock": Provider(
        path="/model/upstream/converse-stream",
        base="",
        credential=("authorization", "Bearer sk-provider"),
        text=frames(
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": " wörld"}}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("messageStop", {"stopReason": "end_turn"}),
            (
                "metadata",
                {
                    "usage": {
                        "inputTokens": 6,
                        "cacheReadInputTokens": 4,
                        "cacheWriteInputTokens": 2,
                        "outputTokens": 5,
                        "totalTokens": 17,
                    }
                },
            ),
        ),
        tool=frames(
            ("messageStart", {"role": "assistant"}),
            (
                "contentBlockStart",
                {"contentBlockIndex": 0, "start": {"toolUse": {"toolUseId": "call_1", "name": "weather"}}},
            ),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": '{"city": "Zü'}}}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"toolUse": {"input": 'rich"}'}}}),
            ("contentBlockStop", {"contentBlockIndex": 0}),
            ("messageStop", {"stopReason": "tool_use"}),
            ("metadata", {"usage": {"inputTokens": 12, "outputTokens": 5}}),
        ),
        usage=(12, 4, 2, 5, None),
        broken=frames(
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
            ("exception:modelStreamErrorException", {"message": "overloaded"}),
        ),
        full=answer(
            {"message": "Input is too long for requested model."}, 400, [("x-amzn-errortype", "ValidationException:x")]
        ),
        filtered=frames(
            ("messageStart", {"role": "assistant"}),
            ("messageStop", {"stopReason": "guardrail_intervened"}),
            ("metadata", {"usage": {"inputTokens": 12, "outputTokens": 0}}),
        ),
    ),
    "responses": Provider(
        path="/v1/responses",
        credential=("authorization", "Bearer sk-provider"),
        text=typed(
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_item.added", "output_index": 0, "item": {"type": "message", "id": "m"}},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"},
            {"type": "response.output_text.delta", "output_index": 0, "delta": " wörld"},
            {
                "type": "response.completed",
                "response": {
                    "usage": {
                        "input_tokens": 12,
                        "input_tokens_details": {"cached_tokens": 4},
                        "output_tokens": 5,
                        "output_tokens_details": {"reasoning_tokens": 2},
                    }
                },
            },
        ),
        tool=typed(
            {"type": "response.created", "response": {"id": "r"}},
            {
                "type": "response.output_item.added",
                "output_index": 0,
                "item": {"type": "function_call", "call_id": "call_1", "name": "weather"},
            },
            {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"city": "Zü'},
            {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": 'rich"}'},
            {"type": "response.completed", "response": {"usage": {"input_tokens": 12, "output_tokens": 5}}},
        ),
        usage=(12, 4, 0, 5, 2),
        broken=typed(
            {"type": "response.created", "response": {"id": "r"}},
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"},
            {"type": "error", "code": "server_error", "message": "overloaded", "param": None},
        ),
        full=answer({"error": {"message": "too long", "code": "context_length_exceeded"}}, 400),
        filtered=answer({"error": {"message": "no", "code": "content_policy_violation"}}, 400),
    ),
}


def bytes_of(steps: Iterable[Step]) -> bytes:
    """The body that these steps write, unframed."""
    found = b""
    for step in steps:
        if isinstance(step, Data):
            found += step.data
        elif isinstance(step, Sse):
            text = step.data.encode() if isinstance(step.data, str) else _json(step.data)
            found += b"data: " + text + b"\n\n"
    return found


@dataclass(frozen=True)
class Used:
    """An answer of which every kind of token is told that its provider knows, and what it comes to at the prices of
    `test_usage`."""

    steps: list[Step]
    nanousd: int


def _openai_used(**usage: Any) -> list[Step]:
    said = (_openai({"role": "assistant", "content": ""}), _openai({"content": "Hello"}), _openai({}, "stop"))
    return plain(*said, _openai_usage(**usage), "[DONE]")


_CREATED = {"ephemeral_5m_input_tokens": 3, "ephemeral_1h_input_tokens": 2}
USED: dict[str, Used] = {
    "openai": Used(
        _openai_used(
            prompt_tokens=12,
            completion_tokens=9,
            total_tokens=21,
            prompt_tokens_details={"cached_tokens": 4, "cache_write_tokens": 2, "audio_tokens": 3},
            completion_tokens_details={"reasoning_tokens": 2, "audio_tokens": 4},
        ),
        # 4 cached, 2 written, 3 heard and 3 read (what was cached is believed to be text, the dearer way)
        4 * 100 + 2 * 1250 + 3 * 32_000 + 3 * 1000 + 3 * 4000 + 2 * 3000 + 4 * 64_000,
    ),
    "azure": Used(  # reasoning told beside the completion, as the total shows
        _openai_used(
            prompt_tokens=12,
            completion_tokens=9,
            total_tokens=23,
            prompt_tokens_details={"cached_tokens": 4},
            completion_tokens_details={"reasoning_tokens": 2},
        ),
        4 * 100 + 8 * 1000 + 9 * 4000 + 2 * 3000,
    ),
    "anthropic": Used(
        typed(
            {
                "type": "message_start",
                "message": {
                    "usage": {
                        "input_tokens": 6,
                        "cache_read_input_tokens": 4,
                        "cache_creation_input_tokens": 5,
                        "cache_creation": _CREATED,
                        "output_tokens": 1,
                    },
                },
            },
            {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}},
            {"type": "message_stop"},
        ),
        6 * 1000 + 4 * 100 + 3 * 1250 + 2 * 2000 + 5 * 4000,
    ),
    "gemini": Used(
        plain(
            _gemini(
                {"text": "Hello"},
                finish="STOP",
                usage={
                    "promptTokenCount": 20,
                    "cachedContentTokenCount": 8,
                    "candidatesTokenCount": 7,
                    "thoughtsTokenCount": 2,
                    "promptTokensDetails": [
                        {"modality": "TEXT", "tokenCount": 10},
                        {"modality": "AUDIO", "tokenCount": 10},
                    ],
                    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 6}],
                    "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
                },
            )
        ),
        # 2 text and 6 audio cached, 4 audio and 8 text fresh; 2 of text, 2 of thought and 5 of audio said
        2 * 100 + 6 * 2500 + 4 * 32_000 + 8 * 1000 + 2 * 4000 + 2 * 3000 + 5 * 64_000,
    ),
    "bedrock": Used(
        frames(
            ("messageStart", {"role": "assistant"}),
            ("contentBlockDelta", {"contentBlockIndex": 0, "delta": {"text": "Hello"}}),
            ("messageStop", {"stopReason": "end_turn"}),
            (
                "metadata",
                {
                    "usage": {
                        "inputTokens": 6,
                        "cacheReadInputTokens": 4,
                        "cacheWriteInputTokens": 5,
                        "cacheDetails": [{"ttl": "5m", "inputTokens": 3}, {"ttl": "1h", "inputTokens": 2}],
                        "outputTokens": 5,
                    }
                },
            ),
        ),
        6 * 1000 + 4 * 100 + 3 * 1250 + 2 * 2000 + 5 * 4000,
    ),
    "responses": Used(
        typed(
            {"type": "response.output_text.delta", "output_index": 0, "delta": "Hello"},
            {
                "type": "response.completed",
                "response": {
                    "usage": {
                        "input_tokens": 12,
                        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
                        "output_tokens": 5,
                        "output_tokens_details": {"reasoning_tokens": 2},
                    }
                },
            },
        ),
        4 * 100 + 2 * 1250 + 6 * 1000 + 3 * 4000 + 2 * 3000,
    ),
}
