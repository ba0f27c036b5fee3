"""The closed list of errors: each with its cause, a fix that somebody can carry out, and a place to read on."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from trimtab.core.errors import Code, Refusal
from trimtab.surfaces.server.errors import error_object

ROOT = Path(__file__).parent.parent.parent
VERBS = frozenset(
    {"Change", "Check", "Correct", "Declare", "Leave", "Put", "Raise", "Report", "Retry", "Run", "Send", "Shorten"}
    | {"Use", "Wait"}
)
"""What a fix may tell its reader to do."""


@pytest.mark.parametrize("code", list(Code), ids=lambda code: code.wire)
def test_every_code_says_what_why_and_what_to_do(code: Code) -> None:
    """Cause and fix are sentences; the fix begins with something to do; `doc` is an anchor that exists."""
    spec = code.value
    for text in (spec.cause, spec.fix):
        assert re.fullmatch(r"[A-Z].*[^.]\.", text), text
    assert re.match(r"[A-Za-z]+", spec.fix).group() in VERBS, spec.fix  # type: ignore[union-attr]
    assert spec.cause != spec.fix
    error = error_object(Refusal(code=code, message="x"), None)["error"]
    assert (error["trimtab"]["cause"], error["trimtab"]["fix"]) == (spec.cause, spec.fix)
    path, _, anchor = error["trimtab"]["doc"].partition("#")
    assert f"\n## {anchor}\n" in (ROOT / path).read_text()


def test_commands_that_fixes_name_are_there() -> None:
    """`trimtab keys create`, `trimtab explain`: a fix names no command that there is not."""
    from click import Context, Group

    from trimtab.cli import cli

    fixes = " ".join(code.value.fix for code in Code)
    named = {tuple(found.split()) for found in re.findall(r"trimtab ((?:[a-z]+ ?){1,2})", fixes)}
    assert named
    for words in named:
        command = cli.get_command(Context(cli), words[0])
        assert command is not None, words
        if isinstance(command, Group):
            assert words[1] in command.commands, words
