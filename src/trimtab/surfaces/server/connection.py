"""One client connection: bytes in, requests in order, answers out (RFC 9112).

States: *idle* (between requests), *head* (its first byte has come), *busy* (a handler answers; its body may still be
coming), *deaf* (nothing more is parsed: the last request has come, or the bytes can't be trusted any more), *closing*.

One request is answered at a time, and while a whole one is there nothing more is parsed: what a pipelining client can
make us hold is bounded. Reading goes on meanwhile, since a hang-up is only seen by reading.

Not a subclass of uvicorn's protocol: nearly all of it would be overridden (body bounds, refusal drain, cut, arrival).
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import cast

from trimtab.core.errors import Code
from trimtab.core.request import Arrival
from trimtab.surfaces.server.errors import error_answer
from trimtab.surfaces.server.exchange import HttpError, HttpReply, HttpRequest
from trimtab.surfaces.server.hub import Hub
from trimtab.surfaces.server.kernel import bound_unsent, kernel_wait_ns, reset_on_close
from trimtab.surfaces.server.outbox import Outbox
from trimtab.surfaces.server.parser import SLICE, RequestParser
from trimtab.surfaces.server.timer import Timer

_AHEAD = 65536
"""Bytes taken in ahead of need: of a body that nobody asked for yet, of pipelined requests kept unparsed."""
BODIES_RETRY_S = 1.0
"""Told to who sends a body when too many are held: they go with their requests, and when is not known."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """The server's end of one connection: the `Wire` of its requests and replies, the `RequestSink` of its parser."""

    __slots__ = (
        "_backlog",
        "_backlog_at_ns",
        "_began_ns",
        "_busy",
        "_closing",
        "_deaf",
        "_dropped",
        "_hub",
        "_linger",
        "_loop",
        "_loopback",
        "_out",
        "_parser",
        "_queue",
        "_read_paused",
        "_reader",
        "_socket",
        "_task",
        "_timed",
        "_timer",
        "_transport",
        "_write_paused",
        "_writer",
        "gone",
    )

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._loop = asyncio.get_running_loop()
        self._parser = RequestParser(self, self, hub.limits)
        self._timer = Timer(self._loop, self._expired)
        self.gone = False
        # arrival of what is being read
        self._began_ns = self._backlog_at_ns = 0
        self._timed = False
        # what waits for its turn, and what is being answered
        self._backlog = bytearray()
        self._queue: deque[HttpRequest | HttpError] = deque()
        self._busy: HttpReply | None = None
        self._task: asyncio.Task[None] | None = None
        # how the connection goes on
        self._deaf = self._linger = self._closing = False
        self._dropped = 0
        self._read_paused = self._write_paused = False
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None

    # --- the connection's life ---------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._out = Outbox(self._loop, self._transport)
        self._transport.set_write_buffer_limits(high=self._hub.limits.write_high_water)
        self._socket = transport.get_extra_info("socket")
        bound_unsent(self._socket)
        peer = transport.get_extra_info("peername")
        host = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._loopback = host == "::1" or host.removeprefix("::ffff:").startswith("127.")
        self._hub.connections.add(self)
        self._timer.arm(self._hub.idle_timeout_s)

    def connection_lost(self, exc: Exception | None) -> None:
        self._hang_up()
        self._out.drop()
        self._deaf = True
        self._parser.close()
        self._backlog.clear()
        for item in self._queue:
            if isinstance(item, HttpRequest):
                self._hub.let_go(item)
        self._queue.clear()
        self._timer.close()
        self._wake_writer()
        self._hub.left(self)

    def eof_received(self) -> bool:
        """A client that sends no more is taken for gone, also if it could still read: nobody pays for a half-close."""
        if self._busy is not None:
            self.kill()
        return False

    def _hang_up(self) -> None:
        """Nothing can be sent any more. The handler of an answer that is whole may go on: it only tidies up."""
        self.gone = True
        self._busy = None
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def check_idle(self) -> None:
        """Apply a changed idle timeout, if no request is there."""
        if self._busy is None and not (self._closing or self._parser.in_head):
            self._timer.arm(self._hub.idle_timeout_s)

    def close(self) -> None:
        """Close once everything written is sent; a peer that does not read is cut after the idle timeout."""
        if not self._closing:
            self._closing = self._deaf = True
            self._timer.arm(self._hub.limits.idle_timeout_s)
            self._out.flush()
            self._transport.close()

    def stop(self) -> None:
        """The listener closes: a running answer is cut, a whole one still leaves."""
        if self._busy is not None:
            self.kill()
        else:
            self.close()

    def kill(self) -> None:
        """Close without sending the rest; the handler is cancelled."""
        self._hang_up()
        self._closing = self._deaf = True
        self._out.drop()
        self._transport.abort()

    # --- bytes in ----------------------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        self._timed = False
        if self._deaf:
            self._drop(len(data))
        elif self._backlog:
            self._keep(data)
        else:
            self._feed(data)
            if self._parser.in_head and self._busy is None and self._timer.deadline is None:
                self._timer.arm(self._hub.limits.head_timeout_s)

    def _feed(self, data: bytes) -> None:
        """Parse until the data ends or a whole request is there; keep the rest."""
        parser, size = self._parser, len(data)
        if size <= SLICE and (self._busy is None or parser.incoming is not None):
            self._parse(data)
        else:
            view, at = memoryview(data), 0
            while at < size and not self._deaf:
                if self._busy is not None and parser.incoming is None:
                    self._keep(view[at:])
                    break
                end = at + parser.appetite
                self._parse(view[at:end])
                at = end
            else:
                if at < size:
                    self._drop(size - at)
        if parser.incoming is not None:
            self._body_came(parser.incoming)

    def _parse(self, piece: bytes | memoryview) -> None:
        try:
            self._parser.feed(piece)
        except HttpError as error:
            self._refuse_input(error)
        except Exception as exc:  # noqa: BLE001 - a fault of ours must not leave the client without an answer
            self._hub.on_error(None, exc)
            self._refuse_input(HttpError(Code.INTERNAL_ERROR, "the request could not be read"))
        else:
            self._deaf = self._deaf or self._parser.deaf

    def _refuse_input(self, error: HttpError) -> None:
        """The bytes can't be served: the request they belong to fails, and nothing after them is looked at."""
        self._deaf = self._linger = True
        incoming = self._parser.incoming
        self._parser.close()
        if incoming is not None:
            incoming.fail(error)
            self._wake_reader()
        else:
            self._queue.append(error)
            self._next()

    def _keep(self, data: bytes | memoryview) -> None:
        """Pipelined bytes wait unparsed."""
        if not self._backlog_at_ns:
            self._backlog_at_ns = self._arrived_ns()
        self._backlog += data
        if len(self._backlog) > _AHEAD:
            self._pause_reading()

    def _drop(self, size: int) -> None:
        """Read on after the end, so that the answer is not lost to a reset; not for ever."""
        self._linger = True
        self._dropped += size
        if self._dropped > self._hub.limits.refuse_drain_bytes:
            if self._busy is None:
                self._transport.close()
            else:
                self._pause_reading()

    def _body_came(self, incoming: HttpRequest) -> None:
        if not self._hub.hold(incoming):
            most = self._hub.limits.max_held_bytes
            message = f"the bodies of all requests under way are more than {most} bytes"
            self._refuse_input(HttpError(Code.OVERLOADED, message, BODIES_RETRY_S))
        elif self._reader is not None:
            self._timer.arm(self._hub.limits.body_timeout_s)
        elif incoming.buffered > _AHEAD:
            self._pause_reading()

    def _pause_reading(self) -> None:
        if not self._read_paused:
            self._read_paused = True
            self._transport.pause_reading()

    def _resume_reading(self) -> None:
        if self._read_paused:
            self._read_paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()

    def _arrived_ns(self) -> int:
        """The clock when the bytes now being read came: they may have waited in the kernel while we were busy."""
        now = self._hub.clock.now_ns()
        return now if self._socket is None else now - kernel_wait_ns(self._socket)

    # --- RequestSink: requests, in order -----------------------------------------------------------------------------

    def head_began(self) -> None:
        if self._busy is None:
            self._timer.clear()
        if not self._timed:
            self._timed = True
            self._began_ns = self._backlog_at_ns or self._arrived_ns()

    def head_came(self, request: HttpRequest) -> None:
        """Answer it now, or in its turn."""
        clock = self._hub.clock
        waited = max(clock.now_ns() - self._began_ns, 0) if self._socket is not None or self._backlog_at_ns else 0
        request.arrival = Arrival(self._began_ns, clock.wall_ns() - waited, waited, self._loopback)
        if request.failed:  # its body is too large, and none of it will be read
            self._deaf = self._linger = True
        if self._busy is None and not self._queue:
            self._dispatch(request)
        else:
            self._queue.append(request)

    def body_ended(self, request: HttpRequest) -> None:
        self._hub.hold(request)
        if self._reader is not None:
            self._timer.clear()
            self._wake_reader()

    def _dispatch(self, request: HttpRequest) -> None:
        self._timer.clear()
        reply = self._busy = HttpReply(self, request)
        task = self._task = self._loop.create_task(self._run(request, reply))
        self._hub.tasks[task] = request
        task.add_done_callback(self._hub.task_done)

    async def _run(self, request: HttpRequest, reply: HttpReply) -> None:
        try:
            await self._hub.handler(request, reply)
        except asyncio.CancelledError as exc:
            if reply is self._busy:  # nobody hung up: the handler was cancelled from elsewhere
                self._fail(request, reply, exc)
            raise
        except Exception as exc:  # noqa: BLE001 - the last resort: whatever it was, the client gets an answer
            self._fail(request, reply, exc)
        else:
            if not reply.ended:
                self._fail(request, reply, RuntimeError("the handler returned before it ended its reply"))

    def _fail(self, request: HttpRequest, reply: HttpReply, exc: BaseException) -> None:
        """Answer for a handler that did not."""
        self._hub.on_error(request, exc)
        if reply.started:
            reply.abort()
        elif not (reply.ended or self.gone):
            fault = exc if isinstance(exc, HttpError) else None
            _answer(reply, fault or HttpError(Code.INTERNAL_ERROR, Code.INTERNAL_ERROR.value.cause))

    def _next(self) -> None:
        """Nothing is being answered: take what waits, or go idle. A client that does not read gets no next answer."""
        while self._busy is None and not (self._closing or self._write_paused):
            if self._queue:
                item = self._queue.popleft()
                if isinstance(item, HttpError):
                    self._refuse(item)
                else:
                    self._waited(item)
                    self._dispatch(item)
            elif self._backlog and not self._deaf:
                self._feed_backlog()
            else:
                self._go_idle()
                break

    def _feed_backlog(self) -> None:
        self._resume_reading()
        data, self._backlog = bytes(self._backlog), bytearray()
        self._timed = False
        self._feed(data)
        if not self._backlog:
            self._backlog_at_ns = 0

    def _waited(self, request: HttpRequest) -> None:
        """A pipelined request waited for the answer before it: that is queueing, too."""
        arrival = request.arrival
        waited = max(self._hub.clock.now_ns() - arrival.at_ns, 0)
        request.arrival = Arrival(arrival.at_ns, arrival.wall_ns, waited, self._loopback)

    def _refuse(self, error: HttpError) -> None:
        """Answer what never became a request, and close."""
        self._hub.on_error(None, error)
        nobody = HttpRequest(self, "", "", "", {}, http10=False, keep_alive=False)
        self._busy = HttpReply(self, nobody)
        _answer(self._busy, error)

    def _go_idle(self) -> None:
        if self._parser.in_head:
            self._timer.arm(self._hub.limits.head_timeout_s)
        elif self._hub.closes:
            self.close()
        else:
            self._timer.arm(self._hub.idle_timeout_s)

    # --- Wire: what requests and replies ask for ---------------------------------------------------------------------

    async def read_body(self, request: HttpRequest) -> None:
        """Wait until the body of `request` is whole or has failed."""
        if self.gone:
            await asyncio.sleep(0)
            request.fail(HttpError(Code.CLIENT_CLOSED, "the client closed the connection"))
            return
        if request.expects:
            request.expects = False
            if not request.buffered:
                self._out.write(_CONTINUE)
                self._out.flush()
        self._resume_reading()
        self._timer.arm(self._hub.limits.body_timeout_s)
        self._reader = self._loop.create_future()
        try:
            await self._reader
        finally:
            self._reader = None

    def _wake_reader(self) -> None:
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    def keeps_alive(self, request: HttpRequest) -> bool:
        """Whether another answer may follow: the request wants it, its body has come whole, connections are kept, and
        what waits, or may still come, can be answered.
        """
        broken = request.failed or self._parser.incoming is request
        return request.keep_alive and not (broken or self._hub.closes) and (not self._deaf or bool(self._queue))

    def send(self, data: bytes) -> None:
        if not self.gone:
            self._out.write(data)

    def send_soon(self, reply: HttpReply) -> None:
        self._loop.call_soon(reply.flush_head)

    async def writable(self) -> None:
        """Return once the client has taken enough; deliver a pending cancellation if it is gone."""
        if self.gone:
            await asyncio.sleep(0)
        elif self._write_paused:
            self._writer = self._loop.create_future()
            try:
                await self._writer
            finally:
                self._writer = None

    def pause_writing(self) -> None:
        self._write_paused = True

    def resume_writing(self) -> None:
        self._write_paused = False
        self._wake_writer()
        if self._busy is None:
            self._next()

    def _wake_writer(self) -> None:
        if self._writer is not None and not self._writer.done():
            self._writer.set_result(None)

    def ended(self, reply: HttpReply) -> None:
        """An answer is whole: close, or take the next request. Its handler may still be tidying up."""
        if reply is not self._busy:
            return
        self._busy = self._task = None
        self._out.flush()
        if reply.closes:
            self._finish()
        elif self._write_paused:  # a client that does not read gets no next answer, and not for ever the rest of this
            self._timer.arm(self._hub.idle_timeout_s)
        else:
            self._next()

    def _finish(self) -> None:
        """Close after an answer that said so; if the client is still sending, read on for a while."""
        if not (self._linger or self._parser.incoming is not None or self._backlog):
            self.close()
            return
        self._closing = self._deaf = True
        self._parser.close()
        self._dropped += len(self._backlog)
        self._backlog.clear()
        self._timer.arm(self._hub.limits.refuse_drain_s)
        self._out.flush()
        self._transport.write_eof()
        self._resume_reading()
        self._drop(0)

    def cut(self, reset: bool) -> None:
        """End the connection in the middle of an answer; `reset`: so that the client can't take it for the end."""
        if self.gone:
            return
        self.gone = True
        self._busy = self._task = None
        if not reset:
            self.close()
            return
        self._out.flush()
        reset_on_close(self._socket)
        self.kill()

    def _expired(self) -> None:
        """The deadline has passed: of closing, of a body, of a head, or of doing nothing."""
        limits = self._hub.limits
        if self._closing or (self._write_paused and self._busy is None):
            self.kill()
        elif self._reader is not None:
            message = f"no more of the body came for {limits.body_timeout_s:g} s"
            self._refuse_input(HttpError(Code.REQUEST_TIMEOUT, message))
        elif self._parser.in_head:
            message = f"the head was not whole after {limits.head_timeout_s:g} s"
            self._refuse_input(HttpError(Code.REQUEST_TIMEOUT, message))
        elif self._busy is None:
            self.close()

    def __repr__(self) -> str:
        state = "closing" if self._closing else "busy" if self._busy else "head" if self._parser.in_head else "idle"
        return f"<Connection {state}>"


def _answer(reply: HttpReply, error: HttpError) -> None:
    headers, body = error_answer(error.code, error.message, error.retry_after_s)
    reply.start(error.code.status, headers)
    reply.finish(body)
