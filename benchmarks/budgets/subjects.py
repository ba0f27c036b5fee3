"""The gateways that keep the budget: how each is started, and how it is spoken to."""

from __future__ import annotations

import contextlib
import http.client
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from benchmarks.budgets.draws import INPUT_NANO, OUTPUT_NANO
from benchmarks.gateway_overhead import gateways
from benchmarks.gateway_overhead import workspace as layout
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.gateway_overhead.processes import free_port, running

NANO = 10**9
MOST_OUTPUT = 4096
TRIMTAB = Path(sys.executable).with_name("trimtab")


class Place(NamedTuple):
    """What a subject is started with. `redis_port`: of a server that is empty; `store`: redis, or memory where the
    subject can do without."""

    folder: Path
    upstream: int
    redis_port: int
    limit_nanousd: int
    workers: int
    store: str

    @property
    def redis(self) -> str:
        return f"redis://127.0.0.1:{self.redis_port}/0"

    @property
    def usd(self) -> str:
        return str(Decimal(self.limit_nanousd) / NANO)


class Up(NamedTuple):
    """A subject that serves: its port, and the headers of its caller."""

    port: int
    headers: tuple[str, ...]


class Subject(NamedTuple):
    """`serve` raises CannotRunError, with the reason, where it can't be had."""

    name: str
    serve: Callable[[Place], contextlib.AbstractContextManager[Up]]


_TENANT = """\
id: bench
name: Budget
priority: interactive
languages: [en]
limits:
  requests: {{per_s: 1000000, burst: 1000000}}
  tokens: {{per_s: 1000000000, burst: 1000000000}}
budgets:
  - {{period: month, usd: "{usd}"}}
channels:
  load:
    targets:
      latency: {{ttft_ms: 60000, itl_ms: 10000, e2e_ms: 120000, deadline_ms: 140000, percentile: 0.95}}
      quality: {{min: 0}}
    cost: {{max_per_request_usd: "1"}}
    tiers: [S]
    on_miss: wait
    baseline: mock-plain
"""
_LITELLM = """\
model_list:
  - model_name: auto
    litellm_params: {{model: openai/mock, api_base: "http://127.0.0.1:{upstream}/v1", api_key: x}}
    model_info: {{input_cost_per_token: {input}, output_cost_per_token: {output}, max_output_tokens: {most}}}
router_settings: {{num_retries: 0}}
litellm_settings: {{telemetry: false, num_retries: 0, callbacks: [one_key.booking]}}
general_settings:
  {{master_key: sk-admin-of-the-benchmark, custom_auth: one_key.check, custom_auth_run_common_checks: true}}
"""
_ONE_KEY = '''\
"""The one key, with its budget, and the part that books: what LiteLLM itself wires where it has a database."""

from litellm.proxy._types import UserAPIKeyAuth
from litellm.proxy.hooks.proxy_track_cost_callback import ProxyDBLogger

booking = ProxyDBLogger()


async def check(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, max_budget={usd}, spend=0.0)
'''


def _trimtab(dialect: str) -> Callable[[Place], contextlib.AbstractContextManager[Up]]:
    """By dialect: `llamacpp` tells usage with every token, `openai` at an answer's end only."""
    return lambda place: _serve_trimtab(place, dialect)


@contextlib.contextmanager
def _serve_trimtab(place: Place, dialect: str) -> Iterator[Up]:
    """A month's budget of the tenant; requests wait for money that others hold, as long as they may run."""
    folder, port, log = place.folder / "ws", free_port(), place.folder / "log"
    layout.lay_out(folder, place.upstream, lambda made: layout.call(str(TRIMTAB), "init", str(made)))
    (folder / "tenants" / f"{layout.TENANT}.yaml").write_text(_TENANT.format(usd=place.usd))
    models = (folder / "models.yaml").read_text()
    models = models.replace("max_tokens: 512", f"max_tokens: {MOST_OUTPUT}").replace("openai", dialect)
    (folder / "models.yaml").write_text(models)
    prices = (
        f'mock: {{input_usd_per_mtok: "{_per_mtok(INPUT_NANO)}", output_usd_per_mtok: "{_per_mtok(OUTPUT_NANO)}"}}\n'
    )
    (folder / "prices.yaml").write_text(prices)
    settings = (
        (folder / "trimtab.yaml").read_text().replace("host: 127.0.0.1,", f"host: 127.0.0.1, workers: {place.workers},")
    )
    if place.store != "memory":
        settings = settings.replace("url: memory", f"url: {place.redis}")
    (folder / "trimtab.yaml").write_text(settings)
    key = layout.create_key(str(TRIMTAB), folder)
    command = [str(TRIMTAB), "serve", "--workspace", str(folder), "--port", str(port)]
    with running(command, None, log) as process:
        _wait(lambda: "Trimtab serves at" in log.read_text(), lambda: process.poll() is None, log, 60)
        yield Up(port, (f"Authorization: Bearer {key}",))


def _reference(policy: str) -> Callable[[Place], contextlib.AbstractContextManager[Up]]:
    @contextlib.contextmanager
    def serve(place: Place) -> Iterator[Up]:
        port, log = free_port(), place.folder / "log"
        words = [policy, port, place.upstream, place.redis, place.limit_nanousd]
        command = [sys.executable, "-m", "benchmarks.budgets.reference", *map(str, words)]
        with contextlib.ExitStack() as stack:
            children = [stack.enter_context(running(command, None, log)) for _ in range(place.workers)]
            alive = lambda: all(child.poll() is None for child in children)  # noqa: E731
            # several share the port: one answers before the last has begun, which only costs balance
            _wait(lambda: listens(port), alive, log, 20)
            time.sleep(1)
            yield Up(port, ())

    return serve


@contextlib.contextmanager
def _litellm(place: Place) -> Iterator[Up]:
    """A key with `max_budget`; LiteLLM reserves for it, with its counters in Redis. See the README for how it goes
    without its database."""
    found = gateways.BY_NAME["litellm"].find()
    if found is None:
        raise CannotRunError("not installed (LITELLM = the program)")
    folder, port, log = place.folder, free_port(), place.folder / "log"
    costs = {"input": f"{INPUT_NANO / NANO:.12f}", "output": f"{OUTPUT_NANO / NANO:.12f}", "most": MOST_OUTPUT}
    (folder / "config.yaml").write_text(_LITELLM.format(upstream=place.upstream, **costs))
    (folder / "one_key.py").write_text(_ONE_KEY.format(usd=place.usd))
    command = [found.program, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    env = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_MODE": "PRODUCTION",
        "OMP_NUM_THREADS": "1",
        "REDIS_HOST": "127.0.0.1",
        "REDIS_PORT": str(place.redis_port),
    }
    with running([*command, "--num_workers", str(place.workers)], None, log, env, folder) as process:
        _wait(lambda: _ready(port), lambda: process.poll() is None, log, 180)
        time.sleep(3 * place.workers)  # the other workers import as long
        yield Up(port, ("Authorization: Bearer sk-bench",))


SUBJECTS = (
    Subject("trimtab", _trimtab("llamacpp")),
    Subject("trimtab, told late", _trimtab("openai")),
    Subject("count-after", _reference("count-after")),
    Subject("reserve-max", _reference("reserve-max")),
    Subject("litellm", _litellm),
)


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[int]:
    """An empty Redis or Valkey of our own, without anything on disk; its port. Raises CannotRunError."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        raise CannotRunError("no redis-server: apt-get install redis-server")
    port = free_port()
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    log = folder / "redis.log"
    with running([*command, "--dir", str(folder)], None, log) as process:
        _wait(lambda: listens(port), lambda: process.poll() is None, log, 20)
        yield port


def listens(port: int) -> bool:
    """Whether somebody does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _ready(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health/liveliness")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _wait(true: Callable[[], bool], alive: Callable[[], bool], log: Path, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while not true():
        if not alive() or time.monotonic() > until:
            raise CannotRunError(f"it does not start: {log.read_text(errors='replace')[-800:].strip()}")
        time.sleep(0.1)


def _per_mtok(nano: int) -> Decimal:
    return Decimal(nano) * 10**6 / NANO


__all__ = ["SUBJECTS", "Place", "Subject", "Up", "redis_server"]
