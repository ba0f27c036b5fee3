"""Outliers: a replica that answers, but later than its like. Found by evidence, not by a window that forgets.

An answer is *slow* if its first content took more than SLOWER times as long, beside what was foreseen, as the median of
the model's other replicas lately: prompts differ, and who keeps long conversations must not look slow. While at most
RATE of a replica's answers are slow it is ejected once in RUN_LENGTH answers, on average, at the most
(`stats.Detector`, an e-detector); one whose answers are all slow is found after about eight.
"""

from __future__ import annotations

from collections import deque
from statistics import median

from trimtab.foundations.stats import Certificate, Detector

SLOWER = 2.0
RATE = 0.2
RUN_LENGTH = 100_000
LATELY = 32
"""Answers of each replica that are remembered."""
LEAST = 8
"""Answers of other replicas before anything is compared."""


class Outliers:
    """Of one model's replicas, by id."""

    def __init__(self) -> None:
        self._lately: dict[str, deque[float]] = {}
        self._detectors: dict[str, Detector] = {}

    def observe(self, replica: str, took: float) -> Certificate | None:
        """An answer began after `took` times what was foreseen. The certificate of an alarm: this one is slower than
        its like."""
        others = [one for name, known in self._lately.items() if name != replica for one in known]
        self._lately.setdefault(replica, deque(maxlen=LATELY)).append(took)
        if len(others) < LEAST:
            return None
        detector = self._detectors.setdefault(replica, Detector(RATE, RUN_LENGTH))
        detector.observe(float(took > SLOWER * median(others)))
        if not detector.alarmed:
            return None
        certificate = detector.certificate()
        self.forget(replica)
        return certificate

    def forget(self, replica: str) -> None:
        """It is gone, or begins anew: what it took before says nothing of it now."""
        self._lately.pop(replica, None)
        self._detectors.pop(replica, None)
