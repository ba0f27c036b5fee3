"""One line a request, from its record: those that ended with a 5xx code always, all of them if asked for."""

from __future__ import annotations

import logging
from typing import Any, Final

from trimtab.core.errors import Code
from trimtab.core.money import usd
from trimtab.core.record import Record

_FAULTS: Final = frozenset(code.wire for code in Code if code.status >= 500)
_log = logging.getLogger("trimtab.access")


class AccessLog:
    """A RecordSink. A line costs some 20 microseconds, so that writing them all is asked for."""

    def __init__(self, *, every: bool) -> None:
        self._every = every

    def write(self, record: Record) -> None:
        """Names, figures and codes; a record holds no text. A fault after the first byte is one, too, whatever
        status had left by then."""
        fault = record.code in _FAULTS or (record.status or 0) >= 500
        if record.kind != "request" or not (fault or self._every):
            return
        level = logging.ERROR if fault else logging.INFO
        _log.log(level, "request", extra={"record": record.id, "fields": _fields(record)})


def _fields(record: Record) -> dict[str, Any]:
    cost = record.cost.settled_nanousd
    return {
        "tenant": record.tenant,
        "channel": record.channel,
        "path": record.path,
        "tier": record.tier,
        "variant": record.variant,
        "status": record.status,
        "code": record.code,
        "latency_ms": _rounded(record.e2e_ms),
        "ttft_ms": _rounded(record.ttft_ms),
        "prompt_tokens": record.tokens.prompt,
        "completion_tokens": record.tokens.completion,
        "cost_usd": None if cost is None else usd(cost),
        "stream": record.stream,
    }


def _rounded(ms: float | None) -> float | None:
    return None if ms is None else round(ms, 2)


__all__ = ["AccessLog"]
