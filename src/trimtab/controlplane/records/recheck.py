"""Certificates computed anew from records alone, by the code that made them.

A certificate of forecasts says how often outcomes were above their prediction, one of a gate how many of those whom
forecasts let in missed their contract. Its observations are the rows between the two that it names
(`core.rows.Over`); they are learned by a `Predictor` (a `Rate`) that knows nothing, in the order in which they were
written, and its certificate must be the same to the last bit. A row that is gone might have been learned from, so with
a gap in the numbers nothing can be said.

That everything is there between two rows is the chain's and the numbers' business; that the two are the right ones,
the first of the process and the last before the decision, is the gateway's word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from trimtab.core.errors import TrimtabError
from trimtab.core.outcome import epoch, learnt_ms, missed, ran_on
from trimtab.core.record import Record
from trimtab.core.rows import CertificateRow, Over
from trimtab.foundations.podmodel import Fit, Predictor, Times, learned_at
from trimtab.foundations.stats import Certificate, Rate

METHODS = {"dtaci": ("ttft", "itl", "e2e"), "beta-binomial": ("met",)}
"""What records can be computed of anew, by method."""


class NotRecheckableError(TrimtabError):
    """Records alone can't say what this certificate says."""


class Differs(msgspec.Struct, frozen=True, kw_only=True):
    """A figure that is another one."""

    figure: str
    """Field of the certificate."""
    told: float | int | str | None
    """In the record."""
    found: float | int | str | None
    """Computed anew."""


class Recheck(msgspec.Struct, frozen=True, kw_only=True):
    """What became of one certificate."""

    told: CertificateRow
    """As it stands in the record."""
    found: Certificate | None
    """Computed anew; null: rows are missing."""
    differs: list[Differs]
    """Figure by figure; empty: it is the same."""
    missing: list[str]
    """Which rows are gone."""

    @property
    def ok(self) -> bool:
        return self.found is not None and not self.differs


def recheck(rows: Iterable[Record], certificate: CertificateRow) -> Recheck:
    """`rows`: of the worker that wrote the certificate, of all kinds, in the order of `seq`. Raises
    NotRecheckableError for a certificate of another kind."""
    return recheck_all(rows, [certificate])[0]


def recheck_all(rows: Iterable[Record], certificates: Sequence[CertificateRow]) -> list[Recheck]:
    """Several in one pass over the rows. Raises as `recheck`."""
    passes = [_Pass(certificate) for certificate in certificates]
    for row in rows:
        for one in passes:
            one.add(row)
        if all(one.done for one in passes):
            break
    return [one.result() for one in passes]


class _Pass:
    """One certificate while rows come by. `done`: none that comes later matters."""

    def __init__(self, told: CertificateRow) -> None:
        if told.over is None or told.over.figure not in METHODS.get(told.method, ()):
            raise NotRecheckableError(f"a certificate of {told.claim!r} ({told.method}) can't be computed from records")
        self._told, self._over = told, told.over
        self._percentile = learned_at(told.over.percentile)
        self._rate = Rate()
        self._predictor = Predictor(Fit(), (self._percentile,))
        self._missing: list[str] = []
        self._oldest: int | None = None
        self._next: int | None = None  # number of the row that must follow; None: the first has not come yet
        self.done = self._over.since is None  # nothing had been learned from

    def add(self, row: Record) -> None:
        number = row.seq or 0
        if self._oldest is None:
            self._oldest = number
        if self.done or (self._next is None and row.id != self._over.since):
            return
        if self._next is not None and number != self._next:
            self._missing.append(_span(self._next, number - 1))
        self._next = number + 1
        self._learn(row)
        self.done = row.id == self._over.until

    def result(self) -> Recheck:
        told, over = self._told, self._over
        if not self.done:
            self._missing.append(self._what_is_gone())
        if self._missing:
            return Recheck(told=told, found=None, differs=[], missing=self._missing)
        if over.figure == "met":
            found = self._rate.certificate()
        else:
            found = self._predictor.certificate(over.figure, over.percentile)
        differs = [
            Differs(figure=name, told=getattr(told, name), found=getattr(found, name))
            for name in Certificate.__struct_fields__
            if getattr(told, name) != getattr(found, name)
        ]
        return Recheck(told=told, found=found, differs=differs, missing=[])

    def _learn(self, row: Record) -> None:
        if ran_on(row) != self._over.model:
            return
        figure = self._over.figure
        if figure == "met":
            late = missed(row)
            if late is not None and learned_at(row.admissions[-1].percentile) == self._percentile:
                self._rate.observe(late)
        elif (pair := learnt_ms(row, figure)) is not None:
            model_ms, outcome_ms = pair
            self._predictor.learn(Times.all(model_ms, epoch(row)), figure, outcome_ms)

    def _what_is_gone(self) -> str:
        if self._next is not None:
            return f"rows {self._next} to {self._over.until}, the last that was learned from"
        behind = "no row is left" if self._oldest is None else f"the oldest row left is {self._oldest}"
        return f"all rows from {self._over.since} on, the first that was learned from: {behind}"


def _span(first: int, last: int) -> str:
    return f"row {first}" if first == last else f"rows {first} to {last}"


def described(over: Over) -> str:
    """`ttft of model small at 95 %`."""
    what = "contracts" if over.figure == "met" else over.figure
    return f"{what} of model {over.model} at {100 * over.percentile:g} %"
