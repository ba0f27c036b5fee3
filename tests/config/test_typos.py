"""Did-you-mean, measured over every key that a workspace can hold, by the messages that `trimtab check` prints."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
from msgspec import inspect as mi

from support.slips import report, told_apart
from support.workspaces import Sandbox
from trimtab.controlplane.registry.documents import TYPES
from trimtab.core.clock import SystemClock
from trimtab.core.ids import ClockIds
from trimtab.foundations.config import Reader, did_you_mean, nearest, unknown_field
from trimtab.foundations.config.typos import distance
from trimtab.surfaces.trying import Try


class Place(NamedTuple):
    """A mapping of a document with fixed keys: `around` is the text of a document with one key left to write."""

    document: str
    path: str
    around: str
    keys: tuple[str, ...]


def _places(document: str, type_: mi.Type, path: str, around: str, seen: set[type]) -> Iterator[Place]:
    """Every mapping with fixed keys below a type, each type once, in flow style: {channels: {n: {KEY: 1}}}."""
    while isinstance(type_, mi.Metadata):
        type_ = type_.type
    if isinstance(type_, mi.UnionType):
        for option in type_.types:
            yield from _places(document, option, path, around, seen)
    elif isinstance(type_, mi.DictType):
        yield from _places(document, type_.value_type, f"{path}.NAME", around % "{n: %s}", seen)
    elif isinstance(type_, mi.ListType):
        yield from _places(document, type_.item_type, f"{path}[]", around % "[%s]", seen)
    elif isinstance(type_, mi.StructType) and type_.cls not in seen:
        seen.add(type_.cls)
        yield Place(document, path, around % "{%s: 1}", tuple(field.encode_name for field in type_.fields))
        for field in type_.fields:
            inner = around % f"{{{field.encode_name}: %s}}"
            yield from _places(document, field.type, f"{path}.{field.encode_name}", inner, seen)


def _choice(seed: int):
    return ClockIds(SystemClock(), seed=seed).random.choice


def test_the_right_key_is_suggested_for_at_least_95_of_100_typos() -> None:
    """Over all keys of all documents and all single slips, alone in its mapping (the hardest case: no other key is
    written yet, so none can be ruled out), the message names the key that was meant."""
    choice = _choice(7)
    asked, wrong, places = 0, [], 0
    for document, type_ in TYPES.items():
        reader = Reader(type_)
        for place in _places(document, mi.type_info(type_), document, "%s", set()):
            places += 1
            for slip in told_apart(place.keys, choice, place.keys):
                asked += 1
                _, problems = reader.read(place.around % slip.typed, document)
                hints = [problem.hint for problem in problems if problem.message == "is not a known field here"]
                if hints != [f"Did you mean {slip.meant}?"]:
                    wrong.append((place.path, slip, hints))
    assert places > 25
    assert asked > 5000
    assert len(wrong) <= 0.05 * asked, report(asked, wrong)


def test_a_file_with_the_mistyped_key_is_answered_by_file_line_and_key(tmp_path: Path) -> None:
    """The example, one key of one file mistyped at a time, as `trimtab check` reads it."""
    choice = _choice(8)
    sandbox = Sandbox(tmp_path)
    asked, wrong = 0, []
    for file in ("trimtab.yaml", "models.yaml", "prices.yaml", "policy.yaml", "tenants/commerce.yaml"):
        path = sandbox.folder / file
        text = path.read_text()
        lines = text.splitlines()
        known = {field for _, keys in _known() for field in keys}
        for _ in range(6):
            number, key = choice([(n, k) for n, line in enumerate(lines, 1) if (k := _key_of(line)) in known])
            slip = choice(told_apart([key], choice, known))
            changed = list(lines)
            changed[number - 1] = lines[number - 1].replace(f"{key}:", f"{slip.typed}:", 1)
            path.write_text("\n".join(changed) + "\n")
            asked += 1
            said = [str(problem) for problem in sandbox.problems()]
            if not any(
                one.startswith(f"{file}:{number}: ") and one.endswith(f"Did you mean {slip.meant}?") for one in said
            ):
                wrong.append((file, number, slip, said))
        path.write_text(text)
    assert not sandbox.problems()
    assert len(wrong) <= 0.05 * asked, report(asked, wrong)


def _known() -> Iterator[tuple[str, tuple[str, ...]]]:
    for document, type_ in TYPES.items():
        for place in _places(document, mi.type_info(type_), document, "%s", set()):
            yield place.path, place.keys


def _key_of(line: str) -> str:
    """The key that begins a line of block style."""
    return line.strip().removeprefix("- ").partition(":")[0]


def test_a_mistyped_field_of_a_json_line_is_answered_too() -> None:
    """Lines of `try` and of golden sets: the field that was meant, or those that there are."""
    for raw, hint in ((b'{"tezt": "a"}', "Did you mean text?"), (b'{"zzzzz": 1}', "Known: answer, channel, id")):
        try:
            msgspec.json.decode(raw, type=Try)
        except msgspec.ValidationError as error:
            assert hint in unknown_field(error, Try)
        else:
            raise AssertionError(raw)


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
