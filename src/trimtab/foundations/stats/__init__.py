"""The statistics core: bounds, tests and running statistics that certificates and reports cite."""

from typing import TYPE_CHECKING

from trimtab.foundations.lazy import lazily
from trimtab.foundations.stats.base import Certificate, Member
from trimtab.foundations.stats.betting import EProcess, EProcessState
from trimtab.foundations.stats.binomial import Share, ShareState, at_most, lower, upper
from trimtab.foundations.stats.control import Choice, certify, expected
from trimtab.foundations.stats.detector import Detector, DetectorState
from trimtab.foundations.stats.distance import distance
from trimtab.foundations.stats.level import Level
from trimtab.foundations.stats.pairs import Arm, Seen
from trimtab.foundations.stats.quantile import Quantile, QuantileState
from trimtab.foundations.stats.rate import Rate, RateState
from trimtab.foundations.stats.worse import Worse, WorseState

if TYPE_CHECKING:
    from trimtab.foundations.stats.sequences import Difference, DifferenceState, Mean, MeanState
    from trimtab.foundations.stats.sketch import Sketch, SketchState, Windowed

__getattr__ = lazily(
    __name__,
    {
        **dict.fromkeys(("Difference", "DifferenceState", "Mean", "MeanState"), "sequences"),  # loads numpy
        **dict.fromkeys(("Sketch", "SketchState", "Windowed"), "sketch"),  # loads ddsketch
    },
)

__all__ = [
    "Arm",
    "Certificate",
    "Choice",
    "Detector",
    "DetectorState",
    "Difference",
    "DifferenceState",
    "EProcess",
    "EProcessState",
    "Level",
    "Mean",
    "MeanState",
    "Member",
    "Quantile",
    "QuantileState",
    "Rate",
    "RateState",
    "Seen",
    "Share",
    "ShareState",
    "Sketch",
    "SketchState",
    "Windowed",
    "Worse",
    "WorseState",
    "at_most",
    "certify",
    "distance",
    "expected",
    "lower",
    "upper",
]
