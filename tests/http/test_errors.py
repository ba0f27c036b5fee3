"""How refusals look on the wire."""

from __future__ import annotations

import pytest

from trimtab.core.errors import Code, Refusal
from trimtab.surfaces.server import error_headers, error_object


def test_the_error_object_has_openais_fields_and_ours() -> None:
    """Message, type, param and code where clients look for them; record, rule, wait and page under `trimtab`."""
    refusal = Refusal(code=Code.RATE_LIMITED, message="too fast", rule="limit:key", param="model", retry_after_s=1.5)
    error = error_object(refusal, "rec_1")["error"]
    ours = error.pop("trimtab")
    assert error == {"message": "too fast", "type": "rate_limit_error", "param": "model", "code": "rate_limited"}
    assert (ours["record"], ours["rule"], ours["retry_after_s"]) == ("rec_1", "limit:key", 1.5)
    assert ours["doc"] == "docs/reference/errors.md#rate_limited"


def test_the_upstreams_own_words_come_first() -> None:
    """Where the upstream's error is the caller's business its fields are OpenAI's, and ours keep their code."""
    upstream: dict[str, object] = {"message": "theirs", "type": "t", "param": "p", "code": 400}
    refusal = Refusal(code=Code.UPSTREAM_REJECTED, message="ours", upstream=upstream)
    error = error_object(refusal, None)["error"]
    assert (error["message"], error["type"], error["param"], error["code"]) == ("theirs", "t", "p", 400)
    assert error["trimtab"]["code"] == "upstream_rejected"


def test_fields_that_the_upstream_left_out_are_ours() -> None:
    """A partial upstream error is filled up, never with nulls where we know better."""
    refusal = Refusal(code=Code.UPSTREAM_REJECTED, message="ours", upstream={"message": "theirs"})
    error = error_object(refusal, None)["error"]
    assert (error["message"], error["type"], error["code"]) == ("theirs", "invalid_request_error", "upstream_rejected")


@pytest.mark.parametrize(
    ("wait_s", "headers"),
    [
        (None, {}),
        (0.0, {"retry-after": "0", "retry-after-ms": "0"}),
        (0.0004, {"retry-after": "1", "retry-after-ms": "1"}),
        (1.2, {"retry-after": "2", "retry-after-ms": "1200"}),
        (60.0, {"retry-after": "60", "retry-after-ms": "60000"}),
        (60.1, {"retry-after": "61", "retry-after-ms": "60100", "x-should-retry": "false"}),
    ],
)
def test_waits_are_rounded_up_and_long_ones_stop_retries(wait_s: float | None, headers: dict[str, str]) -> None:
    """Nobody is told to come back too early, and nobody sleeps for more than a minute on our word."""
    assert dict(error_headers(Refusal(code=Code.QUEUE_FULL, message="", retry_after_s=wait_s))) == headers


@pytest.mark.parametrize("code", list(Code))
def test_what_can_never_succeed_says_so(code: Code) -> None:
    """`x-should-retry: false` is sent exactly for codes that are not retryable."""
    said = dict(error_headers(Refusal(code=code, message="")))
    assert (said.get("x-should-retry") == "false") is not code.value.retryable
