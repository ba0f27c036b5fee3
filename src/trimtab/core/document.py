"""The base of everything that a workspace's YAML may declare."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Time = Annotated[
    str,
    Meta(
        pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$",
        description="a time like 2026-11-24T09:00:00Z (RFC 3339)",
        examples=["2026-11-24T09:00:00Z"],
    ),
]


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A part of a workspace document. Unknown fields are errors: what never applies must not look applied."""
