"""What searches vectors: all of them while they are few, a graph where they are many."""

from __future__ import annotations

import logging
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trimtab.dataplane.retrieval.base import VectorIndex

_log = logging.getLogger(__name__)
FLAT_BELOW: Final = 2_000
"""Passages below which every vector is compared: exact, quicker than a graph, and nothing more to install."""


def create_index(vectors: NDArray[np.float32]) -> VectorIndex:
    """An index of normalised vectors. Without FAISS many are compared one by one, too, and the log says so."""
    from trimtab.dataplane.retrieval.adapters.flat import FlatIndex

    if len(vectors) < FLAT_BELOW:
        return FlatIndex(vectors)
    from trimtab.dataplane.retrieval.adapters.hnsw import HnswIndex

    try:
        return HnswIndex(vectors)
    except ImportError:
        _log.warning(
            "%d passages are compared one by one: FAISS is quicker, but not installed (pip install 'trimtab[rag]')",
            len(vectors),
        )
        return FlatIndex(vectors)


__all__ = ["FLAT_BELOW", "create_index"]
