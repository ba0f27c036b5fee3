"""Embed: texts as vectors, for all who compare meanings: intents, the semantic cache, retrieval, drift."""

from typing import TYPE_CHECKING, Final

from trimtab.core.clock import Clock
from trimtab.foundations.lazy import lazily

if TYPE_CHECKING:
    from trimtab.foundations.embed.adapters.hashed import HashEmbedder
    from trimtab.foundations.embed.adapters.nano import NanoEmbedder
    from trimtab.foundations.embed.base import MAX_CHARACTERS, Embedder, Vectors, cleaned
    from trimtab.foundations.embed.kept import KeptVectors, digest
    from trimtab.foundations.embed.ngrams import ngram_hashes

NANO: Final = "multilingual-e5-small-q4"
"""The embedded model's name, as prices and callers know it."""
EMBEDDERS = frozenset({"nano", "hash"})


def create_embedder(name: str, clock: Clock) -> "Embedder":
    """`nano` (the embedded model) or `hash` (no model); any other name is an error that lists them."""
    if name == "nano":
        from trimtab.foundations.embed.adapters.nano import NanoEmbedder

        return NanoEmbedder(clock)
    if name == "hash":
        from trimtab.foundations.embed.adapters.hashed import HashEmbedder

        return HashEmbedder()
    raise ValueError(f"no embedder is named {name}; there are {', '.join(sorted(EMBEDDERS))}")


# numpy comes with each of these
__getattr__ = lazily(
    __name__,
    {
        "HashEmbedder": "adapters.hashed",
        "NanoEmbedder": "adapters.nano",
        "MAX_CHARACTERS": "base",
        "Embedder": "base",
        "Vectors": "base",
        "cleaned": "base",
        "KeptVectors": "kept",
        "digest": "kept",
        "ngram_hashes": "ngrams",
    },
)

__all__ = [
    "EMBEDDERS",
    "MAX_CHARACTERS",
    "NANO",
    "Embedder",
    "HashEmbedder",
    "KeptVectors",
    "NanoEmbedder",
    "Vectors",
    "cleaned",
    "create_embedder",
    "digest",
    "ngram_hashes",
]
