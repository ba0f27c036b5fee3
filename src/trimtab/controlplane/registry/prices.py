"""Price documents to integer nano-dollars per million tokens. The genai-prices package is asked at load only: it takes
a second to import and half a millisecond a question."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from trimtab.controlplane.registry.documents import PRICES, PriceDocument
from trimtab.core.money import Price, nanousd
from trimtab.foundations.config import Problem

_OUT = 'Write e.g. input_usd_per_mtok: "0.15", output_usd_per_mtok: "0.60"'
_FIELDS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "written": "cache_write_mtok",
    "written_1h": "cache_write_1h_mtok",
    "audio_in": "input_audio_mtok",
    "audio_cached": "cache_audio_read_mtok",
    "reasoning": "output_reasoning_mtok",
    "audio_out": "output_audio_mtok",
}
"""Kinds of tokens, and what genai-prices calls the price of each."""


class PriceError(ValueError):
    """A price that can't be; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def compile_prices(documents: dict[str, PriceDocument], wall_ns: int) -> tuple[dict[str, Price], list[Problem]]:
    """Prices by model, and what is wrong with them. `wall_ns` picks among prices with a start date."""
    prices: dict[str, Price] = {}
    problems: list[Problem] = []
    for name, document in documents.items():
        try:
            prices[name] = _taken(document, wall_ns) if document.source else _written(document)
        except PriceError as error:
            problems.append(Problem(file=PRICES, path=(name,), message=str(error), hint=error.hint))
            continue
        if document.source:
            problems.extend(_remarks(name, document, wall_ns))
    return prices, problems


def _written(document: PriceDocument) -> Price:
    if document.provider or document.model:
        raise PriceError("provider and model are read only beside from: genai-prices", "Write from: genai-prices, too.")
    if document.input_usd_per_mtok is None or document.output_usd_per_mtok is None:
        raise PriceError("a price needs both directions", _OUT)
    declared = {kind: _declared(document, kind) for kind in _FIELDS}
    known: dict[str, Any] = {kind: nanousd(value) for kind, value in declared.items() if value is not None}
    return Price(**known)


def _declared(document: PriceDocument, kind: str) -> Decimal | None:
    value: Decimal | None = getattr(document, f"{kind}_usd_per_mtok")
    return value


def _taken(document: PriceDocument, wall_ns: int) -> Price:
    if any(_declared(document, kind) is not None for kind in _FIELDS):
        raise PriceError("is given twice", "Write either from: genai-prices, or the prices themselves.")
    options = _options(document, wall_ns)
    values = {key: _dearest(getattr(option, key) for option in options) for key in _FIELDS.values()}
    if values["input_mtok"] is None or values["output_mtok"] is None:
        said = f"genai-prices has no price per token for {document.provider} {document.model}"
        raise PriceError(said, _OUT)
    return Price(**{kind: values[key] for kind, key in _FIELDS.items()})  # type: ignore[arg-type]  # checked above


def _options(document: PriceDocument, wall_ns: int) -> list[Any]:
    """The price of today, and those of certain hours: which of them applies is not known when money is reserved."""
    from genai_prices.data_snapshot import get_snapshot
    from genai_prices.types import TimeOfDateConstraint

    if not document.provider or not document.model:
        hint = "Write e.g. provider: openai, model: gpt-4o-mini"
        raise PriceError("from: genai-prices needs provider and model", hint)
    try:
        _, model = get_snapshot().find_provider_model(document.model, None, document.provider, None)
    except LookupError as error:
        raise PriceError(f"genai-prices doesn't know it: {error}", _OUT) from None
    today = model.get_prices(datetime.fromtimestamp(wall_ns / 1e9, UTC))
    if not isinstance(model.prices, list):
        return [today]
    return [today, *(row.prices for row in model.prices if isinstance(row.constraint, TimeOfDateConstraint))]


def _dearest(values: Iterable[Any]) -> int | None:
    """Nano-dollars of the dearest step: a budget that is reserved by it can't be overrun by a dearer one."""
    steps: list[Decimal] = []
    for value in values:
        if value is not None and hasattr(value, "tiers"):
            steps += [value.base, *(tier.price for tier in value.tiers)]
        elif value is not None:
            steps.append(value)
    if not steps:
        return None
    scaled = max(steps) * 1_000_000_000
    return int(scaled.to_integral_value(rounding="ROUND_CEILING"))


def _remarks(name: str, document: PriceDocument, wall_ns: int) -> list[Problem]:
    options = _options(document, wall_ns)
    stepped = any(hasattr(getattr(option, key), "tiers") for option in options for key in _FIELDS.values())
    if not stepped and len(options) == 1:
        return []
    message = "has several prices (by prompt size or hour); the dearest counts for reserving and for cost"
    hint = "Write the price out if you know which one applies."
    return [Problem(file=PRICES, path=(name,), message=message, hint=hint, severity="warning")]
