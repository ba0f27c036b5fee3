"""The base of everything that a workspace's YAML may declare."""

from __future__ import annotations

import msgspec


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a workspace document. Unknown fields are errors: what never applies must not look applied."""
