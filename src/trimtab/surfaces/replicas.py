"""From declared models and running engines to replicas: addresses, and the credentials that are sent there."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote, urlsplit

from trimtab.core.models import Model
from trimtab.dataplane.inference import TELLING, WIRES, Credential, Origin, Replica
from trimtab.foundations.config import SecretError, resolve_secret
from trimtab.surfaces.credentials import Keyring
from trimtab.surfaces.processes import EngineStatus

_CHAT = "/chat/completions"
_log = logging.getLogger(__name__)


def replicas_of(
    models: Mapping[str, Model], engines: Mapping[str, EngineStatus], folder: Path, keyring: Keyring | None = None
) -> dict[str, tuple[Replica, ...]]:
    """Replicas that can be asked now, by model; a model whose engine is not ready, or whose secret can't be read, has
    none (the latter is said in the log). `keyring`: makes credentials that end; None: nobody has one."""
    found = {}
    for name, model in models.items():
        replicas = []
        for index, endpoint in enumerate(model.endpoints):
            engine = engines.get(endpoint.removeprefix("engine:")) if endpoint.startswith("engine:") else None
            if engine is not None:
                if engine.url is not None and engine.state == "ready":
                    replicas.append(_embedded(endpoint, name, model, engine))
            elif not endpoint.startswith("engine:"):
                replicas += _remote(index, name, endpoint, model, folder, keyring)
        found[name] = tuple(replicas)
    if keyring is not None:
        keyring.drop_unused()
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


def _remote(
    index: int, name: str, endpoint: str, model: Model, folder: Path, keyring: Keyring | None
) -> Iterator[Replica]:
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
        credential: Credential | None = None
        try:
            if keyring is not None and model.dialect == "bedrock" and model.aws is not None:
                credential = keyring.of_aws(endpoint, model, folder, name)
            elif keyring is not None and reference is not None and model.dialect == "vertex":
                credential = keyring.of_google(reference, model, folder, name)
            elif reference is not None:
                headers = _credential(model, resolve_secret(reference, folder).reveal())
        except (SecretError, ValueError, ImportError) as error:
            _log.error("model %s can't be used with this key: %s", name, error)
            continue
        own_id = replica_id if len(model.api_keys) < 2 else f"{replica_id}#{number}"
        yield Replica(
            id=own_id,
            model=name,
            origin=origin,
            path=path,
            headers=headers,
            credential=credential,
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
