"""Certificates that the production predictor made while records were written, computed anew from these records."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import CLOCK, IDS, asked, row
from trimtab.cli import cli
from trimtab.controlplane.records import Journal, rows, segments
from trimtab.controlplane.records.recheck import NotRecheckableError, Recheck, recheck
from trimtab.core.outcome import epoch, learnt_ms, missed, ran_on
from trimtab.core.record import Record
from trimtab.core.rows import AdmissionRow, CertificateRow, Certified, Met, Over
from trimtab.foundations.podmodel import FIGURES, Fit, Predictor, Times
from trimtab.foundations.stats import Certificate, Rate


class Gate:
    """What a gateway does: a row is learned from when it is written, and a certificate says what was known before."""

    def __init__(self) -> None:
        self.predictor = Predictor(Fit())
        self.rate = {0.9: Rate(), 0.95: Rate()}
        self.first: dict[Certified, str | None] = dict.fromkeys((*FIGURES, "met"))
        self.last: dict[Certified, str | None] = dict.fromkeys((*FIGURES, "met"))

    def learn(self, record: Record) -> None:
        for figure in FIGURES:
            pair = learnt_ms(record, figure) if ran_on(record) == "small" else None
            if pair is not None:
                times = Times(
                    **{f"{one}_ms": record.predicted[f"model_{one}_ms"] for one in FIGURES}, epoch=epoch(record)
                )
                self.predictor.learn(times, figure, pair[1])
                self.first[figure] = self.first[figure] or record.id
                self.last[figure] = record.id

        late = missed(record) if ran_on(record) == "small" else None
        if late is not None:
            self.rate[record.admissions[-1].percentile].observe(late)
            self.first["met"] = self.first["met"] or record.id
            self.last["met"] = record.id

    def certificate(self, figure: Certified, percentile: float) -> CertificateRow:
        if figure == "met":
            made = self.rate[0.9 if percentile <= 0.9 else 0.95].certificate()
        else:
            made = self.predictor.certificate(figure, percentile)
        over = Over(
            figure=figure, model="small", percentile=percentile, since=self.first[figure], until=self.last[figure]
        )
        return CertificateRow(**msgspec.structs.asdict(made), over=over)


def admitted(index: int) -> list[AdmissionRow]:
    """One of six was sent to another model in the end; some are probes, and some were let in by slots."""
    how: Literal["free", "probe"] = "probe" if index % 11 == 10 else "free"
    row = AdmissionRow(
        model="small",
        how=how,
        percentile=0.9 if index % 4 == 3 else 0.95,
        level=None if index % 7 == 6 else 0.05,
        running=1,
        waiting=0,
        slots=4,
    )
    return [row, msgspec.structs.replace(row, model="medium")] if index % 6 == 5 else [row]


def traffic(count: int, factor: Callable[[int], float] = lambda _: 1.0) -> list[Record]:
    """Requests of two models, some of which fail, some of which are whole answers, with adjustments between."""
    found = []
    for index in range(count):
        spent = 100.0 * factor(index) * (1 + index * 7 % 11 / 10)
        one = asked(ttft=10 + spent, e2e=50 + 12 * spent, id=IDS.record_id(), admissions=admitted(index))
        one.met = Met(latency=spent < 150)
        if index > 2 * count // 3:
            one.predicted["epoch"] = 1.0
        if index % 13 == 12:
            one.status, one.code = 502, "upstream_failed"
        if index % 9 == 8:
            one.ttft_ms = None
        found.append(one)
        if index % 10 == 9:
            found.append(row(kind="adjust", of=one.id, tier="S"))
    return found


def write(folder: Path, found: Iterable[Record], worker: int = 0) -> None:
    journal = Journal(folder, worker, CLOCK, group_s=0.001)
    for one in found:
        journal.write(one)
    journal.close()


def certified(count: int, percentile: float = 0.95, before: int = 0) -> list[Record]:
    """`before` rows of an earlier process, traffic, and one request that was certified after it."""
    gate, found = Gate(), traffic(before)
    for one in traffic(count, lambda index: 3.0 if index > count // 2 else 1.0):
        gate.learn(one)
        found.append(one)
    figures: list[Certified] = [*FIGURES, "met"] if percentile in (0.9, 0.93, 0.95) else [*FIGURES]
    last = asked(id=IDS.record_id(), certificates=[gate.certificate(figure, percentile) for figure in figures])
    return [*found, last]


def command(workspace: Path, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(cli, ["report", "--recheck", "last", "--workspace", str(workspace), *arguments])
    return done.exit_code, done.output


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 120), st.integers(0, 30), st.sampled_from([0.5, 0.9, 0.93, 0.95, 0.99]))
def test_a_true_certificate_is_found_again(count: int, before: int, percentile: float) -> None:
    """To the last bit: from no outcome on, behind rows of an earlier process, at a percentile that is rounded up; also
    after the way through JSON."""
    found = certified(count, percentile, before)
    for number, one in enumerate(found):
        one.seq = number + 1
    found = msgspec.json.decode(msgspec.json.encode(found), type=list[Record])
    for certificate in found[-1].certificates:
        result = recheck(found, certificate)
        assert result.ok
        assert result.found is not None
        assert msgspec.structs.asdict(result.found).items() <= msgspec.structs.asdict(certificate).items()


def test_the_command_computes_what_the_journal_holds(tmp_path: Path) -> None:
    """Among the rows of two workers; exit code 0, each certificate with what it says."""
    folder = tmp_path / "var" / "records"
    write(folder, traffic(30), worker=0)
    found = certified(200, before=20)
    write(folder, found, worker=1)
    code, output = command(tmp_path)
    over = found[-1].certificates[0].over
    assert over is not None
    assert code == 0
    assert output.splitlines()[-1] == "ok"
    assert output.splitlines()[0].startswith("same     ttft of model small at 95 %: above ")
    assert output.splitlines()[0].endswith(f" outcomes, {over.since} to {over.until}")
    code, output = command(tmp_path, "--json")
    told = msgspec.json.decode(output)
    assert (code, told["ok"], [one["differs"] for one in told["certificates"]]) == (0, True, [[], [], [], []])
    assert min(one["found"]["observations"] for one in told["certificates"]) > 80


@pytest.mark.parametrize("field", ["estimate", "upper", "observations", "claim"])
def test_a_figure_that_was_changed_is_named(field: str, tmp_path: Path) -> None:
    """With both values, and exit code 1; the others stand."""
    found = certified(100)
    told = found[-1].certificates[1]
    true = getattr(told, field)
    setattr(told, field, true + 1e-9 if isinstance(true, float) else true + 1 if isinstance(true, int) else "all well")
    write(tmp_path / "var" / "records", found)
    code, output = command(tmp_path)
    assert code == 1
    said = f"differs  itl of model small at 95 %: {field} is {getattr(told, field)}, from the records {true}"
    assert [line for line in output.splitlines() if line.startswith("differs")] == [said]
    assert output.splitlines()[-1] == "not ok: 1 of 4"


def test_an_outcome_that_was_changed_is_noticed() -> None:
    """One row of a hundred, made a little faster than it was, so that one miss is none; and one left out."""
    found = certified(100)
    for number, one in enumerate(found):
        one.seq = number + 1
    told = found[-1].certificates[2]
    assert recheck(found, told).ok
    changed = 0
    for one in found[60:100]:
        true, one.e2e_ms = one.e2e_ms, 20.0
        result = recheck(found, told)
        changed += [differs.figure for differs in result.differs] == ["estimate"]
        one.e2e_ms = true
    assert changed > 0
    next(one for one in found[70:] if ran_on(one) == "small" and learnt_ms(one, "e2e") is not None).status = 502
    assert "observations" in [differs.figure for differs in recheck(found, told).differs]


def results(folder: Path) -> list[Recheck]:
    found = list(rows(folder, on_corrupt=lambda _: None))
    return [recheck(found, certificate) for certificate in found[-1].certificates]


def test_rows_that_retention_took_are_named(tmp_path: Path) -> None:
    """The oldest segment moved away: it can't be computed anew, and the first that is left is said. Exit code 1."""
    folder = tmp_path / "var" / "records"
    found = certified(200)
    write(folder, traffic(3), worker=0)
    journal = Journal(folder, 1, CLOCK, group_s=0.001, segment_bytes=20_000)
    for index, one in enumerate(found):
        journal.write(one)
        if index % 20 == 0:
            journal.flush()
    journal.close()
    oldest, second, *_ = segments(folder, worker=1)
    oldest.path.unlink()
    code, output = command(tmp_path)
    assert code == 1
    assert output.splitlines()[0] == (
        "missing  ttft of model small at 95 %: it can't be computed anew, gone are all rows from "
        f"{found[0].id} on, the first that was learned from: the oldest row left is {second.first_seq}"
    )
    assert output.splitlines()[-1] == "not ok: 4 of 4"
    told = msgspec.json.decode(command(tmp_path, "--json")[1])
    assert [one["found"] for one in told["certificates"]] == [None, None, None, None]


def test_a_gap_in_the_middle_is_named(tmp_path: Path) -> None:
    """A damaged row is gone, too; so is a last one that never reached the disk."""
    folder = tmp_path / "var" / "records"
    found = certified(60)
    write(folder, found)
    (segment,) = segments(folder)
    data = segment.path.read_bytes().splitlines(keepends=True)
    damaged = [*data[:9], data[9].replace(b'"tier"', b'"tear"'), *data[10:]]
    segment.path.write_bytes(b"".join(damaged))
    assert [one.missing for one in results(folder)] == [["row 10"]] * 4
    segment.path.write_bytes(b"".join([*data[:20], *data[23:]]))
    assert [one.missing for one in results(folder)] == [["rows 21 to 23"]] * 4
    until = found[-1].certificates[0].over
    assert until is not None
    result = recheck(list(rows(folder, on_corrupt=lambda _: None))[:5], found[-1].certificates[0])
    assert result.missing == [f"rows 6 to {until.until}, the last that was learned from"]


def test_a_certificate_that_records_do_not_tell(tmp_path: Path) -> None:
    """Of another method, or without its place: that is said, and is no success; so is a record without any."""
    told = CertificateRow(**msgspec.structs.asdict(Certificate(
        claim="mean", method="hedged-capital", estimate=0.1, lower=0.0, upper=1.0, error=0.05, observations=5
    )))  # fmt: skip
    with pytest.raises(NotRecheckableError, match="'mean' \\(hedged-capital\\) can't be computed from records"):
        recheck([], told)
    write(tmp_path / "var" / "records", [row(status=200, certificates=[told])])
    assert command(tmp_path)[0] == 1
    write(tmp_path / "var" / "records", [row(status=200)])
    code, output = command(tmp_path)
    assert code == 1
    assert "holds no certificate" in output
