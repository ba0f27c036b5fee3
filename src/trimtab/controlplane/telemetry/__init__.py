"""Traces derived from records: spans, which of them are kept, how they are written; README.md says how."""

from trimtab.controlplane.telemetry.names import REVISION, SERVICE_INSTANCE, SERVICE_NAME, SERVICE_VERSION
from trimtab.controlplane.telemetry.sampling import Kept, Sampler
from trimtab.controlplane.telemetry.spans import Attributes, Span, Value, failed, spans

__all__ = [
    "REVISION",
    "SERVICE_INSTANCE",
    "SERVICE_NAME",
    "SERVICE_VERSION",
    "Attributes",
    "Kept",
    "Sampler",
    "Span",
    "Value",
    "failed",
    "spans",
]
