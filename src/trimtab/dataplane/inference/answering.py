"""One attempt: a request to one replica, and the chunks of its answer.

Opened is not answered: an attempt counts as begun when its first content has come. Until then its chunks (a role, an
empty delta, a filter's annotation) wait here, so that a fault before the first content can be hidden by another plan;
after it a fault is the caller's to see, as an event that says so.

An answer is whole when every choice has a finish reason and the body ended as HTTP says, with or without `[DONE]`;
`[DONE]` without a finish reason, or the end of the body without either, is a cut, whatever the transfer says.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.money import Usage
from trimtab.core.request import CALL_PARTS, Chunk, Text
from trimtab.dataplane.inference.credentials import CredentialMissing
from trimtab.dataplane.inference.dialect import (
    AttemptFailed,
    Fault,
    error_object,
    failed,
    fault_of_event,
    fault_of_status,
)
from trimtab.dataplane.inference.dialects import WIRES, FrameParser, kind_of
from trimtab.dataplane.inference.dialer import (
    Answer,
    ConnectFailed,
    ConnectionLost,
    Dialer,
    MalformedAnswer,
    UpstreamError,
)
from trimtab.dataplane.inference.fleet import Fleet, Replica
from trimtab.dataplane.inference.plain import PlainText
from trimtab.dataplane.inference.slots import Lot, Sender, Slots, with_lot
from trimtab.dataplane.inference.sse import EventParser
from trimtab.dataplane.inference.usage import UsageReducer
from trimtab.foundations.tokens import Produced

MAX_ERROR_BYTES = 65536
MAX_ANSWER_BYTES = 16 << 20
MOST_SKIPPED = 8
"""Events of one answer that are no JSON and may be left out; more, and it is no stream of chunks."""
_CONTENT = ("content", "reasoning_content", "refusal", "tool_calls", "function_call", "audio")
_SECRET = ("authorization", "api-key", "x-api-key", "x-goog-api-key", "x-amz-security-token")
_decode = msgspec.json.decode
_log = logging.getLogger(__name__)


class Answering:
    """Chunks of one attempt, in order: `while some := await answering.some()`.

    `close` at any time: the upstream sees the hang-up in the same turn of the loop. `produced` is the text so far, for
    counting where the upstream does not.
    """

    def __init__(
        self,
        plan: Plan,
        replica: Replica,
        fleet: Fleet,
        sender: Sender | None = None,
        trace: tuple[tuple[str, str], ...] = (),
    ) -> None:
        self.plan, self.replica = plan, replica
        self._trace = trace
        """Headers that tell the upstream of the trace."""
        self._secret: tuple[tuple[str, str], ...] = ()
        """Headers that were sent and carry a credential."""
        self._fleet, self._sender = fleet, sender
        self._slots: Slots | None = None
        self._lot: Lot | None = None
        """Where an embedded engine puts it."""
        self._answer: Answer | None = None
        wire = WIRES.get(plan.variant.dialect)
        self._reader = wire.reader(plan) if wire is not None else None
        """Of a dialect that is not OpenAI's."""
        self._type = wire.content_type if wire is not None else "text/event-stream"
        self._events = EventParser()
        self._frames = FrameParser() if self._type != "text/event-stream" else None
        self._ready: list[Chunk | Text] = []
        self._plain = PlainText()
        self._failed: AttemptFailed | UpstreamError | None = None
        self._usage = UsageReducer(plan.variant.dialect, plan.choices)
        self._finished: set[int] = set()
        self._ended = False
        self._over: Callable[[], None] | None = None
        """Of the fleet, while the attempt runs."""
        self._size = 0
        self.skipped = 0
        """Events that were no JSON, left out: proxies that rewrite bodies make such."""
        self.beside = 0
        """Requests of ours that ran on the replica when it was sent."""
        self.stall_s: float | None = None
        """How long it may say nothing once it has begun; None: as long as the request may last. Comments and blank
        lines are nothing."""
        self.produced = Produced()
        self.beside_usage: dict[str, Any] = {}
        """Other fields of the chunk that only told usage: they belong beside the usage that the caller gets."""

    async def begin(self, dialer: Dialer, data: bytes) -> None:
        """Send, and return when the first content is there. Raises AttemptFailed; cancelling closes the connection."""
        self.beside = self._fleet.running(self.replica)
        self._over = self._fleet.began(self.replica)
        self._slots = self._fleet.slots_of(self.replica)
        if self._slots is not None:
            self._lot = self._slots.take(self._sender, self.plan.choices)
            data = with_lot(data, self._lot)
        try:
            await self._send(dialer, data)
            while not self._ended and not self._has_content():
                await self._read()
        except UpstreamError as error:
            raise AttemptFailed(self._fault_of(error)) from None
        finally:
            if not self._has_content():
                self.close()
        if not self._ready:
            message = "the model's server ended its answer before it began"
            raise AttemptFailed(failed("empty answer", message, again=True))

    async def _send(self, dialer: Dialer, data: bytes) -> None:
        replica = self.replica
        secret = replica.headers
        if replica.credential is not None:
            secret += await replica.credential.headers(replica.origin, replica.path, data)
        self._secret = secret
        headers = [("content-type", "application/json"), ("accept", self._type), *secret, *self._trace]
        answer = self._answer = await dialer.send(replica.origin, "POST", replica.path, headers, data)
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if answer.status in (401, 403) and replica.credential is not None:
            replica.credential.refused()
        if answer.status != 200:
            said = self._scrubbed(await answer.read_all(MAX_ERROR_BYTES))
            raise AttemptFailed(fault_of_status(answer.status, answer.headers, said))
        if kind == "application/json":
            self._whole(self._scrubbed(await answer.read_all(MAX_ANSWER_BYTES)))
        elif kind != self._type:
            raise MalformedAnswer(f"the answer's type is {kind or 'not told'}, not {self._type}")

    def _whole(self, data: bytes) -> None:
        """A server that does not stream, or an error under 200."""
        error = error_object(data)
        if error is not None:
            raise AttemptFailed(fault_of_event(error))
        body = _object(data)
        if self._reader is not None:
            raise MalformedAnswer("the answer is whole where a stream was asked for")
        choices = body.pop("choices", None)
        if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices) or not choices:
            raise MalformedAnswer("the answer has no choices")
        for choice in choices:
            message = choice.pop("message", None)
            delta = dict(message) if isinstance(message, dict) else {}
            calls = delta.get("tool_calls")
            if isinstance(calls, list):
                delta["tool_calls"] = [{"index": i, **call} for i, call in enumerate(calls) if isinstance(call, dict)]
            choice["delta"] = delta
        self._take({**body, "object": "chat.completion.chunk", "choices": choices})
        self._ended = True

    async def _read(self) -> None:
        """One more piece of the body, as chunks into `_ready`."""
        if self._failed is not None:
            raise self._failed
        assert self._answer is not None
        piece = await self._answer.read_some()
        if not piece:
            self._end()
            return
        try:
            self._parse(piece)
        except (AttemptFailed, UpstreamError) as error:
            if not self._ready:
                raise
            self._failed = error  # what came before it in the same piece comes first

    def _parse(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > MAX_ANSWER_BYTES:
            raise MalformedAnswer(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
        if self._frames is not None:
            for headers, payload in self._frames.feed(piece):
                self._translate(kind_of(headers, _object(payload or b"{}")))
            return
        for event in self._events.feed(piece):
            if self._ended:
                break
            if self._reader is not None:
                if (told := self._event(event)) is not None:
                    self._translate(told)
                continue
            text = self._plain.read(event)
            if text is not None:
                self.produced.add(text.content)
                self._ready.append(text)
                continue
            if event.strip() == b"[DONE]":
                self._done()
                break
            chunk = self._event(event)
            if chunk is None:
                continue
            if chunk.get("error") or chunk.get("object") == "error":
                raise AttemptFailed(fault_of_event(error_object(self._scrubbed(event)) or {}))
            self._take(chunk)

    def _event(self, data: bytes) -> dict[str, Any] | None:
        """An event's object; None for one that is left out."""
        try:
            return _object(data)
        except MalformedAnswer:
            self.skipped += 1
            if self.skipped > MOST_SKIPPED or not self.produced.pieces:
                raise
            return None

    def _translate(self, event: dict[str, Any]) -> None:
        """An event of another dialect than OpenAI's."""
        assert self._reader is not None
        for chunk in self._reader.read(event):
            self._take(chunk)
        if self._reader.ended and not self._ended:
            self._done()

    def _take(self, chunk: dict[str, Any]) -> None:
        told = self._usage.take(chunk)
        choices = chunk.get("choices")
        if choices is None:
            choices = chunk["choices"] = []
        if not isinstance(choices, list):
            raise MalformedAnswer("a chunk's choices are no list")
        for choice in choices:
            if not isinstance(choice, dict):
                raise MalformedAnswer("a chunk's choice is no object")
            delta = choice.get("delta")
            if isinstance(delta, dict):
                self._note(delta)
            elif delta is not None:
                raise MalformedAnswer("a chunk's delta is no object")
            if choice.get("finish_reason") is not None:
                self._finished.add(choice.get("index", 0))
        if choices or not told:
            self._ready.append(Chunk(chunk))
        else:
            self.beside_usage |= {name: value for name, value in chunk.items() if name not in _IDENTITY}

    def _note(self, delta: dict[str, Any]) -> None:
        """Keep what was produced, for counting."""
        for piece in _said(delta):
            self.produced.add(piece)

    def _done(self) -> None:
        if len(self._finished) < self.plan.choices:
            raise AttemptFailed(failed("no finish reason", "the model's server ended its answer in the middle"))
        self._ended = True

    def _end(self) -> None:
        """The body has ended as HTTP says."""
        if not (self._events if self._frames is None else self._frames).is_clean:
            raise MalformedAnswer("the answer ends in the middle of an event")
        self._done()

    def _has_content(self) -> bool:
        return any(isinstance(one, Text) or is_content(one.data) for one in self._ready)

    async def some(self) -> list[Chunk | Text]:
        """All that has come and was not given yet, after a wait if need be; nothing at the end of a whole answer.
        Raises AttemptFailed where it broke, after what came before that was given."""
        while not self._ready:
            if self._ended:
                self._finish()
                return []
            try:
                if self.stall_s is None:
                    await self._read()
                else:
                    await self._more(self.stall_s)
            except UpstreamError as error:
                raise AttemptFailed(self._fault_of(error)) from None
        ready, self._ready = self._ready, []
        return ready

    async def _more(self, stall_s: float) -> None:
        """Read until there is something to give, within `stall_s`."""
        try:
            async with asyncio.timeout(stall_s):
                while not self._ready and not self._ended:
                    await self._read()
        except TimeoutError:
            raise AttemptFailed(failed("stalled", "the model's server stopped in the middle")) from None

    @property
    def is_whole(self) -> bool:
        """All of it has come, though not all need have been given yet."""
        return self._ended

    def unfinished(self) -> list[int]:
        """Choices without a finish reason so far."""
        return [index for index in range(self.plan.choices) if index not in self._finished]

    @property
    def told(self) -> bool:
        """Whether the upstream itself said how much was used."""
        return self._usage.is_known

    def usage(self) -> Usage:
        """As far as the upstream has told."""
        return self._usage.result()

    @property
    def drafts(self) -> tuple[int, int] | None:
        """Tokens that the engine proposed, and how many of them it took; None: it told nothing of that."""
        return self._usage.drafts

    @property
    def raw_usage(self) -> Mapping[str, Any]:
        return self._usage.raw

    def _finish(self) -> None:
        """After the last chunk. The transfer's own end may still be on its way: it is read aside, since the caller's
        answer is whole, and closing now would cost the connection."""
        answer, self._answer = self._answer, None
        if answer is not None and not answer.is_over:
            self._fleet.linger(answer)
        self._fleet.succeeded(self.replica)
        self.close()

    def close(self) -> None:
        """Idempotent, synchronous."""
        over, self._over = self._over, None
        if over is not None:
            over()
            if self._slots is not None and self._lot is not None:
                self._slots.give_back(self._lot)
        if self._answer is not None:
            self._answer.close()

    def _fault_of(self, error: UpstreamError) -> Fault:
        match error:
            case CredentialMissing():
                _log.warning("replica %s has no credential: %s", self.replica.id, error)
                return failed("no credential", "there is no credential for the model's server", harm="eject")
            case ConnectFailed(refused=True):
                return failed("egress", "the model's server is where nothing may be sent", harm="eject")
            case ConnectFailed():
                return failed("no connection", "the model's server can't be reached", harm="eject")
            case ConnectionLost(received=received):
                reason = "cut" if received else "hung up"
                return failed(reason, "the connection to the model's server broke", again=not received)
            case MalformedAnswer():
                return failed("malformed answer", f"the model's server did not answer as it should: {error}")
            case _:
                return failed("failed", "the model's server failed")

    def _scrubbed(self, data: bytes) -> bytes:
        """An error's text without our credential, should the server repeat it."""
        for name, value in self._secret:
            if name in _SECRET:
                secret = value.removeprefix("Bearer ").encode()
                data = data.replace(secret, b"***") if secret else data
        return data


_IDENTITY = frozenset({"id", "object", "created", "model", "choices"})


def is_content(chunk: dict[str, Any]) -> bool:
    """Whether a chunk says anything: text, a tool's call, or an end."""
    for choice in chunk["choices"]:
        delta = choice.get("delta") or {}
        if choice.get("finish_reason") is not None or any(delta.get(name) for name in _CONTENT):
            return True
    return False


def texts_of(event: Chunk | Text) -> str:
    """All that an event says, as far as it is counted."""
    if isinstance(event, Text):
        return event.content
    return "".join(text for choice in event.choices for text in _said(choice.get("delta") or {}))


def _said(delta: dict[str, Any]) -> list[str]:
    said = [delta.get("content"), delta.get("reasoning_content")]
    for call in delta.get("tool_calls") or ():
        for part, field in CALL_PARTS:
            told = call.get(part) if isinstance(call, dict) else None
            if isinstance(told, dict):
                said += [told.get("name"), told.get(field)]
    return [text for text in said if isinstance(text, str) and text]


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = _decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise MalformedAnswer("an event is not JSON") from None
    if not isinstance(value, dict):
        raise MalformedAnswer("an event is no object")
    return value
