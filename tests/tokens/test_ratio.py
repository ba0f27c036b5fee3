"""The estimator for tokenizers that nobody here knows."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.tokens import RatioEstimator


def test_settles_on_the_asked_quantile() -> None:
    """Fed ratios between 2 and 6, the lower quartile ends near 3, so that three in four prompts are over-estimated."""
    random = ClockIds(SystemClock(), 3).random
    estimator = RatioEstimator(quantile=0.25)
    for _ in range(5000):
        estimator.observe(round(1000 * random.uniform(2, 6)), 1000)
    assert 2.7 < estimator.chars_per_token < 3.3


def test_follows_a_change_of_traffic() -> None:
    """After thousands of English prompts, Chinese ones pull the ratio down to theirs."""
    estimator = RatioEstimator()
    for _ in range(3000):
        estimator.observe(4200, 1000)
    for _ in range(3000):
        estimator.observe(1100, 1000)
    assert estimator.chars_per_token < 1.2


def test_a_server_that_sends_an_event_for_each_token_is_counted_by_events() -> None:
    """Exactly, whatever the words; one that sends several at a time by characters, where those tell more; and an answer
    that came whole by characters always."""
    random = ClockIds(SystemClock(), 3).random

    def answer(pieces: int, most: int) -> tuple[str, int]:
        return "".join("x" * random.randint(1, 9) * random.randint(1, most) for _ in range(pieces)), pieces

    by_events = RatioEstimator()
    for _ in range(100):
        text, pieces = answer(random.randint(5, 80), 1)
        by_events.observe_answer(len(text), pieces, pieces)
    assert all(by_events.written(*answer(count, 1)) == count for count in range(4, 200))
    assert by_events.written("x" * 500, 1) == pytest.approx(100, rel=0.2)

    by_characters = RatioEstimator()
    for _ in range(300):
        text, pieces = answer(random.randint(5, 80), 30)
        by_characters.observe_answer(len(text), pieces, len(text) // 4)
    text, pieces = answer(50, 30)
    assert by_characters.written(text, pieces) == pytest.approx(len(text) / 4, rel=0.02)


def test_answers_are_counted_like_prompts_before_one_has_ended() -> None:
    """By what prompts have taught."""
    estimator = RatioEstimator()
    for _ in range(300):
        estimator.observe(500, 100)
    assert estimator.written("x" * 100, 2) in (20, 21)


def test_reports_that_no_tokenizer_makes_teach_nothing() -> None:
    """Zero, negative and absurd counts leave the estimate where it was."""
    estimator = RatioEstimator()
    before = estimator.chars_per_token
    for characters, tokens in ((0, 5), (5, 0), (-1, 1), (100_000, 1), (1, 100_000)):
        estimator.observe(characters, tokens)
    assert estimator.chars_per_token == before


@given(st.text())
def test_only_the_empty_text_has_no_token(text: str) -> None:
    """An estimate is a whole number of tokens, zero for nothing alone, and is called an estimate."""
    estimator = RatioEstimator()
    assert (estimator.count(text) == 0) == (text == "")
    assert estimator.source == "estimated"


def test_a_quantile_outside_its_range_is_refused() -> None:
    """0 and 1 are no quantiles to learn."""
    with pytest.raises(ValueError, match="between 0 and 1"):
        RatioEstimator(quantile=1.0)
