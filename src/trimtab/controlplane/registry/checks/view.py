"""What the checks look at, and how they speak."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path as Folder

import msgspec

from trimtab.controlplane.registry.documents import Documents, file_of
from trimtab.core.models import Model, Tier, VariantDoc
from trimtab.core.money import Price
from trimtab.core.tenancy import Channel, Tenant
from trimtab.foundations.config import Path, Problem, SecretError, did_you_mean, is_reference, resolve_secret

Found = Iterator[Problem]


class Candidate(msgspec.Struct, frozen=True):
    """A variant with the model that it runs on."""

    name: str
    document: VariantDoc
    model: Model


class View(msgspec.Struct, frozen=True):
    """All documents, their prices, and the variants whose model exists. `held`: variants that are arms."""

    documents: Documents
    prices: dict[str, Price]
    wall_ns: int
    candidates: tuple[Candidate, ...]
    held: frozenset[str]

    def within(self, tiers: Iterable[Tier], *, arms: bool = False) -> list[Candidate]:
        """The variants of these tiers that answer everybody; with `arms` also those kept for experiments."""
        wanted = set(tiers)
        found = [candidate for candidate in self.candidates if candidate.model.tier in wanted]
        return found if arms else [candidate for candidate in found if candidate.name not in self.held]

    def channels(self) -> Iterator[tuple[str, Tenant, str, Channel]]:
        """(file, tenant, channel name, channel) of every channel."""
        for stem, tenant in self.documents.tenants.items():
            for name, channel in tenant.channels.items():
                yield file_of("tenants", stem), tenant, name, channel


def view(documents: Documents, prices: dict[str, Price], wall_ns: int) -> View:
    """Puts variants and models together, once."""
    models = documents.models.models
    found = [
        Candidate(name, document, models[document.model])
        for name, document in documents.models.variants.items()
        if document.model in models
    ]
    held = frozenset(arm.variant for experiment in documents.experiments.values() for arm in experiment.arms.values())
    return View(documents, prices, wall_ns, tuple(found), held)


def error(file: str, path: Path, message: str, hint: str = "") -> Problem:
    return Problem(file=file, path=path, message=message, hint=hint)


def warning(file: str, path: Path, message: str, hint: str = "") -> Problem:
    return Problem(file=file, path=path, message=message, hint=hint, severity="warning")


def absent(file: str, path: Path, kind: str, name: str, known: Iterable[str]) -> Problem:
    """A name that stands for nothing."""
    return error(file, path, f"there is no {kind} {name!r}", did_you_mean(name, known))


def instant(text: str) -> datetime | None:
    """An RFC 3339 time; None for one that no calendar has."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def referenced(file: str, path: Path, reference: str, folder: Folder) -> Found:
    """A secret stands in a document by reference, and can be read."""
    if not is_reference(reference):
        name = path[-1]
        hint = f"Write {name}: env:NAME or {name}: file:PATH, and have this key replaced: it may have been seen."
        yield error(file, path, "holds a secret itself, or a reference that can't be read", hint)
        return
    try:
        resolve_secret(reference, folder)
    except SecretError as problem:
        yield warning(file, path, str(problem), "The gateway needs it at its start.")
