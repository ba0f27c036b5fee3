"""The floor: character TF-IDF (2 to 5, within the text) and a linear head, one against all, by least squares.

Ridge in its dual form; its strength is the best of a sweep by exact leave-one-out on the texts that it learns from,
which is as fair as a baseline can be tuned without looking at the questions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trimtab.foundations.embed import ngram_hashes

_BUCKETS = 8192
STRENGTHS = (0.1, 0.3, 1.0, 3.0)


class CharacterTfIdf:
    """`scores` gives one row a text, one column a label; `strength` is what the sweep chose."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        self.labels = sorted(set(labels))
        self._idf = np.ones(_BUCKETS, np.float32)
        counts = self._rows(texts)
        self._idf = (np.log((1 + len(texts)) / (1 + (counts > 0).sum(axis=0))) + 1).astype(np.float32)
        rows = self._rows(texts)
        place = {label: number for number, label in enumerate(self.labels)}
        truth = np.array([place[label] for label in labels])
        wanted = np.eye(len(self.labels), dtype=np.float32)[truth]
        values, axes = np.linalg.eigh(rows @ rows.T)
        turned = axes.T @ wanted
        best = -1.0
        for strength in STRENGTHS:
            shrunk = 1 / (np.maximum(values, 0) + strength)
            dual = axes @ (shrunk[:, None] * turned)
            left_out = wanted - dual / ((axes * axes) @ shrunk)[:, None]
            right = float((left_out.argmax(axis=1) == truth).mean())
            if right > best:
                best, self.strength, self._weights = right, strength, rows.T @ dual

    def scores(self, texts: Sequence[str]) -> NDArray[np.float32]:
        found: NDArray[np.float32] = self._rows(texts) @ self._weights
        return found

    def _rows(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.zeros((len(texts), _BUCKETS), np.float32)
        for number, text in enumerate(texts):
            buckets, counts = np.unique(ngram_hashes(text, 2, 5) % np.uint64(_BUCKETS), return_counts=True)
            rows[number, buckets.astype(np.intp)] = (1 + np.log(counts)) * self._idf[buckets.astype(np.intp)]
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return rows / np.where(lengths > 0, lengths, 1)
