"""The statistics core: exact bounds that certificates and reports cite."""

from trimtab.foundations.stats.binomial import lower, upper

__all__ = ["lower", "upper"]
