"""Every way in which Trimtab says no, in one closed list: the code is on the wire, in the record and a metric's label.

A `Refusal` is a value (expected, carries its reason to the caller); an exception is for the unexpected. Only
`surfaces/server` turns either into HTTP.
"""

from __future__ import annotations

from enum import Enum, unique
from typing import NamedTuple

import msgspec


class Spec(NamedTuple):
    """What a code means: HTTP status, whether the same request may succeed later, OpenAI's error `type`, cause, fix."""

    status: int
    retryable: bool
    type: str
    cause: str
    fix: str


_REQUEST, _AUTH, _PERMISSION = "invalid_request_error", "authentication_error", "permission_error"
_NOT_FOUND, _RATE, _SERVER = "not_found_error", "rate_limit_error", "server_error"


@unique
class Code(Enum):
    """The closed enum. `Code.X.name` in lower case is the wire code."""

    # 400: the request can never be served as it stands
    MALFORMED_HTTP = Spec(
        400,
        False,
        _REQUEST,
        "The bytes are not valid HTTP/1.1.",
        "Use an HTTP client library; don't send both Content-Length and Transfer-Encoding.",
    )
    MALFORMED_JSON = Spec(
        400,
        False,
        _REQUEST,
        "The body is not valid JSON in UTF-8.",
        "Send one JSON object; NaN and Infinity are not JSON.",
    )
    INVALID_REQUEST = Spec(
        400,
        False,
        _REQUEST,
        "A field has a wrong type or value.",
        "Correct the field that the message names, to what it takes.",
    )
    FIELD_NOT_ALLOWED = Spec(
        400,
        False,
        _REQUEST,
        "A field would move caps, slots, tenancy or egress of the engine.",
        "Leave the named field out; limits are set by the contract.",
    )
    UNSUPPORTED = Spec(
        400,
        False,
        _REQUEST,
        "A field asks for something that this route can't do.",
        "Leave out what the message names; docs/how-to/point-an-agent-at-it.md lists what is taken.",
    )
    INVALID_CONTRACT = Spec(
        400,
        False,
        _REQUEST,
        "A contract header or field can't be read.",
        "Correct the term that the message names; docs/reference/headers.md lists all.",
    )
    CHANNEL_REQUIRED = Spec(
        400,
        False,
        _REQUEST,
        "The key has no default channel and the request names none.",
        "Send the header trimtab-channel.",
    )
    CONTEXT_LENGTH_EXCEEDED = Spec(
        400,
        False,
        _REQUEST,
        "The prompt is longer than the model's context.",
        "Shorten the messages, or use a model with a larger context.",
    )
    LARGER_THAN_LIMIT = Spec(
        400,
        False,
        _REQUEST,
        "The request alone is larger than the rate limit's burst.",
        "Send smaller requests, or have the burst raised.",
    )
    CONTENT_REFUSED = Spec(
        400,
        False,
        _REQUEST,
        "The provider's own filter refused the content.",
        "Change the content; other models are not tried.",
    )
    UPSTREAM_REJECTED = Spec(
        400,
        False,
        _REQUEST,
        "The model's server says that the request is wrong.",
        "Change what the message names; it is the server's own.",
    )
    # 401, 403, 404, 405
    MISSING_API_KEY = Spec(
        401,
        False,
        _AUTH,
        "No API key was sent.",
        "Send Authorization: Bearer YOUR_KEY; /v1/messages takes x-api-key, too.",
    )
    INVALID_API_KEY = Spec(
        401,
        False,
        _AUTH,
        "The API key is unknown or revoked.",
        "Check the key, or make one with trimtab keys create.",
    )
    EXPIRED_API_KEY = Spec(
        401,
        False,
        _AUTH,
        "The API key has reached its `expires_at`.",
        "Use the key that took its place, or make one with trimtab keys create.",
    )
    CHANNEL_NOT_ALLOWED = Spec(
        403,
        False,
        _PERMISSION,
        "The channel does not exist, or is not this key's.",
        "Use a channel of the key's own tenant.",
    )
    MODEL_NOT_ALLOWED = Spec(
        403,
        False,
        _PERMISSION,
        "The channel does not let callers pin this model.",
        "Send model: auto, or have the model added to the channel's pin list.",
    )
    METRICS_NOT_ALLOWED = Spec(
        403,
        False,
        _PERMISSION,
        "Metrics name tenants and their spend: without a key they are for callers of this machine.",
        "Declare server.metrics_key and send it as Authorization: Bearer KEY.",
    )
    SYSTEM_NOT_ALLOWED = Spec(
        403, False, _PERMISSION, "The channel forbids system messages of the caller.", "Leave the system message out."
    )
    RESIDENCY_NOT_ALLOWED = Spec(
        403,
        False,
        _PERMISSION,
        "Nothing within the declared residency may answer.",
        "Declare a model in the region, or another residency.",
    )
    MODEL_NOT_FOUND = Spec(
        404,
        False,
        _NOT_FOUND,
        "No model, variant, tier or alias has this name.",
        "Send auto, or a name that GET /v1/models lists for this key.",
    )
    RECORD_NOT_FOUND = Spec(
        404,
        False,
        _NOT_FOUND,
        "No record of the key's tenant has this id, or it is not on disk yet.",
        "Send the trimtab-record header of an answer that this tenant got, within the time that records are kept.",
    )
    ROUTE_NOT_FOUND = Spec(
        404,
        False,
        _NOT_FOUND,
        "There is nothing at this path.",
        "Use POST /v1/chat/completions, /v1/messages, /v1/responses, /v1/embeddings or /v1/feedback, or GET /v1/models.",
    )
    METHOD_NOT_ALLOWED = Spec(
        405, False, _REQUEST, "The path does not take this method.", "Use a method that the Allow header lists."
    )
    # 408, 413, 414, 431
    REQUEST_TIMEOUT = Spec(
        408, True, _REQUEST, "The request did not arrive in time.", "Send head and body without long pauses."
    )
    BODY_TOO_LARGE = Spec(
        413,
        False,
        _REQUEST,
        "The body is larger than server.max_body_bytes.",
        "Send a smaller body, or have the limit raised.",
    )
    TARGET_TOO_LONG = Spec(414, False, _REQUEST, "The request target is too long.", "Put parameters in the body.")
    HEADERS_TOO_LARGE = Spec(431, False, _REQUEST, "The header fields are too large.", "Send fewer or smaller headers.")
    # 429: this tenant's rate, budget, cap or queue
    RATE_LIMITED = Spec(
        429,
        True,
        _RATE,
        "The request or token rate of the key, tenant or channel is used up.",
        "Retry after the told time.",
    )
    BUDGET_EXHAUSTED = Spec(
        429,
        False,
        _RATE,
        "The budget of the period is spent.",
        "Wait for the next period, or raise the budget by trimtab budget set or grant; trimtab budget show says what is spent.",
    )
    BUDGET_BUSY = Spec(
        429,
        True,
        _RATE,
        "The rest of the budget is reserved by requests that are still running.",
        "Retry after the told time.",
    )
    COST_CAP = Spec(429, False, _RATE, "No plan fits the request's cost cap.", "Raise the cap, or shorten the request.")
    NOTHING_ALLOWED = Spec(
        429,
        False,
        _RATE,
        "Policy, quality and latency leave no plan for this request.",
        "Run trimtab explain with the record's id: it shows which rule forbade what.",
    )
    QUEUE_FULL = Spec(
        429,
        True,
        _RATE,
        "Every allowed tier is full and the wait would break the contract.",
        "Retry after the told time.",
    )
    # 499: only in records, the client is gone
    CLIENT_CLOSED = Spec(
        499,
        False,
        _REQUEST,
        "The client closed the connection before the answer ended.",
        "Raise the client's own timeout if it gave up early; what was produced is settled.",
    )
    # 5xx
    INTERNAL_ERROR = Spec(
        500,
        True,
        _SERVER,
        "Trimtab failed; the log has the record's id and the trace.",
        "Report it with the record's id.",
    )
    UPSTREAM_FAILED = Spec(
        502,
        True,
        _SERVER,
        "No model's server gave a usable answer.",
        "Run trimtab explain with the record's id: it lists each attempt with its reason.",
    )
    NO_REPLICA = Spec(503, True, _SERVER, "No healthy replica serves an allowed tier.", "Retry after the told time.")
    DRAINING = Spec(
        503, True, _SERVER, "The gateway is shutting down.", "Retry: another gateway, or the restarted one, answers."
    )
    OVERLOADED = Spec(
        503,
        True,
        _SERVER,
        "The gateway itself has too much to do: its loop is late, its memory nearly used up, or too many requests run.",
        "Retry after the told time.",
    )
    STORE_LOST = Spec(
        503,
        True,
        _SERVER,
        "Limits or money can't be booked: the shared store does not answer, or the disk takes nothing.",
        "Retry after the told time.",
    )
    DEADLINE_EXCEEDED = Spec(
        504,
        True,
        _SERVER,
        "The contract's deadline passed before the answer.",
        "Raise the deadline, or shorten the request.",
    )

    @property
    def wire(self) -> str:
        """The code as clients, records and metrics see it."""
        return self.name.lower()

    @property
    def status(self) -> int:
        return self.value.status


class Refusal(msgspec.Struct, frozen=True, kw_only=True):
    """A considered no: which code, which rule or limit, in words what was seen and what would help."""

    code: Code
    message: str
    rule: str | None = None
    """Id of the policy rule, or name of the limit, that said so."""
    param: str | None = None
    """The request's field at fault, as a client would name it."""
    retry_after_s: float | None = None
    """Seconds until the same request may succeed; None: unknown or never."""
    template: str | None = None
    """Not an error: answer with this deterministic template."""
    upstream: dict[str, object] | None = None
    """The upstream's own error object where its words are the caller's business."""

    @property
    def status(self) -> int:
        return self.code.value.status


class TrimtabError(Exception):
    """Base of what Trimtab raises for the unexpected."""


class NewerVersionError(TrimtabError):
    """A file is of a version that this Trimtab does not know: it is neither read nor written over."""

    def __init__(self, file: str, version: int, known: int) -> None:
        super().__init__(
            f"{file} is of version {version}, this Trimtab knows {known}: it was written by a newer one. It is left as it "
            "is. Go on with the newer one, or have that one step back by trimtab migrate"
        )
        self.file, self.version, self.known = file, version, known


class ConfigError(TrimtabError):
    """The workspace can't be loaded; `problems` has one line each, with file, line, field and what to write."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
