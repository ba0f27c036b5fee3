"""An answer over HTTP, but for its words: what the replies of all dialects do alike."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from trimtab.core.errors import Code, Refusal
from trimtab.core.money import Usage
from trimtab.core.request import Chunk, Completion, Text
from trimtab.dataplane.plane import Headers
from trimtab.surfaces.server.blocks import Blocks, Step
from trimtab.surfaces.server.errors import error_headers
from trimtab.surfaces.server.exchange import HttpReply

EVENTS: Headers = [
    ("content-type", "text/event-stream; charset=utf-8"),
    ("cache-control", "no-cache"),
    ("x-accel-buffering", "no"),
]
"""Headers of a stream."""
_encode = msgspec.json.Encoder().encode


class DialectReply(ABC):
    """`dataplane.plane.Reply`; a dialect says how a stream's items, its end and a whole answer read, and errors."""

    def __init__(self, reply: HttpReply) -> None:
        self._reply = reply
        self._stream = False
        self._pending: tuple[int, Headers] | None = None
        self._whole = b""

    def start(self, status: int, headers: Headers, *, stream: bool) -> None:
        self._stream = stream
        headers = self._headers(headers)
        if stream:
            self._reply.start(status, [*EVENTS, *headers])
        else:
            self._pending = (status, headers)  # the length is not known yet

    async def write(self, *items: Chunk | Text | Completion) -> None:
        if not self._stream:
            (whole,) = items
            assert isinstance(whole, Completion)
            self._whole = self._answer(whole)
            return
        await self._reply.write(self._events(items))

    async def end(self) -> None:
        if self._stream:
            self._reply.finish(self._last())
            return
        assert self._pending is not None
        status, headers = self._pending
        self._reply.start(status, [*json_of(self._whole), *headers])
        self._reply.finish(self._whole)

    def fail(self, refusal: Refusal, headers: Headers, record: str) -> None:
        if self._reply.ended:
            return
        if not self._reply.started:
            self._refuse(refusal, self._headers(headers), record)
            return
        if self._stream:
            self._reply.push(self._broken(refusal, record))
        self._reply.abort()

    def _headers(self, headers: Headers) -> Headers:
        """Those of the pipeline, and the dialect's own."""
        return headers

    @abstractmethod
    def _events(self, items: Sequence[Chunk | Text | Completion]) -> bytes:
        """The bytes of a stream's items; a method of its own so that their pieces are gone while a slow client is
        waited for."""

    @abstractmethod
    def _last(self) -> bytes:
        """What ends a stream that is whole."""

    @abstractmethod
    def _answer(self, whole: Completion) -> bytes:
        """The body of a whole answer."""

    @abstractmethod
    def _refuse(self, refusal: Refusal, headers: Headers, record: str) -> None:
        """An error as the whole answer."""

    @abstractmethod
    def _broken(self, refusal: Refusal, record: str) -> bytes:
        """An error inside a stream."""


class BlockReply(DialectReply):
    """For dialects that write an answer as a row of blocks."""

    def __init__(self, reply: HttpReply) -> None:
        super().__init__(reply)
        self._blocks = Blocks()
        self._finish: Mapping[str, Any] = {}
        """The choice that said why the answer has ended."""
        self._usage = Usage(prompt=0, completion=0)
        self._beside: dict[str, Any] = {}
        """What is ours of the chunk that told usage."""

    def _events(self, items: Sequence[Chunk | Text | Completion]) -> bytes:
        events: list[bytes] = []
        for item in items:
            if isinstance(item, Text):
                events += self._begin(item.top)
                if (block := self._blocks.open_text) is not None:
                    block.texts.append(item.content)
                    events += self._step(("more", block, item.content))
                else:
                    events += self._steps(self._blocks.feed({"content": item.content}))
                continue
            events += self._begin(item.data)
            for choice in item.data.get("choices") or ():
                events += self._steps(self._blocks.feed(choice.get("delta") or {}))
                if choice.get("finish_reason") is not None:
                    self._finish = choice
            if item.usage is not None:
                self._usage, self._beside = item.usage, ours(item.data)
        return b"".join(events)

    def _take(self, whole: Completion) -> None:
        """A whole answer, as its blocks, its end and its usage."""
        self._finish = choice = whole.data["choices"][0]
        for steps in (self._blocks.feed(choice["message"]), self._blocks.end()):
            for _ in steps:
                pass
        self._usage = whole.usage or self._usage
        self._beside = ours(whole.data)

    def _steps(self, steps: Iterable[Step]) -> list[bytes]:
        return [data for step in steps for data in self._step(step)]

    @abstractmethod
    def _begin(self, top: Mapping[str, Any]) -> list[bytes]:
        """Events that come before any block; none but the first time. `top`: identity and model."""

    @abstractmethod
    def _step(self, step: Step) -> list[bytes]:
        """The events of one step of a block."""


def ours(data: Mapping[str, Any]) -> dict[str, Any]:
    """The `trimtab` member of an answer, as far as it has one."""
    return {"trimtab": data["trimtab"]} if "trimtab" in data else {}


def named_event(name: str, fields: Mapping[str, Any]) -> bytes:
    """A server-sent event that is named by its `type`."""
    return b"event: %b\ndata: %b\n\n" % (name.encode(), _encode({"type": name, **fields}))


def send_refusal(reply: HttpReply, refusal: Refusal, body: bytes, headers: Headers) -> None:
    """A refusal as the whole answer, its body in any dialect; never waits."""
    extra = [("connection", "close")] if refusal.code is Code.DRAINING else []
    reply.start(refusal.status, [*json_of(body), *error_headers(refusal), *extra, *headers])
    reply.finish(body)


def json_of(body: bytes) -> Headers:
    """Headers of a JSON body."""
    return [("content-type", "application/json"), ("content-length", str(len(body)))]
