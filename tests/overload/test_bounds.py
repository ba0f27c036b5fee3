"""Everything in a gateway process that could grow with its traffic, and the bound that each has.

`BOUNDS` names them all. A flood of requests of which no two are alike then shows that there is nothing else: whatever
container has grown with it must be named here.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from spend.world import finished
from support.frontdoor import echo, front_door
from support.gateway import Gateway
from support.rawhttp import RawClient, request
from support.upstream import EVENTS, Head, ScriptedUpstream, Sse, chunk
from trimtab.core.clock import SystemClock
from trimtab.core.tenancy import Channel, Key, KeyEntry, Limits, Rate, Tenant
from trimtab.dataplane.classify import Classifier, cues
from trimtab.dataplane.classify.classifier import _REMEMBERED as TURNS
from trimtab.dataplane.guard.grounded.memo import LONGEST, remembered
from trimtab.dataplane.inference import Origin, answering
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialer import ConnectFailed
from trimtab.dataplane.policy import PolicyDocument, Rule, Then, compile_policy
from trimtab.dataplane.policy.engine import MOST_KEPT
from trimtab.dataplane.spend import Limiter, MemoryStore
from trimtab.surfaces.server import HttpLimits
from trimtab.surfaces.twin import run_virtual

HERE = "overload/test_bounds.py"
BOUNDS = {
    "requests at once": ("overload/test_overload.py", "test_requests_at_once_are_bounded"),
    "connections": ("overload/test_connections.py", "test_idle_connections_cost_less_than_10_kb"),
    "a head, a body": ("http/test_refusals.py", "test_bounds"),
    "a body that nobody asked for": ("http/test_requests.py", "test_a_body_nobody_reads_is_not_taken_in"),
    "all bodies together": (HERE, "test_all_bodies_together"),
    "pipelined requests": ("http/test_requests.py", "test_what_a_pipelining_client_makes_us_hold_is_bounded"),
    "answers that a client does not take": (
        "http/test_lifecycle.py",
        "test_an_answer_that_nobody_reads_is_not_kept_for_ever",
    ),
    "a stream that nobody reads": (
        "overload/test_connections.py",
        "test_a_stream_that_nobody_reads_costs_less_than_64_kib",
    ),
    "an upstream's answer": (HERE, "test_an_upstreams_answer"),
    "an upstream's idle connections": (
        "http/test_client.py",
        "test_the_youngest_idle_connection_is_taken_and_the_oldest_dropped",
    ),
    "pools of upstreams that are gone": (HERE, "test_pools_of_upstreams_that_are_gone"),
    "stored answers": ("cache/test_store.py", "test_the_bound_holds"),
    "what rules said": (HERE, "test_what_rules_said"),
    "what turns were judged as": (HERE, "test_what_turns_were_judged_as"),
    "words that begin cues": (HERE, "test_words_that_begin_cues"),
    "what texts were read as": (HERE, "test_what_texts_were_read_as"),
    "vectors": ("embed/test_batching.py", "test_known_vectors_cost_no_call_and_the_oldest_go"),
    "rates of keys": (HERE, "test_rates_of_keys"),
    "series of metrics": ("metrics/test_counts.py", "test_a_metric_has_its_most_and_loses_nothing"),
    "what records were counted as": ("metrics/test_counts.py", "test_ids_of_many_releases_are_one_variant"),
    "records that wait for the disk": ("records/test_journal.py", "test_a_full_queue_loses_the_newest_and_counts_them"),
    "log lines that wait": ("logs/test_lines.py", "test_a_reader_that_does_not_read_stops_nobody"),
}
"""What may grow, and the test that drives it past its bound."""
GROWING = {
    "Sieve._nodes": "stored answers",
    "Stage.seen": "what rules said",
    "Classifier._seen": "what turns were judged as",
    "ScriptedUpstream.requests": None,
    "Sink.records": None,
}
"""Containers that may grow under the flood, and their bounds; the last two are the test's own."""
FLOOD = 150


def test_every_bound_has_its_test() -> None:
    """The tests that the table names are there."""
    tests = Path(__file__).parent.parent
    missing = [name for name, (file, test) in BOUNDS.items() if f"def {test}" not in (tests / file).read_text()]
    assert not missing


def test_nothing_else_grows_with_requests(tmp_path: Path) -> None:
    """Requests of which no two are alike, answered and refused at every stage: the second hundred adds to nothing but
    what is named above, and no function remembers without a limit."""

    async def flood(gateway: Gateway, start: int) -> None:
        for number in range(start, start + FLOOD):
            own = f"unique{number} {'x' * (number % 50)}"
            await gateway.ask(f"Tell me of {own}, please: {number}?", f"X-{own.split()[0]}: {number}", user=own)
            await gateway.ask(f"And of {own}?", stream=True, max_tokens=1 + number)
            await gateway.ask(own, model=own)
            await gateway.ask(own, f"trimtab-channel: {own.split()[0]}")
            async with RawClient(gateway.port) as client:
                client.send(request("GET", f"/{own.split()[0]}"), request("BAD", "/"))
                await client.rest()

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            await flood(gateway, 0)
            before = sizes(gateway)
            await flood(gateway, FLOOD)
            after = sizes(gateway)
            grown = {name: size - before[name] for name, size in after.items() if size - before[name] >= FLOOD // 2}
            assert grown, "the flood adds to the caches, or it shows nothing"
            assert grown.keys() <= GROWING.keys()

    run_virtual(main)
    gc.collect()
    cached = [one for one in gc.get_objects() if isinstance(one, functools._lru_cache_wrapper)]
    ours = [
        one for one in cached if str(one.__module__).startswith("trimtab") and one.cache_parameters()["maxsize"] is None
    ]
    assert {one.__name__ for one in ours} <= {"cel", "columns", "meanings", "read_as"}  # of nothing; of types


def sizes(root: object) -> Counter[str]:
    """The longest container of each name that can be reached from here. A name is class and attribute; `[]` stands for
    what is inside one."""
    found: Counter[str] = Counter()
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("", root)]
    while waiting:
        name, one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, (dict, list, tuple, set, frozenset, deque, bytearray)):
            found[name] = max(found[name], len(one))
            inside = [*one.keys(), *one.values()] if isinstance(one, dict) else one
            waiting += [(f"{name}[]", value) for value in inside if not isinstance(value, (int, str, bytes, float))]
        elif _is_ours(one):
            waiting += [(f"{type(one).__name__}.{name}", value) for name, value in _attributes(one)]
    return found


def _is_ours(one: object) -> bool:
    return type(one).__module__.startswith(("trimtab", "support")) and not isinstance(one, type)


def _attributes(one: object) -> Iterator[tuple[str, Any]]:
    yield from getattr(one, "__dict__", {}).items()
    for kind in type(one).__mro__:
        slots = kind.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if hasattr(one, name):
                yield name, getattr(one, name)
    if isinstance(one, msgspec.Struct):
        for name in one.__struct_fields__:
            yield name, getattr(one, name)


def test_all_bodies_together() -> None:
    """Who sends beyond what may be held is refused with 503; once others have gone there is room again."""
    limits = HttpLimits(max_held_bytes=200_000)
    part = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 90_000

    async def main() -> None:
        async with front_door(echo, limits) as door, RawClient(door.port) as one, RawClient(door.port) as two:
            for client in (one, two):
                client.send(part)
            await asyncio.sleep(1)
            async with RawClient(door.port) as three:
                three.send(part)
                answer = await three.answer()
                assert (answer.status, answer.json["error"]["code"]) == (503, "overloaded")
                assert answer.headers["retry-after"] == "1"
                assert answer.headers["connection"] == "close"
            one.hang_up()
            await asyncio.sleep(1)
            async with RawClient(door.port) as three:
                three.send(part, b"x" * 10_000)
                assert (await three.answer()).status == 200
                two.send(b"x" * 10_000)
                assert (await two.answer()).status == 200
            assert door.listener._hub.held_bytes == 0

    run_virtual(main)


def test_an_upstreams_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream that goes on and on is a fault of the upstream: it is hung up on, and the caller told."""
    monkeypatch.setattr(answering, "MAX_ANSWER_BYTES", 20_000)

    def endless(seen: object) -> Iterator[Any]:
        yield Head(200, (EVENTS,))
        for _ in range(1000):
            yield chunk({"content": "word"})
        yield Sse("[DONE]")

    async def main() -> None:
        async with ScriptedUpstream(endless) as up, Gateway(tmp_path, up.url) as gateway:
            answer = await gateway.ask("Tell me everything", stream=True)
            assert b'"code":"upstream_failed"' in answer.body
            assert not answer.whole
            assert gateway.last.attempts[-1].reason == "malformed answer"
            await up.hung_up()

    run_virtual(main)


def test_pools_of_upstreams_that_are_gone() -> None:
    """An engine that is started again has a new port: what is kept for the old ones goes with the next."""

    async def main() -> None:
        dialer = Http1Dialer()
        for port in range(1, 101):
            with pytest.raises(ConnectFailed):
                await dialer.send(Origin.parse(f"http://127.0.0.1:{port}", private=True), "POST", "/", [], b"")
        assert len(dialer._pools) == 1
        await dialer.close()

    run_virtual(main)


def test_what_rules_said() -> None:
    """Of all scopes together; what is looked up anew is worked out as before."""
    rules = [
        Rule(id=f"r{number}", at="decide", when=f'tenant == "t{number}" && complexity > 0.5', then=Then(forbid=["rag"]))
        for number in range(100)
    ]
    policy = compile_policy(PolicyDocument(rules=rules))
    for number in range(2 * MOST_KEPT):
        values = {"tenant": f"t{number % 100}", "complexity": number / (2 * MOST_KEPT)}
        assert policy.look("decide", values).forbid == (frozenset({"rag"}) if number > MOST_KEPT else frozenset())
        assert policy.kept <= MOST_KEPT
    kept = sum(len(stage.seen) for stage in policy._scoped["decide"].values())
    assert kept == policy.kept > MOST_KEPT // 2


def test_what_turns_were_judged_as() -> None:
    """So many of them; then all are forgotten."""
    classifier = Classifier(SystemClock(), None)
    shape = {"targets": {"latency": {"ttft_ms": 1, "itl_ms": 1, "e2e_ms": 1}, "quality": {"min": 0}}}
    place = msgspec.convert({**shape, "cost": {"max_per_request_usd": "1"}}, Channel)
    owner = Tenant(id="t", channels={"c": place}, languages=[])
    prepared = asyncio.run(classifier.prepare({}))
    for number in range(TURNS + 10):
        classifier.quick([{"role": "user", "content": f"turn {number}"}], owner, "c", place, prepared)
        assert len(classifier._seen) <= TURNS
    assert len(classifier._seen) == 10


def test_words_that_begin_cues() -> None:
    """Of one choice of languages, and no word for longer than a cue is."""
    known = cues._known(("en",))
    for start in range(0, 2 * cues._REMEMBERED, 2048):
        cues.find(" ".join(f"word{number}" for number in range(start, start + 2048)), ["en"])
    for language in (("en",), ("en", cues._DANGER, cues._DANGER_MARKED)):
        known = cues._known(language)
        assert len(known.idle) + len(known._begun) <= cues._REMEMBERED
    cues.find("x" * 1_000_000, ["en"])
    assert max(map(len, cues._known(("en", cues._DANGER, cues._DANGER_MARKED)).idle)) < 100


def test_what_texts_were_read_as() -> None:
    """Short texts are kept, as many as there may be; a long one is read anew each time."""
    read: list[str] = []

    @remembered(3)
    def length(text: str) -> int:
        read.append(text)
        return len(text)

    long = "x" * (LONGEST + 1)
    for text in ("a", "a", long, long, "b", "c", "d", "a"):
        assert length(text) == len(text)
    assert read == ["a", long, long, "b", "c", "d", "a"]


def test_rates_of_keys() -> None:
    """What is kept of a rate goes when it says nothing any more: few are in use, few are kept."""

    class Clock:
        ns = 0

        def now_ns(self) -> int:
            return self.ns

    clock = Clock()
    kept = MemoryStore(clock)  # type: ignore[arg-type]  # it only looks at the time
    limiter = Limiter(kept)
    rate = Limits(requests=Rate(per_s=10, burst=10))
    tenant = Tenant(id="t", channels={}, languages=[])
    for number in range(5000):
        clock.ns += 10_000_000  # ten keys are in use at a time
        key = Key(id=f"key_{number:016x}", name="k", sha256=f"{number:064x}", last4="0000", limits=rate)
        assert finished(limiter.charge_request(KeyEntry(tenant, key))).refusal is None
        assert len(kept._tats_as) <= 2 * 10 + 2
