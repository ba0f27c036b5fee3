"""A sketch of a distribution: any quantile of all that was observed, within 1 % of its value, in bounded memory.

DDSketch (Masson, Rim and Lee, "DDSketch: a fast and fully-mergeable quantile sketch with relative-error guarantees",
PVLDB 12, 2019; Datadog's own library). With g = (1 + a) / (1 - a) the bucket k counts the values in (g^(k-1), g^k] and
stands for 2 g^k / (g + 1), from which none of them is further away than the share a of itself. A quantile is the bucket
in which its rank lies: it is that near to the very value of this rank, whatever the values were and in whatever order
they came. Equal buckets add, so the sketch of two streams is the sum of theirs and loses nothing.

Memory: buckets are kept from the lowest to the highest in use, at most `BUCKETS` of them; beyond that the lowest are
put together. 2,048 reach from the largest value down to 1.6e-18 of it, from a day to 0.14 picoseconds. What lies below
is known to lie below, and a certificate of a quantile there has the lower bound 0.

Why not a sample or the last n values: their tail is what chance left of it. Why not the bounds of a histogram: what
lies between two of them is guessed. Why not t-digest or KLL: their error is in the rank, and in a long tail one rank
more may be twice the value.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from functools import reduce
from itertools import accumulate
from typing import Final, NamedTuple

import msgspec
from ddsketch import CollapsingLowestDenseStore, LogarithmicMapping

from trimtab.foundations.stats.base import Certificate

ACCURACY: Final = 0.01
"""How far a quantile is from the true value at most, as a share of that."""
BUCKETS: Final = 2048
LEAST: Final = 1e-300
"""What is smaller counts as 0."""
MOST: Final = 1e300
"""What is larger is refused."""
_ROUNDING: Final = 1e-10
"""Buckets are finer by this, so that what floats lose at their edges (1e-12) stays within the accuracy."""
_MAPPING: Final = LogarithmicMapping(ACCURACY - _ROUNDING)
_COUNTED: Final = 2**53
"""Up to here the library's counts, which are floats, are exact."""


class SketchState(msgspec.Struct, frozen=True, kw_only=True):
    """A Sketch between two runs. `counts` begin with bucket `first` and end with the highest in use."""

    buckets: int
    zeros: int
    first: int
    counts: list[int]
    collapsed: bool


class Sketch:
    """Quantiles of values from 0 to `MOST`, of one unit. `buckets` bounds the memory: 8 bytes for each between the
    lowest and the highest in use, and 24 for each that has counted, 65 KB at most; 9 KB for latencies over two powers
    of ten. `observe` takes 0.5 us, a quantile 5. Raises ValueError for no buckets."""

    def __init__(self, buckets: int = BUCKETS) -> None:
        if buckets < 1:
            raise ValueError(f"a sketch has at least one bucket, got {buckets}")
        self.buckets = buckets
        self._store = CollapsingLowestDenseStore(buckets)
        self._zeros = 0

    def __repr__(self) -> str:
        middle = self.quantile(0.5)
        return f"<Sketch of {self.count}>" if middle is None else f"<Sketch of {self.count}: median {middle:.3g}>"

    @property
    def count(self) -> int:
        """Values observed."""
        return self._zeros + int(self._store.count)

    def observe(self, value: float) -> None:
        """One more value. Raises ValueError, with nothing changed, for one that is negative, no number or above `MOST`:
        what is measured here can't be less than nothing, so it is an error of the caller's."""
        if not 0 <= value <= MOST:
            raise ValueError(f"a value lies between 0 and {MOST:g}, got {value}")
        if value < LEAST:
            self._zeros += 1
        else:
            self._store.add(_MAPPING.key(value))

    def quantile(self, at: float) -> float | None:
        """The value of rank floor(at (n - 1)) of n in ascending order, counted from 0: `at` 0 is the smallest, 1 the
        largest. None before the first. Where the lowest buckets were put together and the rank lies in them, it is no
        more than a bound from above. Raises ValueError for no share."""
        return self.certificate(at).estimate

    def certificate(self, at: float = 0.5) -> Certificate:
        """That the observed value of this rank (`quantile`) lies between the bounds, for certain. It says nothing of
        values that are yet to come."""
        if not 0 <= at <= 1:
            raise ValueError(f"a quantile is at a share from 0 to 1, got {at}")
        estimate, lower, upper = self._found(at)
        return Certificate(
            claim=f"the {at:g} quantile of what was observed",
            method="ddsketch",
            estimate=estimate,
            lower=lower,
            upper=upper,
            error=0.0,
            observations=self.count,
        )

    def _found(self, at: float) -> tuple[float | None, float, float]:
        """The quantile, and between what the true one lies."""
        if not self.count:
            return None, 0.0, MOST
        rank = int(at * (self.count - 1))
        if rank < self._zeros:
            return 0.0, 0.0, LEAST
        store = self._store
        # the library's key_at_rank, at a third of its time
        key = store.offset + bisect_right(list(accumulate(store.bins)), rank - self._zeros)
        value = _MAPPING.value(key)
        below = store.is_collapsed and key <= store.min_key
        return value, 0.0 if below else value / (1 + ACCURACY), value / (1 - ACCURACY)

    def state(self) -> SketchState:
        store = self._store
        used = store.bins[store.min_key - store.offset : store.max_key - store.offset + 1] if store.count else []
        return SketchState(
            buckets=self.buckets,
            zeros=self._zeros,
            first=store.min_key if used else 0,
            counts=[int(count) for count in used],
            collapsed=store.is_collapsed,
        )

    @classmethod
    def from_state(cls, state: SketchState) -> Sketch:
        """Raises ValueError for a state that no Sketch has."""
        counts = state.counts
        if min(state.zeros, *counts, 0) < 0 or state.zeros + sum(counts) > _COUNTED:
            raise ValueError("the state holds counts that are none")
        if len(counts) > state.buckets or (state.collapsed and len(counts) < state.buckets):
            raise ValueError(f"the state holds {len(counts)} buckets of {state.buckets}, collapsed: {state.collapsed}")
        if counts and not (counts[0] and counts[-1]):
            raise ValueError("the state holds empty buckets at its ends")
        last = state.first + max(0, len(counts) - 1)
        if (not counts and state.first) or not _MAPPING.key(LEAST) <= state.first <= last <= _MAPPING.key(MOST):
            raise ValueError(f"the state holds buckets from {state.first} to {last}, which no value has")
        made = cls(state.buckets)
        made._zeros = state.zeros
        for key, count in enumerate(counts, state.first):
            if count:
                made._store.add(key, count)
        made._store.is_collapsed = state.collapsed
        return made

    def merge(self, other: Sketch) -> Sketch:
        """The sketch of both streams: the very one that would have observed all. Raises ValueError for another number
        of buckets."""
        if self.buckets != other.buckets:
            raise ValueError(f"sketches of {self.buckets} and {other.buckets} buckets don't merge")
        made = Sketch(self.buckets)
        made._zeros = self._zeros + other._zeros
        made._store.copy(self._store)
        made._store.merge(other._store)
        # the library forgets it where the range of the collapsed one holds the other's
        made._store.is_collapsed = made._store.is_collapsed or other._store.is_collapsed
        return made


class _Part(NamedTuple):
    """What was observed from `number` times the width of a part on."""

    number: int
    sketch: Sketch


class Windowed:
    """The sketch of the last `window_ns`, in `parts` sketches of which the oldest leaves as a whole: nothing in it is
    older than the window, and nothing is missing that is younger than the window less a part.

    Times are a clock's nanoseconds; one that is behind the newest counts as the newest. Memory: `parts` sketches and
    one. It has no state for a restart, since a monotonic clock does not survive one. `observe` takes 0.8 us, `sketch`
    some 30. Raises ValueError for parts that are none.
    """

    def __init__(self, window_ns: int, parts: int = 5, buckets: int = BUCKETS) -> None:
        if parts < 1 or window_ns < parts:
            raise ValueError(f"a window of {window_ns} ns has no {parts} parts")
        self.parts, self.buckets = parts, buckets
        self._width_ns = -(-window_ns // parts)
        self._kept: deque[_Part] = deque()
        self._closed: Sketch | None = None

    def __repr__(self) -> str:
        seconds = self._width_ns * self.parts / 1e9
        return f"<Windowed {seconds:g} s: {sum(part.sketch.count for part in self._kept)} values>"

    def observe(self, value: float, now_ns: int) -> None:
        """One more value, now. Raises ValueError as a Sketch does."""
        number = self._leave(now_ns)
        if not self._kept or self._kept[-1].number < number:
            made = Sketch(self.buckets)
            made.observe(value)
            self._kept.append(_Part(number, made))
            self._closed = None
        else:
            self._kept[-1].sketch.observe(value)

    def sketch(self, now_ns: int) -> Sketch:
        """A sketch of its own of all in the window."""
        self._leave(now_ns)
        if not self._kept:
            return Sketch(self.buckets)
        *closed, newest = (part.sketch for part in self._kept)
        if self._closed is None:  # what gets no more values is merged once
            self._closed = reduce(Sketch.merge, closed, Sketch(self.buckets))
        return self._closed.merge(newest)

    def _leave(self, now_ns: int) -> int:
        """The parts that have left the window are given up; the number of the one of now."""
        number = now_ns // self._width_ns
        kept = self._kept
        while kept and kept[0].number <= number - self.parts:
            kept.popleft()
            self._closed = None
        return number


__all__ = ["ACCURACY", "BUCKETS", "LEAST", "MOST", "Sketch", "SketchState", "Windowed"]
