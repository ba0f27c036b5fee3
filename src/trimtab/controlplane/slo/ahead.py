"""What availability a channel's fallbacks can carry, from what was measured: an additive budget of shares of requests.

- `providers`: all of the channel's providers are down at once, by the share of minutes in which each was, or where it
  was not asked, by what it promises, or else nothing; independently of each other, as `check` takes them.
- `restarts`: no gateway was there, as a share of the time, and what was refused or cut around it.
- `ours`: refused for want of room, late beyond the deadline, faults.

What did get through although there were fallbacks stands beside the providers' term: where it is more, they don't fail
independently, or what failed was not theirs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Final, Literal

import msgspec

from trimtab.controlplane.registry.providers import promised_down, together
from trimtab.controlplane.slo.availability import Availability
from trimtab.core.clock import NS_PER_S
from trimtab.core.models import Model
from trimtab.foundations.stats import upper

_THEIRS: Final = frozenset({"providers", "stream"})
_RESTARTS: Final = frozenset({"draining", "lost"})


class Down(msgspec.Struct, frozen=True, kw_only=True):
    """How often a provider is down. `by`: from what that is known. `upper`: with 95 %, as if minutes failed one by
    one."""

    provider: str
    share: float
    upper: float
    by: Literal["minutes", "promise", "nothing"]


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """A term of the budget. `upper`: with 95 %, each by itself."""

    cause: Literal["providers", "restarts", "ours"]
    share: float
    upper: float


class Ahead(msgspec.Struct, frozen=True, kw_only=True):
    """`carried`: 1 less the terms. `least`: 1 less their upper bounds. `promised`: what the providers promise together.
    `through`: the share of requests that providers did fail in spite of fallbacks."""

    target: float | None
    providers: tuple[Down, ...]
    terms: tuple[Term, ...]
    carried: float
    least: float
    promised: float
    through: float | None


def ahead(measured: Availability, models: Iterable[Model]) -> Ahead:
    """`models`: those that may answer in the channel."""
    promises = promised_down(models)
    seen = {one.name: one for one in measured.providers}
    downs = []
    for name, promised in sorted(promises.items()):
        one = seen.get(name)
        if one is not None and one.minutes:
            share, most = one.out / one.minutes, upper(one.out, one.minutes)
            downs.append(Down(provider=name, share=share, upper=most, by="minutes"))
        else:
            by: Literal["promise", "nothing"] = "promise" if promised < 1 else "nothing"
            downs.append(Down(provider=name, share=promised, upper=promised, by=by))
    share, most = together(down.share for down in downs), together(down.upper for down in downs)
    terms = (
        Term(cause="providers", share=share, upper=most),
        _term("restarts", measured, _RESTARTS, _away(measured)),
        _term("ours", measured, {part.cause for part in measured.parts} - _THEIRS - _RESTARTS),
    )
    return Ahead(
        target=measured.target,
        providers=tuple(downs),
        terms=terms,
        carried=max(0.0, 1 - sum(term.share for term in terms)),
        least=max(0.0, 1 - sum(term.upper for term in terms)),
        promised=1 - together(promises.values()),
        through=_requests(measured, _THEIRS) / measured.owed if measured.owed else None,
    )


def _term(
    cause: Literal["restarts", "ours"], measured: Availability, causes: Collection[str], more: float = 0.0
) -> Term:
    """The share of what was owed that ended by these causes, and `more`."""
    count, owed = _requests(measured, causes), measured.owed
    return Term(cause=cause, share=(count / owed if owed else 0.0) + more, upper=min(1.0, upper(count, owed) + more))


def _requests(measured: Availability, causes: Collection[str]) -> int:
    return sum(part.requests for part in measured.parts if part.cause in causes)


def _away(measured: Availability) -> float:
    """How long each restart took: a share of the time that was looked at, at most."""
    seen_s = measured.seen_ns / NS_PER_S
    return min(1.0, measured.missing.away_s / seen_s) if seen_s else 0.0


__all__ = ["Ahead", "Down", "Term", "ahead"]
