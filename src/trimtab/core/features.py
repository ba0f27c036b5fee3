"""Features: figures of many records, by tenant, channel, market, variant or tier. The document, and which columns of a
record it may name; `controlplane/features` reckons them, `dataplane/online` offers them to policy.
"""

from __future__ import annotations

from functools import cache
from typing import Annotated, Any, Final, Literal

from msgspec import Meta
from msgspec import inspect as mi

from trimtab.core.canonical import digest
from trimtab.core.clock import NS_PER_S, span_s
from trimtab.core.document import Document
from trimtab.core.models import Count
from trimtab.core.record import Record

Entity = Literal["tenant", "channel", "market", "variant", "tier"]
Reckoned = Literal["count", "share", "mean", "sum", "p50", "p95", "max"]
ColumnKind = Literal["number", "bool", "text"]

PREFIX: Final = "feature_"
"""Of a feature's variable in policy."""
OF_PLANS: Final[frozenset[Entity]] = frozenset({"variant", "tier"})
"""Entities that are known once there is a plan; the others are known when a request is bound."""
_NO_COLUMNS: Final = frozenset(
    {"v", "seq", "worker", "t_wall_ns", "prev", "id", "of", "kind", "session", "asked.session"}
)
"""Of the row itself, or of one person."""
_NUMBERS: Final = frozenset({"features.complexity.value"})
"""Of what may be of any type, these are; risk is low, medium or high."""
_VERDICT: Final = ("verdict.", "met.quality")
_OF_VERDICTS: Final = (
    "tenant",
    "channel",
    "route",
    "persona",
    "market",
    "role",
    "experiment.",
    "path",
    "tier",
    "variant",
)
"""What a verdict's row has of the answer that it is about."""

Span = Annotated[
    str,
    Meta(pattern=r"^[1-9]\d{0,3}[mhd]$", description="a number of minutes, hours or days", examples=["7d"]),
]
FeatureName = Annotated[
    str, Meta(pattern=r"^[a-z](?:[a-z0-9_]{0,46}[a-z0-9])?$", description="a-z, 0-9 and underscores")
]


class Feature(Document, frozen=True, kw_only=True):
    """A figure of the requests of one tenant, channel, market, variant or tier that ended within a window."""

    of: Annotated[Entity, Meta(examples=["channel"])]
    """Whose: `tenant`, `channel` (of a tenant), `market`, `variant` (NAME@HASH) or `tier`. Policy reads the first three
    at every stage, `variant` and `tier` at `route` and `admit`, where there is a plan."""
    value: Annotated[Reckoned, Meta(examples=["share"])]
    """What is reckoned: `count` of rows; `share` of rows for which `holds` is true; of `column` the `mean`, `sum`,
    `p50`, `p95` (a value that was seen: at least so many are not above it) or `max`."""
    column: str | None = None
    """A number of the record, by its path: `tokens.completion`, `cost.settled_nanousd`, `e2e_ms`. Rows without it
    don't count. None for `count` and `share`."""
    holds: dict[str, Any] = {}
    """For `share`: what must be true, as in `where`. Rows of which one of these columns is unknown don't count."""
    where: dict[str, Any] = {}
    """Which rows count: columns by their path, each with a value or a list of texts of which it is one."""
    rows: Literal["request", "verdict"] = "request"
    """Which rows: requests, known once they have ended; or what was said of answers (`/v1/feedback`), known once it was
    said. Of two verdicts of one name about one answer the later counts from when it is known."""
    window: Annotated[Span, Meta(examples=["7d"])]
    """Over which time, back from when it is asked for: `30m`, `6h`, `7d`."""
    default: float
    """What policy reads while it is unknown; `has_feature_NAME` is then false."""
    min_rows: Count = 1
    """With fewer rows than this it is unknown."""

    @property
    def window_ns(self) -> int:
        return (span_s(self.window) or 0) * NS_PER_S

    @property
    def definition(self) -> str:
        """12 hex of what shapes its value: one that was reckoned by other words is another feature."""
        shape = [self.of, self.value, self.column, self.holds, self.where, self.rows, self.window, self.min_rows]
        return digest(shape)


class FeaturesDocument(Document, frozen=True, kw_only=True):
    """features.yaml: figures of past requests that policy reads, and how often they are reckoned anew."""

    every: Span = "5m"
    """How often, while `trimtab serve` runs."""
    stale: Span = "30m"
    """Values older than this are unknown to gateways."""
    features: dict[FeatureName, Feature] = {}
    """By name; policy reads `feature_NAME` and `has_feature_NAME`."""

    @property
    def every_s(self) -> int:
        return span_s(self.every) or 0

    @property
    def stale_ns(self) -> int:
        return (span_s(self.stale) or 0) * NS_PER_S


NO_FEATURES: Final = FeaturesDocument()


@cache
def columns() -> dict[str, ColumnKind]:
    """What a feature may name: by its path, every number, bool and name in a record that stands there once. Records
    hold no text of anybody's."""
    found = {path: kind for path, kind in _leaves(mi.type_info(Record), "") if path not in _NO_COLUMNS}
    found.update(dict.fromkeys(_NUMBERS, "number"))
    return {path: kind for path, kind in found.items() if not path.startswith("trace.")}


def stands_in(path: str, rows: Literal["request", "verdict"]) -> bool:
    """Whether rows of this kind can have the column."""
    if rows == "request":
        return not path.startswith(_VERDICT)
    return any(path == one or (one[-1] == "." and path.startswith(one)) for one in (*_OF_VERDICTS, *_VERDICT))


def _leaves(kind: mi.Type, path: str) -> list[tuple[str, ColumnKind]]:
    if isinstance(kind, mi.UnionType):
        rest = [one for one in kind.types if not isinstance(one, mi.NoneType)]
        return _leaves(rest[0], path) if len(rest) == 1 else []
    if isinstance(kind, mi.Metadata):
        return _leaves(kind.type, path)
    if isinstance(kind, mi.StructType):
        below = path and path + "."
        return [leaf for field in kind.fields for leaf in _leaves(field.type, below + field.encode_name)]
    if isinstance(kind, mi.BoolType):
        return [(path, "bool")]
    if isinstance(kind, (mi.IntType, mi.FloatType)):
        return [(path, "number")]
    if isinstance(kind, (mi.StrType, mi.LiteralType, mi.AnyType)):
        return [(path, "text")]
    return []


__all__ = [
    "NO_FEATURES",
    "OF_PLANS",
    "PREFIX",
    "ColumnKind",
    "Entity",
    "Feature",
    "FeaturesDocument",
    "columns",
    "stands_in",
]
