"""What a run comes to, by the ledger of the model's server alone: none of the gateways is asked."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence

import msgspec

from benchmarks.budgets.callers import Seen
from benchmarks.budgets.draws import INPUT_NANO, OUTPUT_NANO


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One subject under one seed. Percentages are of the budget."""

    subject: str
    seed: int
    secs: float
    requests: int
    """Drawn, without probes."""
    over_pct: float
    left_pct: float
    """Not spent when the usual requests were refused for good."""
    left_after_probes_pct: float
    refused_falsely: int
    """Requests that were refused at least once while the ledger had money for their prompt, at the most tokens that its
    bytes can be, and 16 tokens of answer."""
    refused_with_money: int
    """The same by the tokens that the model's server counted in their prompts, which none can know beforehand who has
    not its tokenizer."""
    refusals: dict[str, int]
    cut_short: int
    """Answers that ended for want of money, in good order."""
    outcomes: dict[str, int]


class Ledger:
    """Nano-dollars that the model's server had produced at each moment."""

    def __init__(self, trace: Sequence[tuple[int, int, int]], limit_nanousd: int) -> None:
        self._at = [row[0] for row in trace]
        self._spent = [row[1] * INPUT_NANO + row[2] * OUTPUT_NANO for row in trace]
        self.limit = limit_nanousd

    def left(self, at_ns: int) -> int:
        """Nano-dollars; less than 0 where more was spent than there was."""
        row = bisect_right(self._at, at_ns)
        return self.limit - (self._spent[row - 1] if row else 0)


def judge(subject: str, seed: int, seen: Seen, ledger: Ledger, spent_at_ns: int, end_ns: int, secs: float) -> Run:
    """`spent_at_ns`: when the usual requests had been refused for good; `end_ns`: when the probes had."""
    # Judged by what was left when the caller had its refusal, a few ms after it was decided.
    left = [(one, ledger.left(one.at_ns)) for one in seen.refused]

    def percent(nanousd: int) -> float:
        return 100 * nanousd / ledger.limit

    return Run(
        subject=subject,
        seed=seed,
        secs=round(secs, 1),
        requests=seen.drawn,
        over_pct=max(0.0, percent(-ledger.left(end_ns))),
        left_pct=max(0.0, percent(ledger.left(spent_at_ns))),
        left_after_probes_pct=max(0.0, percent(ledger.left(end_ns))),
        refused_falsely=len({one.number for one, money in left if money >= one.draw.bound_nanousd}),
        refused_with_money=len({one.number for one, money in left if money >= one.draw.least_nanousd}),
        refusals=dict(Counter(one.code for one in seen.refused)),
        cut_short=seen.cut_short,
        outcomes=dict(seen.outcomes),
    )
