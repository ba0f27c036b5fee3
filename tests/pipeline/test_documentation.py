"""The documentation's claims about the code."""

from __future__ import annotations

import re
from pathlib import Path

from trimtab.dataplane import fulfil, pipeline
from trimtab.surfaces.server import openai

REQUEST = Path(__file__).parent.parent.parent / "docs" / "explanation" / "request.md"


def test_the_way_in_is_the_one_that_is_documented() -> None:
    """The three hops of docs/explanation/request.md exist under those names, and the first calls the second."""
    text = REQUEST.read_text()
    assert "`surfaces/server/openai.py: chat_completions`" in text
    assert "`dataplane/pipeline.py: answer`" in text
    assert openai.answer is pipeline.answer
    assert "answer" in openai.chat_completions.__code__.co_names


def test_the_stages_are_the_documented_ones_in_their_order() -> None:
    """The table of docs/explanation/request.md and the code name the same stages in the same order."""
    rows = re.findall(r"^\| (\d+) \| ([a-z ]+) \|", REQUEST.read_text(), re.MULTILINE)
    documented = [name.replace(" ", "_") for _, name in rows]
    source = "".join(Path(module.__file__).read_text() for module in (pipeline, fulfil))
    numbered = {int(number): at for number, at in ((m[1], m.start()) for m in re.finditer(r"# (\d+)[,;\n]", source))}
    assert sorted(numbered) == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]
    named = re.findall(r'ledger\.stage\("(\w+)"\):  # (\d+)', source)
    assert [name for name, _ in sorted(named, key=lambda one: int(one[1]))] == [
        documented[int(number) - 1] for _, number in sorted(named, key=lambda one: int(one[1]))
    ]
