"""The key that signs records, as trimtab.yaml refers to it."""

from __future__ import annotations

from pathlib import Path

from trimtab.controlplane.registry.documents import SETTINGS, Settings
from trimtab.core.errors import ConfigError
from trimtab.foundations.config import DocumentError, Reader, SecretError, read_text, resolve_secret
from trimtab.foundations.signature import KeyFormatError, PublicKey, SigningKey


def signing_key(settings: Settings, folder: Path) -> SigningKey | None:
    """None: records are not signed. Raises ConfigError: what was to be signed is not written unsigned."""
    reference = settings.records.sign_key
    if reference is None:
        return None
    try:
        return SigningKey.of_pem(resolve_secret(reference, folder).reveal())
    except (SecretError, KeyFormatError) as error:
        raise ConfigError([f"{SETTINGS}: records.sign_key: {error}"]) from error


def own_public_key(folder: Path) -> PublicKey | None:
    """The public half of the workspace's signing key, whatever else its documents say; None: it has none. Raises
    ConfigError for one that can't be had."""
    try:
        settings, _ = Reader(Settings).read(read_text(folder / SETTINGS, SETTINGS), SETTINGS)
    except DocumentError:
        return None
    key = signing_key(settings, folder) if settings is not None else None
    return key.public if key is not None else None


def own_keys(folder: Path) -> list[PublicKey]:
    """The same to check signatures with; none where it has none, or one that can't be had, which is said among the
    documents' problems: signatures are then compared with the files only."""
    try:
        own = own_public_key(folder)
    except ConfigError:
        return []
    return [own] if own is not None else []


__all__ = ["own_keys", "own_public_key", "signing_key"]
