"""A collector of somebody else's: Arize Phoenix takes what is sent, and knows the models' calls for what they are.

Skipped without its program, which is 850 MB: `python -m venv phoenix && phoenix/bin/pip install arize-phoenix`, then
`PHOENIX=phoenix/bin/phoenix`.
"""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, write_workspace
from support.live import live
from support.serving import end, eventually
from support.upstream import openai

PROGRAM = os.environ.get("PHOENIX")
SPANS = "/v1/projects/default/spans?limit=100"

pytestmark = [pytest.mark.timeout(240), pytest.mark.skipif(PROGRAM is None, reason="no PHOENIX")]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


def asked(url: str) -> Any:
    """None while it does not answer yet."""
    try:
        with urlopen(url, timeout=10) as answer:
            return answer.read()
    except (URLError, ConnectionError, TimeoutError):
        return None


@contextmanager
def phoenix(folder: Path) -> Iterator[str]:
    """Its address."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(free_port()),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    quiet = subprocess.DEVNULL
    process = subprocess.Popen([str(PROGRAM), "serve"], env=environment, stdout=quiet, stderr=quiet)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        end(process)


def test_it_takes_every_span(tmp_path: Path) -> None:
    """Each request's trace: a root, its stages, and one call of a model with its tokens."""
    with phoenix(tmp_path / "phoenix") as collector, upstream_aside(openai) as url:
        for _ in range(4):  # it takes longer to begin than one such wait
            try:
                eventually(lambda: asked(f"{collector}/healthz") is not None)
                break
            except AssertionError:
                continue

        def sends(documents: dict[str, str]) -> None:
            documents["trimtab.yaml"] += f'telemetry: {{otlp: "{collector}", share: 1.0}}\n'

        folder = tmp_path / "ws"
        write_workspace(folder, url, url, sends)
        with live(folder) as server:
            for number in range(5):
                assert server.chat(f"hello {number}", key=KEY, temperature=1)[0] == 200

        def stored() -> Any:
            spans = msgspec.json.decode(asked(f"{collector}{SPANS}"))["data"]
            return spans if sum(one["span_kind"] == "LLM" for one in spans) == 5 else None

        spans = eventually(stored)
    calls = [one for one in spans if one["span_kind"] == "LLM"]
    assert [one["attributes"]["gen_ai.usage.output_tokens"] for one in calls] == [3] * 5
    assert len({one["context"]["trace_id"] for one in calls}) == 5
    roots = [one for one in spans if one["parent_id"] is None]
    assert len(roots) == 5
    assert all(one["context"]["trace_id"] in {root["context"]["trace_id"] for root in roots} for one in spans)
