"""The envelope of an answer: what Trimtab puts around or in place of an upstream's words. Identity, headers, the
`trimtab` member, templates."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.core.clock import NS_PER_S
from trimtab.core.money import usd
from trimtab.dataplane import guard
from trimtab.dataplane.plane import Headers
from trimtab.dataplane.run import Run, Template
from trimtab.dataplane.spend import views


def identity(run: Run) -> dict[str, Any]:
    """Id, time and model of an answer: the record's id, when it arrived, who answered."""
    record = run.record
    return {
        "id": "chatcmpl-" + record.id.removeprefix("rec_"),
        "created": record.t_wall_ns // NS_PER_S,
        "model": (record.variant or "trimtab").partition("@")[0],
    }


def top(run: Run, told: Mapping[str, Any]) -> Mapping[str, Any]:
    """What stands beside the choices of a text event: ours, and what the upstream told there. The same object for the
    same `told`, so that it is written once."""
    if run.top is None or run.top[0] is not told:
        own = identity(run)
        run.top = (told, {"id": own.pop("id"), "object": "chat.completion.chunk", **own, **told})
    return run.top[1]


def extras(run: Run) -> dict[str, Any]:
    """The `trimtab` member of an answer: its record, the way it went, the template that stands for an answer (or None),
    what it cost and where the time went (ms)."""
    record = run.record
    cost = record.cost.settled_nanousd
    return {
        "record": record.id,
        "path": record.path,
        "template": run.template,
        "tier": record.tier,
        "variant": record.variant,
        "cost_usd": None if cost is None else usd(cost),
        "stages": {name: [round(start, 3), round(took, 3)] for name, (start, took) in record.stages.items()},
        "sources": _sources(run),
    }


def _sources(run: Run) -> list[dict[str, str]]:
    """What the answer was made from, or quotes."""
    if run.quote is not None:
        return [{"source": run.quote.source, "title": ""}]
    if run.retrieved is None or run.record.path != "rag":
        return []
    return [{"source": hit.passage.source, "title": hit.passage.title} for hit in run.retrieved.shown]


def headers(run: Run, *, whole: bool = False) -> Headers:
    """What the caller is told beside an answer or a refusal; `whole`: the cost is known by now."""
    record = run.record
    found = [("trimtab-record", record.id), ("x-request-id", record.id)]
    for name, value in (("path", record.path), ("tier", record.tier), ("variant", record.variant)):
        if value is not None:
            found.append((f"trimtab-{name}", value))
    if whole and record.cost.settled_nanousd is not None:
        found.append(("trimtab-cost-usd", usd(record.cost.settled_nanousd)))
    timing = ", ".join([f"{name};dur={row[1]:.2f}" for name, row in record.stages.items()])
    found.append(("server-timing", timing))
    for view in views(run.charges):
        found.append((f"x-ratelimit-limit-{view.unit}", str(view.limit)))
        found.append((f"x-ratelimit-remaining-{view.unit}", str(view.remaining)))
        found.append((f"x-ratelimit-reset-{view.unit}", _duration(view.reset_s)))
    return found


def _duration(seconds: float) -> str:
    """As OpenAI writes it: `6m0s`, `1.5s`, `20ms`."""
    if seconds < 1:
        return f"{round(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{rest:.0f}s" if minutes else f"{rest:.3g}s"


def template_text(run: Run, wanted: Template) -> str:
    """A template in the user's language, else the channel's or the tenant's, with the quote put in."""
    assert run.bound is not None
    features = run.record.features
    spoken = features.language.value if features is not None and features.language is not None else None
    languages = [*([str(spoken)] if spoken else []), *run.bound.channel.languages, *run.bound.tenant.languages]
    text = guard.template_text(run.configuration.snapshot.release.templates, wanted.name, languages)
    if run.quote is not None:
        text = text.replace("{quote}", run.quote.text).replace("{source}", run.quote.source)
    return text
