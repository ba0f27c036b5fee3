"""OpenSLO v1, out and in (github.com/OpenSLO/OpenSLO). Out: a Service for each channel and an SLO for each objective
but money, which OpenSLO has no word for. In: SLOs whose annotations or service name a channel, as text of slo.yaml.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from io import StringIO
from typing import Any, Final, get_args

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from trimtab.controlplane.slo.objectives import Objective
from trimtab.controlplane.slo.prometheus import ratio
from trimtab.core.money import usd
from trimtab.core.objectives import Kind, ObjectiveDoc

VERSION: Final = "openslo/v1"
_KIND, _CHANNEL, _ROUTE = "trimtab.dev/objective", "trimtab.dev/channel", "trimtab.dev/route"
_LIMITS: Final = {"trimtab.dev/ttft-ms": "ttft_ms", "trimtab.dev/e2e-ms": "e2e_ms", "trimtab.dev/usd": "usd"}
_DAYS: Final = {"d": 1, "w": 7, "M": 30}


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """`text`: of slo.yaml, with a comment for what was assumed. `refused`: (name, why) of what is not in it."""

    text: str
    count: int
    refused: list[tuple[str, str]]


def written(objectives: Iterable[Objective]) -> str:
    """All of them as one stream of documents."""
    kept = [one for one in objectives if not one.is_money]
    places = list(dict.fromkeys(one.place for one in kept))
    documents = [*(_service(place) for place in places), *(_slo(one) for one in kept)]
    yaml, out = YAML(), StringIO()
    yaml.width, yaml.explicit_start = 1000, True
    for document in documents:
        yaml.dump(document, out)
    return out.getvalue()


def _service(place: str) -> dict[str, Any]:
    return {
        "apiVersion": VERSION,
        "kind": "Service",
        "metadata": {"name": _name(place), "displayName": place, "annotations": {_CHANNEL: place}},
        "spec": {"description": f"The channel {place}."},
    }


def _slo(objective: Objective) -> dict[str, Any]:
    name = _name(objective.id)
    told = {_KIND: objective.kind, _CHANNEL: objective.place}
    if objective.route is not None:
        told[_ROUTE] = objective.route
    for key, value in (("ttft-ms", objective.ttft_ms), ("e2e-ms", objective.e2e_ms), ("usd", _usd(objective))):
        if value is not None:
            told[f"trimtab.dev/{key}"] = f"{value:g}" if isinstance(value, float) else str(value)
    return {
        "apiVersion": VERSION,
        "kind": "SLO",
        "metadata": {"name": name, "displayName": objective.id, "annotations": told},
        "spec": {
            "service": _name(objective.place),
            "indicator": {"metadata": {"name": f"{name}-ratio"}, "spec": {"ratioMetric": _ratio(objective)}},
            "timeWindow": [_time_window(objective)],
            "budgetingMethod": "Occurrences",
            "objectives": [{"displayName": objective.kind, "target": objective.target}],
        },
    }


def _ratio(objective: Objective) -> dict[str, Any]:
    bad, total = ({"type": "Prometheus", "spec": {"query": f"sum({one})"}} for one in ratio(objective))
    return {"counter": True, "bad": {"metricSource": bad}, "total": {"metricSource": total}}


def _time_window(objective: Objective) -> dict[str, Any]:
    window = objective.window
    if window.period is None:
        return {"duration": f"{window.days}d", "isRolling": True}
    calendar = {"startTime": "2026-01-01 00:00:00", "timeZone": window.tz}
    return {"duration": "1d" if window.period == "day" else "1M", "isRolling": False, "calendar": calendar}


def _usd(objective: Objective) -> str | None:
    return None if objective.usd_nano is None else usd(objective.usd_nano)


def _name(text: str) -> str:
    """As metadata.name may be: lower case, digits, dashes and dots."""
    return re.sub(r"[^a-z0-9.-]+", "-", text.replace("/", ".").replace("@.", ".").lower()).strip("-.")


# --- in


def read(text: str) -> Imported:
    """Every SLO of a stream of documents. Raises ValueError for what is no YAML."""
    try:
        documents = list(YAML(typ="safe", pure=True).load_all(text))
    except YAMLError as error:
        raise ValueError(f"this is no YAML: {str(error).splitlines()[0]}") from None
    entries: list[tuple[ObjectiveDoc, str | None]] = []
    refused: list[tuple[str, str]] = []
    services = {
        str(_at(one, "metadata", "name")): str(_at(one, "metadata", "annotations", _CHANNEL) or "")
        for one in documents
        if _at(one, "kind") == "Service"
    }
    for document in documents:
        if _at(document, "kind") != "SLO":
            continue
        try:
            entries.append(_entry(document, services))
        except ValueError as error:
            refused.append((str(_at(document, "metadata", "name") or "an SLO"), str(error)))
    return Imported(text=_text(entries), count=len(entries), refused=refused)


def _entry(document: Mapping[str, Any], services: Mapping[str, str]) -> tuple[ObjectiveDoc, str | None]:
    """An entry, and what was assumed. Raises ValueError with the reason why not."""
    if _at(document, "apiVersion") != VERSION:
        raise ValueError(f"apiVersion is not {VERSION}")
    told = _at(document, "metadata", "annotations") or {}
    spec = _at(document, "spec")
    spec = spec if isinstance(spec, Mapping) else {}
    told = told if isinstance(told, Mapping) else {}
    if (method := spec.get("budgetingMethod", "Occurrences")) != "Occurrences":
        raise ValueError(f"budgetingMethod is {method}: requests are counted here, not slices of time")
    kind, assumed = _kind(spec, told)
    channel = str(told.get(_CHANNEL) or services.get(str(spec.get("service"))) or spec.get("service") or "")
    channel = channel if "/" in channel else channel.replace(".", "/", 1)
    window, tz = _window(spec.get("timeWindow"))
    fields: dict[str, Any] = {"channels": [channel], "objective": kind, "target": _target(spec.get("objectives"))}
    fields |= {"window": window, "tz": tz, "route": told.get(_ROUTE)}
    for key, field in _LIMITS.items():
        if key in told:
            fields[field] = str(told[key]) if field == "usd" else float(told[key])
    try:
        return msgspec.convert({key: one for key, one in fields.items() if one is not None}, ObjectiveDoc), assumed
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def _kind(spec: Mapping[str, Any], told: Mapping[str, Any]) -> tuple[Kind, str | None]:
    found = next((kind for kind in get_args(Kind) if kind == told.get(_KIND)), None)
    if found is not None and found != "spend":
        return found, None
    if _at(spec, "indicator", "spec", "ratioMetric"):
        said = "its own ratio is replaced by ours: requests answered, of those that were owed an answer"
        return "availability", said
    raise ValueError(f"its indicator says nothing that records have: annotate it with {_KIND}")


def _target(objectives: Any) -> float:
    if not isinstance(objectives, list) or len(objectives) != 1:
        raise ValueError("has no objective, or several: write one SLO for each")
    one = objectives[0]
    if isinstance(target := _at(one, "target"), (int, float)):
        return float(target)
    if isinstance(percent := _at(one, "targetPercent"), (int, float)):
        return round(percent / 100, 12)
    raise ValueError("has no target")


def _window(windows: Any) -> tuple[str, str | None]:
    one = windows[0] if isinstance(windows, list) and len(windows) == 1 else None
    found = re.fullmatch(r"([1-9]\d*)([dwMhmQY])", str(_at(one, "duration")))
    if found is None:
        raise ValueError("has no timeWindow of one duration")
    count, unit = int(found[1]), found[2]
    if _at(one, "calendar") is not None:
        if found[0] not in ("1d", "1M"):
            raise ValueError(f"a calendar window of {found[0]}: here it is 1d or 1M")
        return "day" if unit == "d" else "month", str(_at(one, "calendar", "timeZone") or "UTC")
    days = count * _DAYS.get(unit, 0)
    if not 1 <= days <= 90:
        raise ValueError(f"a window of {found[0]}: here it is 1 to 90 days")
    return f"{days}d", None


def _text(entries: list[tuple[ObjectiveDoc, str | None]]) -> str:
    yaml, lines = YAML(), ["objectives:" if entries else "objectives: []"]
    yaml.width = 1000
    for entry, assumed in entries:
        out = StringIO()
        yaml.dump([msgspec.to_builtins(entry)], out)
        lines += [f"  # {assumed}"] if assumed is not None else []
        lines += [f"  {line}" for line in out.getvalue().splitlines()]
    return "\n".join(lines) + "\n"


def _at(value: Any, *path: str) -> Any:
    """What stands there, or None."""
    for step in path:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value
