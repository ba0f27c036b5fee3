"""What a gateway opens at its start, part by part: its secret, its journal, who counts tokens, its bounds."""

from __future__ import annotations

import gc
import logging
from collections.abc import Sequence
from pathlib import Path

from trimtab.controlplane import records
from trimtab.controlplane.registry import SECRET, Server, Workspace, signing_key
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError
from trimtab.foundations.tokens import GgufError, RatioEstimator, TokenCounter, gguf_counter
from trimtab.surfaces.memory import Bound
from trimtab.surfaces.processes.model import ModelMissingError, model_file
from trimtab.surfaces.server import HttpLimits

_log = logging.getLogger(__name__)


def open_journal(workspace: Workspace, worker: int, clock: Clock) -> records.Journal:
    """Raises ConfigError, BusyError, OSError."""
    settings = workspace.settings
    return records.Journal(
        workspace.folder / "var" / "records",
        worker,
        clock,
        signer=signing_key(settings, workspace.folder),
        retention_days=settings.records.retention_days,
    )


def http_limits(server: Server, kept: Sequence[Bound]) -> HttpLimits:
    """All bodies together may be an eighth of the memory that there is, and the largest that is taken can be."""
    usual = HttpLimits().max_held_bytes
    most = max(min([usual, *(bound.limit_bytes // 8 for bound in kept)]), server.max_body_bytes)
    return HttpLimits(max_body_bytes=server.max_body_bytes, max_held_bytes=most)


def settle_memory() -> None:
    """What was loaded lives as long as the process: the collector need not look at it again, nor so often.
    Requests free what they use by reference counts; it is there for the rare cycle."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def counters_of(workspace: Workspace, known: dict[str, TokenCounter]) -> dict[str, TokenCounter]:
    """A counter per model: exact for embedded engines, learning for all others (kept over reloads)."""
    counters: dict[str, TokenCounter] = {}
    exact: dict[str, TokenCounter] = {}
    for name, model in workspace.snapshot.release.models.items():
        engine = workspace.settings.engines.get(model.endpoints[0].removeprefix("engine:"))
        counter: TokenCounter | None = known.get(name)
        if engine is not None and model.endpoints[0].startswith("engine:"):
            try:
                path = str(model_file(engine.model, workspace.folder))
                counter = exact.get(path) or gguf_counter(Path(path))
                exact[path] = counter
            except (GgufError, ModelMissingError) as error:
                _log.warning("tokens of %s are estimated: %s", name, error)
        counters[name] = counter or RatioEstimator()
    return counters


def secret_of(folder: Path) -> bytes:
    try:
        secret = (folder / SECRET).read_bytes()
    except OSError as error:
        hint = "Copy it from where the workspace was made, or write 32 random bytes there, readable by you alone."
        raise ConfigError([f"{SECRET}: the workspace's secret can't be read: {error.strerror}. {hint}"]) from error
    if len(secret) < 16:
        raise ConfigError([f"{SECRET}: the workspace's secret has less than 16 bytes"])
    return secret


__all__ = ["counters_of", "http_limits", "open_journal", "secret_of", "settle_memory"]
