"""Cases that tell a condition's outcomes apart: each variable below, at and above every threshold it is compared with.

A condition over declared variables is piecewise constant between its literals, so one cell of every piece is as good as
all values. Where the product of the pieces is too large, a fixed stride through it gives a spread sample; the result
says so, because "never" is then only "not seen".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from trimtab.core.decision import Value
from trimtab.dataplane.policy.expression import Token, tokens
from trimtab.dataplane.policy.variables import CONSTANTS, Variable, known_by

MAX_CELLS = 4096
Cell = dict[str, Value | None]

_COMPARE = frozenset({"==", "!=", "<", "<=", ">", ">="})
_TEXT_CALLS = frozenset({"startsWith", "endsWith", "contains", "matches"})


class Cells(msgspec.Struct, frozen=True):
    """Values to try for each variable; iterate for the cells. `whole`: every combination is among them."""

    pools: dict[str, tuple[Value | None, ...]]

    @property
    def total(self) -> int:
        return math.prod(len(pool) for pool in self.pools.values())

    @property
    def whole(self) -> bool:
        return self.total <= MAX_CELLS

    def __iter__(self) -> Iterator[Cell]:
        names = list(self.pools)
        for index in _indices(self.total):
            cell: Cell = {}
            for name in names:
                index, position = divmod(index, len(self.pools[name]))
                cell[name] = self.pools[name][position]
            yield cell


def cells(sources: Iterable[str], reads: Iterable[str], table: Mapping[str, Variable]) -> Cells:
    """The cells of one or several conditions that read `reads` of a stage's `table`."""
    names = sorted({known_by(name, table) or name for name in reads})
    literals: dict[str, set[Value]] = {name: set() for name in names}
    peers: list[tuple[str, str]] = []
    for source in sources:
        _collect(tokens(source), literals, peers)
    for _ in range(len(names)):  # what is compared with each other shares its values, however long the chain
        for left, right in peers:
            both = literals[left] | literals[right]
            literals[left], literals[right] = set(both), set(both)
    linked = {name for pair in peers for name in pair}
    return Cells({name: _pool(table[name], literals[name], name in linked) for name in names})


def _indices(total: int) -> Iterator[int]:
    if total <= MAX_CELLS:
        yield from range(total)
        return
    stride = int(total * 0.6180339887) | 1
    while math.gcd(stride, total) != 1:
        stride += 2
    for step in range(MAX_CELLS):
        yield (step * stride) % total


def _collect(found: Sequence[Token], literals: dict[str, set[Value]], peers: list[tuple[str, str]]) -> None:
    direct: set[str] = set()
    for index, token in enumerate(found):
        if token.kind != "name" or token.text not in literals:
            continue
        values, other = _beside(found, index)
        literals[token.text] |= values
        if values or other:
            direct.add(token.text)
        if other in literals and other != token.text:
            peers.append((token.text, str(other)))
    numbers = {value for token in found if (value := _literal(token)) is not None and not isinstance(value, str)}
    for name in {token.text for token in found} & literals.keys() - direct:
        literals[name] |= numbers  # inside arithmetic: any number of the condition may be its threshold


def _beside(found: Sequence[Token], index: int) -> tuple[set[Value], str | None]:
    """What the variable at `index` is compared with: literals, or the name of another variable."""
    after, before = found[index + 1 : index + 4], found[max(0, index - 3) : index]
    if len(after) >= 2 and after[0].text in _COMPARE:
        return _operand(after[1:])
    if len(after) >= 3 and after[0].text == "." and after[1].text in _TEXT_CALLS and index + 4 < len(found):
        value = _literal(found[index + 4])
        return ({value} if value is not None else set()), None
    if len(after) >= 2 and after[0].text == "in":
        return _listed(found[index + 2 :]), None
    if len(before) >= 2 and before[-1].text in _COMPARE:
        return _operand(before[-3:-1] if before[-3:-2] and before[-3].text == "-" else before[-2:-1])
    return set(), None


def _operand(part: Sequence[Token]) -> tuple[set[Value], str | None]:
    sign, token = (-1, part[1]) if part[0].text == "-" and len(part) > 1 else (1, part[0])
    if token.text in CONSTANTS:
        return {CONSTANTS[token.text]}, None
    value = _literal(token)
    if value is None:
        return set(), token.text if token.kind == "name" else None
    return {value if isinstance(value, str) else sign * value}, None


def _listed(rest: Sequence[Token]) -> set[Value]:
    values: set[Value] = set()
    for token in rest:
        if token.text == "]":
            break
        value = CONSTANTS.get(token.text, _literal(token))
        if value is not None:
            values.add(value)
    return values


def _literal(token: Token) -> Value | None:
    """Escapes in strings are left as they stand: a cell that misses such a literal costs a warning, no more."""
    if token.kind == "string":
        return token.text.lstrip("rR")[1:-1]
    if token.kind != "number":
        return None
    text = token.text.rstrip("u")
    if text.lower().startswith("0x"):
        return int(text, 16)
    return float(text) if any(mark in text for mark in ".eE") else int(text)


def _pool(variable: Variable, literals: set[Value], linked: bool) -> tuple[Value | None, ...]:
    unknown: tuple[None, ...] = () if variable.unknown is None else (None,)
    if variable.type == "bool":
        return (*unknown, False, True)
    if variable.type == "list":
        return (*unknown, [])
    if variable.type == "string":
        texts = {value for value in literals if isinstance(value, str)}
        other = () if variable.choices else ("", "something else")
        return (*unknown, *sorted({*texts, *other, *(str(choice) for choice in variable.choices)}))
    numbers = [value for value in literals if isinstance(value, (int, float))]
    if variable.choices:
        return (*unknown, *variable.choices)
    return (*unknown, *_around(variable, numbers, linked))


def _around(variable: Variable, thresholds: Sequence[float], linked: bool) -> list[Value]:
    """Below, at and above each threshold, and the ends of the range; two plain values where nothing is compared."""
    points: set[float] = set()
    for threshold in thresholds:
        step = 1 if variable.type == "int" else max(abs(threshold), 1) * 1e-6
        points |= {threshold - step, threshold, threshold + step}
    if linked or not points:
        points |= {1, 2, 3} if variable.most is None else {0.25, 0.5, 0.75}
    least = -math.inf if variable.least is None else variable.least
    most = math.inf if variable.most is None else variable.most
    points |= {end for end in (least, most) if math.isfinite(end)}
    inside = sorted(point for point in points if least <= point <= most)
    return [int(point) for point in inside] if variable.type == "int" else [float(point) for point in inside]
