"""Which of a channel's intents a text is, from a few examples of each, or that it is none of them.

Two models of one shape, the cheap one asked first:

    spelling   hashed character n-grams (2 to 5) with tf-idf; microseconds, no model
    meaning    the same, and the sentence embedding beside it

Score of intent c for a text, each cosine in [-1, 1]:

    s_c = cos(x, mean_c) + max_i cos(x, x_ci)   of embeddings, centred and whitened
        + 1/4 (the same two cosines of n-grams)

A class mean is what few examples tell best, the nearest example keeps an intent that is said in two ways apart from
its mean; together they beat either, and a ridge regression on the same features, from 5 to 40 examples an intent
(banking77: .83 at 20, against .80 and .79; .87 at 40). Whitening turns variation inside intents (form of sentence,
language) down: with R the examples minus their means, S = (1-g) R'R/(n-C) + g tr(R'R)/(d(n-C)) I and
g = max(0.2, d/(d+n)), so that a handful of examples gives plain cosines, and hundreds a discriminant (LDA).

In scope or not, on f = max_c s_c + 5 max_i cos(x, x_i) (raw embeddings: how near anything is at all; n-grams alone: f
= max_c s_c). In-scope values of f come from the examples left out one by one, values of out of scope from 60 texts
about anything (`data/background.txt`): their mean is within 0.13 of that of real out-of-scope questions, while intents
held out whole are too near for a few dozen intents and too far for two. Examples of one hand resemble each other
more than users resemble them, so the in-scope mean m1 is taken one deviation lower and the deviation d1 half as large
again. The cut is where both are equally many deviations away, the slope that of two normals of pooled variance:

    P(in) = 1 / (1 + exp(-(f - t)(m1 - m0) / v)),  t = (m1 d0 + m0 d1)/(d0 + d1),  v = (d0^2 + d1^2)/2

P(in) is squeezed between Jeffreys' 0.5/(n0 + 1) and (n1 + 0.5)/(n1 + 1): nine examples make nobody surer than 0.95.

P(c) = softmax(s / T), T by the likelihood of the examples left out one by one, smoothed by one mistake more than there
were. Confidence = P(in) P(c); below P(in) = 1/2 the value is None with 1 - P(in). `out_of_scope` is 1 - P(in).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trimtab.core.decision import Feature
from trimtab.foundations.embed import Vectors, ngram_hashes

DECIDES: Final = 0.8
"""Confidence from which the spelling alone decides, and no embedding is made: on CLINC150 with 4 to 150 intents of 3 to
25 examples it was then right in .92 to 1.00, for up to three questions of four where examples are many."""
_BUCKETS: Final = 1 << 14
_LEAST, _MOST = 2, 5
_SPELLING = 0.25
_NEARNESS = 5.0
_LEAST_SHRINKAGE = 0.2
_IN_SCOPE = 0.5
_TEMPERATURES = np.geomspace(0.03, 1.0, 24)
_BLOCK = 256
_NONE = -9.0  # less than any cosine

Floats: TypeAlias = NDArray[np.float64]


class _Spelling:
    """Tf-idf rows of n-grams, kept by bucket, so that a text looks only at the buckets that it has."""

    def __init__(self, texts: Sequence[str]) -> None:
        rows = [_buckets(text) for text in texts]
        seen = np.zeros(_BUCKETS)
        for row in rows:
            seen[row] += 1
        self._idf = np.log((1 + len(texts)) / (1 + seen)) + 1
        self.rows = [(row, self._weights(row)) for row in rows]
        buckets = np.concatenate([row for row, _ in self.rows])
        order = np.argsort(buckets, kind="stable")
        self._owners = np.repeat(np.arange(len(texts)), [len(row) for row, _ in self.rows])[order]
        self._values = np.concatenate([weights for _, weights in self.rows])[order]
        self._starts = np.searchsorted(buckets[order], np.arange(_BUCKETS + 1))
        self._count = len(texts)

    def row(self, text: str) -> tuple[NDArray[np.intp], Floats]:
        row = _buckets(text)
        return row, self._weights(row)

    def cosines(self, row: NDArray[np.intp], weights: Floats) -> Floats:
        """With every example."""
        starts, ends = self._starts[row], self._starts[row + 1]
        lengths = ends - starts
        total = int(lengths.sum())
        if not total:
            return np.zeros(self._count)
        # indices starts[0]..ends[0], starts[1]..ends[1], ... in one go
        places = np.arange(total) + np.repeat(starts - np.cumsum(lengths) + lengths, lengths)
        found = np.bincount(
            self._owners[places], np.repeat(weights, lengths) * self._values[places], minlength=self._count
        )
        return found.astype(np.float64)

    def _weights(self, row: NDArray[np.intp]) -> Floats:
        weights = self._idf[row]
        return weights / (np.linalg.norm(weights) or 1.0)


class _Head:
    """What a text's scores mean: temperature, cut and slope, learnt from the examples left out and the background."""

    def __init__(self, left_out: Floats, labels: NDArray[np.intp], inside: Floats, outside: Floats) -> None:
        self.temperature = _temperature(left_out, labels)
        center = float(np.median(inside)) if len(inside) else float(outside.mean() + 4 * outside.std())
        kept = outside[outside < center] if (outside < center).any() else outside
        m0, d0 = float(kept.mean()), max(float(kept.std()), 1e-3)
        m1, d1 = (float(inside.mean()), float(inside.std())) if len(inside) else (center, d0)
        d1 = max(d1, 1e-3)
        m1, d1 = max(m1 - d1, m0 + d0), 1.5 * d1
        self.cut = (m1 * d0 + m0 * d1) / (d0 + d1)
        self.slope = (m1 - m0) / ((d0 * d0 + d1 * d1) / 2)
        self.least, self.most = 0.5 / (len(outside) + 1), (len(inside) + 0.5) / (len(inside) + 1)

    def judge(self, scores: Floats, nearness: float) -> tuple[int, float, float]:
        """(the best intent, its probability among the intents, probability of being in scope)."""
        best = int(scores.argmax())
        among = float(1 / np.exp((scores - scores[best]) / self.temperature).sum())
        inside = 1 / (1 + exp(-max(-50.0, min(50.0, (nearness - self.cut) * self.slope))))
        return best, among, self.least + (self.most - self.least) * inside


class IntentModel:
    """See the module. Immutable once built; building is work for a worker thread."""

    def __init__(
        self,
        intents: Mapping[str, Sequence[str]],
        background: Sequence[str],
        vectors: Vectors | None = None,
        background_vectors: Vectors | None = None,
    ) -> None:
        """`vectors`: one row an example, in the order of `examples(intents)`. Raises ValueError without any example."""
        self.names = [name for name, examples in intents.items() if examples]
        if not self.names:
            raise ValueError("there is no example of any intent")
        counts = [len(intents[name]) for name in self.names]
        self._labels = np.repeat(np.arange(len(counts)), counts)
        self._counts = np.array(counts, np.float64)
        self._firsts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        self._spelling = _Spelling(examples(intents))
        self._norms = self._mean_norms()
        alone = self._spelled_left_out()
        about = np.array([self.spelled(text) for text in background])
        self._cheap = _Head(alone, self._labels, *self._sides(alone, about, None, None))
        self._meaning: _Meaning | None = None
        self._dear: _Head | None = None
        if vectors is not None and background_vectors is not None:
            self._meaning = meaning = _Meaning(vectors.astype(np.float64), self._labels, self._firsts, self._counts)
            means, nearest, raw = meaning.left_out()
            far = [meaning.score(row) for row in background_vectors.astype(np.float64)]
            whole = means + nearest + _SPELLING * alone
            apart = np.array([scores for scores, _ in far]) + _SPELLING * about
            sides = self._sides(whole, apart, raw, np.array([near for _, near in far]))
            self._dear = _Head(whole, self._labels, *sides)

    def __repr__(self) -> str:
        kind = "spelling and meaning" if self._meaning else "spelling"
        return f"<IntentModel {len(self.names)} intents, {len(self._labels)} examples, by {kind}>"

    @property
    def has_meaning(self) -> bool:
        return self._meaning is not None

    def spelled(self, text: str) -> Floats:
        """How near the text's spelling is to each intent: cos to the mean + cos to the nearest example."""
        return self._both(self._spelling.cosines(*self._spelling.row(text)))

    def by_spelling(self, scores: Floats) -> Feature:
        """`scores`: what `spelled` gave for the text."""
        return self._feature(self._cheap, scores, float(scores.max()), "spelling")

    def by_meaning(self, spelled: Floats, vector: Vectors) -> Feature:
        """`spelled`: what `spelled` gave for the text; `vector`: its embedding."""
        if self._meaning is None or self._dear is None:
            return self.by_spelling(spelled)
        scores, near = self._meaning.score(vector.astype(np.float64))
        scores = scores + _SPELLING * spelled
        return self._feature(self._dear, scores, float(scores.max()) + _NEARNESS * near, "meaning")

    def _feature(self, head: _Head, scores: Floats, nearness: float, by: str) -> Feature:
        best, among, inside = head.judge(scores, nearness)
        because: dict[str, Any] = {"by": by, "nearest": self.names[best], "among_intents": round(among, 4)}
        if len(self.names) > 1:
            because["second"] = self.names[int(np.argpartition(scores, -2)[-2])]
        because["out_of_scope"] = round(1 - inside, 4)
        if inside < _IN_SCOPE:
            return Feature(None, round(1 - inside, 4), because)
        return Feature(self.names[best], round(inside * among, 4), because)

    def _both(self, cosines: Floats) -> Floats:
        # the cosine with a mean of unit rows is the sum of cosines over the length of the rows' sum
        means = np.add.reduceat(cosines, self._firsts) / self._norms
        both: Floats = means + np.maximum.reduceat(cosines, self._firsts)
        return both

    def _mean_norms(self) -> Floats:
        norms = []
        for first, count in zip(self._firsts, self._counts, strict=True):
            total = np.zeros(_BUCKETS)
            for row, weights in self._spelling.rows[int(first) : int(first + count)]:
                total[row] += weights
            norms.append(float(np.linalg.norm(total)) or 1.0)
        return np.array(norms)

    def _spelled_left_out(self) -> Floats:
        """Row i: scores of example i as if it were not there."""
        found = np.empty((len(self._labels), len(self.names)))
        for i, (row, weights) in enumerate(self._spelling.rows):
            cosines = self._spelling.cosines(row, weights)
            own = int(self._labels[i])
            first, count = int(self._firsts[own]), int(self._counts[own])
            self_cosine, cosines[i] = cosines[i], _NONE
            found[i] = np.add.reduceat(cosines, self._firsts) / self._norms + np.maximum.reduceat(cosines, self._firsts)
            if count > 1:
                others = float(cosines[first : first + count].sum() - _NONE)
                norm = self._norms[own] ** 2 - 2 * others - self_cosine
                found[i, own] = others / max(norm, 1e-9) ** 0.5 + cosines[first : first + count].max()
            else:
                found[i, own] = _NONE
        return found

    def _sides(
        self, left_out: Floats, outside: Floats, raw: Floats | None, raw_outside: Floats | None
    ) -> tuple[Floats, Floats]:
        """f of the examples left out (of intents that have others), and of the background."""
        several = self._counts[self._labels] > 1
        inside = left_out[np.arange(len(self._labels)), self._labels]
        away = outside.max(axis=1)
        if raw is not None and raw_outside is not None:
            inside, away = inside + _NEARNESS * raw, away + _NEARNESS * raw_outside
        return inside[several], away


class _Meaning:
    """Embeddings of the examples, centred and whitened."""

    def __init__(self, rows: Floats, labels: NDArray[np.intp], firsts: NDArray[np.intp], counts: Floats) -> None:
        self._labels, self._firsts, self._counts, self._rows = labels, firsts, counts, rows
        n, d = rows.shape
        self._center = rows.mean(axis=0) if len(counts) > 1 else np.zeros(d)
        means = np.add.reduceat(rows, firsts, axis=0) / counts[:, None]
        self._whitening = _whitening(rows - means[labels], n - len(counts), n)
        self._white = (rows - self._center) @ self._whitening
        self._means = np.add.reduceat(self._white, firsts, axis=0) / counts[:, None]
        self._unit_means, self._unit = _unit(self._means), _unit(self._white)

    def score(self, vector: Floats) -> tuple[Floats, float]:
        """(scores by intent, cosine with the nearest example)."""
        white = (vector - self._center) @ self._whitening
        white = white / (float(np.linalg.norm(white)) or 1.0)
        nearest = np.maximum.reduceat(self._unit @ white, self._firsts)
        return self._unit_means @ white + nearest, float((self._rows @ vector).max())

    def left_out(self) -> tuple[Floats, Floats, Floats]:
        """For every example as if it were not there: cosines with means, with nearest ones; the nearest raw one of its
        own intent. The whitening has seen it; what that flatters is taken back where the cut is set."""
        places = np.arange(len(self._rows))
        counts = self._counts[self._labels]
        means = self._unit @ self._unit_means.T
        rest = self._means[self._labels] * counts[:, None] - self._white
        means[places, self._labels] = (self._unit * _unit(rest)).sum(axis=1)
        near, raw = np.empty_like(means), np.empty(len(self._rows))
        for first in range(0, len(places), _BLOCK):  # all pairs of 10,000 examples at once would take 800 MB
            some = places[first : first + _BLOCK]
            cosines, plain = self._unit[some] @ self._unit.T, self._rows[some] @ self._rows.T
            cosines[some - first, some] = plain[some - first, some] = _NONE
            near[some] = np.maximum.reduceat(cosines, self._firsts, axis=1)
            raw[some] = np.maximum.reduceat(plain, self._firsts, axis=1)[some - first, self._labels[some]]
        return means, near, raw


def examples(intents: Mapping[str, Sequence[str]]) -> list[str]:
    """All examples, in the order of the rows of `vectors`."""
    return [text for texts in intents.values() for text in texts]


def _whitening(residuals: Floats, freedom: int, n: int) -> Floats:
    d = residuals.shape[1]
    scatter = residuals.T @ residuals / max(1, freedom)
    level = float(np.trace(scatter)) / d
    if level <= 1e-12:
        return np.eye(d)
    g = max(_LEAST_SHRINKAGE, d / (d + n))
    values, axes = np.linalg.eigh((1 - g) * scatter + g * level * np.eye(d))
    whitening: Floats = (axes / np.sqrt(np.maximum(values, 1e-12))) @ axes.T
    return whitening


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)
    return unit


def _temperature(scores: Floats, labels: NDArray[np.intp]) -> float:
    """The likeliest on the examples left out, where one more of them than there are would have gone wrong."""
    known = scores[np.arange(len(labels)), labels] > _NONE / 2
    scores, labels = scores[known], labels[known]
    if not len(scores) or scores.shape[1] < 2:
        return float(_TEMPERATURES[len(_TEMPERATURES) // 2])
    n, classes = scores.shape
    wrong = 1 / (n + 2)
    apart = scores - scores.max(axis=1, keepdims=True)
    losses = []
    for temperature in _TEMPERATURES:
        logs = apart / temperature
        logs -= np.log(np.exp(logs).sum(axis=1, keepdims=True))
        hit = logs[np.arange(n), labels]
        missed = (logs.sum(axis=1) - hit) / (classes - 1)
        losses.append(-float(((1 - wrong) * hit + wrong * missed).mean()))
    return float(_TEMPERATURES[int(np.argmin(losses))])


def _buckets(text: str) -> NDArray[np.intp]:
    return np.unique(ngram_hashes(text, _LEAST, _MOST) % np.uint64(_BUCKETS)).astype(np.intp)
