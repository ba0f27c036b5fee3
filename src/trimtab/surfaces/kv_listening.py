"""KV events of engines, as they come, into what their replicas are believed to hold."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from trimtab.dataplane.inference import Replica
from trimtab.dataplane.inference.dialer import ConnectFailed
from trimtab.dataplane.inference.kv_events import Blocks, Holding
from trimtab.dataplane.plane import DataPlane

if TYPE_CHECKING:
    from trimtab.dataplane.inference.adapters.kv_socket import KvSocket, KvSockets

POLL_S: Final = 0.5
SILENT_S: Final = 60.0
"""After so long without an event the name is resolved anew: it may lead to another machine by now."""
_log = logging.getLogger(__name__)


class KvListening:
    """One subscription for each replica whose model declares `kv_events`."""

    def __init__(self, plane: DataPlane) -> None:
        self._plane = plane
        self._tasks: dict[str, tuple[Replica, asyncio.Task[None]]] = {}

    async def watch(self) -> None:
        """Until cancelled."""
        sockets: KvSockets | None = None
        try:
            while True:
                wanted = {one.id: one for one in self._plane.fleet.replicas() if one.kv_events is not None}
                if wanted and sockets is None:
                    try:
                        from trimtab.dataplane.inference.adapters.kv_socket import KvSockets
                    except ImportError:
                        _log.error("kv_events are not read. Install what reads them: pip install 'trimtab[kv-events]'")
                        return
                    sockets = KvSockets()
                if sockets is not None:
                    self._set(sockets, wanted)
                await asyncio.sleep(POLL_S)
        finally:
            running = [task for _, task in self._tasks.values()]
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            if sockets is not None:
                sockets.close()

    def _set(self, sockets: KvSockets, wanted: dict[str, Replica]) -> None:
        for name, (replica, task) in list(self._tasks.items()):
            if wanted.get(name) != replica or task.done():
                task.cancel()
                del self._tasks[name]
        for name in wanted.keys() - self._tasks.keys():
            task = asyncio.get_running_loop().create_task(self._listen(sockets, wanted[name]))
            self._tasks[name] = (wanted[name], task)

    async def _listen(self, sockets: KvSockets, replica: Replica) -> None:
        assert replica.kv_events is not None
        blocks, said = Blocks(), ""
        while True:
            try:
                socket = await sockets.open(replica.kv_events, replica.kv_replay)
            except ConnectFailed as error:
                if str(error) != said:
                    said = str(error)
                    _log.warning("replica %s: its kv_events can't be read: %s", replica.id, said)
                await asyncio.sleep(SILENT_S)
                continue
            try:
                await self._follow(socket, blocks, replica)
            finally:
                socket.close()

    async def _follow(self, socket: KvSocket, blocks: Blocks, replica: Replica) -> None:
        """Until nothing has come for a while."""
        while True:
            try:
                async with asyncio.timeout(SILENT_S):
                    number, payload = await socket.receive()
            except TimeoutError:
                return
            self._tell(replica, blocks.arrived(number))
            lost = blocks.missing(number)
            if lost is not None:
                for earlier, told in await socket.again(lost):
                    self._tell(replica, blocks.take(earlier, told))
            self._tell(replica, blocks.take(number, payload))

    def _tell(self, replica: Replica, holding: Holding | None) -> None:
        if holding is not None:
            self._plane.choice.told(replica, holding)


__all__ = ["KvListening"]
