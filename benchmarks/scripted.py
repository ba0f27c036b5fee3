"""An OpenAI-compatible model server that does what each prompt asks of it, and keeps a ledger of all that it produced.

`python -m benchmarks.scripted PORT`. The script stands in the prompt, so that it passes through any gateway:

    say-n40-w20-g5     40 tokens, after 20 ms, 5 ms apart (without `g` all at once)
    -f1 .. -f5         fails each time: 500, 429, cut before the head, cut half-way, a broken event half-way
    -t1 .. -t5         the same, but only the first time that this prompt comes

A token is one word, and one event of a stream. Usage is told at the end of an answer, as OpenAI does, and with every
token to whoever sends `timings_per_token`, as llama.cpp does. The ledger
counts a prompt when its answer's head is sent, and a token when it is written. Nothing is produced for a caller who has
gone.

    GET /ledger        {requests, begun, whole, cut, faults, prompt, completion, whole_prompt, whole_completion}
    GET /trace         [[monotonic ns, prompt so far, completion so far], ...]: a row each time the ledger grew
    POST /reset        both from nothing
"""

from __future__ import annotations

import asyncio
import re
import sys
import time
from typing import Any, Final, cast

import httptools
import msgspec
import uvloop

FAULTS: Final = {1: "500", 2: "429", 3: "cut before the head", 4: "cut half-way", 5: "a broken event half-way"}
_SCRIPT = re.compile(rb"say((?:-[a-z]\d+)+)")
_SAID: Final = (
    "the order was sent on time and its parcel will be there by noon so please keep an eye out for our driver "
    "who has your number returns are free within thirty days of purchase while store opening hours differ"
)
_WORDS: Final = tuple(re.findall(r"\w+", _SAID))
_EVENTS: Final = [
    b'data: {"id":"chatcmpl-s","object":"chat.completion.chunk","created":1700000000,"model":"mock",'
    b'"choices":[{"index":0,"delta":{"content":" %b"},"finish_reason":null}]}\n\n' % word.encode()
    for word in _WORDS
]
_TIMED: Final = b',"timings":{"cache_n":0,"prompt_n":%d,"predicted_n":%d}}\n\n'
_CHUNKS: Final = [b"%x\r\n%b\r\n" % (len(event), event) for event in _EVENTS]
_BROKEN: Final = b'10\r\ndata: {"choices"\n\r\n'
_EVENT_STREAM: Final = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_MOST_SEEN: Final = 100_000
_encoder = msgspec.json.Encoder()


class Ledger(msgspec.Struct):
    """What was asked and produced. `cut`: answers whose caller left, or that a fault broke, after their head."""

    requests: int = 0
    begun: int = 0
    whole: int = 0
    cut: int = 0
    faults: int = 0
    prompt: int = 0
    completion: int = 0
    whole_prompt: int = 0
    whole_completion: int = 0


class Message(msgspec.Struct):
    content: str | None = None


class Options(msgspec.Struct):
    include_usage: bool = False


class Body(msgspec.Struct):
    """What is read of a request."""

    messages: list[Message]
    stream: bool = False
    stream_options: Options | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    timings_per_token: bool = False

    @property
    def prompt_tokens(self) -> int:
        return sum(len((message.content or "").split()) for message in self.messages)


class Model:
    """The ledger and its trace."""

    def __init__(self, *, traced: bool = True) -> None:
        self.traced = traced
        self.seen: set[int] = set()
        self.reset()

    def reset(self) -> None:
        self.ledger = Ledger()
        self.trace: list[tuple[int, int, int]] = []

    def grew(self) -> None:
        if self.traced:
            self.trace.append((time.monotonic_ns(), self.ledger.prompt, self.ledger.completion))

    def fails(self, script: dict[str, int], prompt: bytes) -> int:
        """The fault's number, or 0."""
        if "t" in script and (name := hash(prompt)) not in self.seen:
            if len(self.seen) >= _MOST_SEEN:
                self.seen.clear()
            self.seen.add(name)
            return script["t"]
        return script.get("f", 0)


class Connection(asyncio.Protocol):
    """One request at a time: whoever pipelines is no gateway of ours."""

    transport: asyncio.Transport

    def __init__(self, model: Model) -> None:
        self.model, self.loop = model, asyncio.get_running_loop()
        self.parser = httptools.HttpRequestParser(self)
        self.url = self.body = b""
        self.timer: asyncio.TimerHandle | None = None
        self.answering: Answer | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def eof_received(self) -> bool:
        self.gone()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.gone()

    def gone(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
        answer, self.answering = self.answering, None
        if answer is not None and answer.begun:
            self.model.ledger.cut += 1

    def on_message_begin(self) -> None:
        self.url = self.body = b""

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_message_complete(self) -> None:
        if self.parser.get_method() == b"GET" or self.url == b"/reset":
            self.tell()
            return
        self.model.ledger.requests += 1
        found = _SCRIPT.search(self.body)
        script = {one[:1]: int(one[1:]) for one in found[1].decode()[1:].split("-")} if found else {}
        self.answering = Answer(self, msgspec.json.decode(self.body, type=Body), script)
        self.after(script.get("w", 0), self.answering.begin)

    def tell(self) -> None:
        model = self.model
        if self.url == b"/reset":
            model.reset()
        said: Any = {"object": "list", "data": [{"id": "mock", "object": "model"}]}
        if self.url in (b"/ledger", b"/reset"):
            said = model.ledger
        elif self.url == b"/trace":
            said = model.trace
        self.whole(200, _encoder.encode(said))

    def whole(self, status: int, body: bytes) -> None:
        head = b"HTTP/1.1 %d Scripted\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        self.transport.write(head % (status, len(body)) + body)

    def after(self, ms: float, call: Any) -> None:
        if ms:
            self.timer = self.loop.call_later(ms / 1000, call)
        else:
            call()

    def cut(self) -> None:
        self.answering = None
        self.transport.abort()


class Answer:
    """One answer as it is written."""

    __slots__ = (
        "begun",
        "body",
        "fault",
        "finish",
        "gap_ms",
        "line",
        "model",
        "prompt",
        "said",
        "start",
        "total",
        "until",
    )

    def __init__(self, line: Connection, body: Body, script: dict[str, int]) -> None:
        self.line, self.body, self.model = line, body, line.model
        self.prompt = body.prompt_tokens
        self.fault = line.model.fails(script, line.body)
        asked = script.get("n", 16)
        limit = body.max_completion_tokens or body.max_tokens or asked
        self.total, self.finish = min(asked, limit), "stop" if asked <= limit else "length"
        self.until = self.total // 2 if self.fault >= 4 else self.total
        self.gap_ms = script.get("g", 0)
        self.start = self.prompt * 7 + asked  # where in the words it begins: not all answers read the same
        self.said, self.begun = 0, False

    def begin(self) -> None:
        ledger = self.model.ledger
        if self.fault:
            ledger.faults += 1
        if self.fault in (1, 2):
            self.line.answering = None
            self.line.whole(500 if self.fault == 1 else 429, b'{"error":{"message":"as the script says"}}')
        elif self.fault == 3:
            self.line.cut()
        else:
            ledger.begun += 1
            ledger.prompt += self.prompt
            self.begun = True
            if self.body.stream:
                self.line.transport.write(_EVENT_STREAM)
            self.model.grew()
            self.more()

    def more(self) -> None:
        """The next token, or all that are left."""
        count = 1 if self.gap_ms and self.said < self.until else self.until - self.said
        if self.body.stream:
            self.line.transport.write(b"".join([self.chunk(said) for said in range(self.said, self.said + count)]))
        self.said += count
        self.model.ledger.completion += count
        self.model.grew()
        if self.said < self.until:
            self.line.after(self.gap_ms, self.more)
        else:
            self.end()

    def chunk(self, said: int) -> bytes:
        """The event of the token after `said` others."""
        at = (self.start + said) % len(_WORDS)
        if not self.body.timings_per_token:
            return _CHUNKS[at]
        event = _EVENTS[at][:-3] + _TIMED % (self.prompt, said + 1)
        return b"%x\r\n%b\r\n" % (len(event), event)

    def end(self) -> None:
        line, ledger = self.line, self.model.ledger
        if self.fault:
            ledger.cut += 1
            if self.fault == 5 and self.body.stream:
                line.transport.write(_BROKEN)
                line.answering = None
                line.transport.close()
            else:
                line.cut()
            return
        ledger.whole += 1
        ledger.whole_prompt += self.prompt
        ledger.whole_completion += self.total
        line.answering = None
        usage = {
            "prompt_tokens": self.prompt,
            "completion_tokens": self.total,
            "total_tokens": self.prompt + self.total,
        }
        top = {"id": "chatcmpl-s", "created": 1700000000, "model": "mock"}
        if not self.body.stream:
            words = [_WORDS[at % len(_WORDS)] for at in range(self.start, self.start + self.total)]
            message = {"role": "assistant", "content": " " + " ".join(words)}
            choice = {"index": 0, "message": message, "finish_reason": self.finish}
            line.whole(200, _encoder.encode({**top, "object": "chat.completion", "choices": [choice], "usage": usage}))
            return
        top["object"] = "chat.completion.chunk"
        last = {**top, "choices": [{"index": 0, "delta": {}, "finish_reason": self.finish}]}
        events = [b"data: %b\n\n" % _encoder.encode(last)]
        if self.body.stream_options is not None and self.body.stream_options.include_usage:
            events.append(b"data: %b\n\n" % _encoder.encode({**top, "choices": [], "usage": usage}))
        data = b"".join([*events, b"data: [DONE]\n\n"])
        line.transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(data), data))


async def serve(port: int, *, traced: bool) -> None:
    """Until ended."""
    model = Model(traced=traced)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(model), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), traced="--untraced" not in sys.argv))
