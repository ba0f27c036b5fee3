"""A condition: CEL source, compiled, with the names that it reads; refused here is what could never run.

Source: the CEL language definition, as `common-expression-language` takes it. Its parser is native code, so length is
bounded before it sees the text.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Literal

import msgspec

from trimtab.core.decision import At
from trimtab.dataplane.policy.library import cel
from trimtab.dataplane.policy.variables import CONSTANTS, VARIABLES, Tables
from trimtab.foundations.config import did_you_mean

if TYPE_CHECKING:
    from cel import Program

MAX_CHARS = 2000
_TYPES = frozenset({"int", "uint", "double", "string", "bool", "bytes", "list", "map", "null_type", "type"})
_MACROS = frozenset({"all", "exists", "exists_one", "map", "filter"})
_TOKEN = re.compile(
    r"""(?P<space>\s+|//[^\n]*)
      | (?P<string>[rR]?(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))
      | (?P<number>(?:\d+\.\d+|\.\d+|\d+)(?:[eE][-+]?\d+)?u?|0x[0-9a-fA-F]+)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<op>==|!=|<=|>=|&&|\|\||[-+*/%<>!?:.,()\[\]{}])""",
    re.VERBOSE,
)


class ConditionError(ValueError):
    """The condition can't be compiled; the message says what to change."""


class Condition(msgspec.Struct, frozen=True):
    """A compiled condition: the variables and constants that it reads, sorted."""

    source: str
    program: Program
    reads: tuple[str, ...]
    constants: tuple[str, ...]


class Token(msgspec.Struct, frozen=True):
    """A lexical part of a condition, without white space."""

    kind: Literal["string", "number", "name", "op"]
    text: str


def parse(source: str, at: At, tables: Tables = VARIABLES) -> Condition:
    """Compile. `tables`: the variables of each stage. Raises ConditionError for syntax, length, or a name that this
    stage does not have."""
    if len(source) > MAX_CHARS:
        raise ConditionError(f"the condition is longer than {MAX_CHARS} characters: write several rules")
    try:
        program = cel().compile(source)
        references = program.references()
    except BaseException as error:
        if not raised_by_cel(error):
            raise
        said = _said(str(error))
        raise ConditionError(f"the condition is not CEL: {said}") from None
    names = set(references["variables"]) - _TYPES - _bound(source)
    table = tables[at]
    for name in sorted(names - CONSTANTS.keys()):
        if name not in table:
            raise ConditionError(_unknown(name, at, tables))
    return Condition(
        source=source,
        program=program,
        reads=tuple(sorted(names - CONSTANTS.keys())),
        constants=tuple(sorted(names & CONSTANTS.keys())),
    )


def tokens(source: str) -> list[Token]:
    """Lexical parts, for finding what a condition compares; characters that fit nothing are skipped."""
    found = []
    for match in _TOKEN.finditer(source):
        kind = match.lastgroup
        if kind in ("string", "number", "name", "op"):
            found.append(Token(kind, match.group()))  # type: ignore[arg-type]  # narrowed by the test above
    return found


def raised_by_cel(error: BaseException) -> bool:
    """Whether an error is the expression's: any Exception, and a panic of the native code, which is not one."""
    return isinstance(error, Exception) or type(error).__name__ == "PanicException"


def _bound(source: str) -> set[str]:
    """Names that macros bind: `v` of `list.exists(v, v > 1)`, which CEL counts among the variables."""
    found = tokens(source)
    return {
        found[index + 3].text
        for index in range(len(found) - 4)
        if [token.text for token in found[index : index + 5 : 2]] == [".", "(", ","]
        and found[index + 1].text in _MACROS
    }


def _unknown(name: str, at: At, tables: Tables) -> str:
    elsewhere = [stage for stage, table in tables.items() if name in table]
    if elsewhere:
        return f"{name} is known at {', '.join(elsewhere)} only, not at {at}"
    return f"there is no variable {name} at {at}. {did_you_mean(name, [*tables[at], *CONSTANTS])}"


def _said(message: str) -> str:
    """The parser's own words without the source, which it repeats."""
    found = re.search(r"ERROR: <input>:(\d+):(\d+): (.*)", message)
    if not found:
        return message.splitlines()[0][:200]
    return f"column {found.group(2)}: {found.group(3)[:160]}"
