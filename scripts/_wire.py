"""Reference of the wire: routes, headers both ways, what Trimtab adds to bodies. Checked against the code by name."""

from __future__ import annotations

from trimtab.dataplane.inference import NOT_ALLOWED
from trimtab.dataplane.ingress import HEADERS
from trimtab.surfaces.server.app import ROUTES

PATHS = {
    "/v1/chat/completions": "chat, whole or streamed",
    "/v1/messages": "chat in Anthropic's words ([what is taken](../how-to/point-an-agent-at-it.md))",
    "/v1/messages/count_tokens": 'tokens of such a body, and nothing else: `{"input_tokens": N}`; no record',
    "/v1/responses": "chat in the words of OpenAI's responses, whole or streamed; nothing is stored",
    "/v1/embeddings": "vectors of the embedded model (`input_type`: `query` or `passage`)",
    "/v1/feedback": "what came of an answer: `record`, and `score` (0 to 1), `label` or `value`; `name` says of what: "
    "`thumb`, `csat`, `correct`, `conversion`, `abandoned`, or your own",
    "/v1/models": "names that this key may send as `model`; `/v1/models/NAME` is one of them",
    "/metrics": "Prometheus metrics ([all of them](metrics.md))",
    "/healthz": "200 while the process answers; no key",
    "/readyz": "200 where a balancer should send requests; 503: draining, overloaded, or without any replica; no key",
}
TERMS = {
    "trimtab-channel": ("`NAME` or `TENANT/NAME`", "the channel; default: the key's"),
    "trimtab-persona": ("a persona of the channel", "whose terms apply; default: the key's"),
    "trimtab-session": ("1 to 512 characters", "which conversation it belongs to; kept as an HMAC only"),
    "trimtab-latency-ms": ("milliseconds, above 0", "end-to-end target; the deadline shrinks in proportion"),
    "trimtab-ttft-ms": ("milliseconds, above 0", "time to the first token"),
    "trimtab-itl-ms": ("milliseconds, above 0", "time between tokens"),
    "trimtab-max-cost-usd": ("US dollars, 0 or more", "cap of this request"),
    "trimtab-min-quality": ("0 to 1", "least quality"),
    "trimtab-priority": ("critical, interactive, standard or batch", "priority class; only a lower one counts"),
    "x-llm-d-slo-ttft-ms": ("milliseconds, above 0", "llm-d's name of `trimtab-ttft-ms`"),
    "x-llm-d-slo-tpot-ms": ("milliseconds, above 0", "llm-d's name of `trimtab-itl-ms`"),
}
ANSWER_HEADERS = {
    "trimtab-record": ("every answer that has a record", "the record's id: what `trimtab explain` takes"),
    "x-request-id": ("the same", "the same id, where OpenAI's clients look"),
    "request-id": ("answers of `/v1/messages` that have a record", "the same id, where Anthropic's clients look"),
    "trimtab-path": ("once known", "`cache-exact`, `direct`, `rag`, `template` or `refused`"),
    "trimtab-tier": ("where a model answered, or its stored answer", "S, M or L"),
    "trimtab-variant": ("the same", "NAME@HASH"),
    "trimtab-cost-usd": ("whole answers", "what it cost; a stream says it in its usage chunk"),
    "server-timing": ("every answer that has a record", "`NAME;dur=MS` of the [stages](records.md#stages) so far"),
    "x-ratelimit-limit-requests": ("where a rate applies", "burst of the tightest rate of requests"),
    "x-ratelimit-remaining-requests": ("the same", "what is left of it"),
    "x-ratelimit-reset-requests": ("the same", "until it is full again: `20ms`, `1.5s`, `6m0s`"),
    "x-ratelimit-limit-tokens": ("where a rate applies", "burst of the tightest rate of tokens"),
    "x-ratelimit-remaining-tokens": ("the same", "what is left of it"),
    "x-ratelimit-reset-tokens": ("the same", "until it is full again"),
    "anthropic-ratelimit-requests-limit": ("`/v1/messages`, where a rate applies", "as `x-ratelimit-limit-requests`"),
    "anthropic-ratelimit-requests-remaining": ("the same", "as `x-ratelimit-remaining-requests`"),
    "anthropic-ratelimit-requests-reset": ("the same", "when it is full again, RFC 3339"),
    "anthropic-ratelimit-tokens-limit": ("the same", "as `x-ratelimit-limit-tokens`"),
    "anthropic-ratelimit-tokens-remaining": ("the same", "as `x-ratelimit-remaining-tokens`"),
    "anthropic-ratelimit-tokens-reset": ("the same", "when it is full again, RFC 3339"),
    "retry-after": ("refusals that pass", "seconds, rounded up"),
    "retry-after-ms": ("the same", "milliseconds"),
    "x-should-retry": ("refusals that don't pass within a minute", "`false`: OpenAI's clients don't retry then"),
}
MEMBERS = {
    "record": "the record's id",
    "path": "the path",
    "template": "the template that stands for an answer, or null",
    "tier": "who answered, or null",
    "variant": "who answered, or null",
    "cost_usd": "what it cost, as text; null: a model without a price was asked",
    "stages": "`{NAME: [start_ms, took_ms]}`, after arrival",
    "sources": "`[{source, title}]`: passages that were shown to the model, or that are quoted",
}
ERROR_MEMBERS = {
    "code": "ours, also where OpenAI's fields hold the upstream's own words",
    "record": "the record's id, or null where the protocol itself was refused",
    "rule": "the rule, limit or budget that refused, or null",
    "retry_after_s": "when to come back, or null",
    "cause": "what happened, in general",
    "fix": "what helps",
    "doc": "where it is described",
}


def wire() -> str:
    """The wire reference."""
    if unsaid := {*(ROUTES.keys() - PATHS.keys()), *(set(HEADERS) ^ TERMS.keys())}:
        raise SystemExit(f"scripts/_wire.py doesn't say what these are: {sorted(unsaid)}")
    lines = [_BEGIN, "## Routes", "", "| route | methods | what |", "|---|---|---|"]
    lines += [f"| `{path}` | {', '.join(ROUTES[path])} | {what} |" for path, what in PATHS.items() if path in ROUTES]
    lines += ["", _ASKING, "| header | takes | asks for |", "|---|---|---|"]
    lines += [f"| `{name}` | {takes} | {what} |" for name, (takes, what) in TERMS.items()]
    fields = ", ".join(f"`{name}`" for name in sorted(frozenset().union(*NOT_ALLOWED.values())))
    lines += ["", _BODY.format(fields=fields), "## Headers of answers", "", "| header | on | what |", "|---|---|---|"]
    lines += [f"| `{name}` | {on} | {what} |" for name, (on, what) in ANSWER_HEADERS.items()]
    lines += ["", _TRIMTAB, "| member | what |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in MEMBERS.items()]
    lines += ["", _STREAM, _ERRORS, "| member of `error.trimtab` | what |", "|---|---|"]
    lines += [f"| `{name}` | {what} |" for name, what in ERROR_MEMBERS.items()]
    return "\n".join([*lines, "", _ADMIN])


_BEGIN = """\
# Wire

OpenAI's HTTP API, and what Trimtab adds to it. HTTP/1.1; TLS and HTTP/2 are the balancer's.
"""
_ASKING = """\
## Headers of requests

`authorization: Bearer KEY` on every route under `/v1`; under `/v1/messages` `x-api-key: KEY` will do.
`cache-control: no-store` goes past the answer cache: no stored answer is used, and this one is not stored.
`traceparent` and `tracestate` (W3C Trace Context) make the request part of the caller's trace; what breaks their rules
counts as not sent ([what becomes of it](../how-to/send-traces.md)).

A caller may tighten its contract by these headers, never loosen it: a looser term is no error and changes nothing. The
body's `trimtab` object takes the same names without `trimtab-` (with `_` or `-`), and `metadata` takes them whole.
Said twice, the stricter number counts. A term that is not known is refused (`invalid_contract`).
"""
_BODY = """\
## Bodies of requests

`model` is `auto` (or absent: routed), an alias of models.yaml, or one of the channel's `pin`. Fields that are not
known go to the upstream unchanged, but for these, which are refused (`field_not_allowed`):
{fields};
and addresses of images, which would have to be fetched. `n` is at most 128. Content is text: images and audio are
refused, since they can't be bounded in tokens.
"""
_TRIMTAB = """\
## The `trimtab` object of answers

Beside `choices` and `usage` of a whole answer, and in a stream's usage chunk; in a message and in the event
`message_delta`; in a response and in the event that ends it:
"""
_STREAM = """\
## Streams

Server-sent events, as OpenAI sends them, ended by `data: [DONE]`. `stream_options: {"include_usage": true}` asks for
a last chunk with no choices, `usage`, and the `trimtab` object. A fault after the first byte is an event
`data: {"error": ...}`, after which the connection is cut without the last chunk of the transfer: a client that reads
to the end fails, and never takes half an answer for a whole one. A guard that stops a stream sends the template as
the last content, with `finish_reason: "content_filter"`.

Streams of `/v1/messages` and `/v1/responses` are those dialects' own named events, always with usage. Their faults are
`event: error` (before `response.failed` in the latter), then the same cut.
"""
_ERRORS = """\
## Errors

OpenAI's body, `{"error": {"message", "type", "param", "code", "trimtab"}}`; [all codes](errors.md). Under
`/v1/messages` it is Anthropic's, `{"type": "error", "error": {"type", "message", "trimtab"}, "request_id"}`, with its
types by status.
"""
_ADMIN = """\
## The admin socket

JSON over HTTP on the Unix socket `run/admin.sock` of the workspace (where that path is too long, `run/admin.path` says
where it is). Only the user who runs the gateway can reach it.

| route | what |
|---|---|
| `GET /state` | snapshots, problems of the last load, engines, gates, cache, journal, counts since the start |
| `GET /budgets` | every budget: limit, spent, reserved, left |
| `GET /fleet` | replicas by model: address, running requests, rest in seconds |
| `POST /reload` | load the workspace now; 409 with the problems if it is broken |
| `POST /engines/NAME/stop`, `POST /engines/NAME/start` | stop or start an embedded engine |
"""
