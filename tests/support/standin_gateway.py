"""A gateway child that is all plumbing: real process, real socket, real channel; answers each connection with a line.

The line is JSON: its pid and the engines that it was told. Words sent to it (one line) make it ask the supervisor:
`stop NAME`, `start NAME`; `hold` keeps the connection until its client leaves, as a stream does.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import msgspec

from trimtab.core.errors import ConfigError
from trimtab.surfaces.processes import Drain, Drained, End, Engines, GatewayControl, Ready, StartEngine, StopEngine
from trimtab.surfaces.processes.gateway import main


class Told:
    """What the supervisor said last."""

    def __init__(self) -> None:
        self.engines = Engines(engines=[])
        self.draining = False


async def run_gateway(workspace: Path, listen: socket.socket, control: GatewayControl) -> None:
    """Serve until told to drain, the last held connection has ended and the supervisor says to end."""
    if (workspace / "broken").exists():
        raise ConfigError(["trimtab.yaml:1: engines: what is this?", "trimtab.yaml:2: server.port: expected a number"])
    told = Told()
    held: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        held.add(task)
        try:
            await talk(reader, writer, told, control)
        except ConnectionError:
            pass
        finally:
            held.discard(task)
            writer.close()

    server = await asyncio.start_server(answer, sock=listen)
    host, port = listen.getsockname()[:2]
    url = f"http://{host}:{port}"
    async for message in control:
        if isinstance(message, Engines):
            first = not told.engines.engines
            told.engines = message
            if first:
                control.send(Ready(url=url, hints=["a hint"]))
        if isinstance(message, Drain):
            break
    told.draining = True
    while held:
        await asyncio.wait(held)
    control.send(Drained())
    async for message in control:
        if isinstance(message, End):
            break
    server.close()


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, told: Told, control: GatewayControl) -> None:
    """One word, one line back."""
    words = (await reader.readline()).decode().split()
    if words[:1] == ["stop"]:
        control.send(StopEngine(name=words[1]))
    if words[:1] == ["start"]:
        control.send(StartEngine(name=words[1]))
    state = {"pid": os.getpid(), "draining": told.draining, "engines": told.engines.engines}
    writer.write(msgspec.json.encode(state) + b"\n")
    await writer.drain()
    if words[:1] == ["hold"]:
        await reader.read()
        with contextlib.suppress(ConnectionError):
            writer.write(b"end\n")
            await writer.drain()


if __name__ == "__main__":
    main(run_gateway)
