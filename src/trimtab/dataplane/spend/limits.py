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

from collections.abc import Iterable
from fractions import Fraction
from typing import Literal, NamedTuple

import msgspec

from trimtab.core.clock import NS_PER_S
from trimtab.core.errors import Code, Refusal
from trimtab.core.tenancy import Channel, KeyEntry, Limits, Rate, Tenant
from trimtab.dataplane.spend.base import Charge, Charged, Store

Unit = Literal["requests", "tokens"]
UNITS: tuple[Unit, ...] = ("requests", "tokens")

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


class Used(NamedTuple):
    """What a charge left of its limits: `used_as` of each bucket is taken. `refusal`: it was not charged, and why."""

    limits: tuple[tuple[_Limit, int], ...] = ()
    refusal: Refusal | None = None


class Limiter:
    """The request and token rates of keys, tenants and channels. Each call charges all of its limits, or none; where
    their state is kept, is the store's affair."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pairs: dict[str, tuple[Limits, _Pair]] = {}

    def __repr__(self) -> str:
        return f"<Limiter in {self._store.name}>"

    async def charge_request(self, entry: KeyEntry) -> Used:
        """One request of the key and of its tenant. Raises StoreLostError."""
        limits = (*self._of_key(entry).requests, *self._of_tenant(entry.tenant).requests)
        return await self._charge(entry.tenant, [(limit, 1) for limit in limits])

    async def charge_bound(self, entry: KeyEntry, name: str, channel: Channel, tokens: int) -> Used:
        """One request of the channel, and an estimate of tokens, of key, tenant and channel; `true_up` corrects it.
        Raises StoreLostError."""
        assert tokens >= 0, tokens
        requests = self._of_channel(entry.tenant, name, channel).requests
        of_tokens = self._tokens(entry, name, channel)
        return await self._charge(
            entry.tenant, [*[(limit, 1) for limit in requests], *[(limit, tokens) for limit in of_tokens]]
        )

    def true_up(self, entry: KeyEntry, used: Used, more: int) -> Used:
        """Book so many tokens more, or fewer, than `charge_bound` did, and give what that leaves. Refuses nothing: a
        debt makes later requests wait, a credit fills at most to the burst."""
        limits = [limit for limit, _ in used.limits if limit.unit == "tokens"] if more else []
        if not limits:
            return used
        self._store.credit(entry.tenant.id, [_charge(limit, more) for limit in limits])
        return Used(
            tuple(
                [
                    (limit, max(0, used_as + more * limit.step_as) if limit.unit == "tokens" else used_as)
                    for limit, used_as in used.limits
                ]
            )
        )

    async def _charge(self, tenant: Tenant, costs: list[tuple[_Limit, int]]) -> Used:
        if not costs:
            return _UNLIMITED
        for limit, cost in costs:
            if cost > limit.rate.burst:
                found = await self._store.charge(tenant.id, [_charge(limit, 0) for limit, _ in costs])
                return Used(_used(costs, found), _too_large(limit, cost))
        charged = await self._store.charge(tenant.id, [_charge(limit, cost) for limit, cost in costs])
        limits = _used(costs, charged)
        if charged.ok:
            return Used(limits)
        waits = [
            (used_as + cost * limit.step_as - limit.whole_as, index)
            for index, ((limit, cost), used_as) in enumerate(zip(costs, charged.used_as, strict=True))
        ]
        longest_as, index = max(waits, key=lambda one: (one[0], -one[1]))
        return Used(limits, _too_fast(costs[index][0], longest_as))

    def _tokens(self, entry: KeyEntry, name: str, channel: Channel) -> tuple[_Limit, ...]:
        key, tenant = self._of_key(entry), self._of_tenant(entry.tenant)
        return key.tokens + tenant.tokens + self._of_channel(entry.tenant, name, channel).tokens

    def _of_key(self, entry: KeyEntry) -> _Pair:
        key = entry.key
        return self._pair("key ", key.account, key.limits)

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


_UNLIMITED = Used()


def views(used: Iterable[Used]) -> list[RateView]:
    """For requests and for tokens the limit with the least remaining; nothing where none is declared."""
    tightest: dict[Unit, tuple[tuple[int, int, int], _Limit]] = {}
    for one in used:
        for limit, used_as in one.limits:
            used_as = max(0, used_as)
            remaining = max(0, (limit.whole_as - used_as) // limit.step_as)
            rank = remaining, -used_as, limit.rate.burst
            if limit.unit not in tightest or rank < tightest[limit.unit][0]:
                tightest[limit.unit] = rank, limit
    return [
        RateView(unit, limit.rate.burst, rank[0], -rank[1] / _AS_PER_S)
        for unit in UNITS
        if unit in tightest
        for rank, limit in [tightest[unit]]
    ]


def _used(costs: list[tuple[_Limit, int]], charged: Charged) -> tuple[tuple[_Limit, int], ...]:
    return tuple([(limit, used_as) for (limit, _), used_as in zip(costs, charged.used_as, strict=True)])


def _charge(limit: _Limit, cost: int) -> Charge:
    return Charge(limit.name, cost * limit.step_as, limit.whole_as)


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
