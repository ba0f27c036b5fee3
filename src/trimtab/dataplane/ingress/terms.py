"""Contract terms that a caller sends: `trimtab-*` headers, the body's `trimtab` object, flat `metadata`.

A term that we don't know is refused, since what never applies must not look applied. Said twice, the stricter number
counts; a name (channel, persona, session) that is said twice must be the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

import msgspec

from trimtab.core.contract import Asked, Priority
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import NANO
from trimtab.foundations.config import did_you_mean, distance

_PREFIX = "trimtab-"
_MOST_MS = 86_400_000.0
_MOST_USD = 9_000_000
_MOST_NAME = 512


class TermError(ValueError):
    """A term can't be read; `param` is its name as the caller wrote it."""

    def __init__(self, param: str, message: str) -> None:
        super().__init__(message)
        self.param = param


class _Term(NamedTuple):
    """`field` of `Asked`; how it is read; which of two is stricter (None: both must be equal)."""

    field: str
    read: Callable[[Any], Any]
    stricter: Callable[[Any, Any], Any] | None


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > _MOST_NAME:
        raise ValueError(f"takes a text of 1 to {_MOST_NAME} characters")
    return value.strip()


def _number(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or (isinstance(value, str) and "_" in value):
        raise ValueError("takes a number")
    try:
        number = Decimal(str(value).strip())
    except InvalidOperation:
        raise ValueError("takes a number") from None
    if not number.is_finite():
        raise ValueError("takes a finite number")
    return number


def _milliseconds(value: Any) -> float:
    number = _number(value)
    if not 0 < number <= int(_MOST_MS):
        raise ValueError(f"takes milliseconds above 0, at most {_MOST_MS:.0f}")
    return float(number)


def _nanousd(value: Any) -> int:
    number = _number(value)
    if not 0 <= number <= _MOST_USD:
        raise ValueError(f"takes US dollars from 0 to {_MOST_USD}")
    return int(number * NANO)  # below a nano-dollar the caller only tightens further


def _share(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 1:
        raise ValueError("takes a probability from 0 to 1")
    return float(number)


def _priority(value: Any) -> str:
    if value not in Priority.__members__:
        raise ValueError(f"takes one of {', '.join(Priority.__members__)}")
    return str(value)


def _lower_class(one: str, other: str) -> str:
    return max(one, other, key=lambda name: Priority[name])


_TERMS: dict[str, _Term] = {
    "channel": _Term("channel", _name, None),
    "persona": _Term("persona", _name, None),
    "session": _Term("session", _name, None),
    "latency-ms": _Term("latency_ms", _milliseconds, min),
    "ttft-ms": _Term("ttft_ms", _milliseconds, min),
    "itl-ms": _Term("itl_ms", _milliseconds, min),
    "max-cost-usd": _Term("max_cost_nanousd", _nanousd, min),
    "min-quality": _Term("min_quality", _share, max),
    "priority": _Term("priority", _priority, _lower_class),
}
_LLM_D = {"x-llm-d-slo-ttft-ms": "ttft-ms", "x-llm-d-slo-tpot-ms": "itl-ms"}
"""llm-d's names of the same terms."""

HEADERS = (*(_PREFIX + name for name in _TERMS), *_LLM_D)
"""Every header that carries a term."""


def asked_in_headers(headers: Mapping[str, str]) -> Asked:
    """Raises TermError."""
    found: dict[str, Any] = {}
    for header, value in headers.items():
        if header.startswith(_PREFIX):
            _add(found, header.removeprefix(_PREFIX), header, value)
        elif header in _LLM_D:
            _add(found, _LLM_D[header], header, value)
        elif header.startswith("tri") or "tab" in header[:8]:
            _refuse_astray(header)
    return Asked(**found) if found else _NOTHING


def _refuse_astray(header: str) -> None:
    """A slip in the prefix itself (`trimtb-latency-ms`, `trimtab_latency_ms`) would make a term that never applies."""
    head = header.replace("_", "-").partition("-")[0]
    if head.startswith("trimtab") or distance(head, "trimtab") <= 1:
        raise TermError(header, f"{header} is no contract term. {did_you_mean(header, HEADERS)}")


def asked_in_body(own: Any, metadata: Any) -> Asked:
    """Terms of the body's `trimtab` object and of `metadata` keys that begin with `trimtab-`. Raises TermError."""
    found: dict[str, Any] = {}
    if own is not None:
        if not isinstance(own, dict):
            raise TermError("trimtab", "trimtab takes an object")
        for name, value in own.items():
            _add(found, name.replace("_", "-"), f"trimtab.{name}", value)
    if isinstance(metadata, dict):
        for name, value in metadata.items():
            if name.startswith(_PREFIX):
                _add(found, name.removeprefix(_PREFIX), f"metadata.{name}", value)
    return Asked(**found) if found else _NOTHING


def merged(headers: Asked, body: Asked) -> Asked:
    """Both ways of asking together. Raises TermError where they name different things."""
    if body is _NOTHING:
        return headers
    if headers is _NOTHING:
        return body
    found = {field: value for field, value in msgspec.structs.asdict(headers).items() if value is not None}
    for term in _TERMS.values():
        value = getattr(body, term.field)
        if value is not None:
            _combine(found, term, term.field, value)
    return Asked(**found)


def refusal(error: TermError) -> Refusal:
    """The 400 that says which term is wrong and what it takes."""
    return Refusal(code=Code.INVALID_CONTRACT, message=str(error), param=error.param)


def _add(found: dict[str, Any], name: str, param: str, value: Any) -> None:
    term = _TERMS.get(name)
    if term is None:
        raise TermError(param, f"{param} is no contract term. {_near(name, _TERMS)}".rstrip())
    try:
        read = term.read(value)
    except ValueError as error:
        raise TermError(param, f"{param} {error}") from None
    _combine(found, term, param, read)


def _combine(found: dict[str, Any], term: _Term, param: str, value: Any) -> None:
    known = found.get(term.field)
    if known is None:
        found[term.field] = value
    elif term.stricter is not None:
        found[term.field] = term.stricter(known, value)
    elif known != value:
        raise TermError(param, f"{param} is asked for twice, with different values")


def _near(name: str, known: Iterable[str]) -> str:
    return did_you_mean(name, list(known))


_NOTHING = Asked()
