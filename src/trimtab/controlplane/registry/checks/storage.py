"""trimtab.yaml, storage and workers: a store that can be reached by what is written, and numbers that it can hold."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from importlib.util import find_spec
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from trimtab.controlplane.registry.checks.secrets import secret, seen
from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import SETTINGS, file_of
from trimtab.core.tenancy import Budget, Limits, Tenant
from trimtab.foundations.config import Path

SCHEMES: Final = ("redis", "rediss", "unix", "valkey", "valkeys")
QUERY: Final = frozenset({"db", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname"})
"""What may stand behind the URL's question mark."""
MOST_USD: Final = Decimal(9_000_000)
"""Of a budget in a shared store: its scripts reckon in whole nano-dollars below 2^53."""
MOST_REFILL_S: Final = 3_000_000_000
"""Of a rate there: the time in which the whole burst comes back, in microseconds and behind today's, below 2^53."""
_URL: Path = ("storage", "url")
_WRITE = "Write url: memory, or e.g. url: redis://127.0.0.1:6379/0"


def workers(view: View) -> Found:
    """Several workers without a shared store would each allow the whole limit and spend the whole budget."""
    settings = view.documents.settings
    if settings.server.workers > 1 and not settings.storage.is_shared:
        message = (
            f"{settings.server.workers} workers need a shared store: each would allow every limit and spend every "
            "budget in full"
        )
        hint = "Write workers: 1, or storage.url: redis://HOST:PORT"
        yield error(SETTINGS, ("server", "workers"), message, hint)


def url(view: View) -> Found:
    """The store's URL is one that can be connected to, and holds no password."""
    storage = view.documents.settings.storage
    if not storage.is_shared:
        return
    try:
        parts = urlsplit(storage.url)
        port = parts.port
    except ValueError:
        yield error(SETTINGS, _URL, "is no URL", _WRITE)
        return
    if parts.scheme not in SCHEMES:
        yield error(SETTINGS, _URL, f"is neither memory nor a URL of {', '.join(SCHEMES)}", _WRITE)
    elif parts.password is not None:
        yield error(SETTINGS, _URL, "holds a password", seen("password"))
    elif strange := sorted({name for name, _ in parse_qsl(parts.query, keep_blank_values=True)} - QUERY):
        message = f"has {', '.join(strange)} behind the question mark"
        yield error(SETTINGS, _URL, message, f"Known there: {', '.join(sorted(QUERY))}")
    elif problem := _unreachable(parts, port):
        yield error(SETTINGS, _URL, problem, _WRITE)
    elif find_spec("redis") is None:
        hint = "Install it: pip install 'trimtab[shared]'"
        yield error(SETTINGS, _URL, "the client of Valkey and Redis is not installed", hint)


def password(view: View) -> Found:
    """The store's password stands here by reference only, and is used."""
    storage = view.documents.settings.storage
    idle = None if storage.is_shared else "opens nothing while url: memory"
    yield from secret(view, ("storage", "password"), storage.password, idle)


def on_loss(view: View) -> Found:
    """Leases are held of a shared store only."""
    storage = view.documents.settings.storage
    if storage.on_loss == "leases" and not storage.is_shared:
        message = "means nothing while url: memory: counters are lost with their process only"
        yield warning(SETTINGS, ("storage", "on_loss"), message, "Delete the line.")


def amounts(view: View) -> Found:
    """Numbers in a shared store's scripts are exact below 2^53."""
    if not view.documents.settings.storage.is_shared:
        return
    for stem, tenant in view.documents.tenants.items():
        file = file_of("tenants", stem)
        for path, limits, budgets in _places(tenant):
            for index, budget in enumerate(budgets):
                total = budget.usd + sum((grant.usd for grant in budget.grants), Decimal(0))
                if total > MOST_USD:
                    message = f"{total} USD with its grants: a shared store counts to ${MOST_USD:,} exactly"
                    yield error(file, (*path, "budgets", index, "usd"), message, "Write less, or use several tenants.")
            for unit, rate in (("requests", limits.requests), ("tokens", limits.tokens)):
                if rate is not None and rate.burst / rate.per_s > MOST_REFILL_S:
                    message = "takes over 95 years to refill, longer than a shared store can count"
                    yield error(file, (*_limits(path), unit), message, "Write a smaller burst, or a larger per_s.")


def _places(tenant: Tenant) -> Iterator[tuple[Path, Limits, list[Budget]]]:
    """Whoever has limits and budgets. The path is that of the budgets' parent."""
    yield (), tenant.limits, tenant.budgets
    for name, channel in tenant.channels.items():
        yield ("channels", name, "cost"), channel.limits, channel.cost.budgets
    for index, key in enumerate(tenant.keys):
        yield ("keys", index), key.limits, key.budgets


def _limits(path: Path) -> Path:
    return (*path[:-1], "limits") if path[-1:] == ("cost",) else (*path, "limits")


def _unreachable(parts: SplitResult, port: int | None) -> str | None:
    if parts.scheme == "unix":
        return None if parts.path.startswith("/") and not parts.netloc else "names no socket: write unix:///PATH"
    if not parts.hostname:
        return "names no host"
    if port == 0:
        return "names port 0"
    database = parts.path.strip("/")
    return None if not database or database.isdecimal() else f"the database {database!r} is no number"


CHECKS = (workers, url, password, on_loss, amounts)
