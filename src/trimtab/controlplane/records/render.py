"""An explanation as text, with Rich: fits 100 columns, says everything without colour."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from trimtab.controlplane.records.explanation import UNKNOWN, Bar, Explanation, Header, Mark, instant

WIDTH = 100
_BAR = 44
_NAMES = {None: UNKNOWN, True: "yes", False: "NO"}


def render(explanation: Explanation, console: Console) -> None:
    """Print every part that has something to say."""
    for title, part in (
        ("", _header(explanation)),
        ("Time", _waterfall(explanation)),
        ("Contract", _contract(explanation)),
        ("Features", _features(explanation)),
        ("Past requests", _online(explanation)),
        ("Rules", _rules(explanation)),
        ("Plans", _plans(explanation)),
        ("Admission", _admissions(explanation)),
        ("Attempts", _attempts(explanation)),
        ("Tokens and money", _money(explanation)),
        ("Guards", _lines(explanation.guards)),
        ("Later rows", _lines(explanation.later)),
        ("Decided with", _pairs((name, value) for name, value in explanation.snapshots.items() if value)),
    ):
        if part.row_count:
            if title:
                console.print(f"\n[bold]{title}[/bold]", highlight=False)
            console.print(part, highlight=False)


def text(value: Any) -> str:
    """A value as a person reads it; safe inside Rich's markup and free of control characters."""
    if value is None:
        return UNKNOWN
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:g}" if abs(value) < 1 else f"{value:,.1f}".removesuffix(".0")
    plain = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=repr).decode()
    return escape("".join(c if c.isprintable() else "\ufffd" for c in plain))


def _table(*headings: str) -> Table:
    table = Table(box=None, show_header=bool(headings), pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _pairs(pairs: Iterable[tuple[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs:
        table.add_row(name, text(value))
    return table


def _lines(lines: list[str]) -> Table:
    table = _table()
    table.add_column(overflow="fold")
    for line in lines:
        table.add_row(text(line))
    return table


def _header(explanation: Explanation) -> Table:
    header = explanation.header
    outcome = f"{text(header.status)} {header.code or header.finish_reason or UNKNOWN}"
    if header.rule:
        outcome += f" (by {header.rule})"
    pairs: list[tuple[str, Any]] = [
        ("record", header.id if header.kind == "request" else f"{header.id} ({header.kind})"),
        ("time", header.time),
        ("channel", f"{header.tenant or UNKNOWN}/{header.channel or UNKNOWN}, key {header.key_id or UNKNOWN}"),
        ("route", f"{header.route or UNKNOWN}{', streamed' if header.stream else ''}"),
        ("outcome", outcome),
        ("path", header.path),
        ("answered by", _answered_by(header)),
    ]
    if header.experiment:
        pairs.append(("experiment", header.experiment))
    if header.setting:
        pairs.append(("setting", header.setting))
    if header.cause:
        pairs += [("why", header.cause), ("what helps", header.fix)]
    return _pairs(pairs)


def _answered_by(header: Header) -> str:
    if header.path == "template":
        return "a template"
    if header.variant is None:
        return "nobody"
    where = ", stored" if header.path == "cache-exact" else f" on {header.replica or UNKNOWN}"
    return f"tier {header.tier or UNKNOWN}, {header.variant}{where}"


def _waterfall(explanation: Explanation) -> Table:
    """Bars on one scale, from arrival to the end or the furthest promise that is within twice of it."""
    marks = [mark for mark in explanation.marks if mark.name != "itl p95"]
    end = max((bar.start_ms + bar.dur_ms for bar in explanation.waterfall), default=0.0)
    end = max([end, *(mark.measured_ms or 0.0 for mark in marks)])
    scale = max([end, *(m.promised_ms for m in marks if m.promised_ms and m.promised_ms <= 2 * end)]) or 1.0
    table = _table("stage", "start ms", "took ms", "")
    for column in (1, 2):
        table.columns[column].justify = "right"
        table.columns[column].no_wrap = True
    table.columns[3].no_wrap = True
    for bar in explanation.waterfall:
        table.add_row(text(bar.stage), f"{bar.start_ms:.1f}", f"{bar.dur_ms:.1f}", _bar(bar, scale))
    for mark in explanation.marks:
        measured = UNKNOWN if mark.measured_ms is None else f"{mark.measured_ms:.1f}"
        table.add_row(mark.name, "", measured, _promise(mark, scale))
    return table


def _bar(bar: Bar, scale: float) -> str:
    before = min(_BAR - 1, max(0, int(_BAR * bar.start_ms / scale)))
    length = min(_BAR - before, max(1, round(_BAR * bar.dur_ms / scale)))
    return " " * before + "█" * length


def _promise(mark: Mark, scale: float) -> str:
    """The promise as a line at its place on the scale, with its words beside it."""
    if mark.promised_ms is None:
        return f"promised {UNKNOWN}"
    words = f"promised {text(mark.promised_ms)}, kept: {_NAMES[mark.kept]}"
    at = round(_BAR * mark.promised_ms / scale)
    if mark.name == "itl p95" or at > _BAR:
        return words
    place = "─" * max(0, at - 1) + "┤"
    return f"{place} {words}" if len(place) + len(words) < _BAR + 24 else words


def _contract(explanation: Explanation) -> Table:
    met = explanation.met
    table = _table("term", "asked", "bound", "met")
    verdicts = {"e2e_ms": met.latency, "quality min": met.quality, "max cost usd": met.cost}
    for term in explanation.contract:
        verdict = _NAMES[verdicts[term.name]] if term.name in verdicts else ""
        bound = "any" if term.name == "residency" and term.bound is None else text(term.bound)
        if term.name == "priority" and explanation.raised_by:
            bound += f", raised by {text(', '.join(explanation.raised_by))}"
        table.add_row(term.name, "" if term.asked is None else text(term.asked), bound, verdict)
    return table


def _features(explanation: Explanation) -> Table:
    table = _table("feature", "value", "confidence")
    for name, feature in explanation.features.items():
        value, confidence = (None, None) if feature is None else (feature.value, feature.confidence)
        table.add_row(name, text(value), text(confidence))
    return table


def _online(explanation: Explanation) -> Table:
    table = _table("feature", "of", "value", "as of")
    for one in explanation.online:
        table.add_row(
            one.name, text(one.key), text(one.value), text(None if one.as_of_ns is None else instant(one.as_of_ns))
        )
    return table


def _rules(explanation: Explanation) -> Table:
    table = _table("at", "rule", "hit", "because")
    for rule in explanation.rules:
        because = ", ".join(f"{text(name)} = {text(value)}" for name, value in rule.values.items())
        failed = f" failed: {text(rule.error)}" if rule.error else ""
        table.add_row(rule.at, text(rule.id), "HIT" if rule.hit else "no", because + failed)
    return table


def _plans(explanation: Explanation) -> Table:
    from trimtab.core.money import usd

    table = _table("#", "plan", "tier", "path", "tokens", "at most usd", "degraded", "outcome")
    for number, plan in enumerate(explanation.plans, 1):
        cost = UNKNOWN if plan.estimate_nanousd is None else usd(plan.estimate_nanousd)
        degraded = ", ".join(plan.degradations)
        table.add_row(
            str(number),
            text(plan.variant),
            text(plan.tier),
            text(plan.path),
            str(plan.max_tokens),
            cost,
            text(degraded),
            plan.outcome or "not reached",
        )
    return table


def _admissions(explanation: Explanation) -> Table:
    """A row a gate; times are as foreseen when it decided, in ms."""
    table = _table(
        "model", "decided", "after ms", "first token", "between", "end", "at level", "ran", "waited", "slots"
    )
    for row in explanation.admissions:
        decided = row.how if row.short is None else f"{row.how}: {row.short}"
        if row.waived:
            decided += f", waived {', '.join(row.waived)}"
        if row.retry_after_s is not None:
            decided += f", told {row.retry_after_s:,.1f} s"
        foreseen = ("" if value is None else f"{value:,.0f}" for value in (row.ttft_ms, row.itl_ms, row.e2e_ms))
        level = "" if row.level is None else f"{row.level:.3f}"
        load = (str(row.running), str(row.waiting), str(row.slots))
        table.add_row(text(row.model), text(decided), f"{row.waited_ms or 0:,.0f}", *foreseen, level, *load)
    return table


def _attempts(explanation: Explanation) -> Table:
    table = _table("at ms", "replica", "outcome", "reason", "prompt", "completion")
    for attempt in explanation.attempts:
        usage = attempt.usage
        led = "" if attempt.why == "first" else f" ({attempt.why})"
        led += " outside its residency" if attempt.overflow else ""
        skipped = f"{attempt.skipped} events left out" if attempt.skipped else ""
        table.add_row(
            text(attempt.start_ms),
            text(attempt.replica + led),
            attempt.outcome,
            text(attempt.reason or skipped),
            text(usage.prompt if usage else None),
            text(usage.completion if usage else None),
        )
    return table


def _money(explanation: Explanation) -> Table:
    tokens = explanation.tokens
    named = [f"{name} {tokens[name]:,}" for name in tokens if isinstance(tokens[name], int)]
    money = msgspec.structs.asdict(explanation.money)
    pairs: list[tuple[str, Any]] = [("tokens", ", ".join(named) or UNKNOWN), ("counted by", tokens.get("source"))]
    optional = ("adjusted_usd", "saved_usd", "cap_usd")
    pairs += [
        (name.removesuffix("_usd"), None if value is None else f"${value}")
        for name, value in money.items()
        if value is not None or name not in optional
    ]
    return _pairs(pairs)
