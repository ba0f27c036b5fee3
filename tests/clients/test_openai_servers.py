"""OpenAI's Python clients over servers of all ways, and channels that guard and store: what differs is declared."""

from __future__ import annotations

from typing import Any

import pytest

from clients import scripts
from clients.python_client import KINDS, Chat, driven
from clients.stage import ABSENT, Differs, Stage

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("kind", KINDS)]


@pytest.fixture
def stage(new_stage: Stage) -> Stage:
    """One of its own for each test."""
    return new_stage


@pytest.mark.parametrize("script", ["MARKED", "TIMED"])
@pytest.mark.parametrize("usage", [False, True])
def test_fields_beside_the_usage(stage: Stage, kind: str, usage: bool, script: str) -> None:
    """The chunk that carries usage is there once if it was asked for, with its other fields, and else not at all."""

    async def case(chat: Chat) -> Any:
        return await chat.streamed(stream_options={"include_usage": True} if usage else None)

    stage.plays(getattr(scripts, script))
    pair = stage.same(driven(kind, case))
    assert [bool(chunk["choices"]) for chunk in pair.through.said["chunks"]] == [True] * 4 + [False] * usage


@pytest.mark.parametrize("script", ["STOPPED_BY", "AZURE", "PINGED", "EMPTY", "NO_DONE", "LEGACY", "MIXED", "AT_ONCE"])
@pytest.mark.parametrize("mode", ["whole", "streamed"])
def test_other_ways_of_servers(stage: Stage, kind: str, mode: str, script: str) -> None:
    """A filter's chunk without choices, keep-alive comments, an answer of nothing, an end without `[DONE]`, fields
    beside the finish reason, functions as they were before tools: all is handed on as it is."""

    async def case(chat: Chat) -> Any:
        return await getattr(chat, mode)()

    differences = ()
    if (script, mode) == ("AZURE", "streamed"):
        differences = (
            Differs("chunks.0.object", "", "chat.completion.chunk", "every chunk is told as one"),
            Differs("ids", 2, 1, "every chunk has the answer's id"),
        )
    stage.plays(getattr(scripts, script))
    stage.same(driven(kind, case), *differences)


@pytest.mark.parametrize("script", ["HELLO", "COUNTED", "TOOLS", "TWO", "LOGPROBS", "UNKNOWN", "LEGACY", "DECLINED"])
def test_a_server_that_does_not_stream(stage: Stage, kind: str, script: str) -> None:
    """Trimtab asks for a stream; a server that answers whole all the same is handed on whole."""

    async def case(chat: Chat) -> Any:
        return await chat.whole(n=2 if script == "TWO" else None, logprobs=True if script == "LOGPROBS" else None)

    stage.plays(scripts.unstreamed(getattr(scripts, script)))
    stage.same(driven(kind, case))


def test_usage_in_every_chunk(stage: Stage, kind: str) -> None:
    """Usage is told once, at the end, also where the caller would have the upstream count aloud."""
    options = {"include_usage": True, "continuous_usage_stats": True}

    async def case(chat: Chat) -> Any:
        found = await chat.streamed(stream_options=options)
        return [chunk["usage"] and chunk["usage"]["total_tokens"] for chunk in found["chunks"]]

    stage.plays(scripts.counting(scripts.HELLO))
    why = "it may be cut to what was paid for: what counts is known at the end"
    stage.same(driven(kind, case), *(Differs(str(number), 12, None, why) for number in range(8)))


class _Joined(dict[int, dict[str, Any]]):
    """The texts and tool arguments of a stream's choices, however they were cut, and whether any came after its end."""

    def __init__(self, chunks: list[dict[str, Any]]) -> None:
        super().__init__()
        for choice in [choice for chunk in chunks for choice in chunk["choices"]]:
            said = self.setdefault(choice["index"], {"content": "", "arguments": {}, "finish": None, "late": False})
            said["late"] = said["late"] or said["finish"] is not None
            said["content"] += choice["delta"]["content"] or ""
            said["finish"] = choice["finish_reason"] or said["finish"]
            for call in choice["delta"]["tool_calls"] or ():
                known = said["arguments"].get(call["index"], "")
                said["arguments"][call["index"]] = known + call["function"]["arguments"]


@pytest.mark.parametrize("script", ["HISSES", "TOOLS", "TWO"])
def test_a_guarded_channel(stage: Stage, kind: str, script: str) -> None:
    """A channel that looks for what must not leave holds text back and cuts it anew, and changes none of it."""

    async def case(chat: Chat) -> Any:
        fields: dict[str, Any] = {"n": 2 if script == "TWO" else None, "extra_headers": {"trimtab-channel": "web"}}
        found = await chat.streamed(stream_options={"include_usage": True}, **fields)
        return [_Joined(found["chunks"]), found["chunks"][-1], await chat.whole(**fields, temperature=0.5)]

    stage.plays(getattr(scripts, script))
    pair = stage.same(driven(kind, case), attempts=2)
    if script == "HISSES":
        assert pair.through.said[0]["0"]["content"] == "Hiss, the secret: sauce is secret saus"


_KEPT = "an entry keeps what was said and what counts; how the upstream fared then is not told again"
_COUNTED = (
    "completion_tokens_details.accepted_prediction_tokens",
    "completion_tokens_details.rejected_prediction_tokens",
)
STORED: dict[str, list[Differs]] = {
    "HELLO": [],
    "DECLINED": [],
    "COUNTED": [Differs(f"{at}.usage.{name}", 0, None, _KEPT) for at in (1, 3) for name in _COUNTED],
    "UNKNOWN": [
        *(Differs(f"{at}.usage.queue_time", 0.25, ABSENT, _KEPT) for at in (1, 3)),
        Differs("1.system_fingerprint", "fp_1", None, _KEPT),
        Differs("1.service_tier", "default", None, _KEPT),
        *(Differs(f"1.x_unknown.deep.{at}", value, ABSENT, _KEPT) for at, value in enumerate((1, None, "ß"))),
    ],
    "STOPPED_BY": [],
}


@pytest.mark.parametrize("script", list(STORED))
def test_a_stored_answer(stage: Stage, kind: str, script: str) -> None:
    """An answer from the cache is the upstream's answer: all that was said, whole and streamed, and how much it was."""

    async def case(chat: Chat) -> Any:
        fields: dict[str, Any] = {"extra_headers": {"trimtab-channel": "web"}}
        first, again = await chat.whole(**fields), await chat.whole(**fields)
        found = await chat.streamed(stream_options={"include_usage": True}, **fields)
        return [first, again, _Joined(found["chunks"]), found["chunks"][-1]]

    stage.plays(getattr(scripts, script))
    stage.same(driven(kind, case), *STORED[script], attempts=3, upstream=1)
    assert [record.path for record in stage.gateway.records] == ["direct", "cache-exact", "cache-exact"]
