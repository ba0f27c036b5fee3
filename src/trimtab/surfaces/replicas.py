"""From declared models and running engines to replicas: addresses, and the credentials that are sent there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from trimtab.core.models import Model
from trimtab.dataplane.inference import TELLING, WIRES, Origin, Replica
from trimtab.foundations.config import SecretError, resolve_secret
from trimtab.surfaces.processes import EngineStatus

_CHAT = "/chat/completions"
_log = logging.getLogger(__name__)


def replicas_of(
    models: Mapping[str, Model], engines: Mapping[str, EngineStatus], folder: Path
) -> dict[str, tuple[Replica, ...]]:
    """Replicas that can be asked now, by model; a model whose engine is not ready, or whose secret can't be read, has
    none (the latter is said in the log)."""
    found = {}
    for name, model in models.items():
        replicas = []
        for index, endpoint in enumerate(model.endpoints):
            engine = engines.get(endpoint.removeprefix("engine:")) if endpoint.startswith("engine:") else None
            if engine is not None:
                if engine.url is not None and engine.state == "ready":
                    replicas.append(_embedded(endpoint, name, model, engine))
            elif not endpoint.startswith("engine:"):
                replicas += _remote(index, name, endpoint, model, folder)
        found[name] = tuple(replicas)
    return found


def _embedded(endpoint: str, name: str, model: Model, engine: EngineStatus) -> Replica:
    assert engine.url is not None
    return Replica(
        id=endpoint,
        model=name,
        origin=Origin.parse(engine.url, private=True),
        path="/v1" + _CHAT,
        headers=(("authorization", f"Bearer {engine.api_key}"),),
        health=model.health,
        slots=model.slots,
        dialect="llamacpp",
        metrics="/metrics",
        region=model.region,
    )


def _remote(index: int, name: str, endpoint: str, model: Model, folder: Path) -> Iterator[Replica]:
    """The endpoint once with each key: `MODEL/N`, or `MODEL/N#KEY` where there are several."""
    replica_id = f"{name}/{index}"
    slots = model.slots if model.dialect == "llamacpp" else 0
    wire, base = WIRES.get(model.dialect), urlsplit(endpoint).path.rstrip("/")
    path = base + _CHAT if wire is None else wire.path(base, model.upstream_name or name)
    if model.api_version is not None:
        path += f"?api-version={quote(model.api_version, safe='')}"
    origin = Origin.parse(endpoint, private=model.private)
    events, replay = (_socket(found, index, model) for found in (model.publishers, model.replays))
    for number, reference in enumerate(model.api_keys or [None]):
        headers: tuple[tuple[str, str], ...] = ()
        if reference is not None:
            try:
                secret = resolve_secret(reference, folder)
            except SecretError as error:
                _log.error("model %s can't be used with this key: %s", name, error)
                continue
            headers = _credential(model, secret.reveal())
        own_id = replica_id if len(model.api_keys) < 2 else f"{replica_id}#{number}"
        yield Replica(
            id=own_id,
            model=name,
            origin=origin,
            path=path,
            headers=headers,
            health=model.health,
            region=model.region,
            approved=tuple(model.overflow.for_) if model.overflow is not None else (),
            slots=slots,
            dialect=model.dialect,
            metrics=model.metrics if model.dialect in TELLING else None,
            kv_events=events,
            kv_replay=replay,
        )


def _socket(addresses: Sequence[str], index: int, model: Model) -> Origin | None:
    """Of the endpoint of this number."""
    return Origin.parse_tcp(addresses[index], private=model.private) if addresses else None


def _credential(model: Model, secret: str) -> tuple[tuple[str, str], ...]:
    wire = WIRES.get(model.dialect)
    if wire is not None:
        return wire.headers(secret)
    return (("api-key", secret),) if model.dialect == "azure" else (("authorization", f"Bearer {secret}"),)
