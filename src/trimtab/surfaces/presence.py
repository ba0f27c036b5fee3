"""That a gateway is there, and whom it refuses on arrival, in rows that survive it.

A row when it begins to serve and one when it has drained; one a minute, where nothing else was written meanwhile: what
a kill leaves open is then at most that minute. What is refused on arrival is added up and written once a second, by
channel and path, so that an overload costs a few rows instead of one for each request.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal

from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import Code, Refusal
from trimtab.core.ids import Ids
from trimtab.core.record import ALIVE_S, Record, RecordSink, blank
from trimtab.core.request import Head
from trimtab.core.rows import GatewayRow
from trimtab.core.tenancy import Tenancy
from trimtab.dataplane.ingress import authenticate, presumed
from trimtab.surfaces.server.exchange import HttpRequest
from trimtab.surfaces.server.messages_out import keyed_head

EVERY_S: Final = 1.0
"""Between two looks at what was refused: what a kill forgets of it."""
_ANSWERED: Final = frozenset({"/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings"})
"""Paths whose requests leave records: who asks for something else is owed no answer of a model."""

Whose = tuple[str | None, str | None, str, str]
"""(tenant, channel, path, code)"""


class Presence:
    """See the module. Also a sink, behind the journal, so that it knows when something was written. One event loop."""

    def __init__(self, clock: Clock, ids: Ids, tenancy: Callable[[], Tenancy]) -> None:
        self._clock, self._ids, self._tenancy = clock, ids, tenancy
        self._supervisor = supervisor()
        self._refused: dict[Whose, int] = {}
        self._refused_ns = 0
        self._written_ns = clock.now_ns()
        self.sink: RecordSink | None = None
        """Where its rows go; they are counted there like all others."""

    def write(self, record: Record) -> None:
        self._written_ns = self._clock.now_ns()

    def refused(self, code: Code, http: HttpRequest) -> None:
        """One more on arrival. Costs a look at its key, as far as it says one."""
        if http.path not in _ANSWERED:
            return
        if not self._refused:
            self._refused_ns = self._clock.wall_ns()
        key = (*self._whose(http), http.path, code.wire)
        self._refused[key] = self._refused.get(key, 0) + 1

    def began(self) -> None:
        self._tell("start")

    def stopped(self) -> None:
        self.tell()
        self._tell("stop")

    async def watch(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            self.tell()
            if self._clock.now_ns() - self._written_ns >= ALIVE_S * NS_PER_S:
                self._tell("alive")

    def tell(self) -> None:
        """Write down what was refused since."""
        told, self._refused = self._refused, {}
        for (tenant, channel, path, code), count in told.items():
            row = blank(self._ids.record_id(), self._refused_ns)
            row.kind, row.tenant, row.channel, row.count = "refused", tenant, channel, count
            row.route = path
            row.path, row.status, row.code = "refused", Code[code.upper()].status, code
            self._put(row)

    def _tell(self, event: Literal["start", "alive", "stop"]) -> None:
        row = blank(self._ids.record_id(), self._clock.wall_ns())
        row.kind, row.gateway = "gateway", GatewayRow(event=event, supervisor=self._supervisor)
        self._put(row)

    def _put(self, row: Record) -> None:
        if self.sink is not None:
            self.sink.write(row)

    def _whose(self, http: HttpRequest) -> tuple[str | None, str | None]:
        """As far as its headers say: a body that names another channel is not read."""
        head = keyed_head(Head(http.method, http.path, http.headers))
        entry = authenticate(head, http.arrival, self._tenancy(), self._clock.wall_ns())
        return (None, None) if isinstance(entry, Refusal) else (entry.tenant.id, presumed(head, entry))


def supervisor() -> str | None:
    """The process that started this one, and when it began, since a number alone comes back; None without /proc."""
    parent = os.getppid()
    try:
        began = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None
    return f"{parent}-{began}"


__all__ = ["EVERY_S", "Presence", "supervisor"]
