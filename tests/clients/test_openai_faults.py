"""OpenAI's Python clients, where something goes wrong: which error a program sees, after how many attempts.

What is the caller's fault is told in the upstream's own words. What is the upstream's is governed: Trimtab tries the
next tier first (so the upstream, which stands for both tiers here, is asked twice as often), and then says 502
`upstream_failed`; the upstream's statuses never pass for ours, since a 401 or 429 of ours is about the caller's own key
and limits. Each row tells both answers in full.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import openai
import pytest

from clients import scripts
from clients.python_client import KINDS, Chat, driven, each, settled, text, told, told_of
from clients.stage import Differs, Servers, Stage, differing, normal, opened
from support.gateway import replaced
from support.upstream import Cut, Script, sequence

pytestmark = [pytest.mark.clients, pytest.mark.parametrize("kind", KINDS)]


@pytest.fixture
def stage(new_stage: Stage) -> Stage:
    """One of its own for each test."""
    return new_stage


SHORT_S = 0.25
Told = dict[str, Any]


def error(
    cls: str,
    status: int | None,
    message: str | None,
    code: str | None = None,
    param: str | None = None,
    type: str | None = None,
    request_id: bool | None = None,
) -> Told:
    """What `told` says of an error; those with a status name the request."""
    named = status is not None if request_id is None else request_id
    told = {"class": cls, "status": status, "message": message, "code": code, "param": param, "type": type}
    return {**told, "request_id": named}


def failed(message: str) -> Told:
    """Trimtab's word for what is the upstream's fault."""
    return error("InternalServerError", 502, message, "upstream_failed", None, "server_error")


BROKE = "the connection to the model's server broke"


def broke(message: str = BROKE) -> Told:
    """The same inside a stream: an event, which has no status."""
    return error("APIError", None, message, "upstream_failed", None, "server_error")


class Fault(NamedTuple):
    """What the upstream answers to every request; what the client raises without Trimtab, and through it."""

    script: Script
    direct: Told
    through: Told
    why: str = "not the caller's fault: the next tier is tried, then it is 502"
    upstream: int = 2
    """Requests that the upstream gets through Trimtab: one of each tier, two where it is the server's fault."""


def same(script: Script, told: Told, upstream: int = 1) -> Fault:
    return Fault(script, told, told, "the caller's own fault, in the upstream's words", upstream)


def status(number: int, cls: str, message: str, **fields: Any) -> Fault:
    """An error answer in OpenAI's shape that is not the caller's business."""
    direct = error(cls, number, "no", str(number), None, "error")
    return Fault(scripts.fails(number, **fields), direct, failed(message), upstream=4 if number >= 500 else 2)


WORDS = {"message": "Temperature is too high", **scripts.INVALID}
LONG = "This model's maximum context length is 8192 tokens"
REJECTED = "The model's server says that the request is wrong."
NO_ANSWER = "the model's server did not answer as it should"
FAULTS = {
    "400": same(
        scripts.fails(400, "Temperature is too high", **scripts.INVALID),
        error(
            "BadRequestError", 400, "Temperature is too high", "invalid_value", "temperature", "invalid_request_error"
        ),
    ),
    "400 with a numeric code": same(
        scripts.fails(400, "bad", type="BadRequestError", param=None, code=400),
        error("BadRequestError", 400, "bad", "400", None, "BadRequestError"),
    ),
    "400 of SGLang": same(
        scripts.body(
            400, b'{"object":"error","message":"bad","type":"Bad","param":"n","code":400}', "application/json"
        ),
        error("BadRequestError", 400, "bad", "400", "n", "Bad", request_id=False),
    )._replace(through=error("BadRequestError", 400, "bad", "400", "n", "Bad")),
    "context": same(
        scripts.fails(400, LONG, **scripts.CONTEXT),
        error("BadRequestError", 400, LONG, "context_length_exceeded", "messages", "invalid_request_error"),
        upstream=2,  # the next tier's model may have a larger one
    ),
    "content filter": Fault(
        scripts.fails(400, "Filtered", **scripts.FILTERED),
        error("BadRequestError", 400, "Filtered", "content_filter", "prompt", None),
        error("BadRequestError", 400, "Filtered", "content_filter", "prompt", "invalid_request_error"),
        "the upstream's words, and a type where it has none; no other model is tried with refused content",
        1,
    ),
    "413": Fault(
        scripts.fails(413, "too large", type="invalid_request_error", param=None, code="too_large"),
        error("APIStatusError", 413, "too large", "too_large", None, "invalid_request_error"),
        error("BadRequestError", 400, "too large", "too_large", None, "invalid_request_error"),
        "the upstream's words; 413 is about our own limit of bytes",
        1,
    ),
    "422": Fault(
        scripts.fails(422, "no such enum", type="invalid_request_error", param="tools", code="invalid"),
        error("UnprocessableEntityError", 422, "no such enum", "invalid", "tools", "invalid_request_error"),
        error("BadRequestError", 400, "no such enum", "invalid", "tools", "invalid_request_error"),
        "the upstream's words; a wrong request is always 400 here",
        1,
    ),
    "401": status(401, "AuthenticationError", "the model's server refused us (401)"),
    "402": status(402, "APIStatusError", "the model's server refused us (402)"),
    "403": status(403, "PermissionDeniedError", "the model's server refused us (403)"),
    "404": status(404, "NotFoundError", "the model's server answered 404"),
    "408": status(408, "APIStatusError", "the model's server answered 408"),
    "409": status(409, "ConflictError", "the model's server answered 409"),
    "429": status(429, "RateLimitError", "the model's server answered 429", headers=(("retry-after", "0"),))._replace(
        upstream=4
    ),
    "429 without money": Fault(
        scripts.fails(429, "Pay", type="insufficient_quota", param=None, code="insufficient_quota"),
        error("RateLimitError", 429, "Pay", "insufficient_quota", None, "insufficient_quota"),
        failed("the provider's account is out of money"),
    ),
    "500": status(500, "InternalServerError", "the model's server answered 500"),
    "503": status(503, "InternalServerError", "the model's server answered 503"),
    "529": status(529, "InternalServerError", "the model's server answered 529"),
    "502 in HTML": Fault(
        scripts.body(502, b"<h1>Bad Gateway</h1>", "text/html"),
        error("InternalServerError", 502, "Error code: 502", request_id=False),
        failed("the model's server answered 502"),
        upstream=4,
    ),
    "422 of FastAPI": Fault(
        scripts.body(422, b'{"detail":[{"loc":["body","n"],"msg":"bad"}]}', "application/json"),
        error("UnprocessableEntityError", 422, None, request_id=False),
        error("BadRequestError", 400, REJECTED, "upstream_rejected", None, "invalid_request_error"),
        "the request is wrong, in our words: the upstream has none in OpenAI's shape; asking again can't help",
        1,
    ),
    "cut before the answer": Fault(
        lambda seen: [Cut()],
        error("APIConnectionError", None, "Connection error."),
        failed(BROKE),
        "each tier is asked once more: a kept connection may just have been closing",
        4,
    ),
}


async def asks(chat: Chat) -> Any:
    return await told_of(chat.create())


async def asks_for_a_stream(chat: Chat) -> Any:
    return await told_of(chat.create(stream=True))


async def asks_twice(chat: Chat) -> Any:
    return [await asks(chat), await asks_for_a_stream(chat)]


async def first_word(chat: Chat) -> str:
    said: str = (await chat.create()).choices[0].message.content
    return said.split()[0]


async def streams(chat: Chat) -> Any:
    return await chat.streamed()


@pytest.mark.parametrize("name", FAULTS)
def test_errors_before_an_answer(stage: Stage, kind: str, name: str) -> None:
    """Class, status, message, code, param and type are those of the table, whole and streamed."""
    fault = FAULTS[name]
    stage.plays(fault.script)
    pair = stage.both(driven(kind, asks_twice), attempts=(2, 2), upstream=2 * fault.upstream, hung_up=(0, 0))
    assert (pair.direct.said, pair.through.said) == ([fault.direct] * 2, [fault.through] * 2), fault.why


class Break(NamedTuple):
    """A stream that goes wrong after two texts: what the client raises without Trimtab, and through it."""

    script: Script
    direct: Told | None
    through: Told | None
    why: str


BREAKS = {
    "error event": Break(
        scripts.ERROR_MIDWAY,
        error("APIError", None, "Boom", "boom", None, "server_error"),
        broke("the model's server reported an error: Boom"),
        "the upstream's failure under our code",
    ),
    "cut": Break(
        scripts.CUT_MIDWAY,
        error("APIConnectionError", None, "Connection error."),
        broke(),
        "we can still speak when the upstream can't: an error event says why",
    ),
    "cut in an event": Break(
        scripts.HALF_AN_EVENT,
        None,
        broke(f"{NO_ANSWER}: the answer ends in the middle of an event"),
        "the client alone takes this for a whole answer",
    ),
    "no JSON": Break(
        scripts.NOT_JSON,
        error("JSONDecodeError", None, "Expecting value: line 1 column 1 (char 0)"),
        broke("the model's server ended its answer in the middle"),
        "not an error class that a program would look for; left out here, and nothing comes after it",
    ),
    "no finish reason": Break(
        scripts.NO_FINISH,
        None,
        broke("the model's server ended its answer in the middle"),
        "the client alone takes this for a whole answer",
    ),
    "too early": Break(
        scripts.DONE_TOO_EARLY,
        None,
        broke("the model's server ended its answer in the middle"),
        "the client alone takes this for a whole answer",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_errors_inside_a_stream(stage: Stage, kind: str, name: str) -> None:
    """What had come before is there chunk for chunk, then an error: through Trimtab a broken stream never just ends."""
    broken = BREAKS[name]
    stage.plays(broken.script)
    pair = stage.both(driven(kind, streams), attempts=(1, 1), upstream=1, hung_up=(0, 0))
    direct, through = pair.direct.said, pair.through.said
    assert (direct.pop("error"), through.pop("error")) == (broken.direct, broken.through), broken.why
    assert differing(direct, through) == {}
    assert text(through["chunks"]) == ["", "one", " two"]


def test_an_error_event_before_any_text(stage: Stage, kind: str) -> None:
    """Nothing has left yet: the next tier answers, and the client never hears of it."""
    stage.plays(sequence(scripts.ERROR_AT_ONCE, scripts.HELLO))
    pair = stage.both(driven(kind, streams), attempts=(1, 1), upstream=2, hung_up=(0, 0))
    assert pair.direct.said["error"] == error("APIError", None, "Boom", "boom", None, "server_error")
    assert (pair.through.said["error"], text(pair.through.said["chunks"])[1]) == (None, "Grüß")


# --- retries by the client ------------------------------------------------------------------------------------------


class Retried(NamedTuple):
    """A client with `max_retries`; attempts without Trimtab and through it, and what the upstream then sees."""

    script: Script
    retries: int
    attempts: tuple[int, int]
    upstream: int
    direct: Told
    through: Told


OK = {"class": None, "answer": "'Grüß'"}
NO = error("InternalServerError", 500, "no", "500", None, "error")
NO_502 = failed("the model's server answered 500")
RETRIES = {
    # two faults: the client alone needs three attempts; through us one takes both, and the next tier answers
    "two faults, retries on": Retried(scripts.fails_then(2, 500, scripts.HELLO), 2, (3, 1), 3, OK, OK),
    # one fault: hidden by asking once more, whether the client retries or not
    "one fault, retries on": Retried(scripts.fails_then(1, 500, scripts.HELLO), 2, (2, 1), 2, OK, OK),
    "one fault, retries off": Retried(scripts.fails_then(1, 500, scripts.HELLO), 0, (1, 1), 2, NO, OK),
    # a fault that stays: two attempts each, eight of them at the upstream: two tiers, twice
    "faults for ever, one retry": Retried(scripts.fails(500), 1, (2, 2), 8, NO, NO_502),
    "faults for ever, retries off": Retried(scripts.fails(500), 0, (1, 1), 4, NO, NO_502),
    # the caller's fault is not retried by anybody
    "wrong request, retries on": Retried(
        FAULTS["400"].script, 2, (1, 1), 1, FAULTS["400"].direct, FAULTS["400"].through
    ),
    # too much for every model, and said to be for ever
    "too long, retries on": Retried(
        FAULTS["context"].script, 2, (1, 1), 2, FAULTS["context"].direct, FAULTS["context"].through
    ),
}


@pytest.mark.parametrize("name", RETRIES)
def test_retries(stage: Stage, kind: str, name: str) -> None:
    """Who retries how often, and what the upstream sees of it, is exactly as counted in the table."""
    row = RETRIES[name]

    async def case(chat: Chat) -> Any:
        return await told_of(first_word(chat))

    stage.plays(row.script)
    pair = stage.both(driven(kind, case, max_retries=row.retries), row.attempts, row.upstream, hung_up=(0, 0))
    assert (pair.direct.said, pair.through.said) == (row.direct, row.through)
    counts = [seen.headers.get("x-stainless-retry-count") for seen in pair.direct.asked]
    assert counts == [str(number) for number in range(row.attempts[0])]


# --- time, and clients that go --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("case", "retries"), [(asks, 0), (asks_for_a_stream, 0), (asks, 1)])
def test_a_client_that_waits_no_longer(stage: Stage, kind: str, case: Any, retries: int) -> None:
    """The client's own timeout is its own error; each attempt ends at the upstream, too, which sees the hang-up."""
    stage.plays(scripts.HANG)
    tries = retries + 1
    pair = stage.same(
        driven(kind, case, timeout=SHORT_S, max_retries=retries), attempts=tries, upstream=tries, hung_up=tries
    )
    assert pair.through.said == error("APITimeoutError", None, "Request timed out.")


def test_a_stream_that_stops(stage: Stage, kind: str) -> None:
    """Texts so far, then the client's own timeout; the upstream sees the hang-up."""

    async def case(chat: Chat) -> Any:
        return await chat.streamed()

    stage.plays(scripts.HANG_MIDWAY)
    pair = stage.same(driven(kind, case, timeout=SHORT_S), hung_up=1)
    assert text(pair.through.said["chunks"]) == ["", "one", " two"]
    assert pair.through.said["error"] == error("APITimeoutError", None, "Request timed out.")


def test_a_client_that_goes(stage: Stage, kind: str) -> None:
    """A client that closes a stream after the first text is gone for the upstream, too."""

    async def case(chat: Chat) -> Any:
        stream = await chat.create(stream=True)
        found = []
        async for chunk in each(stream):
            found.append(chunk.choices[0].delta.content)
            if found[-1]:
                break
        await settled(stream.close())
        return found

    stage.plays(scripts.HANG_MIDWAY)
    pair = stage.same(driven(kind, case), hung_up=1)
    assert pair.through.said == ["", "one"]
    assert stage.gateway.last.code == "client_closed"


# --- what Trimtab refuses itself ------------------------------------------------------------------------------------


def test_a_wrong_key(stage: Stage, kind: str) -> None:
    """401 as AuthenticationError under OpenAI's code, not retried; the upstream never hears of it."""
    stage.plays(scripts.HELLO)
    stage.same(
        driven(kind, asks, api_key=scripts.WRONG_KEY, max_retries=2),
        Differs("message", "Incorrect API key provided", "The API key is unknown or revoked.", "our words"),
        Differs("type", "invalid_request_error", "authentication_error", "ours tells 401 from 400"),
        upstream=0,
    )


def test_an_unknown_model(stage: Stage, kind: str) -> None:
    """404 as NotFoundError under OpenAI's code, naming the field; the upstream never hears of it."""

    async def case(chat: Chat) -> Any:
        return await told_of(chat.create(model="gpt-5o"))

    stage.plays(scripts.HELLO)
    stage.same(
        driven(kind, case, max_retries=2),
        Differs("message", "The model does not exist", "there is no model 'gpt-5o'. Did you mean gpt-4o?", "our words"),
        Differs("type", "invalid_request_error", "not_found_error", "ours tells 404 from 400"),
        Differs("param", None, "model", "ours names the field"),
        upstream=0,
    )


def test_a_model_that_is_not_the_callers(stage: Stage, kind: str) -> None:
    """403 as PermissionDeniedError for a model that exists, but may not be chosen; nobody is asked."""

    async def case(chat: Chat) -> Any:
        return await told_of(chat.create(model="medium-plain"))

    stage.plays(scripts.HELLO)
    played = stage.play(driven(kind, case, max_retries=2), stage.through, attempts=1, upstream=0, hung_up=0)
    message = "this channel does not let callers choose 'medium-plain': send model: auto"
    assert played.said == error("PermissionDeniedError", 403, message, "model_not_allowed", "model", "permission_error")


def test_a_wrong_field(stage: Stage, kind: str) -> None:
    """400 as BadRequestError naming the field, as the upstream would say; it never hears of it."""

    async def case(chat: Chat) -> Any:
        return await told_of(chat.create(temperature=3))

    stage.plays(FAULTS["400"].script)
    stage.same(
        driven(kind, case),
        Differs("message", "Temperature is too high", "temperature takes a number from 0 to 2", "our words"),
        Differs("code", "invalid_value", "invalid_request", "one code for all wrong fields"),
        upstream=0,
    )


async def waits(chat: Chat) -> Any:
    """What a client asks twice, and the headers that tell it when to come again."""
    found = []
    for _ in range(2):
        try:
            found.append(await first_word(chat))
        except openai.APIStatusError as raised:
            names = ("retry-after", "x-should-retry")
            found.append([told(raised), {name: raised.response.headers.get(name) for name in names}])
    return found


@pytest.fixture
def limited(servers: Servers, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Stage]:
    """A stage whose key may send so many requests a second, one at once."""
    old = "limits: {requests: {per_s: 1000, burst: 1000}"
    edit = replaced("tenants/shop.yaml", old, f"limits: {{requests: {{per_s: {request.param}, burst: 1}}")
    with opened(servers, tmp_path, edit) as stage:
        yield stage


@pytest.mark.parametrize("limited", [1], indirect=True)
def test_a_rate_limit_of_ours(limited: Stage, kind: str) -> None:
    """A client that retries comes again when our 429 says, and is then answered."""
    limited.plays(scripts.HELLO)
    played = limited.play(driven(kind, waits, max_retries=2), limited.through, attempts=3, upstream=2, hung_up=0)
    assert played.said == ["Grüß", "Grüß"]
    assert [record.status for record in limited.gateway.records] == [200, 429, 200]


@pytest.mark.parametrize("limited", [0.001], indirect=True)
def test_a_long_rate_limit_of_ours(limited: Stage, kind: str) -> None:
    """A client that would have to wait for many minutes is told not to retry, and does not."""
    limited.plays(scripts.HELLO)
    played = limited.play(driven(kind, waits, max_retries=2), limited.through, attempts=2, upstream=1, hung_up=0)
    first, (refused, headers) = played.said
    assert (first, headers) == ("Grüß", {"retry-after": "1000", "x-should-retry": "false"})
    assert (refused["class"], refused["status"], refused["code"]) == ("RateLimitError", 429, "rate_limited")


def test_a_spent_budget(servers: Servers, tmp_path: Path, kind: str) -> None:
    """429 as RateLimitError that a client which retries does not retry: waiting does not bring money."""
    edit = replaced(
        "tenants/shop.yaml", 'budgets: [{period: day, usd: "10"}]', 'budgets: [{period: day, usd: "0.000001"}]'
    )
    with opened(servers, tmp_path, edit) as stage:
        stage.plays(scripts.HELLO)
        played = stage.play(driven(kind, asks, max_retries=2), stage.through, attempts=1, upstream=0, hung_up=0)
    told = played.said
    assert (told["class"], told["status"], told["code"]) == ("RateLimitError", 429, "budget_exhausted")


def test_models(stage: Stage, kind: str) -> None:
    """`models.list` gives what this key may send, the embedder too; `retrieve` one of them, or NotFoundError."""

    async def case(chat: Chat) -> Any:
        listed = [model async for model in each(await settled(chat.client.models.list()))]
        one = await chat.model("gpt-4o")
        missing = await told_of(chat.model("small"))
        names = [(type(model).__name__, model.id, model.object, model.owned_by) for model in [*listed, one]]
        return [names, missing["class"], missing["code"]]

    expected = [("Model", name, "model", "trimtab") for name in ("auto", "gpt-4o", "hash-256", "gpt-4o")]
    played = stage.play(driven(kind, case), stage.through, attempts=0, upstream=0, hung_up=0)
    assert played.said == normal([expected, "NotFoundError", "model_not_found"])


def test_models_of_a_wrong_key(stage: Stage, kind: str) -> None:
    """Who has no key is not told which models there are."""

    async def case(chat: Chat) -> Any:
        return (await told_of(chat.model("gpt-4o")))["class"]

    case_ = driven(kind, case, api_key=scripts.WRONG_KEY)
    assert stage.play(case_, stage.through, attempts=0, upstream=0, hung_up=0).said == "AuthenticationError"
