"""Listening: engines that tell of themselves at a metrics path are read, and what is not ours there counts in the
choice of a replica.

The same way out as requests: addresses are checked, redirects are not followed. A path that does not answer, or with
something else, is no fault of the replica: it has no signals then, and is chosen by what is counted of it.
"""

from __future__ import annotations

import asyncio
import logging

from trimtab.core.models import own_model, setting_of
from trimtab.dataplane.admission import Told
from trimtab.dataplane.inference import Replica, Signals, signals_of
from trimtab.dataplane.inference.dialer import UpstreamError
from trimtab.dataplane.inference.signals import MOST_BYTES, wasted
from trimtab.dataplane.plane import DataPlane
from trimtab.surfaces.rounds import Rounds, patience_s

_log = logging.getLogger(__name__)


class Listening(Rounds):
    """One scrape at a time of each replica."""

    def __init__(self, plane: DataPlane) -> None:
        super().__init__(plane)
        self._silent: set[str] = set()
        """Of whom it was said in the log that they tell nothing."""

    def _asked(self, replica: Replica) -> bool:
        return replica.metrics is not None

    def _keep(self, replicas: set[str]) -> None:
        self._plane.signals.keep(replicas)
        self._silent &= replicas

    async def _ask(self, replica: Replica) -> None:
        told = await self._read(replica)
        plane = self._plane
        gate = plane.gates.of(replica.model)
        if isinstance(told, str):
            if replica.id not in self._silent:
                self._silent.add(replica.id)
                _log.warning("replica %s tells nothing at %s: %s", replica.id, replica.metrics, told)
            return
        self._silent.discard(replica.id)
        self._speculates(replica, told)
        heard = plane.signals.put(replica.id, told, plane.clock.now_ns(), replica.health.probe_s)
        if gate is not None:
            load = Told(running=told.running, waiting=told.waiting, kv_used=told.kv_used, until_ns=heard.until_ns)
            gate.tell(replica.id, load)

    def _speculates(self, replica: Replica, told: Signals) -> None:
        """What an engine proposes in vain, of a setting whose engine does not tell it with each answer."""
        model, setting = own_model(replica.model), setting_of(replica.model)
        if setting is None or replica.dialect == "llamacpp":
            return
        terms = self._plane.configuration.catalogue.models[model].settings[setting]
        before = self._plane.signals.last(replica.id)
        share = wasted(None if before is None else before.signals, told, terms.proposes)
        if share is not None:
            self._plane.governor.told(model, setting, share)

    async def _read(self, replica: Replica) -> Signals | str:
        """What it tells, or why that is nothing."""
        assert replica.metrics is not None
        headers = [("accept", "text/plain;version=0.0.4"), *replica.headers]
        try:
            async with asyncio.timeout(patience_s(replica)):
                answer = await self._plane.dialer.send(replica.origin, "GET", replica.metrics, headers, b"")
                with answer:
                    if answer.status != 200:
                        return f"http {answer.status}"
                    text = await answer.read_all(MOST_BYTES)
        except UpstreamError as error:
            return str(error) or type(error).__name__
        except TimeoutError:
            return "no answer in time"
        signals = await self._plane.clock.offload(signals_of, replica.dialect, text)
        return signals if signals is not None else f"no metrics of {replica.dialect}"


__all__ = ["Listening"]
