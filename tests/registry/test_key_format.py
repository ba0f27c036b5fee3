"""The format of API keys."""

from __future__ import annotations

import re
from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.core.keys import KEY_PATTERN, checksum_ok, hash_key, key_id, kind_of, make

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def test_made_keys_have_the_published_form() -> None:
    """Prefix, 30 random and 6 checksum characters; no two alike; the kind is told by the prefix."""
    made = {make("live") for _ in range(500)} | {make("test") for _ in range(500)}
    assert len(made) == 1000
    for key in made:
        assert re.fullmatch(KEY_PATTERN, key)
        assert checksum_ok(key)
        assert kind_of(key) == key[3:7]


def test_the_random_part_is_even() -> None:
    """Every base62 character is as likely as any other: bytes that would favour some are thrown away."""
    stream = ClockIds(SystemClock(), seed=3).random
    text = "".join(make("live", stream.randbytes)[8:38] for _ in range(4000))
    counts = [text.count(character) for character in _BASE62]
    expected = len(text) / 62
    assert sum((count - expected) ** 2 / expected for count in counts) < 105  # chi-square, 61 degrees, p about 0.0004


@given(st.integers(0, 43), st.sampled_from(_BASE62))
def test_one_wrong_character_is_told_without_a_look_up(position: int, character: str) -> None:
    """CRC32 finds every single wrong character, wherever it stands."""
    key = make("live", ClockIds(SystemClock(), seed=5).random.randbytes)
    typo = key[:position] + character + key[position + 1 :]
    assert checksum_ok(typo) is (typo == key)


def test_a_live_key_is_no_test_key() -> None:
    """The checksum covers the prefix: a key can't be passed off as one of another class."""
    assert not checksum_ok(make("live").replace("tt_live_", "tt_test_"))


def test_demo_keys_are_a_class_of_their_own() -> None:
    """They have a form but no checksum, and nothing else has that form."""
    assert kind_of("tt-demo-shop") == "demo"
    assert checksum_ok("tt-demo-shop")
    for text in ("tt-demo-", "tt-demo-A", "tt-demo-a-", "tt-demo-a b", "x tt-demo-a", "tt-demo-a\n"):
        assert kind_of(text) is None
        assert not checksum_ok(text)


@given(st.text(max_size=60))
def test_no_text_is_taken_for_a_key(text: str) -> None:
    """Whatever is sent as a key, the answer is no, never an exception."""
    assert not checksum_ok(text)
    assert kind_of(text) is None


def test_only_the_hash_is_kept() -> None:
    """The stored form is plain SHA-256, and the public id is its first 16 digits."""
    assert hash_key("tt-demo-a") == sha256(b"tt-demo-a").hexdigest()
    assert key_id("0123456789abcdef" + "0" * 48) == "key_0123456789abcdef"
