"""What supervisor and children say to each other: JSON lines over one socketpair a child, and a child's end of it.

A child's end is read by a thread, not by its event loop: when the supervisor is gone the read ends and the process
exits at once, whatever else hangs. So kill -9 of anything leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from typing import Final, Literal

import msgspec

ORPHANED: Final = 75
"""Exit status of a child whose supervisor is gone (EX_TEMPFAIL of sysexits.h)."""

EngineStateName = Literal["starting", "ready", "restarting", "stopped", "failed"]


class SpeculationSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Its speculative decoding: `model` proposes, or, without one, what `match` tokens were followed by before; up to
    `tokens` at once."""

    match: int
    tokens: int
    model: str | None = None


class EngineSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One embedded engine. `model`: `bundled` or the path of a GGUF file; `context`: tokens of each slot; `threads`:
    None is what llama.cpp takes, all cores."""

    name: str
    model: str = "bundled"
    slots: int = 4
    context: int = 2048
    threads: int | None = None
    pass_tokens: int | None = None
    speculation: SpeculationSpec | None = None


class EngineStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Where an engine is, for the gateway. `url`, `api_key` and `pid` are there while it is `ready`; `detail` says why
    it is not; `restarts` counts since the supervisor started."""

    name: str
    state: EngineStateName
    url: str | None = None
    api_key: str | None = None
    pid: int | None = None
    detail: str | None = None
    restarts: int = 0


class Message(msgspec.Struct, frozen=True, kw_only=True, tag_field="say"):
    """Base of all messages; the tag is the class's name."""


class Engines(Message, frozen=True, tag="engines"):
    """To the gateway: all engines as they are now. Sent first of all, and again at each change."""

    engines: list[EngineStatus]


class Drain(Message, frozen=True, tag="drain"):
    """To the gateway: answer 503 to what is new, and say Drained when the last stream has ended."""


class End(Message, frozen=True, tag="end"):
    """To a gateway that has drained: no other has a stream left either, so nobody need be answered any more."""


class Run(Message, frozen=True, tag="run"):
    """To an engine: what to load, and the key to ask for. The key travels here, never on a command line."""

    spec: EngineSpec
    api_key: str


class EngineReady(Message, frozen=True, tag="engine-ready"):
    """From an engine: it serves at `url`."""

    url: str


class EngineFailed(Message, frozen=True, tag="engine-failed"):
    """From an engine: it can't start, and trying again would not help."""

    reason: str


class Ready(Message, frozen=True, tag="ready"):
    """From the gateway: it serves. `hints` are lines for the person who started it."""

    url: str
    hints: list[str] = []


class Broken(Message, frozen=True, tag="broken"):
    """From the gateway: the workspace can't be loaded, one problem a line."""

    problems: list[str]


class Drained(Message, frozen=True, tag="drained"):
    """From the gateway: its last stream has ended. It goes on answering 503 until it is told to end."""


class StopEngine(Message, frozen=True, tag="stop-engine"):
    """From the gateway (an admin asked): end this engine's process and leave it ended."""

    name: str


class StartEngine(Message, frozen=True, tag="start-engine"):
    """From the gateway (an admin asked): start this engine again, also after it failed."""

    name: str


ToChild = Engines | Drain | End | Run
ToSupervisor = EngineReady | EngineFailed | Ready | Broken | Drained | StopEngine | StartEngine

_encode = msgspec.json.Encoder().encode
decode_to_child: Final = msgspec.json.Decoder(ToChild).decode
decode_to_supervisor: Final = msgspec.json.Decoder(ToSupervisor).decode


def line_of(message: Message) -> bytes:
    return _encode(message) + b"\n"


class ChildEnd:
    """A child's end of its socketpair. `receive` is called on a thread of its own for each message.

    The descriptor is taken over; it is not handed on to processes that the child starts.
    """

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._socket = socket.socket(fileno=fd)
        self._sending = threading.Lock()

    def listen(self, receive: Callable[[ToChild], None]) -> None:
        """Start the thread. It ends with the process: at the supervisor's end of file by ending the process."""
        threading.Thread(target=self._read, args=(receive,), name="supervisor", daemon=True).start()

    def send(self, message: ToSupervisor) -> None:
        """A few hundred bytes into a local buffer. A supervisor that is gone is the reader's business."""
        try:
            with self._sending:
                self._socket.sendall(line_of(message))
        except OSError:
            return

    def _read(self, receive: Callable[[ToChild], None]) -> None:
        try:
            with self._socket.makefile("rb") as lines:
                for line in lines:
                    receive(decode_to_child(line))
        except (OSError, msgspec.MsgspecError):
            pass  # a broken channel is a lost supervisor
        finally:
            os._exit(ORPHANED)


class GatewayControl:
    """The gateway's side: `async for message in control` gives Engines (the first at once), Drain and End; `send`
    answers. It is `worker` (from 0) of `workers` gateways that serve the workspace.

    Make it inside the running event loop. SIGTERM to the gateway itself arrives as a Drain, like the supervisor's; a
    second one ends the process at once. (Some send it to every process: a Drain and a SIGTERM together are one drain.)
    """

    def __init__(self, fd: int, worker: int = 0, workers: int = 1) -> None:
        self.worker, self.workers = worker, workers
        self._loop = asyncio.get_running_loop()
        self._messages: asyncio.Queue[Engines | Drain | End] = asyncio.Queue()
        self._end = ChildEnd(fd)
        self._loop.add_signal_handler(signal.SIGTERM, self._terminated)
        self._end.listen(self._receive)

    def send(self, message: Ready | Broken | Drained | StopEngine | StartEngine) -> None:
        """Never waits, never raises."""
        self._end.send(message)

    def __aiter__(self) -> AsyncIterator[Engines | Drain | End]:
        return self

    async def __anext__(self) -> Engines | Drain | End:
        return await self._messages.get()

    def _terminated(self) -> None:
        self._loop.remove_signal_handler(signal.SIGTERM)  # the next one is the system's to carry out
        self._messages.put_nowait(Drain())

    def _receive(self, message: ToChild) -> None:
        if isinstance(message, Run):
            return
        try:
            self._loop.call_soon_threadsafe(self._messages.put_nowait, message)
        except RuntimeError:
            return  # the loop has ended: so will the process
