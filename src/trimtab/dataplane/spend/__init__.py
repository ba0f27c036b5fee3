"""Money and rates: what a key, channel and tenant may still use, taken before the work and corrected after it."""

from trimtab.dataplane.spend.budgets import BudgetRow, Budgets
from trimtab.dataplane.spend.lease import Lease
from trimtab.dataplane.spend.limits import Limiter, RateView

__all__ = ["BudgetRow", "Budgets", "Lease", "Limiter", "RateView"]
