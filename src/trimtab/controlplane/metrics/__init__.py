"""Metrics in Prometheus' format, counted from records; README.md beside this says how."""

from trimtab.controlplane.metrics.counts import MOST_SERIES, Counts, Declared
from trimtab.controlplane.metrics.families import AT_SCRAPE, FAMILIES, FROM_RECORDS, METRICS_PREFACE
from trimtab.controlplane.metrics.process import process, resident_bytes
from trimtab.controlplane.metrics.text import (
    CONTENT_TYPE,
    OPENMETRICS,
    OPENMETRICS_TYPE,
    Exemplar,
    Family,
    Label,
    histogram,
    merged,
    openmetrics,
    sample,
)

__all__ = [
    "AT_SCRAPE",
    "CONTENT_TYPE",
    "FAMILIES",
    "FROM_RECORDS",
    "METRICS_PREFACE",
    "MOST_SERIES",
    "OPENMETRICS",
    "OPENMETRICS_TYPE",
    "Counts",
    "Declared",
    "Exemplar",
    "Family",
    "Label",
    "histogram",
    "merged",
    "openmetrics",
    "process",
    "resident_bytes",
    "sample",
]
