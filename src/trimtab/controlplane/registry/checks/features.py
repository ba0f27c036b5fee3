"""features.yaml: figures that can be reckoned from the lake's rows, for as long as those are kept."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from trimtab.controlplane.registry.checks.view import Found, View, error
from trimtab.controlplane.registry.documents import FEATURES, SETTINGS
from trimtab.core.clock import NS_PER_S
from trimtab.core.features import PREFIX, Feature, columns, stands_in
from trimtab.dataplane.policy import VARIABLES
from trimtab.foundations.config import Path, did_you_mean

_DAY_NS: Final = 86_400 * NS_PER_S
_WITHOUT_COLUMN: Final = frozenset({"count", "share"})
_SORTS: Final = {"number": "a number", "bool": "true or false", "text": "a text, or a list of texts"}


def names(view: View) -> Found:
    """No feature is called like something else that policy reads."""
    taken = {name for table in VARIABLES.values() for name in table}
    for name, _, path in _each(view):
        if name in taken or PREFIX + name in taken:
            message = f"is the name of a variable of policy: {PREFIX}{name} would be taken for {name}"
            yield error(FEATURES, path, message, "Choose another name, e.g. recent_" + name)


def terms(view: View) -> Found:
    """A feature has what its value is reckoned from, and nothing else."""
    for _, one, path in _each(view):
        if one.value in _WITHOUT_COLUMN and one.column is not None:
            hint = "Delete it, or write value: mean." if one.value == "count" else "Delete it, and write holds."
            yield error(FEATURES, (*path, "column"), f"means nothing for {one.value}", hint)
        if one.value not in _WITHOUT_COLUMN and one.column is None:
            hint = "Write e.g. column: tokens.completion"
            yield error(FEATURES, path, f"{one.value} needs a column", hint)
        if one.value == "share" and not one.holds:
            hint = "Write e.g. holds: {met.latency: false}"
            yield error(FEATURES, path, "a share needs what must hold", hint)
        if one.value != "share" and one.holds:
            hint = "Write it under where, or value: share."
            yield error(FEATURES, (*path, "holds"), f"means nothing for {one.value}", hint)
        if one.value == "count" and not one.default.is_integer():
            yield error(FEATURES, (*path, "default"), "is no whole number, and a count is one", "Write default: 0")


def known(view: View) -> Found:
    """Columns are there, stand in the rows that count, and have the type that is asked of them."""
    for _, one, path in _each(view):
        if one.column is not None:
            yield from _column(one, (*path, "column"), one.column)
            if columns().get(one.column, "number") != "number":
                numbers = [name for name, kind in columns().items() if kind == "number"]
                yield error(
                    FEATURES, (*path, "column"), f"{one.column} is no number", did_you_mean(one.column, numbers)
                )
        for field, conditions in (("holds", one.holds), ("where", one.where)):
            yield from _conditions(one, (*path, field), conditions)


def kept(view: View) -> Found:
    """Rows are kept for as long as a window reaches back."""
    days = view.documents.settings.lake.keep_days
    for _, one, path in _each(view):
        if days is not None and one.window_ns > (days - 1) * _DAY_NS:
            message = f"{one.window} reaches beyond what the lake keeps: lake.keep_days is {days}, today's included"
            yield error(FEATURES, (*path, "window"), message, f"Write keep_days: {one.window_ns // _DAY_NS + 2}")


def ages(view: View) -> Found:
    """Values live longer than it takes to reckon the next ones."""
    document = view.documents.features
    if document.stale_ns < 2 * document.every_s * NS_PER_S:
        message = f"{document.stale} is less than twice every ({document.every}): values would be unknown now and then"
        yield error(FEATURES, ("stale",), message, "Write e.g. every: 5m and stale: 30m")


def readable(view: View) -> Found:
    """What features are reckoned from can be read from here."""
    lake = view.documents.settings.lake
    if view.documents.features.features and not lake.is_local:
        message = "is not a folder, and features are reckoned from a lake in one"
        yield error(SETTINGS, ("lake", "url"), message, "Write url: var/lake, or delete features.yaml.")


def _each(view: View) -> Iterator[tuple[str, Feature, Path]]:
    for name, feature in view.documents.features.features.items():
        yield name, feature, ("features", name)


def _column(feature: Feature, path: Path, name: str) -> Found:
    if name not in columns():
        yield error(FEATURES, path, f"there is no column {name}", did_you_mean(name, columns()))
    elif not stands_in(name, feature.rows):
        other = "verdict" if feature.rows == "request" else "request"
        hint = f"Write rows: {other}, or another column."
        yield error(FEATURES, path, f"rows of kind {feature.rows} never have {name}", hint)


def _conditions(feature: Feature, path: Path, conditions: Mapping[str, Any]) -> Found:
    for name, value in conditions.items():
        yield from _column(feature, (*path, name), name)
        kind = columns().get(name)
        if kind is not None and kind != _kind(value):
            yield error(FEATURES, (*path, name), f"{value!r} is never equal to it", f"Write {_SORTS[kind]}.")


def _kind(value: Any) -> str:
    """Blank for what no column is equal to: null, a mapping, a list of anything but texts."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    texts = value if isinstance(value, list) else [value]
    return "text" if texts and all(isinstance(one, str) for one in texts) else ""


CHECKS = (names, terms, known, kept, ages, readable)
