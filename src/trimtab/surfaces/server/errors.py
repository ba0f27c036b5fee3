"""How a refusal looks on the wire: OpenAI's error body with our reason beside it, and the headers that clients obey."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from trimtab.core.errors import Code, Refusal

_LONGEST_WAIT_S = 60
"""Above this a client is told not to retry: Node's OpenAI client sleeps for any `Retry-After` that it is given."""


def error_object(refusal: Refusal, record: str | None) -> dict[str, Any]:
    """The body of an error answer, or of an error event inside a stream.

    Where the upstream's own words are the caller's business (`refusal.upstream`) they fill OpenAI's fields, and ours
    stay under `trimtab`. `record` is the id that `trimtab explain` takes.
    """
    spec = refusal.code.value
    theirs = refusal.upstream or {}
    return {
        "error": {
            "message": theirs.get("message", refusal.message),
            "type": theirs.get("type", spec.type),
            "param": theirs.get("param", refusal.param),
            "code": theirs.get("code", refusal.code.wire),
            "trimtab": {
                "code": refusal.code.wire,
                "record": record,
                "rule": refusal.rule,
                "retry_after_s": refusal.retry_after_s,
                "cause": spec.cause,
                "fix": spec.fix,
                "doc": f"docs/reference/errors.md#{refusal.code.wire}",
            },
        }
    }


def error_headers(refusal: Refusal) -> list[tuple[str, str]]:
    """`retry-after` in whole seconds, rounded up so that nobody comes early; `retry-after-ms` for clients that read it;
    `x-should-retry: false` where the same request can't succeed, or not within a minute.
    """
    headers: list[tuple[str, str]] = []
    wait_s = refusal.retry_after_s
    if wait_s is not None:
        headers.append(("retry-after", str(math.ceil(wait_s))))
        headers.append(("retry-after-ms", str(math.ceil(wait_s * 1000))))
    if not refusal.code.value.retryable or (wait_s is not None and math.ceil(wait_s) > _LONGEST_WAIT_S):
        headers.append(("x-should-retry", "false"))
    return headers


def error_answer(code: Code, message: str, retry_after_s: float | None = None) -> tuple[list[tuple[str, str]], bytes]:
    """Headers and body of an error that has no record: what the protocol itself refuses."""
    refusal = Refusal(code=code, message=message, retry_after_s=retry_after_s)
    body = msgspec.json.encode(error_object(refusal, None))
    headers = [("content-type", "application/json"), ("content-length", str(len(body))), *error_headers(refusal)]
    return headers, body
