"""Online features: the newest values that the control plane has reckoned, as a request's decisions see them.

A value is looked up by the hash of its definition, so that one which was reckoned by other words is unknown, as is one
that is too old. What rules could read stands in the record, known or not: learning from records uses what was seen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from trimtab.core.decision import Value
from trimtab.core.features import OF_PLANS, PREFIX, Entity, FeaturesDocument
from trimtab.core.models import Variant
from trimtab.core.record import Record
from trimtab.core.rows import SeenFeature
from trimtab.dataplane.policy import Policy


class Online(msgspec.Struct, frozen=True, kw_only=True):
    """All values, swapped whole. `as_of_ns`: of rows that had ended before this (wall clock); None: there are none."""

    as_of_ns: int | None = None
    values: Mapping[str, Mapping[str, float]] = {}
    """By definition, then by key: `TENANT`, `TENANT/CHANNEL`, a market, a variant's id, a tier."""

    def is_fresh(self, wall_ns: int, stale_ns: int) -> bool:
        return self.as_of_ns is not None and wall_ns - self.as_of_ns <= stale_ns


NOTHING = Online()


class Read(msgspec.Struct, frozen=True):
    """A feature that some rule reads."""

    name: str
    of: Entity
    definition: str
    counts: bool


def reads(policy: Policy, document: FeaturesDocument) -> tuple[Read, ...]:
    """What a request has to look up: declared features that a rule reads at any stage."""
    read = frozenset().union(*(policy.reads(at) for at in policy.tables))
    return tuple(
        Read(name, one.of, one.definition, one.value == "count")
        for name, one in document.features.items()
        if PREFIX + name in read
    )


class Lookup(msgspec.Struct, frozen=True):
    """What one request sees: the values that were newest when it was bound."""

    online: Online
    reads: tuple[Read, ...]
    stale_ns: int
    wall_ns: int

    def of_request(self, record: Record) -> dict[str, Value | None]:
        """Of its tenant, channel and market, noted in its record."""
        keys = {"tenant": record.tenant, "channel": f"{record.tenant}/{record.channel}", "market": record.market}
        return self._values(keys, [one for one in self.reads if one.of not in OF_PLANS], record)

    def of_plan(self, variant: Variant, record: Record | None) -> dict[str, Value | None]:
        """Of a plan's variant and tier, noted in the record of the request that it is for."""
        keys = {"variant": variant.id, "tier": variant.tier}
        return self._values(keys, [one for one in self.reads if one.of in OF_PLANS], record)

    def _values(
        self, keys: Mapping[str, str | None], wanted: Iterable[Read], record: Record | None
    ) -> dict[str, Value | None]:
        found: dict[str, Value | None] = {}
        as_of_ns, fresh = self.online.as_of_ns, self.online.is_fresh(self.wall_ns, self.stale_ns)
        for one in wanted:
            key = keys[one.of]
            value = self.online.values.get(one.definition, {}).get(key) if fresh and key is not None else None
            found[PREFIX + one.name] = int(value) if value is not None and one.counts else value
            if record is not None and not any((row.name, row.key) == (one.name, key) for row in record.online):
                record.online.append(
                    SeenFeature(name=one.name, definition=one.definition, key=key, value=value, as_of_ns=as_of_ns)
                )
        return found
