"""The ledger: the running account of one request. The one mutable value of the request path; the pipeline keeps it."""

from __future__ import annotations

from types import TracebackType

from trimtab.core.clock import Clock
from trimtab.core.record import Record, blank
from trimtab.core.request import Arrival
from trimtab.core.trace import Context

MS = 1_000_000


class Stage:
    """Times what runs inside it. A plain `with`: it may wrap awaits, and costs a third of an `async with`."""

    __slots__ = ("_ledger", "_name", "_start")

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger = ledger
        self._name = name

    def __enter__(self) -> None:
        self._start = self._ledger.clock.now_ns()

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ledger.spent(self._name, self._start, self._ledger.clock.now_ns())


class Ledger:
    """Milliseconds per stage and, in `record`, everything that the request leaves behind."""

    __slots__ = ("arrival", "clock", "record", "trace")

    def __init__(self, clock: Clock, arrival: Arrival, record_id: str) -> None:
        self.clock = clock
        self.arrival = arrival
        self.record: Record = blank(record_id, arrival.wall_ns)
        self.trace: Context | None = None
        """Whose trace it is part of; None until its head was read."""

    def stage(self, name: str) -> Stage:
        return Stage(self, name)

    def spent(self, name: str, start_ns: int, end_ns: int) -> None:
        """Book time on a stage; a stage entered again keeps its first start and adds up."""
        stages = self.record.stages
        row = stages.get(name)
        if row is None:
            stages[name] = [(start_ns - self.arrival.at_ns) / MS, (end_ns - start_ns) / MS]
        else:
            row[1] += (end_ns - start_ns) / MS

    def waited(self) -> None:
        """Book what passed between arrival and our handler, if anything did."""
        if self.arrival.queued_ns:
            self.spent("accept", self.arrival.at_ns, self.arrival.at_ns + self.arrival.queued_ns)

    def elapsed_ms(self) -> float:
        """Since arrival, the wait before our handler included."""
        return (self.clock.now_ns() - self.arrival.at_ns) / MS

    def __repr__(self) -> str:
        stages = " ".join(f"{name} {dur:.1f}" for name, (_, dur) in self.record.stages.items())
        return f"<Ledger {self.record.id} {self.elapsed_ms():.1f} ms: {stages}>"
