"""For whom a rule speaks, told from its condition: `tenant == "hr" && ...` says nothing of another tenant's requests.

A condition that begins with comparisons of a text with constants, joined by `&&`, is false where one of them is,
whatever follows: CEL's `&&` gives false for a false left side (language definition, "Logical operators"). So such a
rule need not be looked at there, and a thousand rules of a hundred tenants cost a request what its tenant's own do.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from trimtab.dataplane.policy.expression import Token, tokens
from trimtab.dataplane.policy.variables import Variable

Scope = Mapping[str, frozenset[str]]
"""Values by variable: elsewhere the rule does not hit. Empty: it may hit anywhere."""

WHO: Final = frozenset({"tenant", "channel", "route", "market", "persona", "priority"})
"""Variables that a scope is made of: who asks, and where. What is asked stays in the trace, hit or not."""
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_LOOSER: Final = frozenset({"||", "?"})  # what binds less than `&&`


def scope_of(source: str, table: Mapping[str, Variable]) -> Scope:
    """`table`: the stage's variables."""
    found: dict[str, frozenset[str]] = {}
    for part in _conjuncts(tokens(source)):
        compared = _compared(part, table)
        if compared is None:
            break
        name, values = compared
        found[name] = found[name] & values if name in found else values
    return found


def _conjuncts(found: Sequence[Token]) -> list[list[Token]]:
    """Parts between the outermost `&&`; none where these are not what is looked at last."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        if token.kind == "op":
            depth += (token.text in _OPENING) - (token.text in _CLOSING)
            if depth == 0 and token.text in _LOOSER:
                return []
            if depth == 0 and token.text == "&&":
                parts.append([])
                continue
        parts[-1].append(token)
    return parts


def _compared(part: Sequence[Token], table: Mapping[str, Variable]) -> tuple[str, frozenset[str]] | None:
    """`NAME == "text"`, either way round, or `NAME in ["text", ...]`."""
    name: str
    match [(one.kind, one.text) for one in part]:
        case [("name", name), ("op", "=="), ("string", text)] | [("string", text), ("op", "=="), ("name", name)]:
            literals = [text]
        case [("name", name), ("name", "in"), ("op", "["), *middle, ("op", "]")]:
            literals = [text for _, text in middle[::2]]
            if any(kind != "string" for kind, _ in middle[::2]) or any(one != ("op", ",") for one in middle[1::2]):
                return None
        case _:
            return None
    if name not in table or name not in WHO or any("\\" in text or text[0] in "rR" for text in literals):
        return None
    return name, frozenset(text[1:-1] for text in literals)
