"""How many tokens: an exact count from a model's own vocabulary, a bound from bytes, an estimate where neither is."""

from __future__ import annotations

from pathlib import Path

from trimtab.foundations.tokens.base import TokenCounter
from trimtab.foundations.tokens.bound import prompt_bound, text_bytes
from trimtab.foundations.tokens.gguf import GgufError
from trimtab.foundations.tokens.produced import Produced
from trimtab.foundations.tokens.ratio import RatioEstimator


def gguf_counter(path: Path) -> TokenCounter:
    """The exact counter of a GGUF's own vocabulary; takes 0.2 s. Raises GgufError for what can't be counted exactly."""
    from trimtab.foundations.tokens.bpe import BpeCounter  # loads the tokenizers library, which only this needs

    return BpeCounter.from_gguf(path)


__all__ = ["GgufError", "Produced", "RatioEstimator", "TokenCounter", "gguf_counter", "prompt_bound", "text_bytes"]
