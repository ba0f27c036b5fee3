"""trimtab report --predictions and --recheck: what was foreseen beside what came, and certificates computed anew."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import emit, table

if TYPE_CHECKING:
    from trimtab.controlplane.records.predictions import Foreseen
    from trimtab.controlplane.records.recheck import Recheck
    from trimtab.controlplane.records.report import Dimension
    from trimtab.core.record import Record

_COLUMNS = ("FIGURE", "REQUESTS", "OUTCOME/MODEL", "ERROR", "PROMISED", "WITHIN", "LEAST", "MOST", "")


def predictions(
    rows: Iterable[Record], by: Sequence[Dimension], since_ns: int, as_json: bool, damaged: list[str]
) -> None:
    from trimtab.controlplane.records.predictions import foreseen

    found = foreseen(rows, by, since_ns)
    if as_json:
        emit({"predictions": found, "damaged": damaged})
        return
    if not found.lines:
        click.echo("Nothing to compare: no request that ran to its end has a prediction beside it.")
        return
    head = [found.stretch.upper(), *(name.upper() for name in by), *_COLUMNS]
    table(head, [_cells(line) for line in found.lines])


def _cells(line: Foreseen) -> list[str]:
    return [
        line.begin,
        *("-" if value is None else value for value in line.group.values()),
        line.figure,
        f"{line.requests:,}",
        f"{line.ratio:.2f}",
        *(f"{100 * share:.1f}%" for share in (line.error, line.percentile, line.within, line.lower, line.upper)),
        "below" if line.below else "",
    ]


def recheck(folder: Path, name: str, as_json: bool) -> None:
    """Exit code 1 where a certificate differs, or rows that it needs are gone."""
    from trimtab.controlplane import records
    from trimtab.controlplane.records.recheck import NotRecheckableError, recheck_all

    row = records.look_up(folder, name)
    if not row.certificates:
        raise NotRecheckableError(f"{row.id} holds no certificate: there is nothing to compute anew")
    damaged: list[str] = []
    rows = records.rows(folder, worker=row.worker, on_corrupt=lambda corrupt: damaged.append(str(corrupt)))
    found = recheck_all(rows, row.certificates)
    wrong = sum(not one.ok for one in found)
    if as_json:
        emit({"record": row.id, "ok": not wrong, "certificates": found, "damaged": damaged})
    else:
        for problem in damaged:
            click.echo(f"damaged: {problem}")
        for one in found:
            _say(one)
        click.echo("ok" if not wrong else f"not ok: {wrong} of {len(found)}")
    if wrong:
        sys.exit(1)


def _say(one: Recheck) -> None:
    from trimtab.controlplane.records.recheck import described

    assert one.told.over is not None
    what, over = described(one.told.over), one.told.over
    if one.found is None:
        for missing in one.missing:
            click.echo(f"missing  {what}: it can't be computed anew, gone are {missing}")
        return
    for differs in one.differs:
        click.echo(f"differs  {what}: {differs.figure} is {differs.told}, from the records {differs.found}")
    if not one.differs:
        missed = "missed by" if over.figure == "met" else "above"
        seen = "none yet" if one.found.estimate is None else f"{100 * one.found.estimate:.2f}%"
        click.echo(
            f"same     {what}: {missed} {seen}, at most {100 * one.found.upper:.2f}%, of {one.found.observations:,} "
            f"outcomes, {over.since or '-'} to {over.until or '-'}"
        )
