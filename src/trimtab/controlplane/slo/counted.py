"""Objectives, counted as their records are written: good and bad, by the objective's id, both from 0.

By the same judge as everywhere, so that rules over these counters and the records say the same. Series are twice as
many as objectives: a reload that drops one keeps its series until the next start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator

from trimtab.controlplane.metrics import of_requests as f
from trimtab.controlplane.metrics import sample
from trimtab.controlplane.slo.judge import KINDS, told
from trimtab.controlplane.slo.objectives import Objective
from trimtab.core.record import Record

_log = logging.getLogger(__name__)


class Counted:
    """A RecordSink. One event loop."""

    def __init__(self, objectives: Iterable[Objective]) -> None:
        self._places: dict[tuple[str, str | None], list[Objective]] = {}
        self._counts: dict[str, list[int]] = {}
        self._failed = False
        self.take(objectives)

    def take(self, objectives: Iterable[Objective]) -> None:
        """These count from now on."""
        self._places = {}
        for one in objectives:
            if not one.is_money:
                self._places.setdefault((one.tenant, one.channel), []).append(one)
                self._counts.setdefault(one.id, [0, 0])

    def write(self, record: Record) -> None:
        """Count it. Never raises: figures are never worth a request."""
        if record.tenant is None or record.kind not in KINDS:
            return
        for objective in self._places.get((record.tenant, record.channel), ()):
            try:
                found = told(objective, record)
            except Exception:  # noqa: BLE001 - as said
                if not self._failed:
                    _log.exception("a record could not be counted for %s; further ones are not told of", objective.id)
                self._failed = True
                continue
            if found is not None:
                counts = self._counts[objective.id]
                counts[0] += found.events - found.spent
                counts[1] += found.spent

    def pieces(self) -> Iterator[str]:
        """The text, as a scrape has it."""
        yield f.OBJECTIVES.head
        for id, (good, bad) in list(self._counts.items()):
            yield sample(f.OBJECTIVES, (id, "good"), good) + sample(f.OBJECTIVES, (id, "bad"), bad)


__all__ = ["Counted"]
