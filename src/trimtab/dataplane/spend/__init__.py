"""Money and rates: what a key, channel and tenant may still use, taken before the work and corrected after it."""

from trimtab.dataplane.spend.adapters.memory import MemoryStore
from trimtab.dataplane.spend.adapters.vault import VERSION as LINE_VERSION
from trimtab.dataplane.spend.adapters.vault import Blocks, Kept, all_drawn
from trimtab.dataplane.spend.base import Account, Level, LostLease, Place, Store, StoreLostError
from trimtab.dataplane.spend.budgets import BudgetRow, Budgets
from trimtab.dataplane.spend.lease import Holder, Lease
from trimtab.dataplane.spend.limits import Limiter, RateView, Used, views
from trimtab.dataplane.spend.meter import Lengths, Meter
from trimtab.dataplane.spend.periods import Window, window_at
from trimtab.dataplane.spend.pools import POOLS, Pools, Tokens
from trimtab.dataplane.spend.standing import StandingStore

__all__ = [
    "LINE_VERSION",
    "POOLS",
    "Account",
    "Blocks",
    "BudgetRow",
    "Budgets",
    "Holder",
    "Kept",
    "Lease",
    "Lengths",
    "Level",
    "Limiter",
    "LostLease",
    "MemoryStore",
    "Meter",
    "Place",
    "Pools",
    "RateView",
    "StandingStore",
    "Store",
    "StoreLostError",
    "Tokens",
    "Used",
    "Window",
    "all_drawn",
    "views",
    "window_at",
]
