"""Tenants, keys and budgets to spend from, and a clock that is moved by hand."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from trimtab.core.clock import Clock, instant_ns
from trimtab.core.errors import Refusal
from trimtab.core.money import NANO
from trimtab.core.tenancy import (
    Budget,
    Channel,
    ChannelCost,
    Grant,
    Key,
    KeyEntry,
    LatencyTargets,
    Limits,
    QualityTargets,
    Rate,
    Targets,
    Tenancy,
    Tenant,
)
from trimtab.dataplane.spend import Budgets, Lease, Limiter, MemoryStore, RateView, Store, Used, views
from trimtab.dataplane.spend.accounts import Claims

P = ParamSpec("P")
T = TypeVar("T")

TARGETS = Targets(latency=LatencyTargets(ttft_ms=800, itl_ms=80, e2e_ms=4000), quality=QualityTargets(min=0.0))
S = 1_000_000_000
KEY = "key_" + "0" * 16
NONE = Limits()


class HandClock:
    """Stands still until it is moved; monotonic and wall time may be moved apart. Counts how often the wall is read."""

    def __init__(self, wall: str = "2027-01-15T08:00:00Z") -> None:
        self.now = 1_000_000_007  # no round number, so that rounding shows
        self.wall = instant_ns(wall)
        self.wall_reads = 0

    def now_ns(self) -> int:
        return self.now

    def wall_ns(self) -> int:
        self.wall_reads += 1
        return self.wall

    def move(self, ns: int) -> None:
        self.now += ns
        self.wall += ns

    async def offload(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return fn(*args, **kwargs)


def day(usd: str | int, tz: str = "UTC", *grants: Grant) -> Budget:
    return Budget(period="day", usd=Decimal(usd), tz=tz, grants=list(grants))


def month(usd: str | int, tz: str = "UTC", *grants: Grant) -> Budget:
    return Budget(period="month", usd=Decimal(usd), tz=tz, grants=list(grants))


def grant(usd: str | int, until: str) -> Grant:
    return Grant(usd=Decimal(usd), until=until, by="finance")


def rates(requests: Rate | None = None, tokens: Rate | None = None) -> Limits:
    return Limits(requests=requests, tokens=tokens)


def channel(*budgets: Budget, limits: Limits = NONE) -> Channel:
    cost = ChannelCost(max_per_request_usd=Decimal(1), budgets=list(budgets))
    return Channel(targets=TARGETS, cost=cost, limits=limits)


def key(*budgets: Budget, id: str = KEY, limits: Limits = NONE) -> Key:
    return Key(
        id=id, name="a key", sha256=id.removeprefix("key_") * 4, last4="0000", budgets=list(budgets), limits=limits
    )


def entry(
    *budgets: Budget,
    id: str = "commerce",
    channels: dict[str, Channel] | None = None,
    own: Key | None = None,
    limits: Limits = NONE,
) -> KeyEntry:
    """A tenant with these budgets, and one key of it."""
    own = key() if own is None else own
    channels = {"bot": channel()} if channels is None else channels
    return KeyEntry(Tenant(id=id, channels=channels, budgets=list(budgets), keys=[own], limits=limits), own)


def tenancy(*entries: KeyEntry) -> Tenancy:
    return Tenancy("t1", {one.tenant.id: one.tenant for one in entries}, {one.key.sha256: one for one in entries})


class Purse:
    """`Budgets` as one key sees them through one channel: amounts in dollars, so that tests read well."""

    def __init__(self, budgets: Budgets, who: KeyEntry, name: str = "bot") -> None:
        self.budgets, self.who, self.name = budgets, who, name

    async def reserve(
        self,
        want: float,
        least: float | None = None,
        *,
        wait_s: float = 0.0,
        instead_of: Lease | None = None,
        on_wait: Callable[[], None] | None = None,
    ) -> Lease | Refusal:
        """`least` is all of it where none is given."""
        return await self.budgets.reserve(
            self.who,
            self.name,
            self.channel,
            want=nano(want),
            least=nano(want if least is None else least),
            wait_s=wait_s,
            instead_of=instead_of,
            on_wait=on_wait,
        )

    async def lease(self, want: float, least: float | None = None, **more: Any) -> Lease:
        """A reservation that must succeed."""
        lease = await self.reserve(want, least, **more)
        assert isinstance(lease, Lease), lease
        return lease

    async def refusal(self, want: float, least: float | None = None, **more: Any) -> Refusal:
        """A reservation that must be refused."""
        refusal = await self.reserve(want, least, **more)
        assert isinstance(refusal, Refusal), refusal
        return refusal

    @property
    def channel(self) -> Channel:
        return self.who.tenant.channels[self.name]

    async def left(self) -> float | None:
        """Room of the tightest account; None: no budget applies."""
        wanted = {claim.account for claim in Claims().of(self.who, self.name, self.channel)}
        rows = [
            row
            for row in await self.budgets.rows(tenancy(self.who))
            if (row.name, row.period, row.tz) in {(account.scope, account.period, account.tz) for account in wanted}
        ]
        return min((row.left_nanousd / NANO for row in rows), default=None)

    async def books(self) -> dict[str, tuple[float, float]]:
        """(settled, reserved) in dollars of each account by name and period."""
        return {
            f"{row.name}/{row.period}": (row.settled_nanousd / NANO, row.reserved_nanousd / NANO)
            for row in await self.budgets.rows(tenancy(self.who))
        }


def in_memory(clock: Clock) -> Budgets:
    return Budgets(clock, MemoryStore(clock))


def nano(usd: float) -> int:
    return round(usd * NANO)


class Rates:
    """`Limiter` as one caller sees it: refusals, and what the headers would show of the last charges. Not for a running
    loop."""

    def __init__(self, clock: Clock, store: Store | None = None) -> None:
        self.limiter = Limiter(store or MemoryStore(clock))
        self._seen: dict[str, Used] = {}

    def charge_request(self, who: KeyEntry) -> Refusal | None:
        return self._note("request", finished(self.limiter.charge_request(who)))

    def charge(self, who: KeyEntry, name: str, channel: Channel, tokens: int) -> Refusal | None:
        """A request of the channel, and tokens."""
        return self._note("bound", finished(self.limiter.charge_bound(who, name, channel, tokens)))

    def true_up(self, who: KeyEntry, name: str, channel: Channel, estimated: int, actual: int) -> None:
        used = finished(self.limiter.charge_bound(who, name, channel, 0))  # names the limits
        self._seen["bound"] = self.limiter.true_up(who, used, actual - estimated)

    def view(self, who: KeyEntry, name: str, channel: Channel) -> list[RateView]:
        """Tokens as they are now, requests as the last one found them."""
        self.charge(who, name, channel, 0)
        return views(self._seen.values())

    def _note(self, kind: str, used: Used) -> Refusal | None:
        self._seen[kind] = used
        return used.refusal


def finished(step: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing."""
    try:
        step.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("it waited")
