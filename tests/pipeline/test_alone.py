"""Each contract term, feature, guard and channel declaration, changed alone: another plan, path or refusal.

Every row asks the same twice, once with one thing changed, and says what becomes of it both times. The last tests hold
the table against the fields that there are: a field that nothing obeys fails here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from support.gateway import Edit, Gateway
from support.upstream import (
    EVENTS,
    Cut,
    Delay,
    Head,
    Script,
    ScriptedUpstream,
    Seen,
    Step,
    chunk,
    failure,
    openai,
    stream,
    usage,
)
from trimtab.core.contract import Contract, Latency
from trimtab.core.decision import Features
from trimtab.core.tenancy import CacheTerms, Channel, GuardTerms, Limits
from trimtab.dataplane.guard import CHECKS_IN, CHECKS_OUT
from trimtab.dataplane.retrieval import build, read_corpus
from trimtab.foundations.embed import HashEmbedder
from trimtab.surfaces.twin import run_virtual

SHOP = "tenants/shop.yaml"
PAGES = "# Returns\n\n## Shoes\n\nShoes can be returned within 45 days.\n"
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
SHOES = "How many days do I have to return shoes?"
PRIVATE = {
    "email": "ann@example.com",
    "phone": "+49 30 901820",
    "card": "4111 1111 1111 1111",
    "iban": "DE89 3704 0044 0532 0130 00",
}


def setting(file: str, path: str, value: Any) -> Edit:
    """An edit that sets one value of a document; `a.b.c` is its place."""

    def edit(documents: dict[str, str]) -> None:
        document = yaml.safe_load(documents[file]) or {}
        place = document
        *way, last = path.split("/")
        for name in way:
            place = place.setdefault(name, {})
        place[last] = value
        documents[file] = yaml.safe_dump(document, sort_keys=False)

    return edit


def web(path: str, value: Any) -> Edit:
    """Of the channel that is asked."""
    return setting(SHOP, f"channels/web/{path}", value)


def rule(when: str, then: dict[str, Any]) -> Edit:
    """One more rule at `decide`."""

    def edit(documents: dict[str, str]) -> None:
        document = yaml.safe_load(documents["policy.yaml"])
        document["rules"].append({"id": "of-the-test", "at": "decide", "when": when, "then": then})
        documents["policy.yaml"] = yaml.safe_dump(document, sort_keys=False)

    return edit


def broken(seen: Seen) -> Iterable[Step]:
    """Half an answer."""
    return [Head(200, (EVENTS,)), chunk({"content": "half"}), Cut()]


def slow(seen: Seen) -> Iterable[Step]:
    """Begins at once, and takes its time to the end."""
    return [*stream(["late"])[:3], Delay(5), *stream(["late"])[3:]]


def down(seen: Seen) -> Iterable[Step]:
    return failure(503)


TO_M = {"prefer": ["tier:M"]}
FAQ = "What is the capital of France?"


@dataclass(frozen=True)
class Ask:
    """What is asked, of what workspace, and how the small tier's upstream behaves. `earlier`: asked before it, and
    `pause_s` waited after that."""

    text: str = FAQ
    headers: tuple[str, ...] = ()
    edits: tuple[Edit, ...] = ()
    script: Script = openai
    earlier: tuple[str, ...] = ()
    pause_s: float = 0
    model: str = "auto"
    temperature: float | None = 1
    """1: asked afresh each time; None: may be answered again."""
    stream: bool = False
    system: str | None = None
    shows: str | None = None
    """An image's address."""


@dataclass(frozen=True)
class Alone:
    """`asked`, and asked with the one thing in `change` (edits and headers come on top): what `at` says both times."""

    asked: Ask
    change: dict[str, Any]
    first: str
    then: str
    at: str = "fate"
    """`fate`: path and tier, or status and code; `said`: the answer; `sent`: the question as the model saw it."""

    @property
    def changed(self) -> Ask:
        change = {
            name: (*getattr(self.asked, name), *one) if isinstance(one, tuple) else one
            for name, one in self.change.items()
        }
        return replace(self.asked, **change)


def on(edit: Edit) -> dict[str, Any]:
    return {"edits": (edit,)}


def header(line: str) -> dict[str, Any]:
    return {"headers": (line,)}


def says(text: str) -> Script:
    return lambda seen: stream([text], usage(50, 9))


PLAIN = Ask()
STORED = Ask(earlier=(FAQ,), temperature=None)
BREAKS = Ask(stream=True, script=broken)
RIGHT = "Shoes can be returned within 45 days."
PAGED = Ask(SHOES, script=says(RIGHT), edits=(web("corpus", "help"), web("emit", "answer")))
DOWN = Ask(script=down, edits=(web("pin", []), web("tiers", ["S"])))
SAUCE = Ask(script=says("secret sauce"))
NO_CHECKS = (web("guards", {"checks_in": [], "checks_out": []}),)
QUALITY = {"value": 0.9, "lower": 0.8, "n": 100, "source": "a golden set"}
RETURNS = ["how do I send shoes back", "may I return this"]
DELIVERY = ["when does my parcel come", "where is my order"]
HARD = "Why is A better than B, unless C? Compare 1 with 2 and 3, step by step. And then? And if not?"
LEGAL = "My lawyer will sue you for this."

CONTRACT = {
    "latency.ttft_ms": Alone(
        Ask(edits=(rule("latency_ttft_ms < 300.0", TO_M),)), header("trimtab-ttft-ms: 200"), "direct S", "direct M"
    ),
    "latency.itl_ms": Alone(
        Ask(edits=(rule("latency_itl_ms < 50.0", TO_M),)), header("x-llm-d-slo-tpot-ms: 40"), "direct S", "direct M"
    ),
    "latency.e2e_ms": Alone(PAGED, header("trimtab-latency-ms: 700"), "rag S", "direct S"),
    "latency.percentile": Alone(
        Ask(edits=(rule("percentile > 0.95", TO_M),)),
        on(web("targets/latency/percentile", 0.99)),
        "direct S",
        "direct M",
    ),
    "latency.deadline_ms": Alone(
        Ask(script=slow), on(web("targets/latency/deadline_ms", 4500)), "direct S", "504 deadline_exceeded"
    ),
    "quality": Alone(
        Ask(edits=(setting("models.yaml", "variants/medium-plain/quality", QUALITY),)),
        header("trimtab-min-quality: 0.7"),
        "direct S",
        "direct M",
    ),
    "cost": Alone(Ask("x " * 400), header("trimtab-max-cost-usd: 0.0001"), "direct S", "429 cost_cap"),
    "residency": Alone(
        Ask(edits=(setting("models.yaml", "models/medium/region", "eu"),)),
        on(web("residency", "eu")),
        "direct S",
        "direct M",
    ),
    "priority": Alone(
        Ask(edits=(rule("priority_rank >= 3", TO_M),)), header("trimtab-priority: batch"), "direct S", "direct M"
    ),
    "on_miss": Alone(DOWN, on(web("on_miss", "template")), "502 upstream_failed", "template"),
    "resume": Alone(BREAKS, on(web("resume", "hold")), "direct S, broken off", "direct M"),
    "emit": Alone(BREAKS, on(web("emit", "answer")), "direct S, broken off", "direct M"),
}
FEATURES = {
    "language": Alone(
        SAUCE,
        {"text": "Was ist die Hauptstadt von Frankreich?"},
        "I can't help with that.",
        "Das geht hier nicht.",
        "said",
    ),
    "intent": Alone(
        Ask(RETURNS[0], edits=(web("intents", {"returns": RETURNS, "delivery": DELIVERY}),)),
        {"text": DELIVERY[0]},
        "direct M",
        "direct S",
    ),
    "complexity": Alone(STORED, {"text": HARD, "earlier": (HARD,)}, "cache-exact S", "direct S"),
    "risk": Alone(STORED, {"text": LEGAL, "earlier": (LEGAL,)}, "cache-exact S", "direct M"),
}
GUARDS = {
    **{
        f"in {check}": Alone(
            Ask(f"It is {value}, fine?", edits=NO_CHECKS),
            on(web("guards/checks_in", [check])),
            f"It is {value}, fine?",
            f"It is <{check.upper()}_1>, fine?",
            "sent",
        )
        for check, value in PRIVATE.items()
    },
    **{
        f"out {check}": Alone(
            Ask(script=says(f"It is {value}, fine?"), edits=NO_CHECKS),
            on(web("guards/checks_out", [check])),
            f"It is {value}, fine?",
            f"It is <{check.upper()}>, fine?",
            "said",
        )
        for check, value in PRIVATE.items()
    },
    "out deny": Alone(SAUCE, on(web("guards", {"checks_out": []})), "template", "direct S"),
    "out grounded": Alone(PAGED, {"script": says("Within 90 days.")}, "rag S", "template"),
}
GUARD_TERMS = {
    "checks_in": GUARDS["in email"],
    "checks_out": GUARDS["out deny"],
    "deny": Alone(SAUCE, on(web("guards/deny", ["another text"])), "template", "direct S"),
    "restore": Alone(
        Ask("Write to ann@example.com"),
        on(web("guards/restore", False)),
        "echo Write to ann@example.com",
        "echo Write to <EMAIL_1>",
        "said",
    ),
    "images": Alone(
        Ask("What is it?", edits=(setting("models.yaml", "models/small/images", 300),), shows=PIXEL),
        on(web("guards/images", "allow")),
        "400 invalid_request",
        "direct S",
    ),
}
CACHE_TERMS = {
    "reuse": Alone(STORED, on(web("cache/reuse", False)), "cache-exact S", "direct S"),
    "unclassified": Alone(
        replace(STORED, text="", earlier=("",)), on(web("cache/unclassified", "deny")), "cache-exact S", "direct S"
    ),
    "ttl_s": Alone(replace(STORED, pause_s=60), on(web("cache/ttl_s", 59)), "cache-exact S", "direct S"),
    "ids": Alone(
        replace(STORED, text="Greet bob@example.com", earlier=("Greet ann@example.com",), script=says("Hello")),
        on(web("cache/ids", "ignore")),
        "direct S",
        "cache-exact S",
    ),
}
LIMITS = {
    "requests": Alone(
        Ask(earlier=(FAQ,)), on(web("limits/requests", {"per_s": 0.1, "burst": 1})), "direct S", "429 rate_limited"
    ),
    "tokens": Alone(
        Ask(earlier=(FAQ,)), on(web("limits/tokens", {"per_s": 0.1, "burst": 48})), "direct S", "429 rate_limited"
    ),
}
TIGHTER = {"latency": {"e2e_ms": 700, "ttft_ms": 700}}
CHANNEL = {
    "targets": CONTRACT["latency.deadline_ms"],
    "cost": Alone(Ask("x " * 400), on(web("cost/max_per_request_usd", "0.0001")), "direct S", "429 cost_cap"),
    "residency": CONTRACT["residency"],
    "priority": Alone(
        Ask(edits=(rule("priority_rank >= 3", TO_M),)), on(web("priority", "batch")), "direct S", "direct M"
    ),
    "languages": Alone(
        replace(SAUCE, text="Hallo?", edits=(web("languages", ["de"]),)),
        on(web("languages", ["en"])),
        "Das geht hier nicht.",
        "I can't help with that.",
        "said",
    ),
    "intents": Alone(
        Ask(RETURNS[0]), on(web("intents", {"returns": RETURNS, "delivery": DELIVERY})), "direct S", "direct M"
    ),
    "corpus": Alone(replace(PAGED, edits=(web("emit", "answer"),)), on(web("corpus", "help")), "direct S", "rag S"),
    "cache": CACHE_TERMS["reuse"],
    "guards": GUARDS["out deny"],
    "emit": CONTRACT["emit"],
    "on_miss": CONTRACT["on_miss"],
    "resume": CONTRACT["resume"],
    "system": Alone(Ask(system="Be brief."), on(web("system", "forbid")), "direct S", "403 system_not_allowed"),
    "tiers": Alone(Ask(edits=(web("pin", []),)), on(web("tiers", ["M"])), "direct S", "direct M"),
    "pin": Alone(Ask(model="medium-plain"), on(web("pin", ["tier:S"])), "direct M", "403 model_not_allowed"),
    "limits": LIMITS["requests"],
    "routes": Alone(PAGED, on(web("routes", {"/v1/chat/completions": TIGHTER})), "rag S", "direct S"),
    "personas": Alone(
        replace(PAGED, headers=("trimtab-persona: vip",)), on(web("personas", {"vip": TIGHTER})), "rag S", "direct S"
    ),
}
SILENT = {
    "description": "for people",
    "baseline": "what savings are counted against: money in the record, tests/records",
    "capture": "`check` refuses all but none, tests/registry",
}
TABLES = {
    "contract": CONTRACT,
    "feature": FEATURES,
    "guard": GUARDS,
    "guard term": GUARD_TERMS,
    "cache term": CACHE_TERMS,
    "limit": LIMITS,
    "channel": CHANNEL,
}
ROWS = {f"{table}: {name}": row for table, rows in TABLES.items() for name, row in rows.items()}


async def told(folder: Path, ask: Ask, at: str) -> str:
    """What becomes of it."""
    async with (
        ScriptedUpstream(ask.script) as small,
        ScriptedUpstream() as medium,
        Gateway(folder, small.url, medium.url, *ask.edits) as gateway,
    ):
        stored = await build(read_corpus(folder / "corpora" / "help"), HashEmbedder())
        corpora = {"help": stored.corpus("help")}
        gateway.plane.configuration = msgspec.structs.replace(gateway.plane.configuration, corpora=corpora)
        before = [] if ask.system is None else [{"role": "system", "content": ask.system}]
        for number, text in enumerate((*ask.earlier, ask.text)):
            if number == len(ask.earlier):
                await asyncio.sleep(ask.pause_s)
            said: Any = text
            if ask.shows is not None:
                said = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": ask.shows}}]
            messages = [*before, {"role": "user", "content": said}]
            got = await gateway.ask(
                messages, *ask.headers, model=ask.model, temperature=ask.temperature, stream=ask.stream
            )
        record = gateway.last
        if at == "sent":
            return str((small.requests or medium.requests)[-1].json["messages"][-1]["content"])
        if got.status != 200:
            return f"{got.status} {got.json['error']['code']}"
        if at == "said":
            return str(got.json["choices"][0]["message"]["content"])
        fate = record.path if record.path == "template" else f"{record.path} {record.tier}"
        return f"{fate}, broken off" if record.code and record.path != "template" else str(fate)


@pytest.mark.parametrize("name", ROWS)
def test_one_thing_alone_changes_what_becomes_of_a_request(name: str, tmp_path: Path) -> None:
    """Both fates are as the row says, and they differ."""
    row = ROWS[name]
    assert row.first != row.then

    async def main() -> None:
        fates = []
        for folder, ask in ((tmp_path / "first", row.asked), (tmp_path / "then", row.changed)):
            pages = folder / "corpora" / "help"
            pages.mkdir(parents=True)
            (pages / "returns.en.md").write_text(PAGES)
            fates.append(await told(folder, ask, row.at))
        assert fates == [row.first, row.then]

    run_virtual(main)


@pytest.mark.parametrize(
    ("table", "names"),
    [
        (
            "contract",
            {
                *(name for name in Contract.__struct_fields__ if name not in ("latency", "hash")),
                *(f"latency.{name}" for name in Latency.__struct_fields__),
            },
        ),
        ("feature", set(Features.__struct_fields__)),
        ("guard", {*(f"in {name}" for name in CHECKS_IN), *(f"out {name}" for name in CHECKS_OUT), "out grounded"}),
        ("guard term", set(GuardTerms.__struct_fields__)),
        ("cache term", set(CacheTerms.__struct_fields__)),
        ("limit", set(Limits.__struct_fields__)),
        ("channel", set(Channel.__struct_fields__) - SILENT.keys()),
    ],
)
def test_nothing_is_declared_that_nothing_obeys(table: str, names: set[str]) -> None:
    """The table has every field that there is."""
    assert TABLES[table].keys() == names
