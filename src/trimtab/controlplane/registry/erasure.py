"""An erasure on the audit log: of whom, and how much, never a name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from trimtab.controlplane.registry import audit
from trimtab.controlplane.registry.edit import locked
from trimtab.core.clock import Clock

_FILE = "var/keys"


def record_erasure(
    folder: Path, tenant: str, subjects: Sequence[str], clock: Clock, destroy: Callable[[], Mapping[str, int]]
) -> Mapping[str, int]:
    """Say on the log what is to be erased, erase it by `destroy`, and say how much was: a crash in between shows.
    `subjects` are 16 hex each; none: the whole tenant. Raises OSError, AuditError."""
    of = f"{tenant}/{'+'.join(subjects)}" if subjects else tenant
    with locked(folder):
        _say(folder, clock, "erase.begin", of, audit.Told())
        destroyed = destroy()
        _say(folder, clock, "erase.end", of, audit.Told(now=dict(destroyed)))
    return destroyed


def _say(folder: Path, clock: Clock, action: str, subject: str, told: audit.Told) -> None:
    audit.append(folder, clock, action=action, subject=subject, file=_FILE, before=b"", after=b"", told=told)


__all__ = ["record_erasure"]
