"""The shared store that a workspace declares, as an object that can be opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from trimtab.controlplane.registry import Storage
from trimtab.core.clock import Clock
from trimtab.core.errors import ConfigError
from trimtab.foundations.config import SecretError, resolve_secret

if TYPE_CHECKING:
    from trimtab.dataplane.spend.adapters.valkey import ValkeyStore


def connect(storage: Storage, folder: Path, clock: Clock) -> ValkeyStore:
    """The declared store, not opened yet. Raises ConfigError."""
    password = None
    if storage.password is not None:
        try:
            password = resolve_secret(storage.password, folder).reveal()
        except SecretError as error:
            raise ConfigError([f"trimtab.yaml: storage.password: {error}"]) from error
    try:
        from trimtab.dataplane.spend.adapters.valkey import ValkeyStore

        return ValkeyStore(storage.url, clock, password=password)
    except ImportError as error:
        missing = "the client of Valkey and Redis is not installed. Install it: pip install 'trimtab[shared]'"
        raise ConfigError([f"trimtab.yaml: storage.url: {missing}"]) from error
    except ValueError as error:
        raise ConfigError([f"trimtab.yaml: storage.url: {error}"]) from error


__all__ = ["connect"]
