"""The gateways: where each is found, how it is started, when it is ready. One row a gateway in `GATEWAYS`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.gateway_overhead import workspace
from benchmarks.gateway_overhead.native import CannotRunError

PATH = "/v1/chat/completions"


@dataclass(frozen=True)
class Place:
    """What a gateway is started with: its folder and port, and the mock that it is in front of."""

    folder: Path
    port: int
    mock_port: int


@dataclass(frozen=True)
class Launch:
    """How a gateway is run and spoken to."""

    command: list[str]
    env: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    model: str = "mock"
    workspace: Path | None = None
    """Trimtab's, whose admin socket tells the stages' counters."""


@dataclass(frozen=True)
class Found:
    """An installed gateway."""

    program: str
    version: str


@dataclass(frozen=True)
class Gateway:
    """`find` gives None where it is not installed; `hint` then says how it would be found."""

    name: str
    find: Callable[[], Found | None]
    launch: Callable[[Found, Place], Launch] | None
    hint: str = ""
    ready_path: str | None = None
    """A path that answers 200 when it is ready; None: the first completion does."""
    start_limit_s: float = 30
    warm_s: float = 2


_NGINX = """\
worker_processes 1; daemon off; master_process off; pid {folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_max_body_size 8m; client_body_buffer_size 512k; keepalive_requests 1000000;
  client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder}; uwsgi_temp_path {folder};
  scgi_temp_path {folder};
  upstream up {{ server 127.0.0.1:{mock_port}; keepalive 512; keepalive_requests 1000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
}}
"""
_LITELLM = """\
model_list:
  - model_name: mock
    litellm_params: {{model: openai/mock, api_base: "http://127.0.0.1:{mock_port}/v1", api_key: x}}
litellm_settings: {{telemetry: false}}
general_settings: {{master_key: sk-bench}}
"""


def _program(variable: str, *names: str) -> str | None:
    """By environment variable, else on PATH (and where Debian keeps daemons)."""
    given = os.environ.get(variable)
    if given:
        return shutil.which(given)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])
    return next((found for name in names if (found := shutil.which(name, path=path))), None)


def _says(*command: str) -> str:
    """The first version number in what a command says; empty if there is none."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(r"\d+\.\d+(?:\.\d+)?\S*", done.stdout + done.stderr)
    return found.group() if found else ""


def _find_direct() -> Found:
    return Found(program="", version="")


def _find_nginx() -> Found | None:
    program = _program("NGINX", "nginx")
    return Found(program, _says(program, "-v")) if program else None


def _find_trimtab() -> Found | None:
    beside = Path(sys.executable).with_name("trimtab")
    program = os.environ.get("TRIMTAB") or (str(beside) if beside.is_file() else shutil.which("trimtab"))
    return Found(program, _says(program, "--version")) if program else None


def _find_litellm() -> Found | None:
    program = _program("LITELLM", "litellm")
    if program is None:
        return None
    # `litellm --version` imports all of it; the installed package's folder says it at once.
    site = Path(program).resolve().parent.parent.glob("lib/python3*/site-packages/litellm-*.dist-info")
    versions = [one.name.removeprefix("litellm-").removesuffix(".dist-info") for one in site]
    return Found(program, versions[0] if versions else "")


def _find_portkey() -> Found | None:
    folder, node = os.environ.get("PORTKEY"), _program("NODE", "node")
    if folder is None or node is None or not Path(folder, "build", "start-server.js").is_file():
        return None
    package = Path(folder, "package.json")
    version = re.search(r'"version":\s*"([^"]+)"', package.read_text()) if package.is_file() else None
    return Found(node, f"{version.group(1) if version else ''} (node {_says(node, '--version')})")


def _launch_nginx(found: Found, place: Place) -> Launch:
    config = place.folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=place.folder, port=place.port, mock_port=place.mock_port))
    return Launch([found.program, "-c", str(config), "-p", str(place.folder)])


def _launch_trimtab(found: Found, place: Place) -> Launch:
    folder = place.folder / "ws"
    key = workspace.write(found.program, folder, place.mock_port)
    return Launch(
        [found.program, "serve", "--workspace", str(folder), "--port", str(place.port)],
        headers=(f"Authorization: Bearer {key}",),
        model="auto",
        workspace=folder,
    )


def _launch_litellm(found: Found, place: Place) -> Launch:
    config = place.folder / "litellm.yaml"
    config.write_text(_LITELLM.format(mock_port=place.mock_port))
    command = [found.program, "--config", str(config), "--host", "127.0.0.1", "--port", str(place.port)]
    return Launch(
        [*command, "--num_workers", "1"],
        env={
            "LITELLM_LOG": "ERROR",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MODE": "PRODUCTION",
            "OMP_NUM_THREADS": "1",
        },
        headers=("Authorization: Bearer sk-bench",),
    )


def _launch_portkey(found: Found, place: Place) -> Launch:
    server = Path(os.environ["PORTKEY"], "build", "start-server.js")
    return Launch(
        [found.program, str(server), f"--port={place.port}", "--headless"],
        env={"NODE_ENV": "production"},
        headers=(
            "Authorization: Bearer x",
            "x-portkey-provider: openai",
            f"x-portkey-custom-host: http://127.0.0.1:{place.mock_port}/v1",
        ),
    )


GATEWAYS: tuple[Gateway, ...] = (
    Gateway("direct", _find_direct, None),
    Gateway("nginx", _find_nginx, _launch_nginx, "apt-get install nginx-light, or NGINX=/path/to/nginx"),
    Gateway("trimtab", _find_trimtab, _launch_trimtab, "pip install -e ., or TRIMTAB=/path/to/trimtab", "/readyz"),
    Gateway(
        "litellm",
        _find_litellm,
        _launch_litellm,
        'pip install "litellm[proxy]" in an environment of its own, and LITELLM=/path/to/litellm',
        start_limit_s=90,
    ),
    Gateway(
        "portkey",
        _find_portkey,
        _launch_portkey,
        "npm install @portkey-ai/gateway, and NODE=/path/to/node PORTKEY=/path/to/node_modules/@portkey-ai/gateway",
        warm_s=10,
    ),
)
BY_NAME = {one.name: one for one in GATEWAYS}


def chosen(names: str) -> list[Gateway]:
    """Gateways by a list like `direct,nginx`. Raises CannotRunError for an unknown one."""
    found = []
    for name in filter(None, (one.strip() for one in names.split(","))):
        gateway = BY_NAME.get("trimtab" if name == "ours" else name)
        if gateway is None:
            raise CannotRunError(f"there is no gateway {name!r}; known: {', '.join(BY_NAME)}")
        if gateway not in found:
            found.append(gateway)
    if not found:
        raise CannotRunError(f"no gateway is named; known: {', '.join(BY_NAME)}")
    return found
