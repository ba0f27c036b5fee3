"""One record to several readers: the plane knows one sink."""

from __future__ import annotations

from trimtab.core.record import Record, RecordSink


class Sinks:
    """Each of them gets every record, in this order: the journal numbers it, those after it only read."""

    def __init__(self, *sinks: RecordSink) -> None:
        self._sinks = sinks

    def write(self, record: Record) -> None:
        for sink in self._sinks:
            sink.write(record)


__all__ = ["Sinks"]
