"""From declared models and running engines to replicas: addresses, and the credentials that are sent there."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from trimtab.core.models import Model
from trimtab.dataplane.inference import Origin, Replica
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
                    replicas.append(_embedded(endpoint, name, engine))
            elif not endpoint.startswith("engine:"):
                replica = _remote(f"{name}/{index}", name, endpoint, model, folder)
                replicas += [replica] if replica is not None else []
        found[name] = tuple(replicas)
    return found


def _embedded(endpoint: str, model: str, engine: EngineStatus) -> Replica:
    assert engine.url is not None
    headers = (("authorization", f"Bearer {engine.api_key}"),)
    return Replica(id=endpoint, model=model, origin=Origin.parse(engine.url), path="/v1" + _CHAT, headers=headers)


def _remote(replica_id: str, model_name: str, endpoint: str, model: Model, folder: Path) -> Replica | None:
    headers: tuple[tuple[str, str], ...] = ()
    if model.api_key is not None:
        try:
            secret = resolve_secret(model.api_key, folder)
        except SecretError as error:
            _log.error("model %s can't be used: %s", model_name, error)
            return None
        headers = (("authorization", f"Bearer {secret.reveal()}"),)
    path = urlsplit(endpoint).path.rstrip("/") + _CHAT
    return Replica(id=replica_id, model=model_name, origin=Origin.parse(endpoint), path=path, headers=headers)
