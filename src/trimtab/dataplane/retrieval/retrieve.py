"""Retrieve: passages for a question, within the time and the tokens that are left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import msgspec

from trimtab.dataplane.retrieval.corpus import Corpus, Hit
from trimtab.foundations.embed import Embedder

MOST_PASSAGES: Final = 4
_FRAME_TOKENS: Final = 12
"""Around each passage in the prompt: number, source, line ends."""


class Retrieved(msgspec.Struct, frozen=True):
    """`hits` as they go into the prompt, best first; `tokens` of them; `dense`: whether vectors had their say."""

    hits: tuple[Hit, ...]
    tokens: int
    dense: bool
    dropped: int
    """Hits that the token budget left out."""


async def retrieve(
    corpus: Corpus,
    embedder: Embedder,
    question: str,
    *,
    max_tokens: int,
    count: Callable[[str], int],
    timeout_s: float,
    k: int = MOST_PASSAGES,
) -> Retrieved:
    """The best passages that fit. When the time is up before the question is embedded, the lexical lists decide alone.

    `count`: tokens of a text for the model that will read them.
    """
    vector = None
    try:
        async with asyncio.timeout(timeout_s):
            vector = (await embedder.queries([question]))[0]
    except TimeoutError:
        pass
    found = corpus.search(question, vector, k)
    hits: list[Hit] = []
    tokens = 0
    for hit in found:
        size = count(hit.passage.whole) + _FRAME_TOKENS
        if tokens + size <= max_tokens:
            hits.append(hit)
            tokens += size
    return Retrieved(tuple(hits), tokens, vector is not None, len(found) - len(hits))
