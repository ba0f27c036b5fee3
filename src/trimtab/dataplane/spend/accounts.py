"""Claims: which budgets a request claims on, and how much there may be.

A request claims on every budget of its tenant, its channel and its key. An account is named, not pointed at, so that
a configuration which is loaded anew finds it; its limit is what the request's own configuration says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trimtab.core.clock import instant_ns
from trimtab.core.money import nanousd
from trimtab.core.tenancy import Budget, Channel, KeyEntry, Tenancy
from trimtab.dataplane.spend.base import Account, Place
from trimtab.dataplane.spend.periods import Period, Window, window_at

_NEWEST = 0.1  # weight of the newest lease in the average time for which one is held


class Claim:
    """A budget as a configuration declares it. `leases` are this process's open ones; `held_ns`: for how long one is
    held, on average."""

    __slots__ = ("_calendar", "_grants", "_nanousd", "account", "held_ns", "leases")

    def __init__(self, calendar: Calendar, account: Account, budget: Budget) -> None:
        self.account = account
        self.leases = 0
        self.held_ns: float | None = None
        self._calendar = calendar
        self._nanousd = nanousd(budget.usd)
        self._grants = [(instant_ns(grant.until), nanousd(grant.usd)) for grant in budget.grants]

    def limit(self, wall_ns: int) -> int:
        """Nano-dollars: the budget and the grants that still run."""
        total = self._nanousd
        for until_ns, more in self._grants:
            if until_ns > wall_ns:
                total += more
        return total

    def window(self, wall_ns: int) -> Window:
        return self._calendar.window(self.account.period, self.account.tz, wall_ns)

    def place(self, wall_ns: int) -> Place:
        """The account now."""
        return Place(self.account, self.window(wall_ns), self.limit(wall_ns))

    def within(self, window: Window, wall_ns: int) -> Place:
        """The account in a window that may have ended: by the limit that it ended with."""
        return Place(self.account, window, self.limit(min(wall_ns, window.end_ns - 1)))

    def began(self) -> None:
        self.leases += 1

    def ended(self, held_ns: int) -> None:
        self.leases -= 1
        self.held_ns = held_ns if self.held_ns is None else self.held_ns + _NEWEST * (held_ns - self.held_ns)


class Calendar:
    """The windows of now, worked out once each. One never turns back: while a wall clock that was set back catches up,
    the newer window goes on."""

    def __init__(self) -> None:
        self._windows: dict[tuple[Period, str], Window] = {}

    def window(self, period: Period, tz: str, wall_ns: int) -> Window:
        """A comparison, as long as the window lasts."""
        window = self._windows.get((period, tz))
        if window is None or wall_ns >= window.end_ns:
            window = self._windows[period, tz] = window_at(period, tz, wall_ns)
        return window


class Claims:
    """All claims of a configuration, each made when it is first asked for."""

    def __init__(self) -> None:
        self._calendar = Calendar()
        self._claims: dict[str, tuple[list[Budget], tuple[Claim, ...]]] = {}
        """By scope: worked out once for each list of budgets, which is never changed, only replaced."""
        self._tenancy: Tenancy | None = None
        self._keys: dict[str, KeyEntry] = {}

    def of(self, entry: KeyEntry, name: str, channel: Channel) -> list[Claim]:
        """All of a request."""
        tenant, key = entry.tenant, entry.key
        found: list[Claim] = []
        if tenant.budgets:
            found.extend(self._of(tenant.id, tenant.id, tenant.budgets))
        if channel.cost.budgets:
            found.extend(self._of(tenant.id, f"{tenant.id}/{name}", channel.cost.budgets))
        if key.budgets:
            found.extend(self._of(tenant.id, key.account, key.budgets))
        return found

    def named(
        self, tenancy: Tenancy, tenant_id: str | None, channel_name: str | None, key_id: str | None
    ) -> Iterator[Claim]:
        """What is still declared of the claims of a request that a record tells of."""
        tenant = tenancy.tenants.get(tenant_id or "")
        if tenant is None:
            return
        yield from self._of(tenant.id, tenant.id, tenant.budgets)
        channel = tenant.channels.get(channel_name or "")
        if channel is not None:
            yield from self._of(tenant.id, f"{tenant.id}/{channel_name}", channel.cost.budgets)
        entry = self._keys_of(tenancy).get(key_id or "")
        if entry is not None and entry.tenant.id == tenant.id:
            yield from self._of(tenant.id, entry.key.account, entry.key.budgets)

    def declared(self, tenancy: Tenancy) -> Iterator[Claim]:
        """All there are: of each tenant, then of its channels, then of its keys. What nobody declares any more is
        forgotten."""
        found: dict[str, tuple[list[Budget], tuple[Claim, ...]]] = {}
        for tenant in tenancy.tenants.values():
            scopes = [(tenant.id, tenant.budgets)]
            scopes += [(f"{tenant.id}/{name}", channel.cost.budgets) for name, channel in tenant.channels.items()]
            scopes += {key.account: (key.account, key.budgets) for key in tenant.keys}.values()
            for scope, budgets in scopes:
                claims = self._of(tenant.id, scope, budgets)
                found[scope] = (budgets, claims)
                yield from claims
        self._claims = found

    def _keys_of(self, tenancy: Tenancy) -> Mapping[str, KeyEntry]:
        if self._tenancy is not tenancy:
            self._tenancy, self._keys = tenancy, {entry.key.id: entry for entry in tenancy.keys.values()}
        return self._keys

    def _of(self, tenant: str, scope: str, budgets: list[Budget]) -> tuple[Claim, ...]:
        known = self._claims.get(scope)
        if known is None or known[0] is not budgets:
            claims = tuple(
                Claim(self._calendar, Account(tenant, scope, budget.period, budget.tz), budget) for budget in budgets
            )
            known = self._claims[scope] = (budgets, claims)
        return known[1]
