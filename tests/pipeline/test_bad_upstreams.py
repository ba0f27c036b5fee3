"""Upstreams that fail in every way we know: hidden before the first byte, said after it, nothing left held."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.frontdoor import LOOPS
from support.gateway import Gateway, chat, events, replaced, text_of
from support.rawhttp import RawAnswer, RawClient
from support.upstream import (
    EVENTS,
    JSON,
    Close,
    Cut,
    Hang,
    Head,
    Raw,
    ScriptedUpstream,
    Seen,
    Sse,
    Step,
    answer,
    chunk,
    completion,
    failure,
    sequence,
    stream,
    usage,
    usage_chunk,
)
from trimtab.surfaces.twin import run_virtual

Faults = dict[str, list[Step] | Callable[[Seen], Iterable[Step]]]
HTML = ("content-type", "text/html")
ROLE = chunk({"role": "assistant", "content": ""})

BEFORE: Faults = {
    "refuses with 500": failure(500, "boom"),
    "503 with retry-after": failure(503, "busy", headers=[("retry-after", "7")]),
    "429": failure(429, "slow down", headers=[("retry-after", "3")]),
    "429 out of money": failure(429, "no money", code="insufficient_quota"),
    "401: our own key is bad": failure(401, "bad key"),
    "404: no such model there": failure(404, "no such model"),
    "html under 200": [Head(200, (HTML,)), Raw(b"<html>login</html>"), Close()],
    "html under 502": [Head(502, (HTML,)), Raw(b"<html>bad gateway</html>"), Close()],
    "an error under 200": answer({"error": {"message": "overloaded", "code": 503}}),
    "an error as text under 200": answer({"error": "overloaded"}),
    "an empty object under 200": answer({}),
    "a list under 200": answer([]),
    "an error event first": [Head(200, (EVENTS,)), Sse({"error": {"message": "overloaded"}})],
    "half an answer's head": [Raw(b"HTTP/1.1 200 OK\r\ncontent-"), Cut()],
    "no byte at all": [Cut()],
    "a stream without a chunk": [Head(200, (EVENTS,)), Sse("[DONE]")],
    "an empty stream": [Head(200, (EVENTS,))],
    "cut after the role": [Head(200, (EVENTS,)), ROLE, Cut()],
    "ends after the role": [Head(200, (EVENTS,)), ROLE],
    "malformed first event": [Head(200, (EVENTS,)), Sse("{nonsense")],
    "an event that is a number": [Head(200, (EVENTS,)), Sse("7")],
    "choices that are a text": [Head(200, (EVENTS,)), Sse({"choices": "x"})],
    "a delta that is a list": [Head(200, (EVENTS,)), Sse({"choices": [{"delta": []}]})],
    "says nothing for ever": [Hang()],
    "a head, then nothing": [Head(200, (EVENTS,)), Hang()],
    "only comments": [Head(200, (EVENTS,)), Raw(b"5\r\n: hi\n\r\n"), Hang()],
}
SAID = [Head(200, (EVENTS,)), ROLE, chunk({"content": "Hello"}), chunk({"content": " there"})]
AFTER: Faults = {
    "cut": [*SAID, Cut()],
    "closed without the last chunk": [*SAID, Close()],
    "ended without a finish reason": [*SAID],
    "done without a finish reason": [*SAID, Sse("[DONE]")],
    "half an event": [*SAID, Raw(b'11\r\ndata: {"choices":\r\n'), Cut()],
    "half an event, then a clean end": [*SAID, Raw(b'11\r\ndata: {"choices":\r\n0\r\n\r\n')],
    "more malformed lines than are left out": [*SAID, *[Sse("{nonsense")] * 9, chunk({}, "stop"), Sse("[DONE]")],
    "an error event": [*SAID, Sse({"error": {"message": "CUDA out of memory"}})],
    "an error as text": [*SAID, Sse({"error": "CUDA out of memory"})],
    "an error object at the top": [*SAID, Sse({"object": "error", "message": "gone", "code": 500})],
    "bytes that are no HTTP": [*SAID, Raw(b"zzz\r\n"), Hang()],
    "silence until the deadline": [*SAID, Hang()],
}


NEVER_EJECTED = replaced("models.yaml", "slots: 4,", "slots: 4, health: {failures: 1000},")


def error_event(body: bytes) -> dict[str, Any]:
    """The one error event that ends a broken stream: nothing follows it."""
    found = events(body)
    assert "[DONE]" not in found
    assert [event for event in found if "error" in event] == found[-1:]
    error: dict[str, Any] = found[-1]["error"]
    return error


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("name", list(BEFORE))
def test_a_fault_before_the_first_byte_is_hidden_by_the_next_plan(name: str, streamed: bool, tmp_path: Path) -> None:
    """The next tier answers; the record says who was tried and why it failed."""

    async def main() -> None:
        bad = BEFORE[name]
        script = bad if callable(bad) else lambda _: bad
        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                got = await gateway.ask("one two", stream=streamed)
                assert got.status == 200
                text = text_of(got.body) if streamed else got.json["choices"][0]["message"]["content"]
                assert text == "echo one two"
                record = gateway.last
                assert (record.tier, record.code, record.path) == ("M", None, "direct")
                assert [attempt.outcome for attempt in record.attempts][-1] == "success"
                assert all(attempt.reason for attempt in record.attempts[:-1])
                assert record.plans[0].outcome not in (None, "taken")
                assert record.plans[1].outcome == "taken"
                assert gateway.settled_nanousd() == record.cost.settled_nanousd

    run_virtual(main)


@pytest.mark.parametrize("name", list(BEFORE))
def test_without_another_plan_the_fault_is_an_error_with_a_code(name: str, tmp_path: Path) -> None:
    """502, 503 or 504 with the record's id; no words of the upstream's page."""

    async def main() -> None:
        bad = BEFORE[name]
        script = bad if callable(bad) else lambda _: bad
        async with ScriptedUpstream(script) as one, Gateway(tmp_path, one.url) as gateway:
            got = await gateway.ask("one two", model="tier:S", stream=True)
            error = got.json["error"]
            assert got.status in (502, 504)
            assert error["code"] in ("upstream_failed", "deadline_exceeded")
            assert error["trimtab"]["record"] == gateway.last.id
            assert b"<html" not in got.body
            assert gateway.last.status == got.status
            assert gateway.settled_nanousd() == 0

    run_virtual(main)


@pytest.mark.parametrize("name", list(AFTER))
def test_a_fault_after_the_first_byte_is_an_error_event_and_no_clean_end(name: str, tmp_path: Path) -> None:
    """What came is kept, an error event follows, the transfer is visibly cut, and what was produced is paid for."""

    async def main() -> None:
        bad = AFTER[name]
        script = bad if callable(bad) else lambda _: bad
        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                got = await gateway.ask("one two", stream=True)
                assert got.status == 200
                assert not got.whole
                assert text_of(got.body) == "Hello there"
                error = error_event(got.body)
                assert error["code"] in ("upstream_failed", "deadline_exceeded")
                assert error["trimtab"]["record"] == gateway.last.id
                assert gateway.last.code == error["code"]
                assert gateway.last.attempts[-1].usage is not None
                assert gateway.settled_nanousd() == gateway.last.cost.settled_nanousd != 0
                assert two.requests == []

    run_virtual(main)


@pytest.mark.parametrize("name", list(AFTER))
def test_a_caller_who_does_not_stream_never_sees_half_an_answer(name: str, tmp_path: Path) -> None:
    """Nothing has left, so the next plan can still answer; what the first one produced is paid for, too."""

    async def main() -> None:
        bad = AFTER[name]
        script = bad if callable(bad) else lambda _: bad
        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                got = await gateway.ask("one two")
                assert got.json["choices"][0]["message"]["content"] == "echo one two"
                assert gateway.last.tier == "M"
                assert len(gateway.last.attempts) == 2
                both = [attempt.usage for attempt in gateway.last.attempts]
                assert all(used is not None for used in both)
                assert gateway.settled_nanousd() == gateway.last.cost.settled_nanousd != 0

    run_virtual(main)


def test_a_stream_without_done_is_whole_if_it_has_a_finish_reason(tmp_path: Path) -> None:
    """Some servers never say `[DONE]`; the callers get one."""

    async def main() -> None:
        steps = stream(["Hello"], usage(3, 1), done=False)
        async with ScriptedUpstream(lambda _: steps) as up, Gateway(tmp_path, up.url) as gateway:
            got = await gateway.ask(stream=True)
            assert got.whole
            assert events(got.body)[-1] == "[DONE]"
            assert gateway.last.code is None

    run_virtual(main)


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_malformed_line_is_left_out_and_told_in_the_record(streamed: bool, tmp_path: Path) -> None:
    """A proxy that rewrites bodies has broken one event: the answer goes on, and somebody can see that it happened."""
    steps = [*SAID, Sse("{nonsense"), chunk({"content": "!"}, "stop"), Sse("[DONE]")]

    async def main() -> None:
        async with ScriptedUpstream(lambda _: steps) as up, Gateway(tmp_path, up.url) as gateway:
            got = await gateway.ask(stream=streamed)
            assert (got.status, got.whole) == (200, True)
            text = text_of(got.body) if streamed else got.json["choices"][0]["message"]["content"]
            assert text == "Hello there!"
            (attempt,) = gateway.last.attempts
            assert (attempt.outcome, attempt.skipped) == ("success", 1)

    run_virtual(main)


def test_a_server_that_does_not_stream_is_understood(tmp_path: Path) -> None:
    """A JSON completion in answer to a stream's request is an answer, whole or as a stream."""

    async def main() -> None:
        script = answer(completion("all at once", usage(4, 3)))
        async with ScriptedUpstream(lambda _: script) as up, Gateway(tmp_path, up.url) as gateway:
            whole = await gateway.ask(temperature=1)
            assert whole.json["choices"][0]["message"]["content"] == "all at once"
            streamed = await gateway.ask(temperature=1, stream=True)
            assert text_of(streamed.body) == "all at once"
            assert [r.cost.settled_nanousd for r in gateway.records] == [4 * 1000 + 3 * 4000] * 2

    run_virtual(main)


def test_a_request_that_is_wrong_is_told_to_the_caller_in_the_servers_words(tmp_path: Path) -> None:
    """400 is nobody's fault but the request's: not retried, not routed round, the words are the server's."""

    async def main() -> None:
        script = failure(400, "top_k must be positive", type="invalid_request_error", param="top_k", code="bad_top_k")
        async with ScriptedUpstream(lambda _: script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                got = await gateway.ask(top_k=-1)
                error = got.json["error"]
                assert got.status == 400
                assert (error["message"], error["param"], error["code"]) == (
                    "top_k must be positive",
                    "top_k",
                    "bad_top_k",
                )
                assert gateway.last.code == "upstream_rejected"
                assert two.requests == []

    run_virtual(main)


def test_a_providers_content_filter_is_passed_on_not_routed_round(tmp_path: Path) -> None:
    """No other model is asked."""

    async def main() -> None:
        script = failure(400, "content management policy", code="content_filter")
        async with ScriptedUpstream(lambda _: script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                got = await gateway.ask()
                assert (got.status, gateway.last.code, two.requests) == (400, "content_refused", [])

    run_virtual(main)


def test_a_model_whose_context_is_too_small_leaves_it_to_the_next(tmp_path: Path) -> None:
    """A 400 about context length is that model's, not the request's; if nobody can, the caller gets it."""

    async def main() -> None:
        script = failure(400, "too long", type="exceed_context_size_error", n_ctx=2048)
        async with ScriptedUpstream(lambda _: script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url) as gateway:
                assert (await gateway.ask()).status == 200
                assert gateway.last.tier == "M"
                got = await gateway.ask("again", model="tier:S")
                assert (got.status, gateway.last.code) == (400, "context_length_exceeded")

    run_virtual(main)


def test_a_connection_that_was_closing_is_tried_again_once(tmp_path: Path) -> None:
    """A hang-up before any byte may be a kept connection's end: the same replica gets one more try."""

    async def main() -> None:
        async with ScriptedUpstream(sequence([Cut()], stream(["ok"], usage(1, 1)))) as up:
            async with Gateway(tmp_path, up.url) as gateway:
                got = await gateway.ask(model="tier:S")
                assert got.status == 200
                assert [attempt.reason for attempt in gateway.last.attempts] == ["hung up", None]

    run_virtual(main)


def test_nobody_listening_is_a_quick_fallback_and_then_a_502(tmp_path: Path) -> None:
    """A dead endpoint costs one refused connection."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, None, up.url) as gateway:
            assert (await gateway.ask()).status == 200
            assert gateway.last.attempts[0].reason == "no connection"
        async with Gateway(tmp_path / "both", None, None) as gateway:
            got = await gateway.ask()
            assert (got.status, gateway.last.code) == (502, "upstream_failed")

    run_virtual(main)


@pytest.mark.parametrize("loop", list(LOOPS))
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
def test_a_client_that_hangs_up_stops_the_upstream_and_pays_for_what_came(
    loop: str, streamed: bool, tmp_path: Path
) -> None:
    """The upstream sees the hang-up, the record says 499, the money is what was produced until then."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: [*SAID, Hang()]) as up, Gateway(tmp_path, up.url) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(chat("one two three", stream=streamed))
                if streamed:
                    await client.head()
                    while b"there" not in await client.chunk():
                        pass
                else:
                    await up.asked()
                    while not any(view.running for view in gateway.plane.fleet.views()["small"]):
                        await asyncio.sleep(0)
                client.hang_up()
                await up.hung_up()
                await gateway.sink.reached(1)
            record = gateway.last
            assert (record.status, record.code) == (499, "client_closed")
            assert gateway.settled_nanousd() == record.cost.settled_nanousd
            if streamed:
                assert record.tokens.source == "estimated"
                assert (record.tokens.completion or 0) > 0

    LOOPS[loop](main)


def test_the_deadline_ends_a_request_that_nobody_answers(tmp_path: Path) -> None:
    """504 at the deadline, three times the end-to-end target."""

    async def main() -> None:
        async with ScriptedUpstream(lambda _: [Hang()]) as up, Gateway(tmp_path, up.url, up.url) as gateway:
            loop = asyncio.get_running_loop()
            began = loop.time()
            got = await gateway.ask()
            assert got.status in (502, 504)
            assert loop.time() - began == pytest.approx(12.0, abs=0.1)
            began = loop.time()
            await gateway.ask("Hello", "trimtab-latency-ms: 1000")
            assert loop.time() - began == pytest.approx(3.0, abs=0.1)

    run_virtual(main)


def test_on_miss_template_answers_in_the_users_language(tmp_path: Path) -> None:
    """Finish reason stop, path template; a machine (tools, response format) gets 503 instead."""
    german, english = "Gerade nicht, bitte erneut versuchen.", "Not right now, please try again."

    async def main() -> None:
        edit = replaced("tenants/shop.yaml", "cache: {reuse", "on_miss: template\n    cache: {reuse")
        async with Gateway(tmp_path, None, None, edit) as gateway:
            got = await gateway.ask("Wo ist meine Bestellung geblieben?")
            choice = got.json["choices"][0]
            assert (choice["message"]["content"], choice["finish_reason"]) == (german, "stop")
            assert (gateway.last.path, gateway.last.code, gateway.last.status) == ("template", "upstream_failed", 200)
            streamed = await gateway.ask("Where is the order that I made?", stream=True)
            assert text_of(streamed.body) == english
            tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
            assert (await gateway.ask(tools=tools)).status == 503

    run_virtual(main)


def test_a_json_head_with_an_event_body_is_not_taken_for_an_answer(tmp_path: Path) -> None:
    """The type says how to read it."""

    async def main() -> None:
        script = [Head(200, (JSON,)), Raw(b"0\r\n\r\n"), Close()]
        async with ScriptedUpstream(lambda _: script) as up, Gateway(tmp_path, up.url) as gateway:
            assert (await gateway.ask(model="tier:S")).status == 502
            assert gateway.last.attempts[-1].reason == "malformed answer"

    run_virtual(main)


FINISH = {"index": 0, "delta": {}, "finish_reason": "stop"}
GROQ = {"choices": [FINISH], "x_groq": {"usage": usage(6, 2)}}
DEEPSEEK = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}
NONSENSE = {"prompt_tokens": "many", "completion_tokens": -4}
COUNTING = [Sse({"choices": [{"index": 0, "delta": {"content": "x"}}], "usage": usage(7, n)}) for n in (1, 2, 3)]
SHAPES: dict[str, tuple[list[Step], tuple[int, int, int] | None]] = {
    "its own chunk, no choices": (stream(["a", " b"], usage(7, 2, 3)), (7, 2, 3)),
    "on the finish chunk": ([*SAID, Sse({"choices": [FINISH], "usage": usage(7, 2)})], (7, 2, 0)),
    "cumulative in every chunk": ([Head(200, (EVENTS,)), *COUNTING, chunk({}, "stop")], (7, 3, 0)),
    "twice, the last one counts": ([*stream(["a"], usage(7, 1), done=False), usage_chunk(usage(9, 4))], (9, 4, 0)),
    "null, then told": ([*SAID, Sse({"choices": [FINISH], "usage": None}), usage_chunk(usage(5, 2))], (5, 2, 0)),
    "beside it, as deepseek does": ([*SAID, chunk({}, "stop"), usage_chunk(DEEPSEEK)], (9, 2, 4)),
    "under x_groq": ([*SAID, Sse(GROQ)], (6, 2, 0)),
    "nonsense": ([*SAID, chunk({}, "stop"), usage_chunk(NONSENSE)], None),
    "never": ([*SAID, chunk({}, "stop"), Sse("[DONE]")], None),
}


@pytest.mark.parametrize("name", list(SHAPES))
def test_usage_in_every_shape_settles_to_the_same_streamed_or_not(name: str, tmp_path: Path) -> None:
    """Tokens are those that the upstream told, else counted here and called estimated; both ways cost the same."""

    async def main() -> None:
        steps, told = SHAPES[name]
        async with ScriptedUpstream(lambda _: steps) as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("one two", temperature=1)
            await gateway.ask("one two", temperature=1, stream=True)
            whole, streamed = gateway.records
            assert whole.tokens.source == streamed.tokens.source == ("upstream" if told else "estimated")
            if told:
                assert (whole.tokens.prompt, whole.tokens.completion, whole.tokens.cached or 0) == told
            else:
                assert whole.tokens.prompt
                assert whole.tokens.completion
            assert whole.cost.settled_nanousd == streamed.cost.settled_nanousd != 0

    run_virtual(main)


def whole_bytes(steps: Iterable[Step]) -> bytes:
    """The bytes that a scripted upstream would write for a stream."""
    data = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    for step in steps:
        if isinstance(step, Sse):
            text = step.data.encode() if isinstance(step.data, str) else msgspec.json.encode(step.data)
            event = b"data: " + text + b"\n\n"
            data += b"%x\r\n%b\r\n" % (len(event), event)
    return data + b"0\r\n\r\n"


def test_the_upstreams_stream_cut_at_every_byte(tmp_path: Path) -> None:
    """Wherever the connection breaks: a fallback, an error event or, once all is said, an answer. Nothing held."""
    steps = [
        Sse({"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]}),
        Sse({"choices": [{"index": 0, "delta": {"content": "Hé"}}]}),
        Sse({"choices": [{"index": 0, "delta": {"content": "llo"}, "finish_reason": None}]}),
        Sse({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}),
        Sse({"choices": [], "usage": usage(4, 2)}),
        Sse("[DONE]"),
    ]
    data = whole_bytes(steps)

    async def main() -> None:
        cut = 0
        script = lambda seen: [Raw(data[:cut]), Close()]  # noqa: E731
        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, NEVER_EJECTED) as gateway:
                seen = set()
                for cut in range(len(data) + 1):  # noqa: B007 - the script reads it
                    got: RawAnswer = await gateway.ask("one two", stream=True, temperature=1)
                    seen.add(outcome(got))
                    gateway.assert_nothing_held()
                    await asyncio.sleep(1)  # as many retries as requests, all the time: more than there may be
                    spent = sum(record.cost.settled_nanousd or 0 for record in gateway.records)
                    assert spent == gateway.settled_nanousd()
                assert seen == {"fallback", "error", "answer"}

    def outcome(got: RawAnswer) -> str:
        assert got.status == 200
        found = events(got.body)
        if found[-1] == "[DONE]":
            assert got.whole
            if text_of(got.body) == "Héllo":
                return "answer"
            assert text_of(got.body) == "echo one two"
            return "fallback"
        assert not got.whole
        assert error_event(got.body)["code"] == "upstream_failed"
        assert "Héllo".startswith(text_of(got.body))
        return "error"

    run_virtual(main)
