"""What every embedder promises, shown on both that ship."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.texts import CODE, LANGUAGES, ODD
from trimtab.core.clock import SystemClock
from trimtab.foundations.embed import (
    EMBEDDERS,
    MAX_CHARACTERS,
    Embedder,
    HashEmbedder,
    NanoEmbedder,
    cleaned,
    create_embedder,
    ngram_hashes,
)

MAKERS: list[Callable[[], Embedder]] = [HashEmbedder, lambda: NanoEmbedder(SystemClock())]
SOME = ["", " ", "x\0y", "\ud800", "\udfff half", LANGUAGES[11], LANGUAGES[16], CODE[0], ODD[9], "a" * 5000]


@pytest.mark.parametrize("make", MAKERS, ids=["hash", "nano"])
def test_rows_are_of_length_one_in_order_and_always_the_same(make: Callable[[], Embedder]) -> None:
    """Any text has a unit vector, alone the same as in a batch, and no caller can change it for the others."""

    async def main() -> None:
        one, other = make(), make()
        rows = await one.queries(SOME)
        assert rows.shape == (len(SOME), one.dim)
        assert rows.dtype == np.float32
        assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
        for number in (0, 3, 5):
            alone = await other.queries([SOME[number]])
            assert np.allclose(alone[0], rows[number], atol=1e-5)
        assert not rows.flags.writeable
        assert np.array_equal(await one.queries(SOME), rows)
        assert len(await one.tokens(SOME)) == len(SOME)

    asyncio.run(main())


@pytest.mark.parametrize("make", MAKERS, ids=["hash", "nano"])
def test_texts_are_bounded_and_not_cut_short(make: Callable[[], Embedder]) -> None:
    """What lies beyond the bound makes no difference, what stands behind a NUL does."""

    async def main() -> None:
        one = make()
        long = "word " * 399 + "tails"
        assert len(long) == MAX_CHARACTERS
        rows = await one.queries([long, long + " more and more", "a\0good morning", "a\0bank robbery"])
        assert np.array_equal(rows[0], rows[1])
        assert not np.allclose(rows[2], rows[3], atol=1e-3)
        tokens = await one.tokens([long, long + " more and more", "", "one two three"])
        assert tokens[0] == tokens[1] > 300
        assert tokens[2:] == [0, 3]

    asyncio.run(main())


def test_meanings_are_near_across_languages() -> None:
    """The model puts a question nearer to its translation than to another question; the hash does not pretend to."""

    async def main() -> None:
        rows = await NanoEmbedder(SystemClock()).queries(
            ["where is my parcel", "wo ist mein Paket", "how old is the universe"]
        )
        assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.05

    asyncio.run(main())


def test_queries_and_passages_are_told_apart() -> None:
    """The model embeds what is asked and what is searched in differently."""

    async def main() -> None:
        one = NanoEmbedder(SystemClock())
        text = ["a parcel is delivered in two days"]
        assert not np.allclose(await one.queries(text), await one.passages(text), atol=1e-3)

    asyncio.run(main())


def test_loading_leaves_the_environment_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the engine sets for itself is not inherited by processes that we start."""
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    one = NanoEmbedder(SystemClock())
    assert repr(one).startswith("<NanoEmbedder not loaded")
    asyncio.run(one.warm())
    assert repr(one).startswith("<NanoEmbedder loaded")
    assert os.environ["OMP_NUM_THREADS"] == "7"


@given(st.text(st.characters(exclude_categories=()), max_size=60))
@settings(deadline=None)
def test_any_text_is_taken(text: str) -> None:
    """No text is refused: halves of surrogates, NUL, any script."""
    clean = cleaned(text)
    assert "\0" not in clean
    assert clean.encode().decode() == clean
    row = asyncio.run(HashEmbedder(32).queries([text]))
    assert np.isclose(np.linalg.norm(row), 1, atol=1e-5)


@given(st.text(max_size=40), st.integers(1, 4), st.integers(0, 3))
@settings(deadline=None)
def test_every_ngram_is_counted_once(text: str, least: int, more: int) -> None:
    """As many numbers as n-grams, equal for equal n-grams, and case and white space mean nothing."""
    folded = f" {' '.join(text.casefold().split())} "
    grams = [folded[i : i + n] for n in range(least, least + more + 1) for i in range(max(0, len(folded) - n + 1))]
    hashes = ngram_hashes(text, least, least + more).tolist()
    assert len(hashes) == len(grams)
    assert len(set(hashes)) == len(set(grams))
    assert hashes == ngram_hashes(f"  {text}\n", least, least + more).tolist()


def test_an_embedder_is_made_by_name() -> None:
    """The known names give an embedder, any other an error that lists them."""
    assert {create_embedder(name, SystemClock()).name for name in EMBEDDERS} == {
        "hash-256",
        "multilingual-e5-small-q4",
    }
    with pytest.raises(ValueError, match="no embedder is named big; there are hash, nano"):
        create_embedder("big", SystemClock())
    with pytest.raises(ValueError, match="two dimensions or more, got 1"):
        HashEmbedder(1)
