"""A collector of traces: a scripted server, and what it was sent, read by OpenTelemetry's own message classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from support.gateway import replaced
from support.upstream import Data, Head, ScriptedUpstream, Seen, Step


class Received(msgspec.Struct, frozen=True):
    """One span as the collector has it."""

    trace_id: str
    span_id: str
    parent: str
    name: str
    kind: int
    start_ns: int
    end_ns: int
    attributes: dict[str, Any]
    resource: dict[str, Any]
    error: str | None


def takes(rejected: int = 0) -> Callable[[Seen], Iterable[Step]]:
    """A collector that takes everything, or says how many spans it did not."""
    answer = ExportTraceServiceResponse()
    if rejected:
        answer.partial_success.rejected_spans = rejected
    body = answer.SerializeToString()
    return lambda seen: [Head(200, (("content-type", "application/x-protobuf"),)), *([Data(body)] if body else [])]


def says(status: int, *headers: tuple[str, str]) -> Callable[[Seen], Iterable[Step]]:
    return lambda seen: [Head(status, headers)]


def exports(up: ScriptedUpstream, more: str = "share: 1") -> Callable[[dict[str, str]], None]:
    """The edit that sends a workspace's traces there."""
    return replaced("trimtab.yaml", "demo: false\n", f"demo: false\ntelemetry: {{otlp: '{up.url}', {more}}}\n")


def received(up: ScriptedUpstream) -> list[Received]:
    """Every span of every message, in order."""
    found = []
    for seen in up.requests:
        assert (seen.method, seen.path) == ("POST", "/v1/traces")
        assert seen.headers["content-type"] == "application/x-protobuf"
        for resource in ExportTraceServiceRequest.FromString(seen.body).resource_spans:
            about = {pair.key: _value(pair.value) for pair in resource.resource.attributes}
            for scope in resource.scope_spans:
                found += [_span(span, about) for span in scope.spans]
    return found


def _span(span: Any, resource: dict[str, Any]) -> Received:
    return Received(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=span.kind,
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        attributes={pair.key: _value(pair.value) for pair in span.attributes},
        resource=resource,
        error=span.status.message if span.status.code == 2 else None,
    )


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    return [_value(one) for one in value.array_value.values] if kind == "array_value" else getattr(value, kind)
