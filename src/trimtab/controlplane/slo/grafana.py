"""A Grafana dashboard of the recorded series: what is left, how fast it goes, and what stands behind it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from trimtab.controlplane.metrics import of_gateway
from trimtab.controlplane.metrics import of_requests as f
from trimtab.controlplane.slo.objectives import Objective
from trimtab.controlplane.slo.prometheus import BURN, LEFT, SPEND_LEFT

_SOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
_RED_BELOW: Final[list[dict[str, Any]]] = [
    {"color": "red", "value": None},
    {"color": "orange", "value": 0},
    {"color": "green", "value": 0.25},
]
_OWNER: Final = 'tenant=~"$tenant",channel=~"$channel"'


def dashboard(objectives: list[Objective], link: str | None = None) -> bytes:
    """JSON for Grafana's import, the same bytes for the same objectives."""
    panels = []
    if any(not one.is_money for one in objectives):
        panels += [
            _panel("Error budget left", "bargauge", [(LEFT, "{{slo}}")], "percentunit", _RED_BELOW),
            _panel("Burn, 1 h (1 lasts the window)", "timeseries", [(f"{BURN}1h", "{{slo}}")], "none"),
            _panel("Burn, 6 h", "timeseries", [(f"{BURN}6h", "{{slo}}")], "none"),
        ]
    if any(one.is_money for one in objectives):
        panels.append(_panel("Spend budget left", "bargauge", [(SPEND_LEFT, "{{slo}}")], "percentunit", _RED_BELOW))
    panels += [
        _panel("Requests by code", "timeseries", [(_rate(f.REQUESTS.name, "code"), "{{code}}")], "reqps"),
        _panel("Duration, p95", "timeseries", [(_p95(f.DURATION.name), "{{tenant}}/{{channel}}")], "s"),
        _panel("First token, p95", "timeseries", [(_p95(f.TTFT.name), "{{tenant}}/{{channel}}")], "s"),
        _panel("US dollars an hour", "timeseries", [(f"3600 * {_rate(f.COST.name, 'tenant, channel')}",
                                                     "{{tenant}}/{{channel}}")], "currencyUSD"),
        _panel("Attempts that failed, by variant", "timeseries",
               [(f'sum by (variant) (rate({f.ATTEMPTS.name}{{outcome="dropped"}}[5m]))', "{{variant}}")], "reqps"),
        _panel("Release", "table", [(f"sum by (release) ({of_gateway.INFO.name})", "{{release}}")], "none"),
    ]  # fmt: skip
    for number, panel in enumerate(panels):
        panel |= {"id": number + 1, "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)}}
    links = [{"title": "Runbook", "type": "link", "url": link}] if link is not None else []
    made = {
        "uid": "trimtab-slo",
        "title": "Trimtab: objectives",
        "tags": ["trimtab", "slo"],
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-24h", "to": "now"},
        "links": links,
        "templating": {"list": [_SOURCE_VARIABLE, _variable("tenant"), _variable("channel")]},
        "panels": panels,
    }
    return msgspec.json.format(msgspec.json.encode(made), indent=1) + b"\n"


_SOURCE_VARIABLE: Final = {"name": "datasource", "type": "datasource", "query": "prometheus"}


def _variable(name: str) -> dict[str, Any]:
    query = f"label_values({f.REQUESTS.name}, {name})"
    return {
        "name": name, "type": "query", "datasource": _SOURCE, "query": query, "definition": query,
        "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }  # fmt: skip


def _panel(
    title: str, kind: str, series: list[tuple[str, str]], unit: str, steps: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    targets = [
        {"refId": chr(65 + number), "datasource": _SOURCE, "expr": expr, "legendFormat": legend}
        for number, (expr, legend) in enumerate(series)
    ]
    defaults: dict[str, Any] = {"unit": unit}
    if steps is not None:
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}, "min": -1, "max": 1}
    return {
        "title": title,
        "type": kind,
        "datasource": _SOURCE,
        "targets": targets,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    }


def _rate(name: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}{{{_OWNER}}}[5m]))"


def _p95(name: str) -> str:
    return f"histogram_quantile(0.95, sum by (tenant, channel, le) (rate({name}_bucket{{{_OWNER}}}[5m])))"
