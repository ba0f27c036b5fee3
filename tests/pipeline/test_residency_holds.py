"""The proof of residency: whatever is configured, fails or is asked, a request reaches servers of its own region, and
beyond these only approved ones, redacted, by https, after somebody at home was asked.

Each server tells what it was sent. What must hold is worked out here from the declared pools alone, by nothing that the
gateway says of itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from support.gateway import Gateway, chat, closed_port, replaced
from support.rawhttp import RawClient
from support.regions import Pool, VirtualTls, pools, resident
from support.upstream import (
    EVENTS,
    Cut,
    Hang,
    Head,
    ScriptedUpstream,
    Seen,
    Step,
    chunk,
    failure,
    openai,
    stream,
    usage,
)
from trimtab.surfaces.twin import run_virtual

MAIL, CARD = "anna.berg@example.com", "4111111111111111"
REGIONS = ("eu", "us", "ap")
NAMES = ("m0", "m1", "m2", "m3", "m4")
FAULTS = ("503", "429", "refuses", "cut", "cut early", "hangs", "slow", "begins and hangs", "redirects", "cut")
HEADERS = (
    "trimtab-residency: us",
    "trimtab-region: us",
    "trimtab-variant: m1-plain",
    "trimtab-tier: L",
    "trimtab-overflow: true",
    "x-forwarded-host: away.example",
    "x-forwarded-for: 10.0.0.1",
    "forwarded: host=away.example;proto=https",
    "x-original-url: http://away.example/v1/chat/completions",
    "cache-control: no-store",
    "trimtab-max-cost-usd: 0.04",
)


class Spot(msgspec.Struct, frozen=True):
    """A pool and its servers."""

    pool: Pool
    ends: tuple[str, ...]


class Asked(msgspec.Struct, frozen=True):
    """A request: what a caller may try."""

    channel: str
    headers: tuple[str, ...]
    model: str | None
    stream: bool
    hides: str
    target: str
    fields: dict[str, Any]


def script(end: str, others: list[ScriptedUpstream]) -> Any:
    """Of a server that ends so; one that redirects names the last of `others`."""

    def steps(seen: Seen) -> Iterable[Step]:
        told = Head(200, (EVENTS,))
        said = chunk({"content": f"It is for {MAIL[:9]}"})
        return {
            "well": lambda: openai(seen),
            "503": lambda: failure(503),
            "429": lambda: failure(429, headers=[("retry-after", "1")]),
            "cut": lambda: [told, said, Cut()],
            "cut early": lambda: [Cut()],
            "redirects": lambda: failure(307, headers=[("location", f"{others[-1].url}{seen.path}")]),
            "hangs": lambda: [Hang()],
            "slow": lambda: stream(["a ", "b ", "<EMAIL_1>"], usage(9, 3), delay_s=0.5),
            "begins and hangs": lambda: [told, said, Hang()],
        }[end]()

    return steps


@st.composite
def spots(draw: st.DrawFn, homes: tuple[str, ...]) -> list[Spot]:
    """Pools in every kind of place; one at least is at each home, so that the workspace can be loaded."""
    found = []
    names = NAMES[: draw(st.integers(max(2, len(homes)), 5))]
    for number, name in enumerate(names):
        at_home = number < len(homes)
        region = homes[number] if at_home else draw(st.sampled_from((*REGIONS, None)))
        approved = (
            draw(st.lists(st.sampled_from((*homes, *REGIONS)), min_size=1, max_size=2, unique=True)) if region else []
        )
        ends = st.sampled_from(FAULTS) if draw(st.booleans()) or at_home else st.just("well")
        pool = Pool(
            name,
            (),
            region,
            tuple(one for one in approved if one != region),
            tokens_per_day=draw(st.sampled_from((400, 1_000_000))),
            tier=draw(st.sampled_from(("S", "M", "L"))),
            slots=draw(st.integers(1, 2)),
            prefill=at_home or draw(st.booleans()),
            fallbacks=draw(st.lists(st.sampled_from([one for one in names if one != name]), max_size=2, unique=True)),
        )
        found.append(Spot(pool, tuple(draw(st.lists(ends, min_size=1, max_size=2)))))
    return found


def requests(names: list[str]) -> st.SearchStrategy[Asked]:
    """What callers may send."""
    models = [None, None, None, "auto", *names, *(f"{name}-plain" for name in names), "tier:S", "tier:L", "away"]
    fields: list[dict[str, Any]] = [
        {},
        {"trimtab": {"residency": "us"}},
        {"metadata": {"residency": "us", "contact": MAIL}},
        {"metadata": {MAIL: "x"}},
        {"metadata": {"card": int(CARD)}},
        {"user": MAIL},
        {"tools": [{"type": "function", "function": {"name": "f", "description": MAIL, "parameters": {}}}]},
        {"stop": [MAIL]},
    ]
    return st.builds(
        Asked,
        st.sampled_from(("web", "fresh")),
        st.sampled_from([(), (), *((one,) for one in HEADERS)]),
        st.sampled_from(models),
        st.booleans(),
        st.sampled_from(("user", "system", "assistant", "call")),
        st.sampled_from(("/v1/chat/completions", "http://away.example/v1/chat/completions")),
        st.sampled_from(fields),
    )


@st.composite
def worlds(draw: st.DrawFn) -> dict[str, Any]:
    """A workspace, and what is asked of it at once."""
    tenant = draw(st.sampled_from(("eu", "us")))
    channel = draw(st.sampled_from((None, "eu", "us")))
    homes = tuple(dict.fromkeys([channel or tenant, tenant]))
    declared = draw(spots(homes))
    return {
        "tenant": tenant,
        "channel": channel,
        "spots": declared,
        "resume": draw(st.sampled_from(("error", "hold", "continue", "continue"))),
        "on_miss": draw(st.sampled_from(("reroute", "wait", "template"))),
        "emit": draw(st.sampled_from(("token", "answer"))),
        "asked": draw(st.lists(requests([one.pool.name for one in declared]), min_size=1, max_size=5)),
    }


def bytes_of(asked: Asked, number: int) -> bytes:
    """The request, marked with its number."""
    mark = f"mark-{number}-"
    said = f"{mark} write to {MAIL} about {CARD}"
    messages: list[dict[str, Any]] = [{"role": "user", "content": said}]
    if asked.hides == "call":
        call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": f'{{"to": "{MAIL}"}}'}}
        messages = [
            {"role": "user", "content": mark},
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "c", "content": said},
        ]
    elif asked.hides != "user":
        messages = [{"role": asked.hides, "content": said}, {"role": "user", "content": "and?"}]
    fields = {**asked.fields, "stream": asked.stream, "temperature": 1}
    if asked.model is not None:
        fields["model"] = asked.model
    sent = chat(messages, f"trimtab-channel: {asked.channel}", *asked.headers, **fields)
    return sent.replace(b"POST /v1/chat/completions", f"POST {asked.target}".encode(), 1)


async def play(folder: Path, world: dict[str, Any]) -> None:
    """Ask all of it at once, and look at what each server saw."""
    async with AsyncExitStack() as stack:
        servers: dict[str, list[ScriptedUpstream]] = {}
        declared: list[Pool] = []
        others: list[ScriptedUpstream] = []
        for spot in world["spots"]:
            urls, found = [], servers.setdefault(spot.pool.name, [])
            for end in spot.ends:
                if end == "refuses":
                    port = closed_port()
                else:
                    up = await stack.enter_async_context(ScriptedUpstream(script(end, others)))
                    others.append(up)
                    found.append(up)
                    port = up.port
                urls.append(f"{'https' if spot.pool.overflow else 'http'}://127.0.0.1:{port}")
            declared.append(replace(spot.pool, urls=tuple(dict.fromkeys(urls))))
        terms = f"    resume: {world['resume']}\n    on_miss: {world['on_miss']}\n    emit: {world['emit']}\n"
        edits = [
            pools(*declared),
            resident(world["tenant"]),
            *([resident(world["channel"], channel="web")] if world["channel"] else []),
            replaced("tenants/shop.yaml", "  web:\n", f"  web:\n{terms}"),
            replaced("tenants/shop.yaml", "checks_in: [email], ", "checks_in: [], "),
            lambda documents: documents.update({"policy.yaml": "rules: []\n"}),
        ]
        dialer = VirtualTls()
        gateway = await stack.enter_async_context(Gateway(folder, None, None, *edits, dialer=dialer))

        async def ask(number: int, asked: Asked) -> None:
            async with RawClient(gateway.port) as client:
                client.send(bytes_of(asked, number))
                await client.answer()

        await asyncio.gather(*[ask(number, one) for number, one in enumerate(world["asked"])])
        await judge(world, servers, dialer, gateway)


async def judge(
    world: dict[str, Any], servers: dict[str, list[ScriptedUpstream]], dialer: VirtualTls, gateway: Any
) -> None:
    """What must hold."""
    for spot in world["spots"]:
        for up in servers[spot.pool.name]:
            for seen in up.requests:
                asked = world["asked"][int(seen.body.partition(b"mark-")[2].partition(b"-")[0])]
                home = world["channel"] if asked.channel == "web" and world["channel"] else world["tenant"]
                if spot.pool.region == home:
                    event("at home")
                    continue
                event("outside")
                assert home in spot.pool.overflow, f"a request of {home} at {spot.pool}"
                assert dialer.schemes[up.port] == {"https"}
                for secret in (MAIL, MAIL[:9], CARD):
                    assert secret.encode() not in seen.body, seen.body


@pytest.mark.timeout(180)
@given(worlds())
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_nothing_sends_a_request_elsewhere(tmp_path_factory: pytest.TempPathFactory, world: dict[str, Any]) -> None:
    """See the module."""
    folder = tmp_path_factory.mktemp("world")
    run_virtual(lambda: play(folder, world))
