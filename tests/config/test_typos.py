"""Did-you-mean, measured over every key that a workspace can hold."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from trimtab.controlplane.registry.documents import TYPES
from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.config import did_you_mean, nearest
from trimtab.foundations.config.typos import distance

_LETTERS = "abcdefghijklmnopqrstuvwxyz_"


def _structs(type_: object, seen: dict[type, list[str]]) -> dict[type, list[str]]:
    """Every struct below a document type, with its keys."""
    inner = getattr(type_, "type", None)
    for part in (
        inner,
        getattr(type_, "item_type", None),
        getattr(type_, "value_type", None),
        *getattr(type_, "types", ()),
    ):
        if part is not None:
            _structs(part, seen)
    if isinstance(type_, msgspec.inspect.StructType) and type_.cls not in seen:
        seen[type_.cls] = [field.encode_name for field in type_.fields]
        for field in type_.fields:
            _structs(field.type, seen)
    return seen


def _typos(word: str, choice: Callable[[Sequence[str]], str]) -> Iterator[str]:
    """One slip at every position: a letter lost, doubled or wrong, and two swapped."""
    for index in range(len(word)):
        yield word[:index] + word[index + 1 :]
        yield word[:index] + choice(_LETTERS) + word[index + 1 :]
        yield word[:index] + choice(_LETTERS) + word[index:]
        yield word[:index] + word[index + 1 : index + 2] + word[index] + word[index + 2 :]


def test_the_right_key_is_suggested_for_at_least_95_of_100_typos() -> None:
    """Over all keys of all documents and all single slips, the suggestion is the key that was meant."""
    choice = ClockIds(SystemClock(), seed=7).random.choice
    structs: dict[type, list[str]] = {}
    for type_ in TYPES.values():
        _structs(msgspec.inspect.type_info(type_), structs)
    asked = right = 0
    for keys in structs.values():
        for key in keys:
            for typo in _typos(key, choice):
                if typo and typo not in keys:
                    asked += 1
                    right += nearest(typo, keys) == key
    assert len(structs) > 20
    assert asked > 3000
    assert right / asked >= 0.95, f"{right} of {asked}"


def test_distance_counts_slips() -> None:
    """A swap of neighbours is one slip, as are an insertion, a deletion and a substitution."""
    assert distance("latency", "latecny") == 1
    assert distance("latency", "latenccy") == 1
    assert distance("latency", "latncy") == 1
    assert distance("latency", "latensy") == 1
    assert distance("", "abc") == 3


def test_nothing_is_suggested_for_what_is_not_near() -> None:
    """A word that resembles nothing gets the list of what is known instead of a wild guess."""
    assert nearest("zebra", ["latency", "quality"]) is None
    assert did_you_mean("zebra", ["b", "a"]) == "Known: a, b."
    assert nearest("E2E-MS", ["e2e_ms", "itl_ms"]) == "e2e_ms"
