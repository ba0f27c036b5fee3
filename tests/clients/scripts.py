"""What the model says, and how its server says it: in both of OpenAI's forms, each written out by hand.

Trimtab always asks for a stream and puts whole answers together itself. So a `Says` holds the whole answer *and* the
chunks, as OpenAI's servers send them (role first, a field `refusal`, `logprobs: null`, `usage: null` in every chunk
when usage was asked for): neither is computed from the other, or the assembler would be compared with itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from support.upstream import Cut, Data, Hang, Head, Script, Seen, Sse, Step, answer, failure, sequence, usage

WRONG_KEY = "sk-wrong"
KNOWN_MODELS = ("gpt-4o",)
REQUEST_ID = ("x-request-id", "req_upstream")
OPENAI_EVENTS = ("content-type", "text/event-stream; charset=utf-8")

Choice = dict[str, Any]


def message(content: str | None, finish: str = "stop", index: int = 0, **fields: Any) -> Choice:
    """A choice of a whole answer; `fields` go into the message, `logprobs` and `beside` into the choice."""
    logprobs, beside = fields.pop("logprobs", None), fields.pop("beside", {})
    said = {"role": "assistant", "content": content, "refusal": None, **fields}
    return {"index": index, "message": said, "logprobs": logprobs, "finish_reason": finish, **beside}


def first(index: int = 0, content: str | None = "", **fields: Any) -> Choice:
    """The choice of the first chunk: who speaks."""
    return delta(index, role="assistant", content=content, refusal=None, **fields)


def delta(index: int = 0, *, finish: str | None = None, logprobs: Any = None, **fields: Any) -> Choice:
    """A chunk's choice; `fields` make the delta."""
    return {"index": index, "delta": fields, "logprobs": logprobs, "finish_reason": finish}


def last(finish: str = "stop", index: int = 0) -> Choice:
    """The choice of a chunk that ends it."""
    return delta(index, finish=finish)


@dataclass(frozen=True)
class Says:
    """A script: one answer, whole or streamed as it is asked for. `extra` stands at the top of the answer and of every
    chunk with choices, `beside_usage` in the chunk with usage, `beside_whole` in a whole answer alone. `before`: what a
    stream says ahead of its chunks; `then`: what it does in place of usage and `[DONE]`."""

    whole: tuple[Choice, ...]
    chunks: tuple[Choice, ...]
    usage: dict[str, Any] = field(default_factory=lambda: usage(11, 7))
    extra: dict[str, Any] = field(default_factory=dict)
    beside_usage: dict[str, Any] = field(default_factory=dict)
    beside_whole: dict[str, Any] = field(default_factory=dict)
    before: tuple[Step, ...] = ()
    done: bool = True
    then: tuple[Step, ...] | None = None

    def __call__(self, seen: Seen) -> Iterable[Step]:
        refused = _refused(seen)
        if refused is not None:
            return refused
        body = seen.json
        if not body.get("stream"):
            said = {"id": "chatcmpl-up", "object": "chat.completion", "created": 1700000000, "model": body["model"]}
            whole = {**said, "choices": self.whole, "usage": self.usage, **self.extra, **self.beside_whole}
            return answer(whole, headers=(REQUEST_ID,))
        return self._stream(body)

    def _stream(self, body: dict[str, Any]) -> list[Step]:
        wanted = bool((body.get("stream_options") or {}).get("include_usage"))
        said = {"id": "chatcmpl-up", "object": "chat.completion.chunk", "created": 1700000000, "model": body["model"]}
        none = {"usage": None} if wanted else {}
        steps: list[Step] = [Head(200, (OPENAI_EVENTS, REQUEST_ID)), *self.before]
        steps += [Sse({**said, "choices": [choice], **none, **self.extra}) for choice in self.chunks]
        if self.then is not None:
            return [*steps, *self.then]
        if wanted:
            steps.append(Sse({**said, "choices": [], "usage": self.usage, **self.beside_usage}))
        return [*steps, Sse("[DONE]")] if self.done else steps


def _refused(seen: Seen) -> list[Step] | None:
    """What OpenAI says to a wrong key and to a model that it does not have."""
    if seen.headers.get("authorization") == f"Bearer {WRONG_KEY}":
        fields = {"type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
        return failure(401, "Incorrect API key provided", (REQUEST_ID,), **fields)
    if seen.headers.get("authorization") == "Bearer sk-direct" and seen.json.get("model") not in KNOWN_MODELS:
        fields = {"type": "invalid_request_error", "param": None, "code": "model_not_found"}
        return failure(404, "The model does not exist", (REQUEST_ID,), **fields)
    return None


def plain(*texts: str, finish: str = "stop", **fields: Any) -> Says:
    """An answer of texts, a chunk for each."""
    chunks = (first(), *(delta(content=text) for text in texts), last(finish))
    return Says((message("".join(texts), finish),), chunks, **fields)


def broken_off(*texts: str, then: Iterable[Step]) -> Says:
    """A stream that goes wrong after these texts; not streamed, there is nothing but what goes wrong."""
    return Says((message("".join(texts)),), (first(), *(delta(content=text) for text in texts)), then=tuple(then))


# --- the answers ----------------------------------------------------------------------------------------------------

HELLO = plain("Grüß", " Gott", ",\n", '"world" \u2028', "🦊", "!")

USAGE = {
    "prompt_tokens": 20,
    "completion_tokens": 9,
    "total_tokens": 29,
    "prompt_tokens_details": {"cached_tokens": 16, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 4,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
COUNTED = plain("one", " two", usage=USAGE)

CUT_SHORT = plain("It", " was", " a dark", finish="length", usage=usage(11, 3))
STOPPED = plain("1, 2, 3", ", ", usage=usage(9, 6))

TWO = Says(
    (message("red"), message("blue!", index=1)),
    (
        *(first(0), first(1), delta(0, content="r"), delta(1, content="blue"), delta(0, content="ed")),
        *(last(index=0), delta(1, content="!"), last(index=1)),
    ),
    usage(8, 4),
)


def _call(number: int, name: str, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": arguments}}


def _piece(index: int, arguments: str) -> Choice:
    return delta(tool_calls=[{"index": index, "function": {"arguments": arguments}}])


_WEATHER, _TIME = '{"city": "Zürich", "days": 3}', '{"zone":"Europe/Zurich"}'
TOOLS = Says(
    (message(None, "tool_calls", tool_calls=[_call(1, "weather", _WEATHER), _call(2, "time", _TIME)]),),
    (
        first(content=None),
        delta(tool_calls=[{"index": 0, **_call(1, "weather", "")}]),
        _piece(0, '{"ci'),
        _piece(0, 'ty": "Zü'),
        _piece(0, 'rich", "days": 3}'),
        delta(tool_calls=[{"index": 1, **_call(2, "time", "")}]),
        _piece(1, '{"zone":'),
        _piece(1, '"Europe/Zurich"}'),
        last("tool_calls"),
    ),
    usage(60, 31),
)
SPACED = Says(
    (message(None, "tool_calls", tool_calls=[_call(1, "fleet__close", _WEATHER)]),),
    (
        first(content=None),
        delta(tool_calls=[{"index": 0, **_call(1, "fleet__close", "")}]),
        _piece(0, _WEATHER),
        last("tool_calls"),
    ),
    usage(60, 31),
)
_PATCH = {"id": "call_1", "type": "custom", "custom": {"name": "fleet__apply", "input": "*** Begin {not JSON"}}
CUSTOM = Says(
    (message(None, "tool_calls", tool_calls=[_PATCH, _call(2, "weather", "{}")]),),
    (
        first(content=None),
        delta(tool_calls=[{"index": 0, **_PATCH, "custom": {"name": "fleet__apply", "input": ""}}]),
        delta(tool_calls=[{"index": 0, "custom": {"input": "*** Begin"}}]),
        delta(tool_calls=[{"index": 0, "custom": {"input": " {not JSON"}}]),
        delta(tool_calls=[{"index": 1, **_call(2, "weather", "")}]),
        _piece(1, "{}"),
        last("tool_calls"),
    ),
    usage(60, 31),
)
"""A tool whose input is free text, in a namespace, then a function."""
_SEARCH = '{"query": "calendar", "limit": 3}'
SEARCHED = Says(
    (message(None, "tool_calls", tool_calls=[_call(1, "tool_search", _SEARCH)]),),
    (
        first(content=None),
        delta(tool_calls=[{"index": 0, **_call(1, "tool_search", "")}]),
        _piece(0, _SEARCH[:9]),
        _piece(0, _SEARCH[9:]),
        last("tool_calls"),
    ),
    usage(60, 31),
)
"""It asks its caller for more tools."""
ONE_TOOL = Says(
    (message(None, "stop", tool_calls=[_call(7, "weather", _WEATHER)]),),
    (first(content=None, tool_calls=[{"index": 0, **_call(7, "weather", "")}]), _piece(0, _WEATHER), last("stop")),
)

_JSON = '{"title": "Fox 🦊", "pages": [1, 2], "author": {"name": "A. \\"B\\""}}'
SCHEMA = plain(*(_JSON[at : at + 9] for at in range(0, len(_JSON), 9)))
DECLINED = Says(
    (message(None, refusal="I can't."),),
    (delta(role="assistant", content=None, refusal=""), delta(refusal="I "), delta(refusal="can't."), last()),
)


def _token(text: str, logprob: float, other: str) -> dict[str, Any]:
    top = [{"token": one, "logprob": lp, "bytes": list(one.encode())} for one, lp in ((text, logprob), (other, -3.5))]
    return {"token": text, "logprob": logprob, "bytes": list(text.encode()), "top_logprobs": top}


_TOKENS = (_token("Yes", -0.25, "No"), _token("!", -1.5e-05, "."))
LOGPROBS = Says(
    (message("Yes!", logprobs={"content": list(_TOKENS), "refusal": None}),),
    (
        first(logprobs={"content": [], "refusal": None}),
        *(delta(content=one["token"], logprobs={"content": [one], "refusal": None}) for one in _TOKENS),
        last(),
    ),
)

UNKNOWN = Says(
    (message("hm", reasoning_content="Let me see.", mood={"calm": 0.5}),),
    (
        first(reasoning_content="Let me"),
        delta(reasoning_content=" see."),
        delta(content="hm", mood={"calm": 0.5}),
        last(),
    ),
    {**usage(5, 4), "queue_time": 0.25},
    extra={"system_fingerprint": "fp_1", "service_tier": "default", "x_unknown": {"deep": [1, None, "ß"]}},
)

STOPPED_BY = Says(
    (message("7", beside={"stop_reason": 42}),), (first(), delta(content="7"), {**last(), "stop_reason": 42})
)
"""As vLLM does: which stop text or token it was, beside the finish reason."""
_TOP = {"system_fingerprint": "fp_1", "service_tier": "default"}
MARKED = plain("one", " two", extra={**_TOP, "obfuscation": "x7"}, beside_usage={**_TOP, "obfuscation": "y"})
"""As OpenAI's own servers do: fields beside the usage that came to stay, and padding in every chunk."""
TIMED = plain("one", " two", beside_usage={"timings": {"predicted_n": 7, "predicted_ms": 20.5}})
"""As llama.cpp does."""
_FILTERS = {"prompt_filter_results": [{"prompt_index": 0, "content_filter_results": {"hate": {"filtered": False}}}]}
AZURE = Says(
    HELLO.whole,
    HELLO.chunks,
    beside_whole=_FILTERS,
    before=(Sse({"choices": [], "id": "", "model": "", "object": "", "created": 0, **_FILTERS}),),
)
"""As Azure does: a first chunk without choices, with the filter's word on the prompt."""
PINGED = plain("one", " two", before=(Data(b": ping\n\n"), Data(b"\n\n: OPENROUTER PROCESSING\n\n")))
"""As many do while a prompt is read: comments, and blank lines."""
NO_DONE = plain("one", " two", done=False)
HISSES = plain("Hi", "s", "s, the secret", ": sauce is", " s", "ecret sa", "u", "s")
"""Again and again the beginning of what the guarded channel must not say."""
LEGACY = Says(
    (message(None, "function_call", function_call={"name": "weather", "arguments": _WEATHER}),),
    (
        first(content=None, function_call={"name": "weather", "arguments": ""}),
        *(delta(function_call={"arguments": piece}) for piece in (_WEATHER[:9], _WEATHER[9:])),
        last("function_call"),
    ),
)
"""Functions as they were before tools."""
MIXED = Says(
    (message("Let me look.", "tool_calls", tool_calls=[_call(1, "weather", _WEATHER)]),),
    (
        first(),
        delta(content="Let me"),
        delta(content=" look."),
        delta(tool_calls=[{"index": 0, **_call(1, "weather", _WEATHER)}]),
        last("tool_calls"),
    ),
)
"""Text, then a call in one piece."""
AT_ONCE = Says((message("ok"),), (delta(finish="stop", role="assistant", content="ok", refusal=None),))
"""Role, text and finish in one chunk."""
EMPTY = Says((message(""),), (first(), last()), usage(5, 0))


def unstreamed(says: Says) -> Script:
    """The same from a server that answers whole, whatever it is asked for."""

    def script(seen: Seen) -> Iterable[Step]:
        return says(replace(seen, body=msgspec.json.encode({**seen.json, "stream": False})))

    return script


def counting(says: Says) -> Script:
    """The same from a server (vLLM, SGLang) that tells the usage so far in every chunk, if asked for it."""

    def script(seen: Seen) -> Iterable[Step]:
        for step in says(seen):
            on = seen.json.get("stream_options", {}).get("continuous_usage_stats")
            if on and isinstance(step, Sse) and isinstance(step.data, dict) and step.data["choices"]:
                yield Sse({**step.data, "usage": usage(11, 1)})
            else:
                yield step

    return script


# --- what goes wrong ------------------------------------------------------------------------------------------------

INVALID = {"type": "invalid_request_error", "param": "temperature", "code": "invalid_value"}
CONTEXT = {"type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"}
FILTERED = {"type": None, "param": "prompt", "code": "content_filter"}

HANG: Script = lambda seen: [Hang()]  # noqa: E731 - a script is a value
HANG_MIDWAY = broken_off("one", " two", then=[Hang()])
CUT_MIDWAY = broken_off("one", " two", then=[Cut()])
HALF_AN_EVENT = broken_off("one", " two", then=[Data(b'data: {"choices": [{"del')])
NOT_JSON = broken_off("one", " two", then=[Sse("oops"), Sse("[DONE]")])
DONE_TOO_EARLY = broken_off("one", " two", then=[Sse("[DONE]")])
_BOOM = Sse({"error": {"message": "Boom", "type": "server_error", "param": None, "code": "boom"}})
ERROR_AT_ONCE = broken_off(then=[_BOOM])
ERROR_MIDWAY = broken_off("one", " two", then=[_BOOM])
NO_FINISH = broken_off("one", " two", then=[])


def fails(status: int, text: str = "no", headers: tuple[tuple[str, str], ...] = (), **fields: Any) -> Script:
    """An error answer in OpenAI's shape to every request."""
    return lambda seen: failure(status, text, (REQUEST_ID, *headers), **fields)


def body(status: int, data: bytes, kind: str) -> Script:
    """Some other answer to every request."""
    return lambda seen: [
        Head(status, (("content-type", kind), ("content-length", str(len(data))))),
        *answer(data)[1:],
    ]


def fails_then(times: int, status: int, then: Script) -> Script:
    """So many error answers, then this."""
    return sequence(*[fails(status)] * times, then)
