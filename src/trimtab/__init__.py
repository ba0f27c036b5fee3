"""Trimtab: an SLO-governed AI gateway. Every request carries a contract; everything downstream enforces it."""

__version__ = "0.1.0"
