"""A secret of trimtab.yaml: it stands there by reference only, does something, and can be read here."""

from __future__ import annotations

from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import SETTINGS
from trimtab.foundations.config import Path, SecretError, is_reference, resolve_secret


def secret(view: View, path: Path, told: str | None, idle: str | None) -> Found:
    """`told`: what stands at `path`. `idle`: why it would do nothing, if so."""
    if told is None:
        return
    if not is_reference(told):
        yield error(SETTINGS, path, "holds a secret itself, or a reference that can't be read", seen(str(path[-1])))
        return
    if idle is not None:
        yield warning(SETTINGS, path, idle, "Delete one of the two lines.")
    try:
        resolve_secret(told, view.documents.folder)
    except SecretError as problem:
        yield warning(SETTINGS, path, str(problem), "The gateway needs it at its start.")


def seen(name: str) -> str:
    """What to do about a secret that stood in a document."""
    what = name.rpartition("_")[2]
    return f"Write {name}: env:NAME or {name}: file:PATH, and choose another {what}: this one was seen."
