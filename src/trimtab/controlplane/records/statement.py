"""A tenant's month: what it spent and saved, which contracts were kept, and a digest by which it can check both sides.

A request belongs to the month in which its money was reserved, as in its budgets; what came later of it (adjust, lost)
to the same month. The lines of a statement are its requests with what each came to in the end, which the tenant has in
the answers' own headers (`trimtab-record`, `trimtab-cost-usd`): so it can find out by itself what differs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from hashlib import blake2b
from typing import Final

import msgspec

from trimtab.core.money import NANO, usd
from trimtab.core.outcome import reserved_ns
from trimtab.core.record import Record

KINDS: Final = ("request", "adjust", "lost")
_NS_PER_S: Final = 1_000_000_000


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """Contracts of one term. `unknown`: of requests of which nothing can be told."""

    kept: int
    missed: int
    unknown: int


class ChannelLine(msgspec.Struct, frozen=True, kw_only=True):
    """One channel's share. Money in nano-dollars."""

    channel: str | None
    requests: int
    answered: int
    latency: Kept
    quality: Kept
    cost: Kept
    spent_nanousd: int
    baseline_nanousd: int
    """What the channel's one-model-for-all would have cost, of the requests that have a baseline."""
    saved_nanousd: int
    """Baseline less what these came to."""


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. `since_ns`, `until_ns`: the month in the tenant's time zone, as UTC nanoseconds, the latter left
    out. `unpriced`: requests whose cost nobody knows. `digest`: of all lines."""

    tenant: str
    month: str
    since_ns: int
    until_ns: int
    channels: list[ChannelLine]
    total: ChannelLine
    unpriced: int
    digest: str


class Entry(msgspec.Struct, frozen=True):
    """A request and what it came to; None: nobody knows."""

    record: str
    nanousd: int | None


class Difference(msgspec.Struct, frozen=True):
    """What one side has otherwise. `ours`, `theirs`: nano-dollars; None: unknown or absent, as `why` says."""

    record: str
    ours: int | None
    theirs: int | None
    why: str


def month_of(text: str, zone: tzinfo) -> tuple[int, int]:
    """`2026-11` as nanoseconds from its first to its last instant. Raises ValueError for what is no month."""
    try:
        first = datetime.strptime(text, "%Y-%m").replace(tzinfo=zone)
    except ValueError:
        raise ValueError(f"{text!r} is no month: write e.g. 2026-11") from None
    year, month = divmod(first.year * 12 + first.month, 12)
    after = first.replace(year=year, month=month + 1)
    return tuple(int(one.astimezone(UTC).timestamp()) * _NS_PER_S for one in (first, after))  # type: ignore[return-value]


class _Sum:
    def __init__(self) -> None:
        self.requests = self.answered = self.spent = self.baseline = self.saved = 0
        self.terms = {name: [0, 0, 0] for name in ("latency", "quality", "cost")}

    def request(self, row: Record, nanousd: int | None) -> None:
        self.requests += 1
        self.answered += row.status == 200 and row.code is None
        self.spent += nanousd or 0
        if row.cost.baseline_nanousd is not None and nanousd is not None:
            self.baseline += row.cost.baseline_nanousd
            self.saved += row.cost.baseline_nanousd - nanousd
        for name, counts in self.terms.items():
            kept: bool | None = getattr(row.met, name)
            counts[2 if kept is None else 0 if kept else 1] += 1

    def line(self, channel: str | None) -> ChannelLine:
        terms = {
            name: Kept(kept=kept, missed=missed, unknown=unknown)
            for name, (kept, missed, unknown) in self.terms.items()
        }
        return ChannelLine(
            channel=channel,
            requests=self.requests,
            answered=self.answered,
            spent_nanousd=self.spent,
            baseline_nanousd=self.baseline,
            saved_nanousd=self.saved,
            **terms,
        )


def state(tenant: str, month: str, zone: tzinfo, rows: Iterable[Record]) -> tuple[Statement, list[Entry]]:
    """The statement and its lines, by id. `rows`: of KINDS and this tenant, from a day before the month on, in any
    order. Raises ValueError for what is no month."""
    since_ns, until_ns = month_of(month, zone)
    requests: dict[str, Record] = {}
    later: dict[str, int] = {}
    alone: dict[str, int] = {}
    for row in rows:
        if row.tenant != tenant:
            continue
        if row.kind == "request":
            if since_ns <= reserved_ns(row) < until_ns:
                requests[row.id] = row
        elif row.cost.settled_nanousd:
            of = row.of or row.id
            later[of] = later.get(of, 0) + row.cost.settled_nanousd
            if row.kind == "lost" and since_ns <= row.t_wall_ns < until_ns:
                alone[of] = alone.get(of, 0) + row.cost.settled_nanousd
    sums: dict[str | None, _Sum] = {}
    total, entries = _Sum(), []
    for name in sorted(requests):
        row = requests[name]
        settled = row.cost.settled_nanousd
        nanousd = later.get(name) if settled is None else settled + later.get(name, 0)
        entries.append(Entry(name, nanousd))
        for one in (sums.setdefault(row.channel, _Sum()), total):
            one.request(row, nanousd)
    for name in sorted(alone.keys() - requests.keys()):  # of a gateway that was lost before it could write the request
        entries.append(Entry(name, alone[name]))
        for one in (sums.setdefault(None, _Sum()), total):
            one.spent += alone[name]
    entries.sort(key=lambda one: one.record)
    lines = [sums[name].line(name) for name in sorted(sums, key=lambda name: name or "")]
    statement = Statement(
        tenant=tenant,
        month=month,
        since_ns=since_ns,
        until_ns=until_ns,
        channels=lines,
        total=total.line(None),
        unpriced=sum(one.nanousd is None for one in entries),
        digest=digest(entries),
    )
    return statement, entries


def digest(entries: Iterable[Entry]) -> str:
    """blake2b-256 of the lines `ID NANODOLLARS`, in the order of ids; `?` where nobody knows."""
    whole = blake2b(digest_size=32)
    for one in sorted(entries, key=lambda one: one.record):
        whole.update(f"{one.record} {'?' if one.nanousd is None else one.nanousd}\n".encode())
    return whole.hexdigest()


def written(entries: Iterable[Entry]) -> str:
    """As CSV, for the tenant: `record,usd`."""
    lines = [f"{one.record},{'' if one.nanousd is None else usd(one.nanousd)}" for one in entries]
    return "\n".join(["record,usd", *lines]) + "\n"


def read(text: str) -> list[Entry]:
    """The tenant's own lines, as `written` has them. Raises ValueError for a line that is none."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.strip() == "record,usd":
            continue
        name, comma, amount = line.strip().partition(",")
        try:
            nanousd = int(Decimal(amount) * NANO) if amount else None
        except (InvalidOperation, OverflowError, ValueError):
            comma = ""
        if not comma or not name.startswith("rec_"):
            raise ValueError(f"line {number} is no record and its cost: {line[:80]!r}")
        found.append(Entry(name, nanousd))
    return found


def compared(ours: Iterable[Entry], theirs: Iterable[Entry]) -> list[Difference]:
    """What differs, by id."""
    own: Mapping[str, int | None] = {one.record: one.nanousd for one in ours}
    other: Mapping[str, int | None] = {one.record: one.nanousd for one in theirs}
    found = []
    for name in sorted(own.keys() | other.keys()):
        why = "not in theirs" if name not in other else "not in ours" if name not in own else "another amount"
        if why != "another amount" or own[name] != other[name]:
            found.append(Difference(name, own.get(name), other.get(name), why))
    return found
