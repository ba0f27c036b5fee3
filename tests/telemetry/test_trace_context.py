"""W3C Trace Context: what callers send, read by the rules, and what upstreams are told of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.gateway import Gateway, replaced
from support.upstream import ScriptedUpstream
from trimtab.core.trace import MOST_STATE, parse, within
from trimtab.surfaces.twin import run_virtual

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
GOOD = f"00-{TRACE}-{SPAN}-01"
HEX = st.text("0123456789abcdef", min_size=1, max_size=40)

BROKEN = {
    "nothing": "",
    "no trace id": f"00-{'0' * 32}-{SPAN}-01",
    "no span id": f"00-{TRACE}-{'0' * 16}-01",
    "version ff": f"ff-{TRACE}-{SPAN}-01",
    "upper case trace id": f"00-{TRACE.upper()}-{SPAN}-01",
    "upper case flags": f"00-{TRACE}-{SPAN}-0A",
    "upper case version": f"0A-{TRACE}-{SPAN}-01",
    "no hex": f"00-{TRACE[:-1]}g-{SPAN}-01",
    "short trace id": f"00-{TRACE[:-1]}-{SPAN}-01",
    "short flags": f"00-{TRACE}-{SPAN}-1",
    "long flags": f"00-{TRACE}-{SPAN}-011",
    "more in version 00": f"{GOOD}-more",
    "a dash at the end of version 00": f"{GOOD}-",
    "more without a dash": f"01-{TRACE}-{SPAN}-01more",
    "two of them": f"{GOOD}, {GOOD}",
    "another script's digits": f"00-{TRACE[:-1]}\u0661-{SPAN}-01",
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_what_breaks_a_rule_is_no_parent(broken: str) -> None:
    """Nothing of it is taken, its tracestate neither."""
    assert parse(broken, "vendor=1") is None


@pytest.mark.parametrize(
    "later", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-the-future-says", f"fe-{GOOD[3:]}"]
)
def test_of_later_versions_the_first_four_fields_are_read(later: str) -> None:
    """A caller that speaks a version not written yet stays in its trace."""
    parent = parse(later)
    assert parent is not None
    assert (parent.trace_id, parent.span_id, parent.sampled) == (TRACE, SPAN, True)


@given(flags=st.integers(0, 255))
def test_flags_are_bits(flags: int) -> None:
    """Sampled is the lowest of them, whatever the others say."""
    parent = parse(f"00-{TRACE}-{SPAN}-{flags:02x}")
    assert parent is not None
    assert parent.sampled == bool(flags & 1)


@given(st.text() | st.builds("-".join, st.lists(HEX, min_size=3, max_size=5)), st.text())
def test_any_text_is_read_or_not(traceparent: str, tracestate: str) -> None:
    """Never an error; what is read can be written again, and reads the same."""
    parent = parse(traceparent, tracestate)
    if parent is not None:
        again = f"00-{parent.trace_id}-{parent.span_id}-{int(parent.sampled):02x}"
        assert parse(again, parent.state) == parent
        assert len(parent.state) <= MOST_STATE
        assert parent.state.isascii()
        assert parent.state.isprintable()


def state(text: str) -> str:
    parent = parse(GOOD, text)
    assert parent is not None, "a broken tracestate does not break the trace"
    return parent.state


def test_tracestate_is_passed_on_by_its_rules() -> None:
    """At most 32 members, each key once, of the grammar; empty members go; a broken list is dropped whole."""
    assert state("a=1, b@c=2 ,,\t, d/e-f*g_h=x y") == "a=1,b@c=2,d/e-f*g_h=x y"
    members = [f"k{number}=v" for number in range(33)]
    assert state(",".join(members[:32])) == ",".join(members[:32])
    assert state(",".join(members)) == ""
    for broken in ("a", "A=1", "a=1,a=2", "a=", "a=b=c", "=1", "a=\u00fc", "a=1;b\x00=2", "@a=1"):
        assert state(broken) == "", broken


def test_a_long_tracestate_is_cut_behind_a_member() -> None:
    """No caller can make an upstream's head too large; what is left are whole members, the first ones."""
    members = [f"k{number}={'v' * 100}" for number in range(8)]
    assert state(",".join(members)) == ",".join(members[:4])


@given(st.integers(1, (1 << 128) - 1), st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_keeps_what_a_smaller_one_keeps(number: int, one: float, other: float) -> None:
    """All gateways agree about a trace, also while a share is being raised on one after the other; all and nothing are
    what they say."""
    trace_id, (less, more) = f"{number:032x}", sorted((one, other))
    assert within(trace_id, less) <= within(trace_id, more)
    assert within(trace_id, 1)
    assert not within(trace_id, 0)


def test_the_callers_trace_is_gone_on_with(tmp_path: Path) -> None:
    """The record has its ids and flag; the upstream gets the same trace, the attempt's span as parent, and the caller's
    tracestate."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("Hello", f"traceparent: {GOOD}", "tracestate: vendor=1, other=2")
            trace, (attempt,) = gateway.last.trace, gateway.last.attempts
            assert trace is not None
            assert (trace.trace_id, trace.parent_span_id, trace.sampled) == (TRACE, SPAN, True)
            assert len({trace.span_id, attempt.span_id, SPAN}) == 3
            assert up.requests[0].headers["traceparent"] == f"00-{TRACE}-{attempt.span_id}-01"
            assert up.requests[0].headers["tracestate"] == "vendor=1,other=2"

    run_virtual(main)


def test_without_a_parent_a_trace_begins_that_the_records_id_tells(tmp_path: Path) -> None:
    """A broken header begins a new one, too, and its tracestate goes nowhere; no two requests share ids."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("One")
            await gateway.ask("Two", f"traceparent: {BROKEN['version ff']}", "tracestate: vendor=1")
            first, second = (record.trace for record in gateway.records)
            assert first is not None
            assert second is not None
            assert first.parent_span_id is second.parent_span_id is None
            assert first.trace_id != second.trace_id
            assert TRACE not in (first.trace_id, second.trace_id)
            sent = [seen.headers for seen in up.requests]
            assert [one["traceparent"].split("-")[1] for one in sent] == [first.trace_id, second.trace_id]
            assert not any("tracestate" in one for one in sent)
            ulid = gateway.records[0].id.removeprefix("rec_")
            alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
            bits = 0
            for letter in ulid:
                bits = bits * 32 + alphabet.index(letter)
            assert first.trace_id == f"{bits:032x}"

    run_virtual(main)


@pytest.mark.parametrize(
    ("settings", "private", "told"),
    [
        ("share: 1", True, True),
        ("share: 1", False, False),
        ("propagate: private", True, True),
        ("propagate: private", False, False),
        ("propagate: all", True, True),
        ("propagate: all", False, True),
        ("propagate: none", True, False),
    ],
)
def test_upstreams_are_told_as_the_workspace_says(tmp_path: Path, settings: str, private: bool, told: bool) -> None:
    """What is on a private network by default, third parties only where it was asked for, nobody with `none`."""

    async def main() -> None:
        edits = [replaced("trimtab.yaml", "demo: false\n", f"demo: false\ntelemetry: {{{settings}}}\n")]
        if not private:
            old = 'api_key: "file:upstream.key", private: true}\n  medium'
            edits.append(replaced("models.yaml", old, old.replace("true", "false")))
        host = "127.0.0.1" if private else "8.8.8.8"
        async with ScriptedUpstream(host=host) as up, Gateway(tmp_path, up.url, None, *edits) as gateway:
            await gateway.ask("Hello", f"traceparent: {GOOD}", "tracestate: vendor=1")
            assert ("traceparent" in up.requests[0].headers) == told
            assert ("tracestate" in up.requests[0].headers) == told
            assert gateway.last.trace is not None
            assert gateway.last.trace.trace_id == TRACE

    run_virtual(main)
