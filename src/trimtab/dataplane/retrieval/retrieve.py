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
    """`hits`, what the answer is held against, best first; `shown`, those of them that go into the prompt, and their
    `tokens`; `dense`: whether vectors had their say."""

    hits: tuple[Hit, ...]
    shown: tuple[Hit, ...]
    tokens: int
    dense: bool
    dropped: int
    """Hits that the token budget left out of the prompt."""


async def retrieve(
    corpus: Corpus,
    embedder: Embedder,
    question: str,
    *,
    max_tokens: int,
    count: Callable[[str], int],
    timeout_s: float,
    show: int = MOST_PASSAGES,
    language: str | None = None,
    k: int = MOST_PASSAGES,
) -> Retrieved:
    """The best `k` passages, those in the question's `language` first; and the first `show` of them that fit. When the
    time is up before the question is embedded, words decide alone.

    `count`: tokens of a text for the model that will read them.
    """
    vector = None
    try:
        async with asyncio.timeout(timeout_s):
            vector = (await embedder.queries([question]))[0]
    except TimeoutError:
        pass
    hits = corpus.search(question, vector, k)
    hits.sort(key=lambda hit: language is not None and hit.passage.language not in (None, language))
    shown: list[Hit] = []
    tokens = 0
    for hit in hits[:show]:
        size = count(hit.passage.whole) + _FRAME_TOKENS
        if tokens + size <= max_tokens:
            shown.append(hit)
            tokens += size
    dropped = min(show, len(hits)) - len(shown)
    return Retrieved(tuple(hits), tuple(shown), tokens, vector is not None, dropped)
