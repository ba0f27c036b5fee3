"""How many tokens: an exact count from a model's own vocabulary, a bound from bytes, an estimate where neither is."""

from trimtab.foundations.tokens.base import TokenCounter
from trimtab.foundations.tokens.bound import prompt_bound, text_bytes

__all__ = ["TokenCounter", "prompt_bound", "text_bytes"]
