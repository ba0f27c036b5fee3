"""YAML to nodes: the small subset that is taken, and the line of everything that is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trimtab.foundations.config import MAX_BYTES, DocumentError, compose, locate, read_text


def _refused(text: str) -> str:
    with pytest.raises(DocumentError) as caught:
        compose(text, "file.yaml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\na: 2\n", 2, "a second time (first on line 1)"),
        ("a: &x 1\nb: *x\n", 1, "anchor &x"),
        ("a: 1\nb: *x\n", 2, "alias"),
        ("a: 1\nb: !!python/object:os.system x\n", 2, "tag"),
        ("a: 1\n<<: {b: 2}\n", 2, "merge keys"),
        ("a: 1\n---\nb: 2\n", 2, "second document"),
        ("a:\n\t- b\n", 2, "Indent by spaces"),
        ("a: b: c\n", 1, "is not YAML"),
        ("? [1, 2]\n: 3\n", 1, "a key must be plain text"),
        ("~: 3\n", 1, "a key must be plain text"),
        ("# nothing\n", 1, "holds nothing but comments"),
        ("a: 1\nb: \x07\n", 2, "control character U+0007"),
        ('a: "\\0"\n', 1, "escaped control character"),
        ("[" * 100_000, 1, "nested more than"),
        ("- " * 5_000 + "a\n", 1, "nested more than"),
    ],
)
def test_what_is_no_plain_document_is_refused_with_its_line(text: str, line: int, words: str) -> None:
    """Anything that could hide a value, or is no YAML, is refused, and the message has its line and the reason."""
    said = _refused(text)
    assert said.startswith(f"file.yaml:{line}: "), said
    assert words in said


def test_an_alias_bomb_costs_nothing() -> None:
    """Nested aliases that would expand to 10^9 values are refused at the first anchor."""
    bomb = "a: &a [x, x]\n" + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    assert "anchor &a" in _refused(bomb)


def test_lines_are_found_by_path() -> None:
    """A path leads to the line of its key, or of the nearest part of it that exists."""
    root = compose("a:\n  b:\n    - c: 1\n    - d: 2\ne: {f: 3}\n", "x")
    assert locate(root, ("a", "b", 1, "d")) == 4
    assert locate(root, ("a", "b", 7)) == 2
    assert locate(root, ("e", "f")) == 5
    assert locate(root, ("nothing",)) == 1


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is blank"),
        (b" \n\t\n", "is blank"),
        (b"a: \xff\n", "line-1 is not UTF-8"),
        (b"x" * (MAX_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, raw: bytes, words: str) -> None:
    """Blank, over-large and non-UTF-8 files are refused in words; a missing one too."""
    (tmp_path / "f.yaml").write_bytes(raw)
    with pytest.raises(DocumentError) as caught:
        read_text(tmp_path / "f.yaml", "f.yaml")
    problem = caught.value.problem
    assert words.removeprefix("line-1 ") in problem.message
    if words.startswith("line-1"):
        assert problem.line == 1
    with pytest.raises(DocumentError, match="can't be read"):
        read_text(tmp_path / "gone.yaml", "gone.yaml")


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet=st.sampled_from("ab:-?[]{},#&*!|>'\"%@`\\ \n\t~0\r"), max_size=60))
def test_no_text_makes_the_parser_fail_otherwise(text: str) -> None:
    """Whatever the text, it is a document or a DocumentError: no other exception escapes."""
    try:
        compose(text, "x")
    except DocumentError as error:
        assert error.problem.message
