"""Non-negative least squares from moments: X'X and X'y of the rows of one linear form, no row is kept.

What came before is forgotten by a constant factor with each row, and if all targets had been f times as large, so would
the coefficients be: `scale`.

Exact: without those that came out negative, if that meets the conditions of an optimum; else the best of all subsets
that may be above zero, which are few. Where rows don't tell two
coefficients apart (all requests were alike) a slight pull decides: towards the prior, and
where there is none towards 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

import msgspec


class Moments(msgspec.Struct, kw_only=True):
    """Of the rows of one linear form; the old ones are partly forgotten."""

    gram: list[list[float]]
    """X'X."""
    target: list[float]
    """X'y."""
    count: float = 0.0
    """Weight of all rows together."""
    ratios: list[float] = []
    """What the last rows were of what was expected of them: `Fit` watches them."""

    @classmethod
    def none(cls, size: int) -> Moments:
        return cls(gram=[[0.0] * size for _ in range(size)], target=[0.0] * size)

    def scale(self, gram: float, target: float, count: float) -> None:
        """Multiply the parts."""
        self.gram = [[value * gram for value in line] for line in self.gram]
        self.target = [value * target for value in self.target]
        self.count *= count

    def add(self, row: Sequence[float], value: float, weight: float) -> None:
        target = self.target
        for index, one in enumerate(row):
            line, scaled = self.gram[index], weight * one
            for place, other in enumerate(row):
                line[place] += scaled * other
            target[index] += scaled * value
        self.count += weight

    def check(self, size: int) -> None:
        """Raises ValueError for what no rows of `size` numbers leave behind."""
        if len(self.target) != size or [len(line) for line in self.gram] != [size] * size:
            raise ValueError(f"the state holds moments of another size than {size}")
        numbers = [*self.target, *(value for line in self.gram for value in line), self.count]
        if not all(map(math.isfinite, numbers)) or min(self.count, *(self.gram[at][at] for at in range(size))) < 0:
            raise ValueError("the state holds moments that no samples have")
        if not all(math.isfinite(ratio) and ratio > 0 for ratio in self.ratios):
            raise ValueError("the state holds ratios that no samples have")

    def paced(self, shape: Sequence[float], last: float) -> list[float]:
        """The multiple of `shape` of the least squared error, where the last coefficient besides is `last`."""
        over = [sum(map(float.__mul__, line, map(float, shape))) for line in self.gram]
        square = sum(map(float.__mul__, over, map(float, shape)))
        told = sum(map(float.__mul__, self.target, map(float, shape))) - last * over[-1]
        pace = max(0.0, told / square) if square > 0 else 0.0
        return [pace * one for one in shape]

    def solve(self, prior: Sequence[float], pull: float) -> list[float]:
        """The coefficients, none below 0, of the least squared error. `pull`: weight of each coefficient's prior, in
        rows which it alone explained."""
        size = len(self.target)
        gram, target = [list(line) for line in self.gram], list(self.target)
        for index, before in enumerate(prior):
            # In the coefficient's own unit, so that also what was hardly seen keeps near its prior; but never more than
            # one row like those that came, or a prior of nearly nothing could not be overcome.
            unit = gram[index][index] / self.count if self.count else 0.0
            if before > 0:
                unit = min(pull / before**2, unit) if unit else pull / before**2
            else:
                unit *= pull
            gram[index][index] += unit
            target[index] += unit * before
        # Unit diagonals: coefficients per token and per pass differ by many powers of ten.
        units = [1 / math.sqrt(gram[index][index]) if gram[index][index] > 0 else 0.0 for index in range(size)]
        for index, unit in enumerate(units):
            target[index] *= unit
            gram[index] = [value * unit * other for value, other in zip(gram[index], units, strict=True)]
        seen = [index for index in range(size) if units[index]]
        found = _least([[gram[i][j] for j in seen] for i in seen], [target[i] for i in seen])
        made = [0.0] * size
        for index, value in zip(seen, found, strict=True):
            made[index] = value * units[index]
        return made


def _least(gram: list[list[float]], target: list[float]) -> list[float]:
    found = _solved(gram, target)
    if found is None:
        return _best(gram, target)
    return found if min(found, default=0.0) >= 0 else _without(found, gram, target) or _best(gram, target)


def _without(found: list[float], gram: list[list[float]], target: list[float]) -> list[float] | None:
    """The solution without the negative ones of `found`, None if it is not the best."""
    chosen = [index for index, value in enumerate(found) if value >= 0]
    kept = _solved([[gram[i][j] for j in chosen] for i in chosen], [target[i] for i in chosen])
    if kept is None or any(value < 0 for value in kept):
        return None
    made = [0.0] * len(target)
    for index, value in zip(chosen, kept, strict=True):
        made[index] = value
    for index in set(range(len(target))) - set(chosen):  # none of the others would lessen the error if it grew
        if target[index] > sum(map(float.__mul__, gram[index], made)):
            return None
    return made


def _best(gram: list[list[float]], target: list[float]) -> list[float]:
    """Of all subsets whose own solution is not negative, that of the least loss."""
    size = len(target)
    best, least = [0.0] * size, 0.0
    for taken in range(1, size + 1):
        for chosen in combinations(range(size), taken):
            found = _solved([[gram[i][j] for j in chosen] for i in chosen], [target[i] for i in chosen])
            if found is None or min(found) < 0:
                continue
            loss = -sum(target[i] * value for i, value in zip(chosen, found, strict=True))
            if loss < least:
                least, best = loss, [0.0] * size
                for index, value in zip(chosen, found, strict=True):
                    best[index] = value
    return best


def _solved(gram: list[list[float]], target: list[float]) -> list[float] | None:
    """By elimination on the diagonal, which needs no pivots where a matrix is positive definite; None where not."""
    size = len(target)
    rows = [[*line, value] for line, value in zip(gram, target, strict=True)]
    for column in range(size):
        head = rows[column]
        if head[column] <= 1e-11:  # of 1: below it rounding decides
            return None
        for other in range(column + 1, size):
            line = rows[other]
            factor = line[column] / head[column]
            for place in range(column, size + 1):
                line[place] -= factor * head[place]
    found = [0.0] * size
    for index in reversed(range(size)):
        line = rows[index]
        rest = line[size]
        for other in range(index + 1, size):
            rest -= line[other] * found[other]
        found[index] = rest / line[index]
    return found
