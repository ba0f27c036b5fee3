"""curl: the bytes of an answer. Skipped where there is no curl, unless CI is set.

Answers are compared as bytes once ids, times and names are taken out (`masked`); where Trimtab adds its object, as
JSON, within the exact framing of their events.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from typing import Any

import msgspec
import pytest

from clients import scripts
from clients.stage import ABSENT, Case, Differs, Side, Stage, plain
from support.upstream import Close, Script

CURL = shutil.which("curl")

pytestmark = [
    pytest.mark.clients,
    pytest.mark.skipif(CURL is None and "CI" not in os.environ, reason="no curl"),
]

PARTIAL_FILE = 18
"""curl's exit status for a transfer that ended before its end."""
CLOSED_MIDWAY = scripts.broken_off("one", " two", then=[Close()])
_EVENT = re.compile(rb"data: ([^\n]*)\n\n")
_MASKED = re.compile(rb'(?<=\{)"(id)":"chatcmpl-[^"]*"|"(model)":"[^"]*"|"(created)":[0-9]+')


def masked(data: bytes) -> str:
    """Bytes without id, time and name of an answer, as text."""
    return _MASKED.sub(lambda found: b'"%b":<>' % (found[1] or found[2] or found[3]), data).decode()


def posts(reads: Any, **fields: Any) -> Case:
    """A chat request by curl: exit status, status, what the head says of the body, and the body as `reads` sees it."""
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **fields}

    def play(side: Side) -> Any:
        assert CURL is not None, "CI must have curl"
        command = [CURL, "-q", "-sS", "-N", "-i", "--noproxy", "*", "--max-time", "20", f"{side.url}/chat/completions"]
        command += ["-H", f"Authorization: Bearer {side.key}", "-H", "Content-Type: application/json", "-d", "@-"]
        done = subprocess.run(command, input=msgspec.json.encode(body), capture_output=True, timeout=30, check=False)
        head, _, data = done.stdout.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        about = {name: headers.get(name) for name in ("content-type", "transfer-encoding", "retry-after")}
        length = headers.get("content-length") in (None, str(len(data)))
        return {
            "exit": done.returncode,
            "status": status.split(" ")[:2],
            **about,
            "length": length,
            "body": reads(data),
        }

    return play


def events(data: bytes) -> list[Any]:
    """The events of a stream as JSON, `[DONE]` as text; they must be nothing but `data: ...` and a blank line each."""
    found = _EVENT.findall(data)
    assert b"".join(b"data: %b\n\n" % one for one in found) == data
    return [one.decode() if one == b"[DONE]" else told(one) for one in found]


def told(data: bytes) -> Any:
    """An answer, chunk or error as JSON, without what may differ; `usage: null` counts as absent."""
    value = msgspec.json.decode(data)
    if isinstance(value.get("error"), dict):
        value["error"].pop("trimtab", None)
    if value.get("usage", ABSENT) is None:
        del value["usage"]
    return plain(value)


@pytest.mark.parametrize("script", ["HELLO", "COUNTED", "TOOLS", "TWO", "LOGPROBS", "UNKNOWN"])
def test_a_whole_answer(stage: Stage, script: str) -> None:
    """Status, type, length and every field of the JSON."""
    stage.plays(getattr(scripts, script))
    pair = stage.same(posts(told, n=2 if script == "TWO" else 1))
    assert (pair.through.said["exit"], pair.through.said["status"]) == (0, ["HTTP/1.1", "200"])


@pytest.mark.parametrize("script", ["HELLO", "COUNTED", "TOOLS", "TWO", "LOGPROBS", "UNKNOWN", "DECLINED", "LEGACY"])
def test_a_stream_byte_for_byte(stage: Stage, script: str) -> None:
    """A stream without usage is the upstream's, byte for byte: events, their order, JSON as the upstream wrote it."""
    stage.plays(getattr(scripts, script))
    pair = stage.same(posts(masked, stream=True, n=2 if script == "TWO" else 1))
    said = pair.through.said
    assert (said["exit"], said["content-type"]) == (0, "text/event-stream; charset=utf-8")
    assert said["body"].startswith('data: {"id":<>,"object":"chat.completion.chunk"')
    assert said["body"].endswith('"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n') or script in (
        "TOOLS",
        "LEGACY",
        "UNKNOWN",
    )


@pytest.mark.parametrize("script", ["HELLO", "COUNTED", "TOOLS"])
def test_a_stream_with_usage(stage: Stage, script: str) -> None:
    """Events are framed in the same way, with the usage's before the last."""
    stage.plays(getattr(scripts, script))
    pair = stage.same(posts(events, stream=True, stream_options={"include_usage": True}))
    *_, finish, usage, done = pair.through.said["body"]
    assert (finish["choices"][0]["delta"], usage["choices"], done) == ({}, [], "[DONE]")


@pytest.mark.parametrize("stream", [False, True])
def test_a_wrong_request(new_stage: Stage, stream: bool) -> None:
    """An error is a JSON answer with its length, streamed or not, and its object is the upstream's."""
    new_stage.plays(scripts.fails(400, "Temperature is too high", **scripts.INVALID))
    pair = new_stage.same(posts(told, stream=stream))
    assert pair.through.said["status"] == ["HTTP/1.1", "400"]
    assert pair.through.said["body"] == {"error": {"message": "Temperature is too high", **scripts.INVALID}}


@pytest.mark.parametrize("script", [CLOSED_MIDWAY, scripts.NO_FINISH], ids=["closed", "no finish"])
def test_a_stream_that_breaks(new_stage: Stage, script: Script) -> None:
    """The transfer is visibly not whole, whether the upstream's was or not; an error event is its last."""
    new_stage.plays(script)
    whole = script is scripts.NO_FINISH
    message = "the connection to the model's server broke"
    said = {
        "message": "the model's server ended its answer in the middle" if whole else message,
        "type": "server_error",
        "param": None,
        "code": "upstream_failed",
    }
    why = "a stream that breaks never ends as if it were whole"
    differences = [Differs(f"body.3.error.{name}", ABSENT, value, why) for name, value in said.items()]
    if whole:
        differences.append(Differs("exit", 0, PARTIAL_FILE, why))
    pair = new_stage.same(posts(events, stream=True), *differences)
    assert pair.through.said["exit"] == PARTIAL_FILE
