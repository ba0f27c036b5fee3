"""Drift: whether what features are reckoned from, and what the classifier says, differs between two stretches of time.

All verdicts of one look together are false with probability `error` at most, if rows are independent of each other:
those of one conversation are not, so that few long ones make it look surer than it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

import msgspec

from trimtab.controlplane import lake
from trimtab.controlplane.features.reckon import MEMORY_MIB
from trimtab.controlplane.features.words import said, spread
from trimtab.core.features import Feature
from trimtab.foundations.stats import Certificate, distance

if TYPE_CHECKING:
    from trimtab.controlplane.lake import Table

Verdict = Literal["DRIFT", "NO_DRIFT", "INSUFFICIENT_DATA"]
SAID: Final = ("language", "intent", "complexity", "risk")
"""What the classifier says of a request."""
_ALL: Final = 1 << 62
_Counts = dict[Decimal | str, int]


class Stretch(NamedTuple):
    """Rows that were known from `since_ns` on, and before `before_ns`."""

    since_ns: int
    before_ns: int


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """Of one feature. `rows`: of each stretch; `moved`: the value whose share changed most, with both shares."""

    name: str
    rows: tuple[int, int]
    certificate: Certificate
    moved: tuple[str, float, float] | None
    verdict: Verdict


def drift(
    table: Table,
    features: Mapping[str, Feature],
    now: Stretch,
    then: Stretch,
    *,
    margin: float,
    error: float,
    memory_mib: int = MEMORY_MIB,
) -> list[Drift]:
    """Of every declared feature but counts, which have no distribution, and of what the classifier says. `margin`: by
    how much distributions must differ to have drifted. Raises LakeError."""
    files = table.files()
    texts = {name: tuple(said(name, *one) for one in (then, now)) for name in SAID}
    texts |= {
        name: tuple(spread(feature, *one) for one in (then, now))
        for name, feature in features.items()
        if feature.value != "count"
    }
    found = []
    for name, questions in texts.items():
        before, after = (_counts(files, sql, memory_mib) for sql in questions)
        certificate = distance(before, after, error / len(texts))  # type: ignore[type-var]  # of one kind by name
        found.append(
            Drift(
                name=name,
                rows=(sum(before.values()), sum(after.values())),
                certificate=certificate,
                moved=_moved(before, after),
                verdict=_verdict(certificate, margin),
            )
        )
    return found


def _counts(files: list[str], sql: str, memory_mib: int) -> _Counts:
    return dict(lake.ask(files, sql, rows=_ALL, memory_mib=memory_mib).rows)


def _moved(before: _Counts, after: _Counts) -> tuple[str, float, float] | None:
    of_before, of_after = sum(before.values()), sum(after.values())
    if not of_before or not of_after:
        return None
    shares = {one: (before.get(one, 0) / of_before, after.get(one, 0) / of_after) for one in {*before, *after}}
    value, (was, is_) = max(shares.items(), key=lambda one: (abs(one[1][1] - one[1][0]), str(one[0])))
    return value if isinstance(value, str) else f"{value:f}".rstrip("0").rstrip("."), was, is_


def _verdict(certificate: Certificate, margin: float) -> Verdict:
    if certificate.lower > margin:
        return "DRIFT"
    return "NO_DRIFT" if certificate.upper <= margin else "INSUFFICIENT_DATA"


__all__ = ["SAID", "Drift", "Stretch", "drift"]
