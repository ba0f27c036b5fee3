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
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import Code, Refusal
from trimtab.core.tenancy import Channel, KeyEntry, Limits, Rate, Tenant

Unit = Literal["requests", "tokens"]

_AS_PER_NS = 10**9
_AS_PER_S = 10**18
_MOST_PAIRS = 1 << 18
"""Worked-out limits that are kept; those of keys that are gone are thrown away with the rest."""


class RateView(msgspec.Struct, frozen=True):
    """The tightest limit of a unit: `limit` at once, `remaining` of it now, whole again in `reset_s`."""

    unit: Unit
    limit: int
    remaining: int
    reset_s: float


class _Limit(NamedTuple):
    """A declared rate. `name` is the key of its state and the refusal's `rule`."""

    name: str
    unit: Unit
    rate: Rate
    step_as: int
    """T."""
    whole_as: int
    """burst * T: a bucket that is full."""


class _Pair(NamedTuple):
    """The limits of one key, tenant or channel: none or one of each unit."""

    requests: tuple[_Limit, ...]
    tokens: tuple[_Limit, ...]


_NONE = _Pair((), ())


class Limiter:
    """The request and token rates of keys, tenants and channels. Each call charges all of its limits, or none."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tats_as: OrderedDict[str, int] = OrderedDict()
        self._pairs: dict[str, tuple[Limits, _Pair]] = {}

    def __repr__(self) -> str:
        return f"<Limiter {len(self._tats_as)} limits in use>"

    def charge_request(self, entry: KeyEntry) -> Refusal | None:
        """One request of the key and of its tenant."""
        return self._charge((*self._of_key(entry).requests, *self._of_tenant(entry.tenant).requests), 1)

    def charge_channel(self, tenant: Tenant, name: str, channel: Channel) -> Refusal | None:
        """One request of the channel."""
        return self._charge(self._of_channel(tenant, name, channel).requests, 1)

    def charge_tokens(self, entry: KeyEntry, name: str, channel: Channel, tokens: int) -> Refusal | None:
        """An estimate of tokens, of key, tenant and channel; `true_up` corrects it."""
        assert tokens >= 0, tokens
        return self._charge(self._all(entry, name, channel).tokens, tokens)

    def true_up(self, entry: KeyEntry, name: str, channel: Channel, estimated: int, actual: int) -> None:
        """Book what was really used. Refuses nothing: a debt makes later requests wait, a credit fills at most to the
        burst."""
        more = actual - estimated
        if not more:
            return
        now_as = self._now_as()
        for limit in self._all(entry, name, channel).tokens:
            tat_as = max(self._tats_as.get(limit.name, 0), now_as) + more * limit.step_as
            self._keep(limit.name, tat_as, now_as)

    def view(self, entry: KeyEntry, name: str, channel: Channel) -> tuple[RateView, ...]:
        """For requests and for tokens the limit with the least remaining; nothing where none is declared."""
        now_as = self._now_as()
        limits = self._all(entry, name, channel)
        return tuple([self._tightest(part, now_as) for part in limits if part])

    def _tightest(self, limits: tuple[_Limit, ...], now_as: int) -> RateView:
        """Of equal ones, that which takes longest to fill."""
        tightest: tuple[int, int, _Limit] | None = None
        for limit in limits:
            used_as = max(0, self._tats_as.get(limit.name, 0) - now_as)
            remaining = max(0, limit.whole_as - used_as) // limit.step_as
            if tightest is None or (remaining, -used_as) < tightest[:2]:
                tightest = remaining, -used_as, limit
        assert tightest is not None
        remaining, used_as, limit = tightest
        return RateView(limit.unit, limit.rate.burst, remaining, -used_as / _AS_PER_S)

    def _charge(self, limits: tuple[_Limit, ...], cost: int) -> Refusal | None:
        if not limits:
            return None
        now_as = self._now_as()
        charged: list[tuple[str, int]] = []
        longest_as, tightest = 0, None
        for limit in limits:
            if cost > limit.rate.burst:
                return _too_large(limit, cost)
            tat_as = max(self._tats_as.get(limit.name, 0), now_as) + cost * limit.step_as
            wait_as = tat_as - now_as - limit.whole_as
            if wait_as > longest_as:
                longest_as, tightest = wait_as, limit
            charged.append((limit.name, tat_as))
        if tightest is not None:
            return _too_fast(tightest, longest_as)
        for name, tat_as in charged:
            self._keep(name, tat_as, now_as)
        return None

    def _keep(self, name: str, tat_as: int, now_as: int) -> None:
        """Store a time stamp. One that is past says nothing, so it is dropped: here, or when the hand comes round.

        The hand is the front of the dictionary: what is looked at and still in use goes to the back. Two are looked at
        for each that is added, so that at most about twice as many are kept as are in use.
        """
        tats_as = self._tats_as
        looks = 1 if name in tats_as else 2
        tats_as[name] = tat_as
        for _ in range(looks):
            oldest = next(iter(tats_as))
            if tats_as[oldest] > now_as:
                tats_as.move_to_end(oldest)
            else:
                del tats_as[oldest]
                if not tats_as:
                    return

    def _all(self, entry: KeyEntry, name: str, channel: Channel) -> _Pair:
        pairs = (self._of_key(entry), self._of_tenant(entry.tenant), self._of_channel(entry.tenant, name, channel))
        (own, own_tokens), (tenants, tenants_tokens), (channels, channels_tokens) = pairs
        return _Pair(own + tenants + channels, own_tokens + tenants_tokens + channels_tokens)

    def _of_key(self, entry: KeyEntry) -> _Pair:
        key = entry.key
        return self._pair("key ", key.id, key.limits)

    def _of_tenant(self, tenant: Tenant) -> _Pair:
        return self._pair("tenant ", tenant.id, tenant.limits)

    def _of_channel(self, tenant: Tenant, name: str, channel: Channel) -> _Pair:
        return self._pair("channel ", f"{tenant.id}/{name}", channel.limits)

    def _pair(self, kind: str, scope: str, limits: Limits) -> _Pair:
        """Worked out once for each value of the configuration, which never changes, only is replaced."""
        if limits.requests is None and limits.tokens is None:
            return _NONE
        known = self._pairs.get(scope)
        if known is None or known[0] is not limits:
            if len(self._pairs) >= _MOST_PAIRS:
                self._pairs.clear()
            pair = _Pair(
                _declared(kind + scope, "requests", limits.requests), _declared(kind + scope, "tokens", limits.tokens)
            )
            known = self._pairs[scope] = (limits, pair)
        return known[1]

    def _now_as(self) -> int:
        return self._clock.now_ns() * _AS_PER_NS


def _declared(name: str, unit: Unit, rate: Rate | None) -> tuple[_Limit, ...]:
    """`per_s` is read as the decimal that stands in the document."""
    if rate is None:
        return ()
    step_as = -(-_AS_PER_S // Fraction(repr(rate.per_s)))
    return (_Limit(f"{name} {unit}", unit, rate, step_as, rate.burst * step_as),)


def _too_large(limit: _Limit, cost: int) -> Refusal:
    message = f"the request's {cost} {limit.unit} are more than the {limit.name} limit takes at once ({_terms(limit)})"
    return Refusal(code=Code.LARGER_THAN_LIMIT, message=message, rule=limit.name)


def _too_fast(limit: _Limit, wait_as: int) -> Refusal:
    wait_s = -(-wait_as // _AS_PER_NS) / NS_PER_S
    message = f"the {limit.name} limit is used up ({_terms(limit)}); retry in {wait_s:.9g} s"
    return Refusal(code=Code.RATE_LIMITED, message=message, rule=limit.name, retry_after_s=wait_s)


def _terms(limit: _Limit) -> str:
    return f"{limit.rate.per_s:.12g} a second, at most {limit.rate.burst} at once"
