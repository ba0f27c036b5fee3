"""Embed: texts as vectors, for all who compare meanings: intents, the semantic cache, retrieval, drift."""

from trimtab.core.clock import Clock
from trimtab.foundations.embed.adapters.hashed import HashEmbedder
from trimtab.foundations.embed.adapters.nano import NAME as NANO
from trimtab.foundations.embed.adapters.nano import NanoEmbedder
from trimtab.foundations.embed.base import MAX_CHARACTERS, Embedder, Vectors, cleaned
from trimtab.foundations.embed.ngrams import ngram_hashes

EMBEDDERS = frozenset({"nano", "hash"})


def create_embedder(name: str, clock: Clock) -> Embedder:
    """`nano` (the embedded model) or `hash` (no model); any other name is an error that lists them."""
    if name == "nano":
        return NanoEmbedder(clock)
    if name == "hash":
        return HashEmbedder()
    raise ValueError(f"no embedder is named {name}; there are {', '.join(sorted(EMBEDDERS))}")


__all__ = [
    "EMBEDDERS",
    "MAX_CHARACTERS",
    "NANO",
    "Embedder",
    "HashEmbedder",
    "NanoEmbedder",
    "Vectors",
    "cleaned",
    "create_embedder",
    "ngram_hashes",
]
