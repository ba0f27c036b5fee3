"""What is asked and when: lengths of Azure's trace, made as much shorter as a processor is slower, at random times.

Each policy gets the same times and lengths. Texts are of as many words, but of other ones: no engine has a prompt in
its cache that another request has brought there.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from benchmarks.sets import read

SETS: Final = {"azure_llm_2023_conv": "a_traffic/azure_llm_2023_conv.parquet"}
PROMPT_PART, ANSWER_PART = 32, 8
"""Tokens of the trace for one here: means of 1,155 and 211 become 36 and 26."""
LEAST_WORDS, MOST_WORDS = 4, 256
LEAST_TOKENS, MOST_TOKENS = 4, 96
"""Of an answer. The least, so that it has gaps to be judged by."""
_WORDS: Final = [
    "time",
    "year",
    "people",
    "way",
    "day",
    "man",
    "thing",
    "woman",
    "life",
    "child",
    "world",
    "school",
    "state",
    "family",
    "student",
    "group",
    "country",
    "problem",
    "hand",
    "part",
    "place",
    "case",
    "week",
    "company",
    "system",
    "program",
    "question",
    "work",
    "government",
    "number",
    "night",
    "point",
    "home",
    "water",
    "room",
    "mother",
    "area",
    "money",
    "story",
    "fact",
    "month",
    "lot",
    "right",
    "study",
    "book",
    "eye",
    "job",
    "word",
    "business",
    "issue",
    "side",
    "kind",
    "head",
    "house",
    "service",
    "friend",
    "father",
    "power",
    "hour",
    "game",
    "line",
    "end",
    "member",
    "law",
]
"""Each is one token of most vocabularies."""


class Ask(NamedTuple):
    """One request to come: when, counted from the phase's start, how many words its prompt has, and the most tokens
    that its answer may have."""

    at_s: float
    words: int
    tokens: int


def lengths(given: Mapping[str, str]) -> list[tuple[int, int]]:
    """(words of the prompt, tokens of the answer) of every row. Raises AbsentError."""
    rows = read("azure_llm_2023_conv", SETS, given)
    return [
        (
            min(max(round(row["ContextTokens"] / PROMPT_PART), LEAST_WORDS), MOST_WORDS),
            min(max(round(row["GeneratedTokens"] / ANSWER_PART), LEAST_TOKENS), MOST_TOKENS),
        )
        for row in rows
    ]


def at_random(found: Sequence[tuple[int, int]], rate: float, seconds: float, seed: int) -> list[Ask]:
    """Poisson arrivals at `rate` a second."""
    chosen, at, asks = random.Random(seed), 0.0, []
    while (at := at + chosen.expovariate(rate)) < seconds:
        asks.append(Ask(at, *chosen.choice(found)))
    return asks


def drawn(found: Sequence[tuple[int, int]], count: int, seed: int) -> list[Ask]:
    """So many, all from the start on."""
    chosen = random.Random(seed)
    return [Ask(0.0, *chosen.choice(found)) for _ in range(count)]


def body(ask: Ask, model: str, salt: str) -> bytes:
    """A chat request that streams. `salt`: another one, another text."""
    chosen = random.Random(f"{salt} {ask}")
    text = " ".join(chosen.choice(_WORDS) for _ in range(ask.words))
    return msgspec.json.encode(
        {
            "model": model,
            "stream": True,
            "max_tokens": ask.tokens,
            "messages": [{"role": "user", "content": f"{text}. Tell me more."}],
        }
    )
