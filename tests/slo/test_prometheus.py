"""Prometheus itself, and its own tool: they take the rules, scrape a served gateway, and page when its budget burns.

Skipped where they are absent, unless CI is set: Debian's package `prometheus`.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import urlopen

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, write_workspace
from support.live import Live, live, trimtab
from support.serving import end, eventually
from support.upstream import Seen, Step, failure, openai

THERE = shutil.which("prometheus") is not None
BURNS = 'slo:trimtab_burn:rate5m{slo="shop/web/availability"}'
SLO = """
objectives:
  - {channels: [shop/web], objective: availability, target: 0.99}
  - {channels: [shop/web], objective: availability, target: 0.9, route: /v1/messages}
  - {channels: [shop/*], objective: latency, target: 0.9, e2e_ms: 2500}
  - {channels: [shop/*], objective: guard, target: 0.98}
  - {channels: [shop/*], objective: quality, target: 0.8}
  - {channels: [shop/fresh], objective: cost, target: 0.99, usd: "0.00001"}
  - {channels: [shop/web], objective: spend, usd: "12.5"}
"""

pytestmark = [
    pytest.mark.timeout(240),
    pytest.mark.skipif(not THERE and "CI" not in os.environ, reason="no prometheus"),
]


def script(seen: Seen) -> Iterable[Step]:
    return failure(500) if "down" in str(seen.json["messages"][-1]["content"]) else openai(seen)


@contextmanager
def prometheus(folder: Path, target: str, rules: Path) -> Iterator[str]:
    """It scrapes and judges every second; its address."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    scrape = {"job_name": "trimtab", "static_configs": [{"targets": [target]}]}
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "scrape_configs": [scrape],
    }
    path = folder / "prometheus.yml"
    path.write_bytes(msgspec.json.encode(settings))
    options = [
        f"--config.file={path}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    process = subprocess.Popen(["prometheus", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        end(process)


def asked(url: str) -> Any:
    """None while it does not answer yet."""
    try:
        with urlopen(url, timeout=10) as answer:
            return msgspec.json.decode(answer.read())["data"]
    except (URLError, ConnectionError, TimeoutError):
        return None


def value(address: str, query: str) -> float | None:
    found = asked(f"{address}/query?query={quote(query)}")
    return float(found["result"][0]["value"][1]) if found is not None and found["result"] else None


def firing(address: str) -> set[tuple[str, str]]:
    found = asked(f"{address}/alerts")
    return {(one["labels"]["alertname"], one["labels"]["severity"]) for one in found["alerts"]} if found else set()


def test_it_takes_the_rules_and_pages(tmp_path: Path) -> None:
    """Two of eight requests fail: 25 times what 99 % allows."""
    folder, rules = tmp_path / "ws", tmp_path / "rules.yml"
    with upstream_aside(script) as url:
        write_workspace(folder, url, url)
        (folder / "slo.yaml").write_text(SLO)
        trimtab("slo", "export", "--prometheus", str(rules), "--workspace", str(folder))
        checked = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stdout + checked.stderr
        with live(folder) as server, prometheus(tmp_path, f"127.0.0.1:{server.port}", rules) as address:
            told(server, "fine", 200)
            requests = 'sum(trimtab_requests_total{tenant="shop"})'
            assert eventually(lambda: value(address, requests) == 1)
            for said, status in (*[("fine", 200)] * 6, *[("down", 502)] * 2):
                told(server, said, status)
            assert eventually(lambda: value(address, requests) == 9)
            assert eventually(lambda: (value(address, BURNS) or 0) > 14.4)
            assert eventually(lambda: ("TrimtabBudgetBurns", "page") in firing(address))
            text = server.request("GET", "/metrics")[2]
    linted = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, check=False)
    assert linted.returncode == 0, linted.stdout + linted.stderr


def told(server: Live, said: str, status: int) -> None:
    assert server.chat(said, key=KEY, temperature=1)[0] == status
