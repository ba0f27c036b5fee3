"""Character n-grams as numbers: one polynomial hash over code points for all lengths, in numpy.

`h_1 = (a_i + 1) m`, `h_n = p h_{n-1} xor (a_{i+n-1} + 1) m`, mixed at the end, all modulo 2^64. No vocabulary, so
nothing is learnt from a text and nothing can be unknown; two n-grams share a number about once in (number of buckets).
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

_MULTIPLIER: Final = np.uint64(0x9E3779B97F4A7C15)
_PRIME: Final = np.uint64(0x100000001B3)
_MIX: Final = np.uint64(0xBF58476D1CE4E5B9)
_29, _33 = np.uint64(29), np.uint64(33)


def ngram_hashes(text: str, least: int, most: int) -> NDArray[np.uint64]:
    """Hashes of all character n-grams of `least` to `most` characters, of the text between two spaces, with case and
    runs of white space folded; repeated as often as they stand there. The upper 31 bits are the well mixed ones."""
    folded = f" {' '.join(text.casefold().split())} "
    codes = np.frombuffer(folded.encode("utf-32-le", "replace"), dtype=np.uint32).astype(np.uint64)
    codes = (codes + np.uint64(1)) * _MULTIPLIER  # NUL is a character too
    hashed, found = codes, [codes] if least <= 1 else []
    for n in range(2, min(most, len(codes)) + 1):
        hashed = (hashed[:-1] * _PRIME) ^ codes[n - 1 :]
        if n >= least:
            found.append(hashed)
    if not found:
        return np.zeros(0, np.uint64)
    whole = np.concatenate(found)
    mixed: NDArray[np.uint64] = ((whole ^ (whole >> _29)) * _MIX) >> _33
    return mixed
