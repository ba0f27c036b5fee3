"""The iteration model of an inference pod: fit, forecast, and how wrong forecasts have been."""

from trimtab.foundations.podmodel.fit import Fit, FitState, fit
from trimtab.foundations.podmodel.pod import Pod, Sample
from trimtab.foundations.podmodel.predict import (
    BUSIEST,
    FIGURES,
    Ask,
    Figure,
    Load,
    Predictor,
    Times,
    decode_pass_ms,
    forecast,
    learned_at,
)

__all__ = [
    "BUSIEST",
    "FIGURES",
    "Ask",
    "Figure",
    "Fit",
    "FitState",
    "Load",
    "Pod",
    "Predictor",
    "Sample",
    "Times",
    "decode_pass_ms",
    "fit",
    "forecast",
    "learned_at",
]
