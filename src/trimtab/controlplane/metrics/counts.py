"""Records into counts: a RecordSink that keeps numbers and no row, and writes them out when they are asked for.

The way of a record is some look-ups and additions (6 microseconds, 3 of them for `Live`); everything else, labels, sums
of sums, text, is done at the scrape. A series' labels are worked out once, when its combination is first seen: there
what is neither declared nor of a closed list becomes `other`, so that no caller can open a series by what it sends.
"""

from __future__ import annotations

import logging
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, get_args

import msgspec

from trimtab.controlplane.metrics import of_requests as f
from trimtab.controlplane.metrics.live import Live
from trimtab.controlplane.metrics.text import Exemplar, Family, histogram, sample
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.decision import Path
from trimtab.core.errors import Code
from trimtab.core.models import Tier
from trimtab.core.money import usd
from trimtab.core.record import Record
from trimtab.core.rows import Outcome, SettingRow
from trimtab.dataplane.guard import CHECKS_IN, CHECKS_OUT

MOST_SERIES: Final = 10_000
"""Of one metric: what 50 tenants with 4 channels come to, several times over."""
OTHER: Final = "other"
NONE: Final = "none"
STAGES: Final = (
    *("accept", "ingress", "body", "bind", "guard_in", "classify", "decide", "cache", "route"),
    *("admit", "reserve", "retrieve", "infer", "guard_out", "settle"),
)
_MS: Final = 1000
_LATENCY, _TTFT, _ITL, _STAGE = (
    tuple(bound * _MS for bound in bounds) for bounds in (f.LATENCY_S, f.TTFT_S, f.ITL_S, f.STAGE_S)
)
_PATHS: Final = frozenset(get_args(Path))
_TIERS: Final = frozenset(get_args(Tier))
_OUTCOMES: Final = frozenset(get_args(Outcome))
_CODES: Final = frozenset(code.wire for code in Code)
_STATUSES: Final = frozenset({200, *(code.status for code in Code)})
_CHECKS: Final = CHECKS_IN | CHECKS_OUT | {"restore", "grounded"}
_log = logging.getLogger(__name__)


class Declared(msgspec.Struct, frozen=True):
    """The names that may become labels: channels by tenant, and variants."""

    channels: Mapping[str, frozenset[str]]
    variants: frozenset[str]


class _Channel:
    """Sums of one channel. A histogram is its buckets' counts and, last, the sum of its values in ms. Exemplars are by
    histogram and number of the bucket."""

    __slots__ = (
        *("baseline", "cached", "compared", "completion", "duration", "exemplars", "history", "itl", "kept", "missed"),
        *("prompt", "reasoning", "retrieved", "system", "ttft", "user", "written"),
    )

    def __init__(self) -> None:
        self.duration, self.ttft, self.itl = _buckets(_LATENCY), _buckets(_TTFT), _buckets(_ITL)
        self.kept, self.missed = [0, 0, 0], [0, 0, 0]
        self.prompt = self.completion = self.cached = self.written = self.reasoning = 0
        self.system = self.history = self.user = self.retrieved = 0
        self.baseline = self.compared = 0
        self.exemplars: dict[str, dict[int, Exemplar]] = {"duration": {}, "ttft": {}, "itl": {}}


class _Fate:
    """Requests of one channel with one fate, and what they cost."""

    __slots__ = ("channel", "labels", "nanousd", "priced", "requests")

    def __init__(self, labels: tuple[str, ...], channel: _Channel) -> None:
        self.labels, self.channel = labels, channel
        self.requests = self.nanousd = 0
        self.priced = False


class Counts:
    """See the module. One event loop. `declared` is asked when a combination is new, so that a reload counts. `clock`
    says which records are recent."""

    def __init__(self, declared: Callable[[], Declared], clock: Clock, most: int = MOST_SERIES) -> None:
        self._declared, self._most = declared, most
        self._live = Live(clock)
        self._known: dict[tuple[Any, ...], _Fate] = {}
        self._fates: dict[tuple[str, ...], _Fate] = {}
        self._channels: dict[tuple[str, str], _Channel] = {}
        self._stages: dict[str, list[float]] = {name: _buckets(_STAGE) for name in (*STAGES, OTHER)}
        self._attempts: dict[tuple[str | None, str], int] = {}
        self._settings: dict[tuple[str, str], int] = {}
        self._drafted: dict[tuple[str, str], int] = {}
        self._guards: dict[tuple[str, str], int] = {}
        self._refused: dict[str, int] = {}
        self._folded = self._failed = 0

    def write(self, record: Record) -> None:
        """Count it. Never raises: figures are never worth a request."""
        try:
            if record.kind == "request":
                self._count(record)
            elif record.kind == "refused":
                raw = _raw(record)
                (self._known.get(raw) or self._open(raw)).requests += record.count or 0
        except Exception:  # noqa: BLE001 - as said
            self._failed += 1
            if self._failed == 1:
                _log.exception("a record could not be counted; further ones are in trimtab_metrics_failed_total")

    def refused(self, code: Code) -> None:
        """Bytes that never became a request."""
        self._refused[code.wire] = self._refused.get(code.wire, 0) + 1

    def exemplar(self, record: Record) -> None:
        """The trace of a record that was written here is kept: it stands for its buckets from now on."""
        fate, trace, itl = self._known.get(_raw(record)), record.trace, record.itl
        if fate is None or trace is None:
            return
        for name, bounds, ms in (
            ("duration", _LATENCY, record.e2e_ms),
            ("ttft", _TTFT, record.ttft_ms),
            ("itl", _ITL, None if itl is None else itl.p95),
        ):
            if ms is not None:
                seen = Exemplar(trace.trace_id, ms / _MS, record.t_wall_ns / NS_PER_S)
                fate.channel.exemplars[name][bisect_left(bounds, ms)] = seen

    def _count(self, record: Record) -> None:
        raw = _raw(record)
        fate = self._known.get(raw) or self._open(raw)
        fate.requests += 1
        channel = fate.channel
        if (ms := record.e2e_ms) is not None:
            found = channel.duration
            found[bisect_left(_LATENCY, ms)] += 1
            found[-1] += ms
        if (ms := record.ttft_ms) is not None:
            found = channel.ttft
            found[bisect_left(_TTFT, ms)] += 1
            found[-1] += ms
        if record.itl is not None:
            found = channel.itl
            found[bisect_left(_ITL, record.itl.p95)] += 1
            found[-1] += record.itl.p95
        stages = self._stages
        for name, (_, ms) in record.stages.items():
            found = stages.get(name) or stages[OTHER]
            found[bisect_left(_STAGE, ms)] += 1
            found[-1] += ms
        if record.cost.settled_nanousd is not None:
            self._spend(fate, record.cost.settled_nanousd, record.cost.baseline_nanousd)
        if record.tokens.source is not None:
            _tokens(channel, record)
        if record.contract is not None:
            met = record.met
            for index, kept in enumerate((met.latency, met.quality, met.cost)):
                if kept is not None:
                    (channel.kept if kept else channel.missed)[index] += 1
        for attempt in record.attempts:
            key: tuple[str | None, str] = (attempt.variant, attempt.outcome)
            if key not in self._attempts and len(self._attempts) >= self._most:
                key = OTHER, OTHER
            self._attempts[key] = self._attempts.get(key, 0) + 1
        if record.setting is not None:
            self._set(record.setting)
        for row in record.guards:
            if row.hits:
                check = row.check if row.check in _CHECKS else OTHER
                self._guards[row.stage, check] = self._guards.get((row.stage, check), 0) + row.hits
        self._live.observe(fate.labels[:2], record)

    def _set(self, row: SettingRow) -> None:
        """Names come from documents; those of earlier ones are bounded as all others."""
        name = row.model if row.name is None else f"{row.model}+{row.name}"
        if len(self._settings) >= self._most and (name, row.why) not in self._settings:
            name = OTHER
        self._settings[name, row.why] = self._settings.get((name, row.why), 0) + 1
        if row.drafted is not None:
            accepted = row.accepted or 0
            for key, count in (((name, "yes"), accepted), ((name, "no"), row.drafted - accepted)):
                self._drafted[key] = self._drafted.get(key, 0) + count

    def _spend(self, fate: _Fate, settled: int, baseline: int | None) -> None:
        fate.priced = True
        fate.nanousd += settled
        if baseline is not None:
            fate.channel.baseline += baseline
            fate.channel.compared += settled

    def _open(self, raw: tuple[Any, ...]) -> _Fate:
        """The sums of a combination that is seen for the first time, or again after a long while."""
        labels = self._bounded(*raw)
        fate = self._fates.get(labels)
        if fate is None:
            if len(self._fates) >= self._most:
                self._folded += 1
                labels = (OTHER,) * len(labels)
                fate = self._fates.get(labels)
            if fate is None:
                owner = labels[0], labels[1]
                channel = self._channels.setdefault(owner, _Channel())
                fate = self._fates[labels] = _Fate(labels, channel)
        if len(self._known) >= 2 * self._most:  # many ids of variants over many releases
            self._known.clear()
        self._known[raw] = fate
        return fate

    def _bounded(
        self,
        tenant: str | None,
        channel: str | None,
        path: str | None,
        tier: str | None,
        variant: str | None,
        status: int | None,
        code: str | None,
    ) -> tuple[str, ...]:
        declared = self._declared()
        channels = declared.channels.get(tenant or "", frozenset())
        return (
            _one_of(tenant, declared.channels),
            _one_of(channel, channels),
            _one_of(path, _PATHS),
            _one_of(tier, _TIERS),
            _one_of(_name(variant), declared.variants),
            NONE if status is None else str(status) if status in _STATUSES else OTHER,
            _one_of(code, _CODES),
        )

    # --- the scrape

    def pieces(self, exemplars: bool = False) -> Iterator[str]:
        """The text, in pieces of a few lines. Records may be counted between them; each line is true by itself."""
        fates = list(self._fates.values())
        yield f.REQUESTS.head
        for fate in fates:
            yield sample(f.REQUESTS, fate.labels, fate.requests)
        yield from self._spent(fates)
        channels = list(self._channels.items())
        for family, name in ((f.DURATION, "duration"), (f.TTFT, "ttft"), (f.ITL, "itl")):
            yield family.head
            for owner, channel in channels:
                yield _histogram(family, owner, getattr(channel, name), channel.exemplars[name] if exemplars else None)
        yield from self._live.pieces()
        yield f.STAGES.head
        for stage, found in self._stages.items():
            if stage != OTHER or any(found):
                yield _histogram(f.STAGES, (stage,), found)
        yield f.CONTRACT.head
        for owner, channel in channels:
            for index, term in enumerate(("latency", "quality", "cost")):
                yield sample(f.CONTRACT, (*owner, term, "kept"), channel.kept[index])
                yield sample(f.CONTRACT, (*owner, term, "missed"), channel.missed[index])
        yield from _token_lines(channels)
        for family, name in ((f.BASELINE, "baseline"), (f.COMPARED, "compared")):
            yield family.head
            for owner, channel in channels:
                yield sample(family, owner, usd(getattr(channel, name)))
        yield from self._rest()

    def _spent(self, fates: list[_Fate]) -> Iterator[str]:
        """Cost by owner, tier and variant: the sum over the other labels of a fate."""
        spent: dict[tuple[str, ...], int] = {}
        for fate in fates:
            if fate.priced:
                key = (*fate.labels[:2], *fate.labels[3:5])
                spent[key] = spent.get(key, 0) + fate.nanousd
        yield f.COST.head
        for labels, nanousd in spent.items():
            yield sample(f.COST, labels, usd(nanousd))

    def _rest(self) -> Iterator[str]:
        variants = self._declared().variants
        attempts: dict[tuple[str, str], int] = {}
        for (variant, outcome), count in self._attempts.items():
            labels = _one_of(_name(variant), variants), _one_of(outcome, _OUTCOMES)
            attempts[labels] = attempts.get(labels, 0) + count
        yield f.ATTEMPTS.head
        for labels, count in attempts.items():
            yield sample(f.ATTEMPTS, labels, count)
        for family, counts in ((f.SETTINGS, self._settings), (f.DRAFTED, self._drafted)):
            yield family.head
            for labels, count in list(counts.items()):
                yield sample(family, labels, count)
        yield f.GUARD_HITS.head
        for labels, count in list(self._guards.items()):
            yield sample(f.GUARD_HITS, labels, count)
        yield f.HTTP_REFUSED.head
        for code, count in list(self._refused.items()):
            yield sample(f.HTTP_REFUSED, (code,), count)
        for family, number in ((f.FOLDED, self._folded), (f.FAILED, self._failed)):
            yield family.head + sample(family, (), number)


def _buckets(bounds: tuple[float, ...]) -> list[float]:
    return [0] * (len(bounds) + 1) + [0.0]


def _histogram(
    family: Family, labels: tuple[str, ...], found: list[float], exemplars: Mapping[int, Exemplar] | None = None
) -> str:
    return histogram(family, labels, [int(count) for count in found[:-1]], found[-1] / _MS, exemplars)


def _raw(record: Record) -> tuple[Any, ...]:
    """The combination that a record's labels are worked out from."""
    return (record.tenant, record.channel, record.path, record.tier, record.variant, record.status, record.code)


def _one_of(value: str | None, allowed: Any) -> str:
    return NONE if value is None else value if value in allowed else OTHER


def _name(variant: str | None) -> str | None:
    """A variant's name without the hash of its content: that would be a new series with every release."""
    return variant if variant is None else variant.partition("@")[0]


def _tokens(channel: _Channel, record: Record) -> None:
    tokens = record.tokens
    if tokens.prompt:
        channel.prompt += tokens.prompt
        channel.system += tokens.system or 0
        channel.history += tokens.history or 0
        channel.user += tokens.user or 0
        channel.retrieved += tokens.retrieved or 0
        channel.cached += tokens.cached or 0
        channel.written += tokens.written or 0
    if tokens.completion:
        channel.completion += tokens.completion
        channel.reasoning += tokens.reasoning or 0


def _token_lines(channels: list[tuple[tuple[str, str], _Channel]]) -> Iterator[str]:
    for family, names in (
        (f.TOKENS, ("prompt", "completion")),
        (f.PROMPT_PARTS, ("system", "history", "user", "retrieved")),
    ):
        yield family.head
        for owner, channel in channels:
            for name in names:
                yield sample(family, (*owner, name), getattr(channel, name))
    for family, name in ((f.CACHED_TOKENS, "cached"), (f.WRITTEN_TOKENS, "written"), (f.REASONING_TOKENS, "reasoning")):
        yield family.head
        for owner, channel in channels:
            yield sample(family, owner, getattr(channel, name))


__all__ = ["MOST_SERIES", "NONE", "OTHER", "STAGES", "Counts", "Declared"]
