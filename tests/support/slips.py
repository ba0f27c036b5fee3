"""Single slips of the fingers, for tests of what is suggested."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

LETTERS = "abcdefghijklmnopqrstuvwxyz"
ROWS = ("1234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
BESIDE = {
    letter: [
        row[place]
        for other, row in enumerate(ROWS)
        for place in (at - 1, at, at + 1)
        if abs(other - own) <= 1 and 0 <= place < len(row) and row[place] != letter
    ]
    for own, keys in enumerate(ROWS)
    for at, letter in enumerate(keys)
}
"""The keys beside each key of a QWERTY keyboard."""


class Slip(NamedTuple):
    """What was meant, and what was typed."""

    meant: str
    typed: str


def slips(word: str, choice: Callable[[Sequence[str]], str]) -> Iterator[Slip]:
    """At every position: the letter lost, doubled, swapped with the next; the key beside it, or any other letter, in
    its place or before it."""
    for index, letter in enumerate(word):
        before, after = word[:index], word[index + 1 :]
        beside = choice(BESIDE.get(letter, LETTERS))
        yield Slip(word, before + after)
        yield Slip(word, before + letter + letter + after)
        yield Slip(word, before + after[:1] + letter + after[1:])
        yield Slip(word, before + beside + after)
        yield Slip(word, before + choice(LETTERS) + after)
        yield Slip(word, before + beside + letter + after)
        yield Slip(word, before + choice(LETTERS) + letter + after)


def told_apart(words: Iterable[str], choice: Callable[[Sequence[str]], str], valid: Iterable[str]) -> list[Slip]:
    """The slips of all words, each once. Left out: nothing typed at all, the word itself (its letters are alike), and
    what is another valid word in the same place: that is no typo, it means something else."""
    known = set(valid)
    found = {slip: None for word in words for slip in slips(word, choice)}
    return [slip for slip in found if slip.typed.strip("-_") and slip.typed not in known]


def report(asked: int, wrong: Sequence[object]) -> str:
    """For a failed assertion: the share, and the first that went wrong."""
    lines = "\n".join(f"  {one}" for one in wrong[:60])
    return f"{asked - len(wrong)} of {asked} right ({1 - len(wrong) / asked:.1%}); wrong:\n{lines}"
