"""Traces: what leaves of a request beside its answer. The document; `controlplane/telemetry` reads it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from trimtab.core.document import Document

Propagate = Literal["private", "all", "none"]
HeaderName = Annotated[
    str, Meta(pattern=r"^[a-z0-9-]{1,64}$", description="a-z, 0-9, dashes", examples=["authorization"])
]


class Telemetry(Document, frozen=True):
    """Traces: where they go, which of them, and what upstreams are told. None holds any text of a prompt or answer."""

    otlp: Annotated[str, Meta(min_length=1, examples=["http://127.0.0.1:4318"])] | None = None
    """A collector's base URL: traces are posted to `/v1/traces` under it (OTLP over HTTP, protobuf). Unset, none leave.
    Needs the extra `otlp`."""
    headers: dict[HeaderName, str] = {}
    """Sent with them, each by reference: `env:NAME` or `file:PATH`."""
    service: Annotated[str, Meta(min_length=1, max_length=255)] = "trimtab"
    """The name under which the gateway's spans are found (`service.name`)."""
    share: Annotated[float, Meta(ge=0, le=1)] = 0.05
    """Of the requests that nothing else keeps. Chosen by trace id, so that all gateways choose the same traces."""
    slow: Annotated[float, Meta(ge=0.5, lt=1)] | None = 0.99
    """Requests slower than this quantile of their channel's last minutes are kept, too. null: slowness keeps none."""
    callers: bool = True
    """Keep what a caller with a valid key has marked as sampled in its `traceparent`."""
    propagate: Propagate = "private"
    """Which upstreams get `traceparent` and `tracestate`: embedded engines and models with `private: true`, `all`, or
    `none`. What is told is an id of the request and what the caller put into its own `tracestate`."""


NO_TELEMETRY: Final = Telemetry()
