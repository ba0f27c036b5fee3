"""Traces on their way to a collector: they arrive whole, and no collector can hold up a request or fill the memory."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import pytest

from support.collector import exports, received, says, takes
from support.gateway import Gateway, replaced
from support.records import row
from support.scrape import scrape, value
from support.upstream import Hang, Head, ScriptedUpstream, failure, sequence
from trimtab.controlplane.telemetry import Sampler
from trimtab.controlplane.telemetry.adapters.otlp import Encoder
from trimtab.core.rows import TraceRow
from trimtab.core.telemetry import Telemetry
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.surfaces.traces import BATCH, GATHER_S, MOST_WAITING, PAUSES_S, SEND_S, Traces, collector
from trimtab.surfaces.twin import VirtualLoop, run_virtual

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"traceparent: 00-{TRACE}-{SPAN}-01"


def test_a_requests_trace_arrives_under_the_callers_parent(tmp_path: Path) -> None:
    """Through the gateway and over the wire: the attempts, one failed, under the request, it under the caller's span;
    the upstream was told the id of the attempt's span."""

    async def main() -> None:
        script = sequence(failure(503), lambda seen: [*_answer(seen)])
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream(script) as up:
            async with Gateway(tmp_path, up.url, up.url, exports(to, "service: shop-gateway")) as gateway:
                await gateway.ask("Hello", PARENT, temperature=1)
                record = gateway.last
            request, *children = received(to)
            assert (request.trace_id, request.parent, request.kind) == (TRACE, SPAN, 2)
            attempts = [one for one in children if one.kind == 3]
            assert [one.parent for one in attempts] == [request.span_id] * 2
            told = [seen.headers["traceparent"] for seen in up.requests]
            assert told == [f"00-{TRACE}-{one.span_id}-01" for one in attempts]
            assert [one.error for one in attempts] == [attempt.reason for attempt in record.attempts]
            assert {one.trace_id for one in children} == {TRACE}
            assert request.resource["service.name"] == "shop-gateway"
            assert request.resource["service.version"]
            assert request.attributes["trimtab.cost.nanousd"] == record.cost.settled_nanousd
            assert request.attributes["trimtab.met.latency"] is True
            assert request.start_ns == record.t_wall_ns

    run_virtual(main)


def _answer(seen: object) -> list[object]:
    from support.upstream import openai

    return list(openai(seen))  # type: ignore[arg-type]


def test_what_is_not_kept_is_not_sent(tmp_path: Path) -> None:
    """With a share of nothing only the failed request leaves, and no message for the others."""

    async def main() -> None:
        script = sequence(*[_answer] * 3, lambda seen: failure(500))
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream(script) as up:  # type: ignore[arg-type]
            async with Gateway(tmp_path, up.url, up.url, exports(to, "share: 0")) as gateway:
                for _ in range(4):
                    await gateway.ask("Hello", temperature=1)
                found = await scrape(gateway)
            roots = [one for one in received(to) if one.kind == 2]
            assert [one.attributes["trimtab.record.id"] for one in roots] == [gateway.records[-1].id]
            assert value(found, "trimtab_otlp_kept_total", why="error") == 1
            assert value(found, "trimtab_otlp_kept_total") == 1

    run_virtual(main)


def test_headers_come_from_where_the_workspace_says(tmp_path: Path) -> None:
    """The secret is sent, and stands in no document; traces go under the URL's own path."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream() as up:
            edit = exports(to, "share: 1, headers: {x-key: 'file:upstream.key'}")
            async with Gateway(tmp_path, up.url, up.url, edit) as gateway:
                await gateway.ask("Hello")
            assert to.requests[0].headers["x-key"] == "sk-upstream-0123456789abcdef"

    run_virtual(main)
    for told, path in (("", "/v1/traces"), ("/", "/v1/traces"), ("/otlp", "/otlp/v1/traces")):
        assert collector(Telemetry(otlp=f"http://c:4318{told}"), tmp_path).path == path
    assert collector(Telemetry(otlp="https://c/v1/traces"), tmp_path).path == "/v1/traces"


def test_a_collector_that_never_answers_changes_nothing_for_requests(tmp_path: Path) -> None:
    """The same requests take the same time to the nanosecond, with a silent collector and with none; what leaves is
    dropped, counted, and the gateway ends all the same."""

    async def asked(folder: Path, *edits: object) -> list[float | None]:
        async with ScriptedUpstream() as up:
            async with Gateway(folder, up.url, up.url, *edits) as gateway:  # type: ignore[arg-type]
                for number in range(300):
                    await gateway.ask(f"question {number}", temperature=1, stream=True)
                return [record.e2e_ms for record in gateway.records]

    async def silent() -> list[float | None]:
        async with ScriptedUpstream(lambda seen: [Hang()]) as to:
            return await asked(tmp_path / "silent", exports(to))

    assert run_virtual(silent) == run_virtual(lambda: asked(tmp_path / "none"))


class Way:
    """Traces to one collector, without a gateway."""

    def __init__(self, up: ScriptedUpstream, clock: object) -> None:
        telemetry = Telemetry(otlp=up.url, share=1)
        encoder, to = Encoder({"service.name": "trimtab"}, "1"), collector(telemetry, Path())
        sampler = Sampler(telemetry, clock)  # type: ignore[arg-type]
        self.told: list[str] = []
        self.traces = Traces(sampler, to, encoder, Http1Dialer(), clock, self._note)  # type: ignore[arg-type]

    def _note(self, record: object) -> None:
        self.told.append(record.id)  # type: ignore[attr-defined]

    def write(self, count: int) -> None:
        for number in range(count):
            trace = TraceRow(trace_id=f"{number + 1:032x}", span_id=SPAN, parent_span_id=None, sampled=False)
            self.traces.write(row(trace=trace, status=200, e2e_ms=5.0, route="/v1/chat/completions"))

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Waiting, sent, dropped, failed."""
        state = self.traces.state()
        return state.waiting, state.sent, state.dropped, state.failed


def loop_clock() -> object:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    return loop.clock


def test_what_finds_no_room_is_dropped_at_once(tmp_path: Path) -> None:
    """So many wait and no more, one batch is on its way, and every other trace is counted as dropped: none is lost
    unseen, and none of those dropped gets an exemplar."""

    async def main() -> None:
        async with ScriptedUpstream(lambda seen: [Hang()]) as to:
            way = Way(to, loop_clock())
            way.write(MOST_WAITING)
            await asyncio.sleep(GATHER_S)
            assert way.counts == (MOST_WAITING - BATCH, 0, 0, 0)
            way.write(10 * MOST_WAITING)
            assert way.counts == (MOST_WAITING, 0, 10 * MOST_WAITING - BATCH, 0)
            assert len(way.told) == MOST_WAITING + BATCH
            began = loop_clock().now_ns()  # type: ignore[attr-defined]
            await way.traces.close(within_s=2)
            assert loop_clock().now_ns() - began == 2 * 10**9  # type: ignore[attr-defined]
            waiting, sent, dropped, failed = way.counts
            assert (waiting, sent, dropped + failed) == (0, 0, 11 * MOST_WAITING)

    run_virtual(main)


def test_batches_are_full_or_a_second_old() -> None:
    """One message for many traces; a single one leaves soon, and a full batch at once."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to:
            way = Way(to, loop_clock())
            way.write(3)
            await asyncio.sleep(GATHER_S * 0.9)
            assert not to.requests
            await asyncio.sleep(GATHER_S * 0.2)
            assert len(to.requests) == 1
            assert len(received(to)) == 3
            way.write(2 * BATCH)
            await asyncio.sleep(GATHER_S * 0.1)
            assert len(to.requests) == 3
            assert way.counts == (0, 3 + 2 * BATCH, 0, 0)
            way.write(1)
            await asyncio.sleep(GATHER_S * 0.1)
            assert len(to.requests) == 3
            way.write(BATCH - 1)
            await asyncio.sleep(GATHER_S * 0.1)
            assert len(to.requests) == 4
            await way.traces.close()

    run_virtual(main)


def test_what_is_asked_to_come_again_comes_again() -> None:
    """429 with Retry-After is waited for as long as it says, 503 for a second; then the same message is taken."""

    async def main() -> None:
        script = sequence(says(429, ("retry-after", "7")), says(503), takes())
        async with ScriptedUpstream(script) as to:
            way = Way(to, loop_clock())
            way.write(1)
            await asyncio.sleep(GATHER_S + 6.9)
            assert len(to.requests) == 1
            await asyncio.sleep(0.2)
            assert len(to.requests) == 2
            await asyncio.sleep(PAUSES_S[1] + 0.1)
            first, *others = [seen.body for seen in to.requests]
            assert others == [first, first]
            assert way.counts == (0, 1, 0, 0)
            await way.traces.close()

    run_virtual(main)


@pytest.mark.parametrize("status", [400, 401, 404, 413, 500])
def test_what_is_refused_is_given_up(status: int) -> None:
    """A collector that will never take it is not asked again; the next batch is tried."""

    async def main() -> None:
        async with ScriptedUpstream(sequence(says(status), takes())) as to:
            way = Way(to, loop_clock())
            way.write(2)
            await asyncio.sleep(GATHER_S * 2)
            assert way.counts == (0, 0, 0, 2)
            way.write(1)
            await asyncio.sleep(GATHER_S * 2)
            assert way.counts == (0, 1, 0, 2)
            assert len(to.requests) == 2
            await way.traces.close()

    run_virtual(main)


def test_a_collector_that_is_down_is_tried_and_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    """Every batch is tried so many times; the log says when it began and when it was over, not more, and no header."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to:
            await to.stop()
            way = Way(to, loop_clock())
            way.write(1)
            await asyncio.sleep(sum(PAUSES_S) + len(PAUSES_S) * SEND_S)
            assert way.counts == (0, 0, 0, 1)
            await to.start()
            way.write(1)
            await asyncio.sleep(GATHER_S * 2)
            assert way.counts == (0, 1, 0, 1)
            await way.traces.close()

    with caplog.at_level(logging.INFO, "trimtab.surfaces.traces"):
        run_virtual(main)
    assert len(caplog.records) == 2
    assert ["can't be reached" in one.getMessage() for one in caplog.records] == [True, False]


def test_a_silent_collector_is_given_up() -> None:
    """A batch that is never answered makes room for the next one."""

    async def main() -> None:
        async with ScriptedUpstream(lambda seen: [Hang()]) as to:
            way = Way(to, loop_clock())
            way.write(1)
            await asyncio.sleep(GATHER_S + sum(PAUSES_S) + (len(PAUSES_S) + 1) * SEND_S + 1)
            assert way.counts == (0, 0, 0, 1)
            assert len(to.requests) == len(PAUSES_S) + 1
            await way.traces.close()

    run_virtual(main)


def test_what_waits_is_sent_when_the_gateway_ends() -> None:
    """At once, and without a second attempt; nothing is taken after that."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to:
            way = Way(to, loop_clock())
            way.write(BATCH + 5)
            await way.traces.close()
            assert way.counts == (0, BATCH + 5, 0, 0)
            assert loop_clock().now_ns() < 10**9  # type: ignore[attr-defined]
            way.write(1)
            assert way.counts == (0, BATCH + 5, 1, 0)
        async with ScriptedUpstream(says(503, ("retry-after", "30"))) as to:
            way = Way(to, loop_clock())
            way.write(1)
            await way.traces.close()
            assert way.counts == (0, 0, 0, 1)
            assert len(to.requests) == 1

    run_virtual(main)


def test_the_end_does_not_wait_for_a_pause() -> None:
    """A gateway that ends while the collector wants to be left alone asks once more, and goes."""

    async def main() -> None:
        async with ScriptedUpstream(sequence(says(503, ("retry-after", "30")), takes())) as to:
            way = Way(to, loop_clock())
            way.write(1)
            await asyncio.sleep(GATHER_S * 2)
            began = loop_clock().now_ns()  # type: ignore[attr-defined]
            await way.traces.close()
            assert way.counts == (0, 1, 0, 0)
            assert loop_clock().now_ns() - began < 10**8  # type: ignore[attr-defined]

    run_virtual(main)


def test_spans_that_a_collector_leaves_out_are_counted() -> None:
    """A message that was accepted in part is not sent again."""

    async def main() -> None:
        async with ScriptedUpstream(takes(rejected=4)) as to:
            way = Way(to, loop_clock())
            way.write(9)
            await way.traces.close()
            assert (way.counts, way.traces.state().rejected) == ((0, 9, 0, 0), 4)

    run_virtual(main)


def test_an_answer_that_is_none_is_taken_for_yes() -> None:
    """A proxy that says 200 with a page of its own counts as a collector that took everything."""

    async def main() -> None:
        from support.upstream import Data

        async with ScriptedUpstream(lambda seen: [Head(200), Data(b"<html>fine</html>")]) as to:
            way = Way(to, loop_clock())
            way.write(1)
            await way.traces.close()
            assert (way.counts, way.traces.state().rejected) == ((0, 1, 0, 0), 0)

    run_virtual(main)


def test_a_record_that_can_not_be_sampled_costs_no_request(caplog: pytest.LogCaptureFixture) -> None:
    """It is said once."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to:
            way = Way(to, loop_clock())
            trace = TraceRow(trace_id="no hex", span_id=SPAN, parent_span_id=None, sampled=False)
            for _ in range(2):
                way.traces.write(row(trace=trace, status=200, e2e_ms=5.0))
            await way.traces.close()
            assert way.counts == (0, 0, 0, 0)

    run_virtual(main)
    assert len(caplog.records) == 1


def test_a_workspace_without_a_collector_sends_nothing(tmp_path: Path) -> None:
    """Its metrics are there and stay at 0."""

    async def main() -> None:
        edit = replaced("trimtab.yaml", "demo: false\n", "demo: false\ntelemetry: {share: 1}\n")
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, None, edit) as gateway:
            await gateway.ask("Hello", PARENT)
            assert gateway.traces is None
            assert value(await scrape(gateway), "trimtab_otlp_traces_total") == 0

    run_virtual(main)
