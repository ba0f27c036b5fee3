"""All gateways of a workspace as one: whoever asks any of them learns of all, and what is told to one is told to all.

They reach each other by their admin sockets. One that does not answer is being started again: it reads the documents
anyway, and holds nothing back that was answered.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.controlplane.metrics import merged, sample
from trimtab.controlplane.metrics import of_gateway as f
from trimtab.core.errors import ConfigError
from trimtab.surfaces.server.admin import Gateway
from trimtab.surfaces.server.ask import admin_socket
from trimtab.surfaces.server.scrape import EXEMPLARS, PATH

LIMIT_S: Final = 8.0
"""Within which another gateway must have answered."""
_SLICE: Final = 200
"""Lines of a merged scrape between which requests run."""
_SHARED: Final = frozenset(family.name for family in (*f.BUDGETS, f.ENGINE, f.RESTARTS, *f.ENGINE_TOLD))
"""What all gateways say alike: shown once."""
_log = logging.getLogger(__name__)


class Workers:
    """See the module, and `Gateway`. `own`: the one of this process, which is number `worker`."""

    def __init__(self, own: Gateway, workspace: Path, worker: int, workers: int) -> None:
        self._own, self._workspace, self._worker = own, workspace, worker
        self._others = [other for other in range(workers) if other != worker]

    async def state(self) -> dict[str, Any]:
        """This one's, and in `workers` each one's; problems and indexes that are being built are those of all."""
        own: dict[str, Any] = msgspec.to_builtins(await self._own.state())
        others = await self._ask("GET", "/state")
        found = {self._worker: own} | {
            number: msgspec.json.decode(body) for number, (status, body) in others.items() if status == 200
        }
        every = [found[number] for number in sorted(found)]
        problems = [problem for one in every for problem in one["problems"]]
        failing = next((one["journal"] for one in every if one["journal"]["failing"]), own["journal"])
        return {
            **own,
            "problems": list(dict.fromkeys(problems)),
            "building": sorted({name for one in every for name in one["building"]}),
            "requests": sum(one["requests"] for one in every),
            "journal": failing,
            "workers": every,
        }

    async def budgets(self) -> list[Any]:
        return await self._own.budgets()

    def fleet(self) -> dict[str, Any]:
        return self._own.fleet()

    async def metrics(self, exemplars: bool = False) -> bytes:
        """Series of each with the label `worker`; what all say alike once, without it."""
        path = f"{PATH}?{EXEMPLARS}" if exemplars else PATH
        own, others = await asyncio.gather(self._own.metrics(exemplars), self._ask("GET", path))
        texts = {self._worker: own}
        for number in self._others:
            status, body = others.get(number, (503, b""))
            texts[number] = body if status == 200 else _silent(number)
        pieces = []
        for count, piece in enumerate(merged(texts, self._worker, _SHARED)):
            pieces.append(piece)
            if count % _SLICE == 0:
                await asyncio.sleep(0)  # requests run in between
        return "".join(pieces).encode()

    async def flush(self) -> bool:
        own, others = await asyncio.gather(self._own.flush(), self._ask("POST", "/records/flush"))
        return own and all(msgspec.json.decode(body)["flushed"] for status, body in others.values() if status == 200)

    async def forget(self) -> bool:
        own, others = await asyncio.gather(self._own.forget(), self._ask("POST", "/forget"))
        return own and len(others) == len(self._others) and all(status == 200 for status, _ in others.values())

    async def reload(self) -> dict[str, Any]:
        """Raises ConfigError where one of them does not take the workspace up."""
        told = await self._own.reload()
        others = await self._ask("POST", "/reload")
        for number, (status, body) in others.items():
            if status != 200:
                problems = msgspec.json.decode(body).get("problems") or [f"it answered {status}"]
                raise ConfigError([f"gateway {number}: {problem}" for problem in problems])
        return {**told, "workers": sorted((self._worker, *others))}

    def engine(self, name: str, verb: str) -> bool:
        return self._own.engine(name, verb)

    async def _ask(self, method: str, path: str) -> dict[int, tuple[int, bytes]]:
        """Status and body of each other one that answers."""
        answers = await asyncio.gather(*(self._one(number, method, path) for number in self._others))
        return {number: answer for number, answer in zip(self._others, answers, strict=True) if answer is not None}

    async def _one(self, number: int, method: str, path: str) -> tuple[int, bytes] | None:
        try:
            async with asyncio.timeout(LIMIT_S):
                return await _exchange(admin_socket(self._workspace, number), method, f"/worker{path}")
        except (OSError, ValueError, TimeoutError) as error:
            _log.warning("gateway %d does not answer %s %s: %r", number, method, path, error)
            return None


async def _exchange(sock: Path, method: str, path: str) -> tuple[int, bytes]:
    """Raises OSError, ValueError for what is no answer."""
    reader, writer = await asyncio.open_unix_connection(sock)
    try:
        head = f"{method} {path} HTTP/1.1\r\nHost: admin\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        writer.write(head.encode())
        head_bytes, _, body = (await reader.read(-1)).partition(b"\r\n\r\n")
        return int(head_bytes.split(b" ", 2)[1]), body
    except IndexError as error:
        raise ValueError("no answer") from error
    finally:
        writer.close()


def _silent(number: int) -> bytes:
    return (f.WORKER_UP.head + sample(f.WORKER_UP, (str(number),), 0)).encode()


__all__ = ["Workers"]
