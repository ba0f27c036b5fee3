"""What availability a channel's fallbacks can carry, from what was measured: an additive budget of shares of requests.

- `providers`: all of the channel's providers are down at once, by the share of minutes in which each was, or where it
  was not asked, by what it promises, or else nothing; independently of each other, as `check` takes them.
- `away`: no gateway was there, as a share of the time.
- each other cause of ours: its share of the requests.

What did get through although there were fallbacks stands beside the providers' term: where it is more, they don't fail
independently, or what failed was not theirs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal

import msgspec

from trimtab.controlplane.registry.providers import promised_down, together
from trimtab.controlplane.slo.availability import CAUSES, Availability
from trimtab.core.clock import NS_PER_S
from trimtab.core.models import Model
from trimtab.foundations.stats import upper

_THEIRS: Final = frozenset({"providers", "stream"})
_RECKONED: Final = frozenset({"draining", "lost"})
"""Causes that `away` stands for."""


class Down(msgspec.Struct, frozen=True, kw_only=True):
    """How often a provider is down. `by`: from what that is known. `upper`: with 95 %, as if minutes failed one by
    one."""

    provider: str
    share: float
    upper: float
    by: Literal["minutes", "promise", "nothing"]


class Term(msgspec.Struct, frozen=True, kw_only=True):
    """A term of the budget. `upper`: with 95 %, each by itself."""

    cause: str
    means: str
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
    share = together(down.share for down in downs)
    most = together(down.upper for down in downs)
    terms = [Term(cause="providers", means="all providers are down at once", share=share, upper=most)]
    terms.append(_away(measured))
    for part in measured.parts:
        if part.cause not in _THEIRS | _RECKONED:
            owed = measured.owed
            found = part.requests / owed if owed else 0.0
            most = upper(part.requests, owed) if owed else 1.0
            terms.append(Term(cause=part.cause, means=CAUSES[part.cause], share=found, upper=most))  # type: ignore[index]
    through = sum(part.requests for part in measured.parts if part.cause in _THEIRS)
    return Ahead(
        target=measured.target,
        providers=tuple(downs),
        terms=tuple(terms),
        carried=max(0.0, 1 - sum(term.share for term in terms)),
        least=max(0.0, 1 - sum(term.upper for term in terms)),
        promised=1 - together(promises.values()),
        through=through / measured.owed if measured.owed else None,
    )


def _away(measured: Availability) -> Term:
    """Restarts by how long each took: an exact share of the time that was looked at, at most."""
    seen_s = measured.seen_ns / NS_PER_S
    share = min(1.0, measured.missing.away_s / seen_s) if seen_s else 0.0
    means = f"no gateway was there: {measured.missing.restarts:,} restarts"
    return Term(cause="away", means=means, share=share, upper=share)


__all__ = ["Ahead", "Down", "Term", "ahead"]
