"""trimtab report: what the records say, by tenant, channel, path, tier, language and more."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli import _report_predictions, _report_statement, _report_verify
from trimtab.cli._common import busy, emit, json_option, names, records_of, records_option, table, unknown

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trimtab.controlplane.records.report import Line, Summary
    from trimtab.core.record import Record


@click.command(short_help="Counts, latency, attainment, tokens and money from the records.")
@records_option
@click.option("--by", help="Dimensions, with commas: else channel,path, and tier with --predictions.")
@click.option(
    "--since", default="24h", show_default=True, help="90m, 24h, 7d, a time like 2026-11-24T09:00:00Z, or all."
)
@click.option("--tenant", help="Of this tenant only.")
@click.option("--stages", is_flag=True, help="How long each stage took instead: median, p99, share of all.")
@click.option("--predictions", is_flag=True, help="What was foreseen beside what came instead, by time.")
@click.option("--recheck", metavar="ID", help="Compute the certificates of a record anew instead, from the records.")
@click.option("--verify", is_flag=True, help="Check every row of every segment instead, and say what is damaged.")
@click.option(
    "--public-key",
    "public_keys",
    metavar="FILE",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --verify: an Ed25519 public key in PEM to check signatures with; may be given more than once.",
)
@click.option(
    "--statement",
    "of",
    nargs=2,
    metavar="TENANT MONTH",
    help="A tenant's month (2026-11) instead: spend, saving, contracts kept, and a digest of its requests.",
)
@click.option("--tz", help="With --statement: IANA time zone of the month; else that of the tenant's monthly budget.")
@click.option(
    "--lines",
    type=click.Path(path_type=Path, dir_okay=False),
    help="With --statement: write each request and what it came to there, as CSV.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="With --statement: a list of that form, the tenant's own say, and what differs from it.",
)
@json_option
def report(
    workspace: Path,
    by: str | None,
    since: str,
    tenant: str | None,
    stages: bool,
    predictions: bool,
    recheck: str | None,
    verify: bool,
    public_keys: tuple[Path, ...],
    of: tuple[str, str] | None,
    tz: str | None,
    lines: Path | None,
    against: Path | None,
    as_json: bool,
) -> None:
    """Sum up the records of a workspace. Works with the gateway stopped; every figure is exact over the rows asked for.

    Dimensions: tenant, channel, path, tier, variant, arm, language, persona, market, code, day (UTC).

    --verify checks the signatures of segments by the public half of records.sign_key, or by --public-key.

    Exit code 1: --verify found damage; --recheck found another figure, or that rows are gone; --against differs.
    """
    if stages + predictions + verify + (recheck is not None) + (of is not None) > 1:
        others = "--stages, --predictions, --recheck, --verify and --statement"
        raise click.UsageError(f"{others} each ask for another report: give one")
    if of is None and (tz is not None or lines is not None or against is not None):
        raise click.UsageError("--tz, --lines and --against are for --statement")
    if public_keys and not verify:
        raise click.UsageError("--public-key is for --verify")
    with busy(f"Reading the records of {workspace}"):
        folder = records_of(workspace)
        from trimtab.controlplane.records.report import DIMENSIONS

    if verify:
        _report_verify.verify(workspace, folder, public_keys, as_json)
        return
    if recheck is not None:
        _report_predictions.recheck(folder, recheck, as_json)
        return
    if of is not None:
        _report_statement.statement(workspace, folder, *of, tz, lines, against, as_json)
        return
    if by is None:
        by = "tier" if predictions else "channel,path"
    wanted = names(by, DIMENSIONS, "dimension", "--by")
    since_ns = _since(since)
    damaged: list[str] = []
    rows = _rows(workspace, folder, tenant, since_ns, damaged)
    if stages:
        _stages(rows, as_json, damaged)
    elif predictions:
        _report_predictions.predictions(rows, wanted, since_ns, as_json, damaged)  # type: ignore[arg-type]  # checked
    else:
        _sums(rows, wanted, since_ns, as_json, damaged)
    for problem in [] if as_json else damaged:
        click.echo(f"left out, damaged: {problem}", err=True)


def _rows(workspace: Path, folder: Path, tenant: str | None, since_ns: int, damaged: list[str]) -> Iterator[Record]:
    """Raises click.BadParameter for a tenant that neither the workspace nor the records have."""
    from trimtab.controlplane import records
    from trimtab.controlplane.records.report import KINDS

    if tenant is not None:
        known = [path.stem for path in (workspace / "tenants").glob("*.yaml")]
        if tenant not in known and next(records.query(folder, tenant=tenant), None) is None:
            raise unknown(tenant, known, "tenant", "--tenant")
    return records.query(
        folder,
        kinds=KINDS,
        tenant=tenant,
        since_wall_ns=since_ns,
        on_corrupt=lambda corrupt: damaged.append(str(corrupt)),
    )


def _sums(rows: Iterable[Record], wanted: list[str], since_ns: int, as_json: bool, damaged: list[str]) -> None:
    from trimtab.controlplane.records.report import summarise

    with busy("Reading the records"):
        summary = summarise(rows, wanted, since_ns)  # type: ignore[arg-type]  # names were checked
    if as_json:
        emit({"summary": summary, "damaged": damaged})
        return
    head = [*(name.upper() for name in wanted), *_COLUMNS]
    lines = [[_shown(value) for value in line.group.values()] + _cells(line) for line in summary.lines]
    if wanted and len(lines) > 1:
        lines.append(["all", *[""] * (len(wanted) - 1), *_cells(summary.total)])
    table(head, lines or [[*["-"] * len(wanted), *_cells(summary.total)]])
    if summary.total.verdicts:
        click.echo()
        _verdicts(summary, wanted)


def _verdicts(summary: Summary, wanted: list[str]) -> None:
    """What callers said of answers."""
    lines = []
    for line in [*summary.lines, *([summary.total] if len(summary.lines) > 1 else [])]:
        place = [_shown(value) for value in line.group.values()] or ["all", *[""] * (len(wanted) - 1)][: len(wanted)]
        for name, said in line.verdicts.items():
            score = "-" if said.score is None else f"{said.score:.3f}"
            value = "-" if said.value is None else f"{said.value:,g}"
            labels = ", ".join(f"{label} {count:,}" for label, count in sorted(said.labels.items()))
            lines.append([*place, name, f"{said.answers:,}", score, value, labels])
    table([*(name.upper() for name in wanted), "SAID", "ANSWERS", "MEAN SCORE", "SUM", "LABELS"], lines)


def _stages(rows: Iterable[Record], as_json: bool, damaged: list[str]) -> None:
    from trimtab.controlplane.records.report import stage_times

    found = stage_times(rows)
    if as_json:
        emit({"stages": found, "damaged": damaged})
        return
    whole = sum(one.total_ms for one in found) or 1.0
    table(
        ["STAGE", "REQUESTS", "P50 MS", "P99 MS", "OF ALL"],
        [
            (one.stage, f"{one.requests:,}", f"{one.p50_ms:.3f}", f"{one.p99_ms:.3f}", _percent(one.total_ms / whole))
            for one in found
        ],
    )


_COLUMNS = (
    "REQUESTS",
    "REFUSED",
    "FAILED",
    "P50 MS",
    "P95 MS",
    "P99 MS",
    "TTFT P95",
    "KEPT",
    "HITS",
    "PROMPT",
    "OUTPUT",
    "COST USD",
    "SAVED USD",
)


def _cells(line: Line) -> list[str]:
    from trimtab.core.money import usd

    return [
        f"{line.requests:,}",
        f"{line.refused:,}",
        f"{line.failed:,}",
        *(_ms(value) for value in (line.p50_ms, line.p95_ms, line.p99_ms, line.ttft_p95_ms)),
        _percent(line.attainment),
        _percent(line.hit_rate),
        f"{line.prompt_tokens:,}",
        f"{line.completion_tokens:,}",
        usd(line.cost_nanousd),
        usd(line.saved_nanousd),
    ]


def _shown(value: str | None) -> str:
    return "-" if value is None else value


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}%"


def _since(text: str) -> int:
    """Wall nanoseconds from which rows count."""
    from datetime import UTC, datetime

    from trimtab.core.clock import NS_PER_S, SystemClock, span_s

    if text == "all":
        return 0
    if (span := span_s(text)) is not None:
        return SystemClock().wall_ns() - span * NS_PER_S
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        hint = "write 90m, 24h, 7d, a time like 2026-11-24T09:00:00Z, or all"
        raise click.BadParameter(f"{text!r} is no time: {hint}", param_hint="--since") from None
    return int((time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp() * 1e9)
