"""The statistics core: bounds and running statistics that certificates and reports cite."""

from trimtab.foundations.stats.base import Certificate, Member
from trimtab.foundations.stats.binomial import lower, upper
from trimtab.foundations.stats.quantile import Quantile, QuantileState

__all__ = ["Certificate", "Member", "Quantile", "QuantileState", "lower", "upper"]
