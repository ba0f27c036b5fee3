"""Lexical search: BM25 over words and over character four-grams (Robertson & Zaragoza 2009).

Words find what is named as it is written; four-grams find inflected forms, compounds, product codes and cognates in
other languages, and all of it in scripts that set no spaces. Postings are numpy arrays: a search touches only the terms
of the query.
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
_NOWHERE: Final = (np.zeros(0, dtype=np.int32), np.zeros(0, dtype=np.float32))


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

    def shares(self, text: str) -> NDArray[np.float32]:
        """The score of every text in units of what a text of mean length with every term of the question once would
        have: 0 where no term is shared, about 1 where all are."""
        total = np.zeros(self._size, dtype=np.float32)
        whole = 0.0
        for term in dict.fromkeys(terms(text, self._kind)):
            numbers, times = self._postings.get(term, _NOWHERE)
            rarity = math.log(1 + (self._size - len(numbers) + 0.5) / (len(numbers) + 0.5))
            whole += rarity
            total[numbers] += rarity * times * (K1 + 1) / (times + self._norm[numbers])
        return total / whole if whole else total


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
