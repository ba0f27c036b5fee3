"""The runner of pages itself: what it runs, what it compares, and what it doesn't let pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.markdown import Session, blocks, commands, matches, normal


@pytest.fixture(autouse=True)
def not_updating(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested here is that a difference fails, also where pages are being brought up to date."""
    monkeypatch.delenv("UPDATE_DOCS", raising=False)


def follow(folder: Path, page: str) -> int:
    path = folder / "page.md"
    path.write_text(page)
    with Session(folder) as session:
        return session.follow(path)


def test_blocks_are_run_in_order_and_share_a_shell(tmp_path: Path) -> None:
    """Variables, files and the folder carry over; a file block is written, an added one merged."""
    page = """
```yaml file=place/a.yaml
a: {b: [1]}
```
```yaml add=place/a.yaml
a: {b: [2], c: x}
```
```sh
NAME=world
cd place
```
```console
$ echo hello \\
> $NAME; cat a.yaml
hello world
a: {b: [1, 2], c: x}
```
```python
print("seen")
```
```text output
seen
```
"""
    assert follow(tmp_path, page) == 3


@pytest.mark.parametrize(
    "page",
    [
        "```console\n$ echo no\nyes\n```",
        "```console\n$ false\n```",
        "```sh\nfalse\ntrue\n```",
        "```sh\necho a\n```\n```text output\nb\n```",
        "```console exit=1\n$ true\n```",
        "```console until=never\n$ echo other\n```",
        "```python\nraise SystemExit(1)\n```",
    ],
)
def test_what_ends_or_prints_otherwise_fails(tmp_path: Path, page: str) -> None:
    """With the page's line."""
    with pytest.raises(AssertionError, match=r"page\.md:[14]"):
        follow(tmp_path, page)


def test_a_background_command_runs_until_the_session_ends(tmp_path: Path) -> None:
    """The page goes on once it has said its word."""
    page = "```console until=up\n$ sh -c 'touch there; echo up; exec sleep 60'\nup\n```\n```sh\ntest -e there\n```"
    (tmp_path / "page.md").write_text(page)
    with Session(tmp_path) as session:
        assert session.follow(tmp_path / "page.md") == 2
        (process,) = session._running
        assert process.poll() is None
    assert process.poll() is not None


def test_what_differs_from_run_to_run_is_equal_to_its_kind() -> None:
    """Ids, hashes, times, durations and spaces; figures only where it is asked for."""
    here = "rec_01M89FAGHH0SYF61ZS3SS64GXE  small@ff0a2615 509.21 ms 2026-11-24T09:00:00Z  12 tokens"
    there = "rec_01M89FAGHH0SYF61ZS3SS64GXF small@00000000 7 ms 2026-11-25T10:00:00Z 12 tokens"
    assert normal(here, False) == normal(there, False)
    assert normal("12 tokens", False) != normal("13 tokens", False)
    assert normal("12 tokens", True) == normal("1,300 tokens", True)


@pytest.mark.parametrize(
    ("wanted", "got", "same"),
    [
        (["a ... d"], ["a b c d"], True),
        (["a", "...", "z"], ["a", "b", "c", "z"], True),
        (["a", "...", "z"], ["a", "z"], True),
        (["..."], [], True),
        (["a ... d"], ["a b", "c d"], False),
        (["a"], ["a", "b"], False),
    ],
)
def test_dots_stand_for_anything(wanted: list[str], got: list[str], same: bool) -> None:
    """Within a line, or for lines."""
    assert matches(wanted, got) is same


def test_info_strings_are_taken_apart() -> None:
    """Language, words, options, text and line."""
    (block,) = blocks("text\n\n  ````yaml add=x numbers\n  a\n  ```\n  ````\n")
    assert (block.language, block.options, block.words, block.text, block.line) == (
        "yaml",
        {"add": "x"},
        frozenset({"numbers"}),
        "a\n```\n",
        3,
    )
    assert list(commands("$ a\n1\n2\n$ b\n")) == [("a", "1\n2\n"), ("b", "")]
    with pytest.raises(ValueError, match="line 1"):
        list(blocks("```sh\n"))
