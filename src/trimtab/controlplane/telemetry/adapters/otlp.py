"""Spans in OTLP's protobuf form, by OpenTelemetry's own message classes (extra `otlp`).

Each request's spans are encoded by themselves, so that the event loop can do other work in between. Put one behind the
other they are one message again: protobuf joins repeated fields of messages that follow each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from trimtab.controlplane.telemetry.names import SCHEMA_URL
from trimtab.controlplane.telemetry.spans import Attributes, Span, Value

_KINDS: Final = {
    "internal": pb.Span.SPAN_KIND_INTERNAL,
    "server": pb.Span.SPAN_KIND_SERVER,
    "client": pb.Span.SPAN_KIND_CLIENT,
}


class Encoder:
    """Of one gateway: `resource` says which, in every message."""

    def __init__(self, resource: Attributes, version: str) -> None:
        self._resource = Resource(attributes=_pairs(resource))
        self._scope = InstrumentationScope(name="trimtab", version=version)

    def encode(self, spans: Sequence[Span]) -> bytes:
        """An ExportTraceServiceRequest, or a part of one."""
        scope = pb.ScopeSpans(scope=self._scope, spans=map(_span, spans), schema_url=SCHEMA_URL)
        request = ExportTraceServiceRequest(
            resource_spans=[pb.ResourceSpans(resource=self._resource, scope_spans=[scope], schema_url=SCHEMA_URL)]
        )
        return bytes(request.SerializeToString())

    def rejected(self, body: bytes) -> int:
        """Spans that the collector did not take, of those that it answered 200 to; 0 for an answer that is none."""
        try:
            return int(ExportTraceServiceResponse.FromString(body).partial_success.rejected_spans)
        except DecodeError:
            return 0


def _span(span: Span) -> pb.Span:
    made = pb.Span(
        trace_id=bytes.fromhex(span.trace_id),
        span_id=bytes.fromhex(span.span_id),
        parent_span_id=bytes.fromhex(span.parent_span_id or ""),
        name=span.name,
        kind=_KINDS[span.kind],
        start_time_unix_nano=span.start_ns,
        end_time_unix_nano=span.end_ns,
        attributes=_pairs(span.attributes),
    )
    if span.error is not None:
        made.status.code = pb.Status.STATUS_CODE_ERROR
        made.status.message = span.error
    return made


def _pairs(attributes: Attributes) -> list[KeyValue]:
    return [KeyValue(key=name, value=_value(value)) for name, value in attributes.items()]


def _value(value: Value) -> AnyValue:
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, str):
        return AnyValue(string_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=one) for one in value]))


__all__ = ["Encoder"]
