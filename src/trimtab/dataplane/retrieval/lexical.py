"""Lexical search: BM25 over words and over character four-grams (Robertson & Zaragoza 2009).

Words find what is named as it is written; four-grams find inflected forms, compounds, product codes and cognates in
other languages, and all of it in scripts that set no spaces. Both are kept apart and fused by rank, since their scores
mean different things. Postings are numpy arrays: a search touches only the terms of the query.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final, Literal
from unicodedata import normalize

import numpy as np
from numpy.typing import NDArray

K1: Final = 1.2
B: Final = 0.75
GRAM: Final = 4
_word = re.compile(r"\w+")
_unspaced = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7ff]")
Kind = Literal["words", "grams"]


class Bm25:
    """An immutable index of texts by number."""

    def __init__(self, texts: Sequence[str], kind: Kind) -> None:
        self._kind = kind
        counts = [Counter(terms(text, kind)) for text in texts]
        lengths = np.array([sum(count.values()) for count in counts], dtype=np.float32)
        mean = float(lengths.mean()) if len(lengths) else 1.0
        self._norm = K1 * (1 - B + B * lengths / max(mean, 1.0))
        self._size = len(texts)
        postings: dict[str, list[tuple[int, int]]] = {}
        for number, count in enumerate(counts):
            for term, times in count.items():
                postings.setdefault(term, []).append((number, times))
        self._postings: dict[str, tuple[NDArray[np.int32], NDArray[np.float32]]] = {
            term: (
                np.array([number for number, _ in rows], dtype=np.int32),
                np.array([times for _, times in rows], dtype=np.float32),
            )
            for term, rows in postings.items()
        }

    def scores(self, text: str) -> NDArray[np.float32]:
        """The score of every text; 0 where no term is shared."""
        total = np.zeros(self._size, dtype=np.float32)
        for term in dict.fromkeys(terms(text, self._kind)):
            posting = self._postings.get(term)
            if posting is None:
                continue
            numbers, times = posting
            rarity = math.log(1 + (self._size - len(numbers) + 0.5) / (len(numbers) + 0.5))
            total[numbers] += rarity * times * (K1 + 1) / (times + self._norm[numbers])
        return total


def terms(text: str, kind: Kind) -> Iterator[str]:
    """Folded words, or the four-grams of words with their ends marked."""
    for word in _word.findall(normalize("NFKC", text).casefold()):
        if kind == "words" and not _unspaced.search(word):
            yield word
            continue
        size = 2 if _unspaced.search(word) else GRAM
        marked = word if size == 2 else f"_{word}_"
        if len(marked) <= size:
            yield marked
        else:
            yield from (marked[at : at + size] for at in range(len(marked) - size + 1))
