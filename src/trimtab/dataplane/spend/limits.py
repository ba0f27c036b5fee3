"""Rate limits by GCRA, the leaky bucket as one time stamp (ITU-T I.371; github.com/throttled/throttled).

    tat = max(tat, now) + n * T        T = 1 / per_s; tat: when the bucket will be empty again
    refuse when tat - now > burst * T  and `tat - now - burst * T` is how long to wait, exactly

One integer a limited thing, and no timer refills anything. A count per window would let twice the burst through at the
window's edge, and could not tell when to come back; a token bucket is the same law in two fields, one of them a float.

Times inside are integer attoseconds, 10^-18 s, since T of 10^9 a second is a nanosecond and of 3 a second no whole
number of them. T is rounded up once, to the attosecond: a limit is never faster than declared, and slower by less than
one part in 10^9; n requests cost n * T exactly, so that a credit undoes a charge and nothing drifts. A wait is rounded
up to the nanosecond, the clock's own unit.

State is kept by the limit's name: a configuration that is loaded anew finds it, also where the rate has changed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import Code, Refusal
from trimtab.core.tenancy import Channel, KeyEntry, Limits, Rate, Tenant

Unit = Literal["requests", "tokens"]

_AS_PER_NS = 10**9
_AS_PER_S = 10**18
_LOOKED_AT = 2
"""Old entries that each charge looks at: one more than it can add, so that the ended ones run out."""


class RateView(msgspec.Struct, frozen=True):
    """The tightest limit of a unit: `limit` at once, `remaining` of it now, whole again in `reset_s`."""

    unit: Unit
    limit: int
    remaining: int
    reset_s: float


class _Limit(NamedTuple):
    """A declared rate under its name, which is the key of its state and the refusal's `rule`."""

    name: str
    unit: Unit
    rate: Rate

    @property
    def step_as(self) -> int:
        """T, attoseconds."""
        return _step_as(self.rate.per_s)


class Limiter:
    """The request and token rates of keys, tenants and channels. Each call charges all of its limits, or none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tats_as: OrderedDict[str, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Limiter {len(self._tats_as)} limits in use>"

    def charge_request(self, entry: KeyEntry) -> Refusal | None:
        """One request of the key and of its tenant."""
        return self._charge([*_of_key(entry, "requests"), *_of_tenant(entry.tenant, "requests")], 1)

    def charge_channel(self, tenant: Tenant, name: str, channel: Channel) -> Refusal | None:
        """One request of the channel."""
        return self._charge([*_of_channel(tenant, name, channel, "requests")], 1)

    def charge_tokens(self, entry: KeyEntry, name: str, channel: Channel, tokens: int) -> Refusal | None:
        """An estimate of tokens, of key, tenant and channel; `true_up` corrects it."""
        assert tokens >= 0, tokens
        return self._charge(_all(entry, name, channel, "tokens"), tokens)

    def true_up(self, entry: KeyEntry, name: str, channel: Channel, estimated: int, actual: int) -> None:
        """Book what was really used. Refuses nothing: a debt makes later requests wait, a credit fills up to the burst."""
        more = actual - estimated
        if not more:
            return
        now_as = self._now_as()
        for limit in _all(entry, name, channel, "tokens"):
            tat_as = max(self._tats_as.get(limit.name, 0), now_as) + more * limit.step_as
            self._keep(limit.name, tat_as, now_as)

    def view(self, entry: KeyEntry, name: str, channel: Channel) -> tuple[RateView, ...]:
        """For requests and for tokens the limit with the least remaining; nothing where none is declared."""
        now_as = self._now_as()
        tightest = []
        for unit in ("requests", "tokens"):
            views = [self._view(limit, now_as) for limit in _all(entry, name, channel, unit)]
            if views:
                tightest.append(min(views, key=lambda view: (view.remaining, -view.reset_s)))
        return tuple(tightest)

    def _charge(self, limits: list[_Limit], cost: int) -> Refusal | None:
        if not limits:
            return None
        now_as = self._now_as()
        charged: list[tuple[str, int]] = []
        longest_as, tightest = 0, None
        for limit in limits:
            if cost > limit.rate.burst:
                return _too_large(limit, cost)
            step_as = limit.step_as
            tat_as = max(self._tats_as.get(limit.name, 0), now_as) + cost * step_as
            wait_as = tat_as - now_as - limit.rate.burst * step_as
            if wait_as > longest_as:
                longest_as, tightest = wait_as, limit
            charged.append((limit.name, tat_as))
        if tightest is not None:
            return _too_fast(tightest, longest_as)
        for name, tat_as in charged:
            self._keep(name, tat_as, now_as)
        return None

    def _view(self, limit: _Limit, now_as: int) -> RateView:
        step_as, burst = limit.step_as, limit.rate.burst
        used_as = max(0, self._tats_as.get(limit.name, 0) - now_as)
        remaining = max(0, burst * step_as - used_as) // step_as
        return RateView(limit.unit, burst, remaining, used_as / _AS_PER_S)

    def _keep(self, name: str, tat_as: int, now_as: int) -> None:
        """Store a time stamp. One that is past says nothing, so it is dropped, here or when the hand comes round.

        The hand is the front of the dictionary: entries looked at go to the back, so that all get their turn, and at
        most about twice as many are kept as are in use.
        """
        tats_as = self._tats_as
        if tat_as > now_as:
            tats_as[name] = tat_as
        else:
            tats_as.pop(name, None)
        for _ in range(min(_LOOKED_AT, len(tats_as))):
            oldest = next(iter(tats_as))
            if tats_as[oldest] > now_as:
                tats_as.move_to_end(oldest)
            else:
                del tats_as[oldest]

    def _now_as(self) -> int:
        return self._clock.now_ns() * _AS_PER_NS


@lru_cache(maxsize=4096)
def _step_as(per_s: float) -> int:
    """T in attoseconds, rounded up; `per_s` is read as the decimal that stands in the document."""
    return -(-_AS_PER_S // Fraction(repr(per_s)))


def _declared(name: str, limits: Limits, unit: Unit) -> Iterable[_Limit]:
    rate = limits.requests if unit == "requests" else limits.tokens
    return () if rate is None else (_Limit(f"{name} {unit}", unit, rate),)


def _of_key(entry: KeyEntry, unit: Unit) -> Iterable[_Limit]:
    return _declared(f"key {entry.key.id}", entry.key.limits, unit)


def _of_tenant(tenant: Tenant, unit: Unit) -> Iterable[_Limit]:
    return _declared(f"tenant {tenant.id}", tenant.limits, unit)


def _of_channel(tenant: Tenant, name: str, channel: Channel, unit: Unit) -> Iterable[_Limit]:
    return _declared(f"channel {tenant.id}/{name}", channel.limits, unit)


def _all(entry: KeyEntry, name: str, channel: Channel, unit: Unit) -> list[_Limit]:
    return [
        *_of_key(entry, unit),
        *_of_tenant(entry.tenant, unit),
        *_of_channel(entry.tenant, name, channel, unit),
    ]


def _too_large(limit: _Limit, cost: int) -> Refusal:
    message = f"the request's {cost} {limit.unit} are more than the {limit.name} limit takes at once ({_terms(limit)})"
    return Refusal(code=Code.LARGER_THAN_LIMIT, message=message, rule=limit.name)


def _too_fast(limit: _Limit, wait_as: int) -> Refusal:
    wait_s = -(-wait_as // _AS_PER_NS) / NS_PER_S
    message = f"the {limit.name} limit is used up ({_terms(limit)}); retry in {wait_s:.9g} s"
    return Refusal(code=Code.RATE_LIMITED, message=message, rule=limit.name, retry_after_s=wait_s)


def _terms(limit: _Limit) -> str:
    return f"{limit.rate.per_s:.12g} a second, at most {limit.rate.burst} at once"
