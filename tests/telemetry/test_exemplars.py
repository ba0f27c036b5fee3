"""OpenMetrics where it is asked for, with traces beside the buckets of latencies; the plain format stays as it was."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families

from support.collector import exports, takes
from support.gateway import Gateway
from support.scrape import fetch, parsed
from support.upstream import ScriptedUpstream
from trimtab.controlplane.metrics import CONTENT_TYPE, FAMILIES, OPENMETRICS_TYPE, merged, openmetrics
from trimtab.core.clock import SystemClock
from trimtab.surfaces.server import HttpLimits, Listener
from trimtab.surfaces.server.admin import admin, socket_path
from trimtab.surfaces.server.scrape import prefers_openmetrics
from trimtab.surfaces.twin import run_virtual
from trimtab.surfaces.workers import Workers

PROMETHEUS = (
    "Accept: application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)


def read(text: str) -> dict[str, object]:
    """Families by the names that ours have."""
    found = {}
    for family in openmetrics_families(text):
        found[f"{family.name}_total" if family.type == "counter" else family.name] = family
    return found  # type: ignore[return-value]


def exemplars(text: str) -> dict[tuple[str, str], tuple[str, float]]:
    """(metric, le): (trace id, value)."""
    return {
        (sample.name.removesuffix("_bucket"), sample.labels["le"]): (
            sample.exemplar.labels["trace_id"],
            sample.exemplar.value,
        )
        for family in openmetrics_families(text)
        for sample in family.samples
        if sample.exemplar is not None
    }


def test_both_formats_have_the_same_series(tmp_path: Path) -> None:
    """Prometheus' own parsers read both: the same families, series and figures, in whichever way it is asked for."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, up.url, exports(to)) as gateway:
                await gateway.ask("Hello", stream=True, temperature=1)
                plain, open_ = await fetch(gateway), await fetch(gateway, PROMETHEUS)
        assert (plain.headers["content-type"], open_.headers["content-type"]) == (CONTENT_TYPE, OPENMETRICS_TYPE)
        ours, theirs = parsed(plain.body.decode()), read(open_.body.decode())
        assert ours.keys() == theirs.keys() == {family.name for family in FAMILIES}
        moving = ("process_", "python_", "trimtab_event_loop", "trimtab_tasks")
        for name, family in ours.items():
            series = {(one.name, frozenset(one.labels.items())): one.value for one in family.samples}
            other = {(one.name, frozenset(one.labels.items())): one.value for one in theirs[name].samples}  # type: ignore[attr-defined]
            assert series.keys() == other.keys()
            assert name.startswith(moving) or series == other, name
        assert open_.body.endswith(b"# EOF\n")
        assert b"# EOF" not in plain.body
        assert b" # {" not in plain.body

    run_virtual(main)


def test_a_bucket_shows_a_trace_that_was_sent(tmp_path: Path) -> None:
    """The exemplar is in its bucket, and its id is that of a request that the collector has."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, up.url, exports(to)) as gateway:
                await gateway.ask("Hello", stream=True, temperature=1)
                text = (await fetch(gateway, PROMETHEUS)).body.decode()
                record = gateway.last
        found = exemplars(text)
        assert record.trace is not None
        assert record.e2e_ms is not None
        assert {name for name, _ in found} == {
            "trimtab_request_duration_seconds",
            "trimtab_time_to_first_token_seconds",
            "trimtab_inter_token_p95_seconds",
        }
        assert {trace_id for trace_id, _ in found.values()} == {record.trace.trace_id}
        assert found["trimtab_request_duration_seconds", "0.005"][1] == record.e2e_ms / 1000

    run_virtual(main)


@pytest.mark.parametrize("terms", ["share: 0", "share: 0, slow: null, callers: false"])
def test_a_trace_that_is_not_kept_is_no_exemplar(tmp_path: Path, terms: str) -> None:
    """A link that leads nowhere is worse than none."""

    async def main() -> None:
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, up.url, exports(to, terms)) as gateway:
                await gateway.ask("Hello", stream=True, temperature=1)
                assert exemplars((await fetch(gateway, PROMETHEUS)).body.decode()) == {}

    run_virtual(main)


def test_exemplars_of_several_workers_keep_their_place(tmp_path: Path) -> None:
    """Put together, each stands behind its own worker's bucket, and the parser reads the whole."""

    async def main() -> bytes:
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, up.url, exports(to)) as gateway:
                await gateway.ask("Hello", temperature=1)
                return await gateway.metrics.text(exemplars=True)

    text = run_virtual(main)
    both = "".join(openmetrics("".join(merged({0: text, 1: text}, 0, ()))))
    found = [
        sample.labels["worker"]
        for family in openmetrics_families(both)
        for sample in family.samples
        if sample.exemplar is not None and family.name == "trimtab_request_duration_seconds"
    ]
    assert found == ["0", "1"]


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (PROMETHEUS.removeprefix("Accept: "), True),
        ("application/openmetrics-text", True),
        ("Application/OpenMetrics-Text; version=1.0.0", True),
        ("application/openmetrics-text;q=0.5, text/plain;q=0.9", False),
        ("application/openmetrics-text;q=0", False),
        ("application/openmetrics-text;q=much", False),
        ("text/plain", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_openmetrics_is_for_who_asks_for_it(accept: str, wanted: bool) -> None:
    """Browsers, curl and older scrapers get plain text."""
    assert prefers_openmetrics(accept) == wanted


class Told:
    """What the admin routes ask of a gateway for a scrape."""

    def __init__(self, text: bytes, with_exemplars: bytes) -> None:
        self._texts = (text, with_exemplars)

    async def metrics(self, exemplars: bool = False) -> bytes:
        return self._texts[exemplars]


def test_a_gateway_asks_the_others_for_their_exemplars(tmp_path: Path) -> None:
    """Over their admin sockets, and only for who gets OpenMetrics: plain text has none of anybody."""

    async def main() -> tuple[str, str]:
        async with ScriptedUpstream(takes()) as to, ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, up.url, exports(to)) as gateway:
                await gateway.ask("Hello", temperature=1)
                told: Any = Told(await gateway.metrics.text(), await gateway.metrics.text(exemplars=True))
        listener = Listener(admin(told, told), SystemClock(), HttpLimits(), lambda request, error: None)
        await listener.start_unix(socket_path(tmp_path, 1))
        try:
            both = Workers(told, tmp_path, 0, 2)
            return (await both.metrics()).decode(), (await both.metrics(exemplars=True)).decode()
        finally:
            await listener.close()

    plain, shown = asyncio.run(main())
    lines = [line for line in shown.splitlines() if line.startswith("trimtab_request_duration_seconds_bucket")]
    assert [line.partition('worker="')[2][0] for line in lines if " # {" in line] == ["0", "1"]
    assert " # {" not in plain
