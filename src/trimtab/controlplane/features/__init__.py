"""Features: figures of past requests, reckoned from the lake as of any instant; README.md beside this says how."""

from trimtab.controlplane.features.drift import Drift, Stretch, drift
from trimtab.controlplane.features.reckon import MEMORY_MIB, Reckoned, as_of, joined, key_of, of_all_keys
from trimtab.controlplane.features.words import Ask

__all__ = [
    "MEMORY_MIB",
    "Ask",
    "Drift",
    "Reckoned",
    "Stretch",
    "as_of",
    "drift",
    "joined",
    "key_of",
    "of_all_keys",
]
