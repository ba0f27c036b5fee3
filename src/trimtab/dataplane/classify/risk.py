"""What a wrong answer may cost: low, medium or high, by what the text is about.

score = 1 - prod(1 - w_k), over the kinds of cues that were found; a second, different cue of a kind adds its own.

| kind | first cue | second |
|---|---|---|
| self_harm | 0.9 | |
| medical, legal | 0.45 | 0.3 |
| finance | 0.35 | 0.2 |
| escalation | 0.35 | 0.1 |

low below 0.3, medium below 0.6, high from there. So a life in danger is always high; one cue of a delicate subject is
medium (somebody asks for a doctor's opening hours), two of medicine or law, or law with money, are high (somebody asks
for a dose, or whether to sue); annoyance alone is never high: it costs a customer, not a life. A question in a language
without cue lists, in which nothing was found, has no risk that we could name: None, which no rule takes for low.

Confidence: 0.5 on a line between two levels, up to 0.9; of `low` at most 0.8, as words can be put otherwise; times how
sure the language is where nothing was found. It orders, it is no measured probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from trimtab.core.decision import Feature
from trimtab.dataplane.classify.cues import Cue

MEDIUM: Final = 0.3
HIGH: Final = 0.6
_WEIGHTS: Final[Mapping[Cue, tuple[float, float]]] = {
    "self_harm": (0.9, 0.0),
    "medical": (0.45, 0.3),
    "legal": (0.45, 0.3),
    "finance": (0.35, 0.2),
    "escalation": (0.35, 0.1),
}


def judge(cues: Mapping[Cue, frozenset[str]], *, covered: float) -> Feature | None:
    """`covered`: how sure it is that the text is in a language with cue lists."""
    safe = 1.0
    because: dict[str, float] = {}
    for kind, (first, second) in _WEIGHTS.items():
        if count := len(cues.get(kind, ())):
            because[kind] = count
            safe *= (1 - first) * (1 - second if count > 1 else 1.0)
    score = round(1 - safe, 4)
    if not because and covered < 0.5:
        return None
    level = "low" if score < MEDIUM else "medium" if score < HIGH else "high"
    margin = min(abs(score - MEDIUM), abs(score - HIGH))
    confidence = 0.5 + 0.4 * min(1.0, margin / 0.3)
    if level == "low":
        confidence = min(0.8, confidence) * covered
    return Feature(level, round(confidence, 4), {"score": score, **because})
