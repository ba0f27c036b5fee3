"""One child process with its socketpair, as the supervisor holds it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence

import msgspec

from trimtab.surfaces.processes.channel import Message, ToSupervisor, decode_to_supervisor, line_of

_log = logging.getLogger(__name__)
_LINE_BYTES = 1 << 20
_STDERR = 2


class Child:
    """A started child. No sibling holds its end of the pair, so that its death is an end of file here."""

    def __init__(
        self, process: asyncio.subprocess.Process, writer: asyncio.StreamWriter, readers: list[asyncio.Task[None]]
    ) -> None:
        self._process, self._writer, self._readers = process, writer, readers

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        receive: Callable[[ToSupervisor], None],
        descriptors: Sequence[int] = (),
        *,
        environment: Mapping[str, str] | None = None,
        printed: Callable[[bytes], None] | None = None,
    ) -> Child:
        """Start `python COMMAND --control FD`; `receive` gets each of its messages. Raises OSError.

        A session of its own: a terminal's Ctrl-C or hang-up reaches the supervisor alone. What it prints is log;
        `printed` gets it line by line, where its words are not ours. `environment` comes on top of our own.
        """
        ours, theirs = socket.socketpair()
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *command,
                "--control",
                str(theirs.fileno()),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=_STDERR if printed is None else asyncio.subprocess.PIPE,
                stderr=None if printed is None else asyncio.subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                limit=_LINE_BYTES,
                pass_fds=(theirs.fileno(), *descriptors),
                start_new_session=True,
            )
            reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_LINE_BYTES)
        except BaseException:
            ours.close()  # the end of file ends the child, should it be there already
            raise
        finally:
            theirs.close()
        tasks = [asyncio.create_task(_listen(reader, receive))]
        if printed is not None and process.stdout is not None:
            tasks.append(asyncio.create_task(_copy(process.stdout, printed)))
        return cls(process, writer, tasks)

    @property
    def pid(self) -> int:
        return self._process.pid

    def tell(self, message: Message) -> None:
        """Hand a message over; one that the child can't take any more is dropped with it."""
        if not self._writer.is_closing():
            self._writer.write(line_of(message))

    def signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def ended(self) -> int:
        """Its exit status, negative for a signal, when all that it said has been received."""
        status = await self._process.wait()
        await asyncio.wait(self._readers)
        self._writer.close()
        return status

    async def stop(self, grace_s: float) -> int:
        """SIGTERM, and SIGKILL after the grace."""
        self.signal(signal.SIGTERM)
        try:
            return await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(self.ended())), grace_s)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            return await self.ended()


async def _listen(reader: asyncio.StreamReader, receive: Callable[[ToSupervisor], None]) -> None:
    with contextlib.suppress(OSError, ValueError):  # cut, or a line over the limit: the child's end will tell
        async for line in reader:
            try:
                message = decode_to_supervisor(line)
            except msgspec.MsgspecError as error:
                _log.error("supervisor: a child said what nobody understands: %s", error)
                continue
            receive(message)


async def _copy(reader: asyncio.StreamReader, printed: Callable[[bytes], None]) -> None:
    """Read all that it prints, whatever becomes of it: a pipe that nobody reads would stop the child."""
    while True:
        try:
            line = await reader.readline()
        except ValueError:  # longer than the limit: dropped
            continue
        except OSError:
            return
        if not line:
            return
        printed(line)


def how_it_ended(status: int) -> str:
    """An exit status in words."""
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
