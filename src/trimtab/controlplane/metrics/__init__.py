"""Metrics in Prometheus' format, counted from records; README.md beside this says how."""

from trimtab.controlplane.metrics.counts import MOST_SERIES, Counts, Declared
from trimtab.controlplane.metrics.families import AT_SCRAPE, FAMILIES, FROM_RECORDS, METRICS_PREFACE
from trimtab.controlplane.metrics.process import process, resident_bytes
from trimtab.controlplane.metrics.text import CONTENT_TYPE, Family, Label, histogram, merged, sample

__all__ = [
    "AT_SCRAPE",
    "CONTENT_TYPE",
    "FAMILIES",
    "FROM_RECORDS",
    "METRICS_PREFACE",
    "MOST_SERIES",
    "Counts",
    "Declared",
    "Family",
    "Label",
    "histogram",
    "merged",
    "process",
    "resident_bytes",
    "sample",
]
