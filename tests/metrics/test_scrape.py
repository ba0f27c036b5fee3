"""`/metrics` as Prometheus reads it: true to the records, bounded whatever callers send, and for whom it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from support.frontdoor import front_door
from support.gateway import KEY, OTHER_KEY, Gateway, chat, post
from support.rawhttp import RawClient, request
from support.records import row
from support.scrape import fetch, parsed, scrape, series, value
from support.upstream import EVENTS, Cut, Head, Pause, ScriptedUpstream, Seen, Step, chunk, openai, stream
from trimtab.controlplane.metrics import FAMILIES, Declared
from trimtab.core.keys import make
from trimtab.core.money import NANO
from trimtab.surfaces.server.app import public
from trimtab.surfaces.twin import run_virtual


async def send(gateway: Gateway, *requests: bytes) -> None:
    for data in requests:
        async with RawClient(gateway.port) as client:
            client.send(data)
            await client.answer()


def test_what_is_scraped_is_what_the_records_say(tmp_path: Path) -> None:
    """Counts, tokens, money, kept terms and latencies are sums over the records; a stored answer costs nothing."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("Hello", temperature=1)
            await gateway.ask("Hello", temperature=1, stream=True)
            await gateway.ask("Again")
            await gateway.ask("Again")
            await send(gateway, chat("x", key=make("test")), post(b"{", key=KEY))
            found = await scrape(gateway)
            rows = gateway.records
        web = {"tenant": "shop", "channel": "web"}
        assert value(found, "trimtab_requests_total") == len(rows) == 6
        assert value(found, "trimtab_requests_total", **web, path="direct", code="none", status="200") == 3
        assert value(found, "trimtab_requests_total", **web, path="cache-exact", variant="small-plain") == 1
        assert value(found, "trimtab_requests_total", tenant="none", code="invalid_api_key", status="401") == 1
        assert value(found, "trimtab_requests_total", **web, code="malformed_json") == 1
        owned = [row for row in rows if row.channel is not None]
        for kind in ("prompt", "completion"):
            told = sum(getattr(row.tokens, kind) or 0 for row in owned)
            assert value(found, "trimtab_tokens_total", **web, kind=kind) == told > 0
        parts = value(found, "trimtab_prompt_part_tokens_total", **web)
        assert parts == value(found, "trimtab_tokens_total", **web, kind="prompt")
        spent = sum(row.cost.settled_nanousd or 0 for row in owned)
        assert value(found, "trimtab_cost_usd_total", **web) * NANO == pytest.approx(spent, abs=0.5)
        saved = sum((row.cost.baseline_nanousd or 0) - (row.cost.settled_nanousd or 0) for row in owned)
        told = value(found, "trimtab_baseline_usd_total") - value(found, "trimtab_baseline_compared_usd_total")
        assert told * NANO == pytest.approx(saved, abs=0.5)
        kept = sum(row.met.latency is True for row in owned)
        assert value(found, "trimtab_contract_total", **web, term="latency", result="kept") == kept == 4
        assert value(found, "trimtab_request_duration_seconds_count", **web) == len(owned)
        lasted = sum(row.e2e_ms or 0 for row in owned) / 1000
        assert value(found, "trimtab_request_duration_seconds_sum", **web) == pytest.approx(lasted)
        assert value(found, "trimtab_time_to_first_token_seconds_count", **web) == sum(
            row.ttft_ms is not None for row in owned
        )
        for stage in ("ingress", "cache", "infer", "settle"):
            passed = sum(stage in row.stages for row in rows)
            assert value(found, "trimtab_stage_duration_seconds_count", stage=stage) == passed > 0
        assert value(found, "trimtab_attempts_total", variant="small-plain", outcome="success") == 3

    asyncio.run(main())


def test_every_line_is_declared(tmp_path: Path) -> None:
    """Name, type, help and labels of all that is scraped are those of the reference; buckets are cumulative."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("Write to ann@example.com", stream=True)
            found = await scrape(gateway)
        known = {family.name: family for family in FAMILIES}
        assert found.keys() <= known.keys()
        assert known.keys() - found.keys() == set()
        for name, family in found.items():
            assert (family.type, family.documentation) == (known[name].kind, known[name].help)
            labels = {label.name for label in known[name].labels}
            for one in family.samples:
                assert one.labels.keys() - {"le"} == labels
            if family.type == "histogram":
                counts = [one.value for one in family.samples if one.name == f"{name}_bucket"]
                width = len(known[name].bounds) + 1
                for start in range(0, len(counts), width):
                    assert counts[start : start + width] == sorted(counts[start : start + width])

    asyncio.run(main())


def test_what_callers_send_opens_no_series(tmp_path: Path) -> None:
    """Unknown models, channels, keys, paths and headers, a hundred of each: the same series as after the first."""

    def strange(number: int) -> list[bytes]:
        name = f"strange-{number}"
        return [
            chat("x", model=name),
            chat("x", f"trimtab-channel: {name}"),
            chat("x", f"trimtab-channel: shop/{name}"),
            chat("x", key=make("test")),
            chat("x", key=f"tt-demo-{name}"),
            chat("x", f"trimtab-session: {name}", f"trimtab-persona: {name}", user=name),
            chat("x", f"trimtab-latency-ms: {name}"),
            chat("x", f"x-{name}: {name}", f"traceparent: {name}"),
            post(b'{"' + name.encode() + b'": 1}'),
            post(b"{}", path=f"/v1/{name}"),
            f"{name.upper()} / HTTP/1.1\r\nhost: {name}\r\n\r\n".encode(),
        ]

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            await send(gateway, *strange(0), *strange(0))
            first = series(await scrape(gateway))
            for number in range(1, 100):
                await send(gateway, *strange(number))
            found = await scrape(gateway)
            assert series(found) == first
            assert value(found, "trimtab_requests_total") == len(gateway.records) > 700
            assert "strange" not in str(found)

    asyncio.run(main())


def test_a_fault_and_a_broken_stream_are_told_apart(tmp_path: Path) -> None:
    """Nobody there: refused. Broken after its first byte: its path and tier; both are 502, and the attempts dropped."""

    def broken(seen: Seen) -> list[Step]:
        return [Head(200, (EVENTS,)), chunk({"content": "half"}), Cut()]

    async def main() -> None:
        async with ScriptedUpstream(broken) as up, Gateway(tmp_path, up.url) as gateway:
            await gateway.ask("x", stream=True, model="tier:S")
            await gateway.ask("x", model="tier:M")
            found = await scrape(gateway)
        assert value(found, "trimtab_requests_total", status="502", path="direct", tier="S") == 1
        assert value(found, "trimtab_requests_total", status="502", path="refused", tier="none") == 1
        assert value(found, "trimtab_attempts_total", outcome="dropped") >= 1
        assert value(found, "trimtab_attempts_total", outcome="success") == 0

    asyncio.run(main())


def test_gauges_are_read_at_the_scrape(tmp_path: Path) -> None:
    """While a request runs its slot, its reservation and its handler are seen; afterwards none is."""

    async def main() -> None:
        release = asyncio.Event()

        def held(seen: Seen) -> list[Step]:
            return [Pause(release), *openai(seen)]

        async with ScriptedUpstream(held) as up, Gateway(tmp_path, up.url) as gateway:
            asking = asyncio.create_task(gateway.ask("x"))
            await up.asked()
            during = await scrape(gateway)
            release.set()
            await asking
            after = await scrape(gateway)
        assert value(during, "trimtab_tasks") > value(after, "trimtab_tasks") > 0
        for found, running in ((during, 1), (after, 0)):
            assert value(found, "trimtab_model_in_flight", model="small") == running
            assert (value(found, "trimtab_budget_reserved_usd", name="shop") > 0) == bool(running)
        assert value(during, "trimtab_model_slots", model="small") == 4
        assert value(after, "trimtab_budget_spent_usd", scope="tenant", name="shop", period="day") > 0
        assert value(after, "trimtab_cache_entries") == 1
        assert value(after, "process_resident_memory_bytes") > 1 << 20
        assert value(after, "trimtab_info") == 1

    asyncio.run(main())


@pytest.mark.parametrize(
    "headers",
    [("X-Forwarded-For: 10.1.1.1",), ("Forwarded: for=10.1.1.1",), ("X-Real-IP: 10.1.1.1",), ("Via: 1.1 proxy",)],
)
def test_behind_a_proxy_nobody_reads_them_without_a_key(headers: tuple[str, ...], tmp_path: Path) -> None:
    """All the world comes from loopback there; the answer says what to declare."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            answer = await fetch(gateway, *headers)
            assert (answer.status, answer.json["error"]["code"]) == (403, "metrics_not_allowed")
            assert "server.metrics_key" in answer.json["error"]["trimtab"]["fix"]
            assert b"shop" not in answer.body

    asyncio.run(main())


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7070", 200),
        ("localhost", 200),
        ("[::1]:7070", 200),
        ("rebound.example:7070", 403),
        ("10.0.0.1", 403),
    ],
)
def test_a_page_whose_name_was_rebound_reads_nothing(host: str, status: int, tmp_path: Path) -> None:
    """A browser sends the name that it was told, whatever address that has."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            assert (await fetch(gateway, host=host)).status == status

    asyncio.run(main())


def test_with_a_key_it_takes_the_key_from_everywhere(tmp_path: Path) -> None:
    """None: 401. Another, also a tenant's: 401. The key: the metrics, also through a proxy."""

    async def main() -> None:
        async with Gateway(tmp_path, metrics_key="scraper-0123456789") as gateway:
            for headers in ((), ("Authorization: Basic eDp5",), ("Authorization: Bearer no",)):
                assert (await fetch(gateway, *headers)).status == 401
            for key in (KEY, OTHER_KEY, "scraper-012345678", "scraper-01234567890"):
                answer = await fetch(gateway, f"Authorization: Bearer {key}")
                assert (answer.status, answer.json["error"]["code"]) == (401, "invalid_api_key")
                assert key.encode() not in answer.body
            key = "Authorization: Bearer scraper-0123456789"
            answer = await fetch(gateway, key, "X-Forwarded-For: 10.1.1.1", host="gateway.example")
            assert answer.status == 200
            parsed(answer.body.decode())

    asyncio.run(main())


def test_a_large_scrape_lets_requests_run_meanwhile(tmp_path: Path) -> None:
    """50 tenants with 4 channels each: the loop turns many times while the text is written."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway:
            names = Declared(
                {f"t{tenant}": frozenset(f"c{channel}" for channel in range(4)) for tenant in range(50)}, frozenset()
            )
            gateway.counts._declared = lambda: names
            for tenant, channels in names.channels.items():
                for channel in channels:
                    gateway.counts.write(row(tenant=tenant, channel=channel, e2e_ms=12.0, status=200))
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            running = asyncio.create_task(other())
            text = await gateway.metrics.text()
            running.cancel()
            assert len(parsed(text.decode())["trimtab_request_duration_seconds"].samples) == 200 * 18
            assert turns > 3

    asyncio.run(main())


def test_without_metrics_there_is_nothing_at_the_path(tmp_path: Path) -> None:
    """`metrics: false`: 404, as at any unknown path; see tests/serve for the setting."""

    async def main() -> None:
        async with Gateway(tmp_path) as gateway, front_door(public(gateway.plane)) as door:
            async with RawClient(door.port) as client:
                client.send(request("GET", "/metrics", host="127.0.0.1"))
                assert (await client.answer()).status == 404

    asyncio.run(main())


def test_how_busy_a_replica_is(tmp_path: Path) -> None:
    """Two requests of 1.8 s each, the second one begun a second later: busy for 2.8 s; then no more."""

    def slow(seen: Seen) -> Iterable[Step]:
        return stream(["one", "two"], delay_s=0.9)

    async def main() -> None:
        async with ScriptedUpstream(slow) as up, Gateway(tmp_path, up.url) as gateway:
            labels = {"model": "small", "replica": "small/0"}
            first = asyncio.create_task(gateway.ask("first", temperature=1))
            await asyncio.sleep(1)
            second = asyncio.create_task(gateway.ask("second", temperature=1))
            await asyncio.sleep(0.5)
            found = await scrape(gateway)
            assert value(found, "trimtab_replica_busy_seconds_total", **labels) == pytest.approx(1.5, abs=0.1)
            await asyncio.gather(first, second)
            await asyncio.sleep(5)
            found = await scrape(gateway)
            assert value(found, "trimtab_replica_busy_seconds_total", **labels) == pytest.approx(2.8, abs=0.1)
            assert value(found, "trimtab_replica_request_seconds_total", **labels) == pytest.approx(3.6, abs=0.1)

    run_virtual(main)
