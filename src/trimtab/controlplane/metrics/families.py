"""Every metric that a gateway shows: what is written at a scrape, and what the reference is made of.

Names and units follow Prometheus (base units, `_total`), bounds of latencies the GenAI conventions of OpenTelemetry.
A label has the values of a closed list, or names that the workspace declares; whatever else turns up is `other`, what
is not known or does not apply is `none`.
"""

from __future__ import annotations

from typing import Final

from trimtab.controlplane.metrics.of_gateway import AT_SCRAPE
from trimtab.controlplane.metrics.of_requests import FROM_RECORDS

METRICS_PREFACE: Final = """\
`GET /metrics` on the gateway's port, in Prometheus' text format 0.0.4. It names tenants and what they spent, so it is
for callers of this machine: a loopback address that asks for a loopback host, without the headers of a proxy. For
anybody else, and for everybody behind a proxy that leaves no header, set `metrics_key` (`env:NAME` or `file:PATH`)
under `server` in `trimtab.yaml`: then it takes `Authorization: Bearer KEY`, from everywhere. `metrics: false` there
turns it off. The admin socket always has it:

```
curl --unix-socket workspace/run/admin.sock http://x/metrics
```

Label values are names that the workspace declares or come from a closed list. What is neither is `other`, what is not
known or does not apply is `none`. So no request can open a series of its own; a metric has at most 10,000 label
combinations, and what comes beyond counts under `other`. Names that a reload removes keep their series until the next
start. Counters begin at 0 with each start of the gateway process, except `trimtab_records_total`.

Names with `trimtab_live_` are quantiles of the last minutes, each within 1 % of the value of its rank. Neither they nor
those of several workers can be added or averaged. For another window, a share under a bound or the whole of several
gateways take the histograms, which are as exact as their bounds are close and have what was refused as well.

Who asks for `application/openmetrics-text` (Prometheus does) gets OpenMetrics 1.0 with the same series. There buckets
of latencies have exemplars: the id of a trace that was kept (`telemetry.otlp`), one request of those that they count.

With several `server.workers` one scrape, of whichever of them, has the series of all: each with one more label,
`worker`, so that `sum without (worker)` is the whole and a restart of one resets its own counters only. Budgets and
engines, of which all say the same, are shown once and without it. A gateway that is just being started again has
`trimtab_worker_up` 0 and no other series."""

FAMILIES: Final = (*FROM_RECORDS, *AT_SCRAPE)

__all__ = ["AT_SCRAPE", "FAMILIES", "FROM_RECORDS", "METRICS_PREFACE"]
