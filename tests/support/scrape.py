"""Scrapes read by prometheus-client's own parser."""

from __future__ import annotations

from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

from support.gateway import Gateway
from support.rawhttp import RawAnswer, RawClient, request


async def fetch(gateway: Gateway, *headers: str, host: str = "127.0.0.1") -> RawAnswer:
    async with RawClient(gateway.port) as client:
        client.send(request("GET", "/metrics", b"", *headers, host=host))
        return await client.answer()


def parsed(text: str) -> dict[str, Metric]:
    """Families by their names as they are written."""
    found = {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        assert name not in found, f"{name} is there twice"
        found[name] = family
    return found


async def scrape(gateway: Gateway) -> dict[str, Metric]:
    answer = await fetch(gateway)
    assert answer.status == 200, answer
    return parsed(answer.body.decode())


def value(families: dict[str, Metric], name: str, /, **labels: str) -> float:
    """The sum of the samples with these labels."""
    base = name.removesuffix("_count").removesuffix("_sum") if name not in families else name
    return sum(
        one.value
        for one in families[base].samples
        if one.name == name and all(one.labels.get(key) == wanted for key, wanted in labels.items())
    )


def series(families: dict[str, Metric]) -> set[tuple[str, frozenset[tuple[str, str]]]]:
    return {(one.name, frozenset(one.labels.items())) for family in families.values() for one in family.samples}
