"""What a condition may read: a flat, typed, versioned table for each stage. Documentation is generated from it.

Flat, because CEL can't tell a mistyped field from an absent one, and a flat name can be checked. What may be unknown
has a value from which no permission follows, and `has_NAME` beside it: in CEL a null raises when compared, and `||`
hides that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias

import msgspec

from trimtab.core.contract import Contract
from trimtab.core.decision import At, Features, Value
from trimtab.core.features import OF_PLANS, PREFIX, Feature
from trimtab.core.money import NANO

VERSION = 1
Type = Literal["bool", "int", "double", "string", "list"]

CONSTANTS: Mapping[str, int] = MappingProxyType({"low": 0, "medium": 1, "high": 2})
"""Levels of risk, usable by name in conditions and tests."""

_FOREVER_MS = 86_400_000.0
_RICHES_USD = 9_000_000.0


class Variable(msgspec.Struct, frozen=True, kw_only=True):
    """One name. `unknown`: its value while nobody knows it (None: it is always known)."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    unknown: Value | None = None
    least: float | None = None
    most: float | None = None
    choices: tuple[Value, ...] = ()

    def coerce(self, value: Value) -> Value:
        """`value` as the type that conditions are checked with. Raises TypeError or ValueError where it can't be."""
        if self.type == "double":
            return float(value)  # type: ignore[arg-type]  # a list raises TypeError, which is what callers expect
        if self.type == "int":
            return CONSTANTS[value] if isinstance(value, str) else int(value)  # type: ignore[arg-type]
        return value


def _v(
    name: str, type_: Type, meaning: str, unit: str = "", unknown: Value | None = None, **domain: object
) -> Variable:
    return msgspec.convert(
        {"name": name, "type": type_, "meaning": meaning, "unit": unit, "unknown": unknown, **domain}, Variable
    )


def _request() -> Iterable[Variable]:
    yield _v("tenant", "string", "who pays")
    yield _v("channel", "string", "the channel's name, without its tenant")
    yield _v("route", "string", "the HTTP path that was asked for")
    yield _v("persona", "string", "the caller's persona", unknown="")
    yield _v("market", "string", "the key's market", unknown="")
    yield _v(
        "priority",
        "string",
        "the request's priority class",
        choices=("critical", "interactive", "standard", "batch"),
    )
    yield _v("priority_rank", "int", "the class as a number: critical 0 .. batch 3", choices=(0, 1, 2, 3))
    yield _v("language", "string", "language of the last user turn, ISO 639-1", unknown="")
    yield _v("intent", "string", "what the user wants, of the channel's intents", unknown="")
    yield _v("complexity", "double", "how hard the question is", "0..1", 1.0, least=0, most=1)
    yield _v("risk", "int", "low, medium or high: what a wrong answer may cost", "level", 2, choices=(0, 1, 2))
    yield _v("latency_ttft_ms", "double", "bound time to first token", "ms", least=0)
    yield _v("latency_itl_ms", "double", "bound time between tokens", "ms", least=0)
    yield _v("latency_e2e_ms", "double", "bound end-to-end time", "ms", least=0)
    yield _v("percentile", "double", "the percentile that the latency promise is about", "0..1", least=0, most=1)
    yield _v("quality_min", "double", "least quality of the contract", "0..1", least=0, most=1)
    yield _v("cost_cap_usd", "double", "cap of this request", "USD", least=0)
    yield _v("stream", "bool", "the caller wants a stream")
    yield _v("has_tools", "bool", "the request declares tools")
    yield _v("has_format", "bool", "the request declares a response format")
    yield _v("n", "int", "choices asked for", least=1)
    yield _v("prompt_tokens", "int", "bound on the prompt's tokens", "tokens", least=0)
    yield _v("images", "int", "images in the prompt", least=0)
    yield _v("turns", "int", "messages of the conversation", least=1)
    yield _v("cache_unclassified", "bool", "the channel declares cache.unclassified: allow")


def _route() -> Iterable[Variable]:
    yield _v("projected_cost_usd", "double", "the plan's cost at its caps", "USD", _RICHES_USD, least=0)
    yield _v("budget_left_usd", "double", "what the tightest budget has left", "USD", 0.0, least=0)
    yield _v("budget_usd", "double", "the lesser of cost_cap_usd and what is left", "USD", least=0)


def _admit() -> Iterable[Variable]:
    yield _v("tier", "string", "the plan's tier", choices=("S", "M", "L"))
    yield _v("tier_free", "int", "free concurrency tokens of the tier", "slots", least=0)
    yield _v("tier_slots", "int", "all concurrency tokens of the tier", "slots", least=0)
    yield _v("tier_waiting", "int", "requests that wait for the tier", least=0)
    yield _v("expected_wait_ms", "double", "predicted wait for a token of the tier", "ms", _FOREVER_MS, least=0)


def _guard_out() -> Iterable[Variable]:
    yield _v("guard_score", "double", "the least score of the checks on the answer; 1 is fine", "0..1", least=0, most=1)
    yield _v("guard_violation", "bool", "a check found what must not leave")
    yield _v("guard_check", "string", "the check with the least score")


def _with_has(variables: Iterable[Variable]) -> Mapping[str, Variable]:
    table = {}
    for variable in variables:
        table[variable.name] = variable
        if variable.unknown is not None:
            name = "has_" + variable.name
            table[name] = _v(name, "bool", f"{variable.name} is known")
    return MappingProxyType(table)


Tables: TypeAlias = Mapping[At, Mapping[str, Variable]]
VARIABLES: Tables = MappingProxyType(
    {
        "decide": _with_has(_request()),
        "route": _with_has([*_request(), *_route()]),
        "admit": _with_has([*_request(), *_admit()]),
        "guard_out": _with_has([*_request(), *_guard_out()]),
    }
)

_OF_PLANS: tuple[At, ...] = ("route", "admit")


def tables_with(features: Mapping[str, Feature]) -> Tables:
    """The tables of a workspace that declares these features: those of plans are known where a plan is looked at."""
    if not features:
        return VARIABLES
    found: dict[At, Mapping[str, Variable]] = {}
    for at, table in VARIABLES.items():
        there = [_of(name, one) for name, one in features.items() if one.of not in OF_PLANS or at in _OF_PLANS]
        found[at] = MappingProxyType({**table, **_with_has(there)})
    return MappingProxyType(found)


def _of(name: str, feature: Feature) -> Variable:
    counts, share = feature.value == "count", feature.value == "share"
    meaning = f"{feature.value} of {feature.column or 'rows'} by {feature.of} over {feature.window}"
    default: Value = int(feature.default) if counts else feature.default
    least, most = 0 if counts or share else None, 1 if share else None
    return _v(PREFIX + name, "int" if counts else "double", meaning, unknown=default, least=least, most=most)


def known_by(name: str, table: Mapping[str, Variable]) -> str | None:
    """The variable that `has_NAME` speaks about; None if `name` is not of that kind (`has_tools` is not)."""
    base = name.removeprefix("has_")
    return base if base != name and base in table else None


def contract_values(contract: Contract) -> dict[str, Value]:
    """The terms of a contract, under the names of the table."""
    return {
        "priority": contract.priority,
        "priority_rank": int(contract.rank),
        "latency_ttft_ms": contract.latency.ttft_ms,
        "latency_itl_ms": contract.latency.itl_ms,
        "latency_e2e_ms": contract.latency.e2e_ms,
        "percentile": contract.latency.percentile,
        "quality_min": contract.quality.min,
        "cost_cap_usd": contract.cost.max_per_request_nanousd / NANO,
    }


def feature_values(features: Features) -> dict[str, Value]:
    """What the classifier knows, under the names of the table; what it doesn't know is left out."""
    values: dict[str, Value] = {}
    for name in ("language", "intent", "complexity", "risk"):
        feature = getattr(features, name)
        if feature is not None and feature.value is not None:
            values[name] = feature.value
    return values


def tables() -> str:
    """The tables as Markdown, for the reference."""
    lines = [f"Variables of policy conditions, version {VERSION}.", ""]
    for at, table in VARIABLES.items():
        lines += [f"## {at}", "", "| name | type | unit | meaning | when unknown |", "|---|---|---|---|---|"]
        for variable in table.values():
            unknown = "always known" if variable.unknown is None else f"`{_cel(variable.unknown)}`"
            lines.append(f"| `{variable.name}` | {variable.type} | {variable.unit} | {variable.meaning} | {unknown} |")
        lines.append("")
    lines.append("Constants: " + ", ".join(f"`{name}` = {value}" for name, value in CONSTANTS.items()) + ".")
    return "\n".join(lines) + "\n"


def _cel(value: Value) -> str:
    return msgspec.json.encode(value).decode()
