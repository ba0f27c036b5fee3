"""The port of vector search."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class VectorIndex(Protocol):
    """Nearest passages by cosine. Immutable; `search` is pure, quick and may run on the event loop."""

    def search(self, vector: NDArray[np.float32], k: int) -> list[tuple[int, float]]:
        """(number, cosine) of at most `k` passages, best first. `vector` is normalised."""
        ...
