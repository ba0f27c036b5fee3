"""Availability as users saw it: of all that was asked, what became of it, by cause, counted from records.

    asked = answered + (what users should have got and did not, by cause) + (what nobody owed them, by cause)

Every request is in exactly one of these, so that the sum is exact. What nobody wrote down can't be in it: it is
estimated, and stands beside (`gaps.py`). An objective counts the same requests (`judge.py`), less those that a lost
gateway was answering.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Final, Literal, get_args

import msgspec

from trimtab.controlplane.slo.gaps import Gaps, Missing
from trimtab.controlplane.slo.judge import FAILED
from trimtab.controlplane.slo.window import MINUTE_NS
from trimtab.core.errors import Code
from trimtab.core.record import Record
from trimtab.foundations.stats import Certificate, Rate

Cause = Literal[
    "arrival", "overloaded", "room", "providers", "stream", "deadline", "draining", "store", "lost", "fault"
]
Owed = Literal["limits", "policy", "request", "left"]
CAUSES: Final[Mapping[Cause, str]] = {
    "arrival": "refused on arrival: the gateway had too much to do",
    "overloaded": "refused later: the gateway had too much to do",
    "room": "no model had room in time",
    "providers": "every provider that was tried failed",
    "stream": "the stream broke after it had begun",
    "deadline": "no answer before the deadline",
    "draining": "refused while a gateway went down",
    "store": "the store of limits and money was lost",
    "lost": "the gateway was lost while it answered",
    "fault": "a fault of the gateway's",
}
NOT_OWED: Final[Mapping[Owed, str]] = {
    "limits": "the caller's own limit or budget",
    "policy": "its own policy or contract left nothing",
    "request": "the request could not be served as it was",
    "left": "the caller hung up",
}
_CAUSE: Final[Mapping[str, Cause]] = {
    Code.OVERLOADED.wire: "overloaded",
    Code.QUEUE_FULL.wire: "room",
    Code.UPSTREAM_FAILED.wire: "providers",
    Code.NO_REPLICA.wire: "providers",
    Code.DEADLINE_EXCEEDED.wire: "deadline",
    Code.DRAINING.wire: "draining",
    Code.STORE_LOST.wire: "store",
    Code.INTERNAL_ERROR.wire: "fault",
}
_OWED: Final[Mapping[str, Owed]] = {
    Code.RATE_LIMITED.wire: "limits",
    Code.LARGER_THAN_LIMIT.wire: "limits",
    Code.BUDGET_EXHAUSTED.wire: "limits",
    Code.BUDGET_BUSY.wire: "limits",
    Code.COST_CAP.wire: "limits",
    Code.NOTHING_ALLOWED.wire: "policy",
    Code.CLIENT_CLOSED.wire: "left",
}


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """One cause. `codes`: how many ended with each error code."""

    cause: str
    means: str
    requests: int
    codes: dict[str, int]


class Provider(msgspec.Struct, frozen=True, kw_only=True):
    """What a provider's attempts came to. `minutes`: in which it was asked; `out`: in which more of its attempts failed
    than succeeded; what it told while nobody asked is not known."""

    name: str
    attempts: int
    failed: int
    minutes: int
    out: int


class Availability(msgspec.Struct, frozen=True, kw_only=True):
    """See the module. `late`, `rescued` and `told` are beside the sum: answers later than their contract; answers of
    which at least one attempt had failed; of the bad ones, those told by the template `unavailable`. `certificate`:
    bounds of the share of bad ones. `allowed`: bad ones that the target allows; None: there is none. `unrecorded`: rows
    of whoever that the journal lost while its disk refused them."""

    tenant: str | None
    channel: str | None
    since_ns: int
    until_ns: int
    seen_ns: int
    """From the first row of these to `until_ns`."""
    target: float | None
    asked: int
    answered: int
    owed: int
    bad: int
    allowed: int | None
    parts: tuple[Part, ...]
    not_owed: tuple[Part, ...]
    late: int
    rescued: int
    told: int
    certificate: Certificate
    missing: Missing
    unrecorded: int
    providers: tuple[Provider, ...]


class Tally:
    """Rows in, of all kinds, worker by worker in the order of writing; `result` when all were seen. `behind` names the
    provider of a replica; rows before `since_ns` only tell where numbers and gateways stood."""

    def __init__(
        self,
        tenant: str | None,
        channel: str | None,
        since_ns: int,
        behind: Callable[[str], str | None],
    ) -> None:
        self._tenant, self._channel, self._since_ns, self._behind = tenant, channel, since_ns, behind
        self._bad: dict[Cause, Counter[str]] = {cause: Counter() for cause in get_args(Cause)}
        self._not_owed: dict[Owed, Counter[str]] = {cause: Counter() for cause in get_args(Owed)}
        self._answered = self._late = self._rescued = self._told = self._unrecorded = 0
        self._first_ns: int | None = None
        self._seqs: dict[int, int] = {}
        self._lost: Counter[str] = Counter()
        self._attempts: dict[str, list[int]] = {}
        self._minutes: dict[tuple[str, int], list[int]] = {}
        self._gaps = Gaps()

    def add(self, row: Record) -> None:
        self._numbered(row)
        now = row.t_wall_ns >= self._since_ns
        mine = self._tenant in (None, row.tenant) and self._channel in (None, row.channel)
        self._gaps.observe(row, mine and row.kind == "request")
        if not now:
            return
        self._first_ns = row.t_wall_ns if self._first_ns is None else min(self._first_ns, row.t_wall_ns)
        if row.kind == "request":
            self._asked_of(row)
        if not mine:
            return
        if row.kind == "refused":
            self._bad["arrival"][row.code or ""] += row.count or 0
        elif row.kind == "lost" and row.of is not None:
            self._lost[row.of] += row.cost.settled_nanousd or 0
        elif row.kind == "request":
            self._request(row)

    def _numbered(self, row: Record) -> None:
        worker, seq = row.worker or 0, row.seq or 0
        before = self._seqs.get(worker)
        self._seqs[worker] = seq
        if before is not None and row.t_wall_ns >= self._since_ns:
            self._unrecorded += max(0, seq - before - 1)

    def _request(self, row: Record) -> None:
        code = row.code or ""
        if row.code is None and row.status == 200:
            self._answered += 1
            self._late += row.met.latency is False
            self._rescued += any(one.outcome == "dropped" for one in row.attempts)
        elif row.code in FAILED:
            begun = row.path != "template" and row.ttft_ms is not None
            self._told += row.path == "template"
            self._bad["stream" if begun else _CAUSE[code]][code] += 1
        else:
            self._not_owed[_OWED.get(code, "request")][code] += 1

    def _asked_of(self, row: Record) -> None:
        """Providers serve everybody: whoever's request it was tells of them."""
        for attempt in row.attempts:
            if attempt.outcome == "ignored" or (name := self._behind(attempt.replica)) is None:
                continue
            failed = attempt.outcome == "dropped"
            sums = self._attempts.setdefault(name, [0, 0])
            minute = self._minutes.setdefault((name, row.t_wall_ns // MINUTE_NS), [0, 0])
            for counts in (sums, minute):
                counts[failed] += 1

    def result(self, until_ns: int, target: float | None, recorded: Callable[[str], bool]) -> Availability:
        """`recorded`: whether a request that a lost gateway held has a row all the same."""
        for name, nanousd in self._lost.items():
            if nanousd > 0 and not recorded(name):
                self._bad["lost"][""] += 1
        parts = tuple(_part(cause, CAUSES[cause], codes) for cause, codes in self._bad.items())
        not_owed = tuple(_part(cause, NOT_OWED[cause], codes) for cause, codes in self._not_owed.items())
        bad = sum(part.requests for part in parts)
        owed = self._answered + bad
        rate = Rate()
        rate.hits, rate.total = bad, owed
        return Availability(
            tenant=self._tenant,
            channel=self._channel,
            since_ns=self._since_ns,
            until_ns=until_ns,
            seen_ns=0 if self._first_ns is None else until_ns - self._first_ns,
            target=target,
            asked=owed + sum(part.requests for part in not_owed),
            answered=self._answered,
            owed=owed,
            bad=bad,
            allowed=None if target is None else int((1 - Fraction(str(target))) * owed),
            parts=parts,
            not_owed=not_owed,
            late=self._late,
            rescued=self._rescued,
            told=self._told,
            certificate=rate.certificate(),
            missing=self._gaps.missing(self._since_ns),
            unrecorded=self._unrecorded,
            providers=tuple(self._provider(name) for name in sorted(self._attempts)),
        )

    def _provider(self, name: str) -> Provider:
        succeeded, failed = self._attempts[name]
        minutes = [counts for (whose, _), counts in self._minutes.items() if whose == name]
        out = sum(dropped > fine for fine, dropped in minutes)
        return Provider(name=name, attempts=succeeded + failed, failed=failed, minutes=len(minutes), out=out)


def tally(rows: Iterable[Record], into: Tally) -> Tally:
    for row in rows:
        into.add(row)
    return into


def _part(cause: str, means: str, codes: Counter[str]) -> Part:
    return Part(cause=cause, means=means, requests=codes.total(), codes={code: codes[code] for code in codes if code})


__all__ = ["CAUSES", "NOT_OWED", "Availability", "Part", "Provider", "Tally", "tally"]
