"""Spans derived from records: names, places, times, tokens and money; never text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from support.gateway import Gateway, chat
from support.rawhttp import RawClient
from support.records import row
from support.upstream import Delay, ScriptedUpstream, failure, sequence, stream, usage
from trimtab.controlplane.telemetry import Span, spans
from trimtab.core.money import Usage
from trimtab.core.record import Record
from trimtab.core.rows import Attempt, GuardRow, Tokens, TraceRow
from trimtab.surfaces.twin import run_virtual

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"traceparent: 00-{TRACE}-{SPAN}-01"


def by_name(found: tuple[Span, ...]) -> dict[str, Span]:
    names = {span.name: span for span in found}
    assert len(names) == len(found)
    return names


async def recorded(tmp_path: Path, up: ScriptedUpstream, *asked: str, **fields: Any) -> Record:
    async with Gateway(tmp_path, up.url, up.url) as gateway:
        await gateway.ask(*asked, **fields)
        return gateway.last


def test_a_requests_spans_stand_under_the_callers(tmp_path: Path) -> None:
    """The request's span is the caller's child; stages and the attempt are its children, all within one trace and one
    another's times, and the attempt's id is what the upstream was told."""

    async def main() -> None:
        script = stream(["a ", "b"], usage(7, 2), delay_s=0.2)
        async with ScriptedUpstream(lambda seen: script) as up:
            record = await recorded(tmp_path, up, "Hello", PARENT, stream=True, temperature=1)
            told = up.requests[0].headers["traceparent"].split("-")
        request, *children = spans(record)
        assert (request.kind, request.name, request.parent_span_id) == ("server", "POST /v1/chat/completions", SPAN)
        assert {one.trace_id for one in (request, *children)} == {TRACE}
        assert {one.parent_span_id for one in children} == {request.span_id}
        assert len({one.span_id for one in (request, *children)}) == len(children) + 1
        assert [one.name for one in children if one.kind == "internal"] == list(record.stages)
        (attempt,) = [one for one in children if one.kind == "client"]
        assert (attempt.name, told[1:3]) == ("chat small", [TRACE, attempt.span_id])
        assert request.start_ns == record.t_wall_ns
        assert record.e2e_ms is not None
        assert request.end_ns - request.start_ns == round(record.e2e_ms * 1e6) == 400_000_000
        assert all(request.start_ns <= one.start_ns <= one.end_ns <= request.end_ns for one in children)
        assert attempt.end_ns - attempt.start_ns == 400_000_000
        assert record.attempts[0].dur_ms == 400

    run_virtual(main)


def test_an_attempts_attributes_are_those_of_the_conventions(tmp_path: Path) -> None:
    """Every `gen_ai.*` name that is written, with its value; a name more or less is a change of the conventions."""

    async def main() -> None:
        script = [*stream(["a ", "b"], usage(7, 2, cached=3))]
        script.insert(1, Delay(0.25))
        async with ScriptedUpstream(lambda seen: script) as up:
            record = await recorded(tmp_path, up, "Hello", stream=True, temperature=1)
        attributes = by_name(spans(record))["chat small"].attributes
        assert {name: value for name, value in attributes.items() if name.startswith("gen_ai.")} == {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "openai",
            "gen_ai.request.model": "small",
            "gen_ai.request.stream": True,
            "gen_ai.request.max_tokens": 200,
            "gen_ai.conversation.id": record.session,
            "gen_ai.response.finish_reasons": ("stop",),
            "gen_ai.response.time_to_first_chunk": 0.25,
            "gen_ai.usage.input_tokens": 7,
            "gen_ai.usage.output_tokens": 2,
            "gen_ai.usage.cache_read.input_tokens": 3,
        }

    run_virtual(main)


def test_the_request_says_what_it_took_and_cost(tmp_path: Path) -> None:
    """Who asked, whether the contract was kept, tokens by where they came from, money in whole nano-dollars; usage by
    the conventions' names stands on attempts alone, so that no sum over spans counts twice."""

    async def main() -> None:
        async with ScriptedUpstream() as up:
            record = await recorded(tmp_path, up, "Hello there", temperature=1)
        told = spans(record)[0].attributes
        assert told["trimtab.record.id"] == record.id
        assert (told["trimtab.tenant"], told["trimtab.channel"]) == ("shop", "web")
        assert (told["http.route"], told["http.response.status_code"]) == ("/v1/chat/completions", 200)
        assert told["trimtab.met.latency"] is told["trimtab.met.cost"] is True
        assert told["trimtab.cost.nanousd"] == record.cost.settled_nanousd != 0
        assert isinstance(told["trimtab.cost.nanousd"], int)
        parts = [told[f"trimtab.tokens.{part}"] for part in ("system", "history", "user")]
        assert sum(parts) == told["trimtab.tokens.prompt"] == record.tokens.prompt  # type: ignore[arg-type]
        assert not any(name.startswith("gen_ai.usage") for name in told)
        assert "error.type" not in told

    run_virtual(main)


def test_every_attempt_is_a_span_with_its_fault(tmp_path: Path) -> None:
    """Two attempts fail, the third answers: three CLIENT spans, each with what led to it and what became of it."""

    async def main() -> None:
        up = ScriptedUpstream(sequence([Delay(0.3), *failure(503)], failure(500), [*stream(["yes"], usage(3, 1))]))
        async with up:
            record = await recorded(tmp_path, up, "Hello", stream=True, temperature=1)
            told = [seen.headers["traceparent"].split("-")[2] for seen in up.requests]
        attempts = [one for one in spans(record) if one.kind == "client"]
        assert [one.span_id for one in attempts] == told
        assert len(set(told)) == 3
        assert [one.attributes["trimtab.attempt.outcome"] for one in attempts] == ["dropped", "dropped", "success"]
        assert attempts[0].attributes["trimtab.attempt.why"] == "first"
        assert attempts[0].end_ns - attempts[0].start_ns == 300_000_000
        assert attempts[2].attributes["gen_ai.response.time_to_first_chunk"] == 0
        reasons = [row.reason for row in record.attempts]
        assert [one.error for one in attempts] == [one.attributes.get("error.type") for one in attempts] == reasons
        assert reasons[2] is None
        assert "gen_ai.response.finish_reasons" not in attempts[0].attributes
        assert spans(record)[0].error is None, "the caller has its answer"

    run_virtual(main)


def test_a_failed_request_is_an_error_and_a_refused_one_is_not(tmp_path: Path) -> None:
    """By the conventions a server's 4xx is no error of its own; both say their code."""

    async def main() -> None:
        async with ScriptedUpstream(lambda seen: failure(500)) as up, Gateway(tmp_path, up.url, up.url) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(chat("Hello", temperature=1), chat("Hello", model="nobody"))
                await client.answer()
                await client.answer()
            broken, refused = (spans(record)[0] for record in gateway.records)
        assert broken.error == broken.attributes["error.type"] == broken.attributes["trimtab.code"]
        assert broken.attributes["http.response.status_code"] in (500, 502, 503)
        assert (refused.error, refused.attributes["trimtab.code"]) == (None, "model_not_found")
        assert "error.type" not in refused.attributes

    run_virtual(main)


def test_no_span_has_any_text(tmp_path: Path) -> None:
    """Neither of a prompt, an answer, a key, nor of what a caller puts into headers of its trace."""

    async def main() -> None:
        async with ScriptedUpstream(lambda seen: stream(["canary-answer"], usage(3, 1))) as up:
            async with Gateway(tmp_path, up.url, up.url) as gateway:
                headers = (PARENT, "tracestate: canary=state", "trimtab-session: canary-session")
                await gateway.ask("canary-prompt ann@canary.example", *headers, stream=True, user="canary-user")
                told = str(spans(gateway.last))
        assert "canary" not in told
        assert "sk-upstream" not in told
        assert "trimtab.guard.email.hits" in told

    run_virtual(main)


def test_spans_are_the_same_wherever_they_are_made(tmp_path: Path) -> None:
    """A row that has been through the journal's JSON gives the same spans, to the id and nanosecond."""

    async def main() -> None:
        async with ScriptedUpstream(sequence(failure(503), stream(["a"], usage(3, 1), delay_s=0.0123457))) as up:
            record = await recorded(tmp_path, up, "Hello", PARENT, stream=True)
        again = msgspec.json.decode(msgspec.json.encode(record), type=Record)
        assert spans(again) == spans(record) != ()

    run_virtual(main)


def test_tokens_and_guards_stand_on_their_stages() -> None:
    """What only one stage knows is on that stage's span; zeros are figures, what is unknown is left out."""
    record = row(
        trace=TraceRow(trace_id=TRACE, span_id=SPAN, parent_span_id=None, sampled=False),
        stages={"guard_in": [1.0, 1.0], "retrieve": [2.0, 3.0], "infer": [5.0, 10.0], "guard_out": [14.0, 1.0]},
        tokens=Tokens(retrieved=40, prompt=60, cached=0, completion=5, reasoning=2, guard=9),
        guards=[
            GuardRow(stage="in", check="email", hits=2, action="redacted"),
            GuardRow(stage="out", check="deny", hits=0, action="none"),
        ],
        e2e_ms=15.0,
        route="/v1/chat/completions",
        attempts=[
            Attempt(
                replica="eu/0",
                start_ms=5.0,
                outcome="success",
                usage=Usage(prompt=60, cached=0, written=12, completion=5, reasoning=2),
                model="claude",
                dialect="anthropic",
                span_id="00f067aa0ba902b7",
            )
        ],
    )
    found = by_name(spans(record))
    assert found["guard_in"].attributes == {"trimtab.guard.email.hits": 2}
    assert found["guard_out"].attributes == {"trimtab.guard.deny.hits": 0, "trimtab.tokens.guard": 9}
    assert found["retrieve"].attributes == {"trimtab.tokens.retrieved": 40}
    attempt = found["chat claude"]
    assert attempt.span_id == "00f067aa0ba902b7", "what the upstream was told"
    assert attempt.end_ns - attempt.start_ns == 10_000_000, "without a duration it lasts to the request's end"
    told = attempt.attributes
    assert told["gen_ai.provider.name"] == "anthropic"
    assert told["gen_ai.usage.cache_read.input_tokens"] == 0
    assert told["gen_ai.usage.cache_write.input_tokens"] == 12
    assert told["gen_ai.usage.reasoning.output_tokens"] == 2


def test_rows_that_are_no_requests_have_no_spans() -> None:
    """Neither adjustments nor shadows, nor rows of a time before traces."""
    trace = TraceRow(trace_id=TRACE, span_id=SPAN, parent_span_id=None, sampled=False)
    assert spans(row(kind="adjust", trace=trace)) == spans(row(kind="shadow", trace=trace)) == spans(row()) == ()
    assert len(spans(row(trace=trace))) == 1


def test_vectors_are_spans_of_the_gateway_itself(tmp_path: Path) -> None:
    """The embedder runs here, so that its span is internal, and named by the conventions' operation."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway, RawClient(gateway.port) as client:
            data = chat("x").replace(b"/v1/chat/completions", b"/v1/embeddings")
            head, _, _ = data.partition(b"\r\n\r\n")
            body = msgspec.json.encode({"input": "a text", "model": gateway.plane.embedder.name})
            lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Content-Length")]
            client.send(b"\r\n".join([*lines, b"Content-Length: %d" % len(body), b"", body]))
            assert (await client.answer()).status == 200
            (attempt,) = [one for one in spans(gateway.last) if one.name.startswith("embeddings ")]
            assert (attempt.kind, attempt.attributes["gen_ai.provider.name"]) == ("internal", "trimtab")
            assert attempt.attributes["gen_ai.operation.name"] == "embeddings"

    run_virtual(main)
