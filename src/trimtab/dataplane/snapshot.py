"""The configuration as one immutable value in three named parts: who pays, what runs, what it costs.

Swapped whole; a request takes one snapshot at bind and keeps it to its end, and its record names the parts.
"""

from __future__ import annotations

import msgspec

from trimtab.core.features import NO_FEATURES, FeaturesDocument
from trimtab.core.models import Model, Prices, Variant
from trimtab.core.rows import Snapshots
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.policy import Policy


class Release(msgspec.Struct, frozen=True, kw_only=True):
    """A content-addressed bundle: the unit of review, canary and rollback. `id` = `rel_` + 12 hex of the content."""

    id: str
    variants: dict[str, Variant]
    """By name."""
    models: dict[str, Model]
    aliases: dict[str, str]
    """What callers may send as `model` to the name that it stands for (`auto`, a variant, a model, `tier:S`)."""
    policy: Policy
    templates: dict[str, dict[str, str]]
    """Template name to language (ISO 639-1) to text."""
    features: FeaturesDocument = NO_FEATURES
    """Figures of past requests, of which policy reads some."""


class Snapshot(msgspec.Struct, frozen=True):
    """What one request sees of the configuration."""

    tenancy: Tenancy
    release: Release
    prices: Prices

    @property
    def names(self) -> Snapshots:
        """For the record."""
        return Snapshots(tenancy=self.tenancy.id, release=self.release.id, prices=self.prices.id)
