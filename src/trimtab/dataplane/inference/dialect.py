"""OpenAI's chat dialect towards upstreams: the request's bytes, and what an error answer means for us.

Always streamed, also for callers who don't stream: llama.cpp (and others) notice a hang-up only while they write.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import msgspec

from trimtab.core.decision import Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.images import parts_of, put_back
from trimtab.core.models import Dialect, Variant
from trimtab.core.request import Body, Message

NOT_ALLOWED: Mapping[str, frozenset[str]] = {
    dialect: frozenset(
        {"n_predict", "ignore_eos", "n_cmpl", "id_slot", "cache_salt", "extra_key", "priority", "kv_transfer_params"}
    )
    for dialect in get_args(Dialect)
}
"""Fields of callers that would move caps, slots, tenancy or egress, by dialect."""

Consequence = Literal["retry", "next", "final"]
"""Another replica may help; this model can't, another may; nobody can, and the caller is told."""

SALTED = frozenset({"vllm", "sglang"})
"""Dialects whose engines keep prefixes apart by a salt."""

Harm = Literal["none", "one", "eject"]

BUSY_S = 1.0
"""How long a key is left alone that is over its rate and was not told for how long."""
_OWN_FORM = frozenset({"grammar", "json_schema", "response_format"})
_encode = msgspec.json.Encoder().encode
_CONTEXT = re.compile(r"context|too long|maximum.*tokens|exceed_context", re.IGNORECASE)
_FILTER = re.compile(r"content.?(filter|policy|management)|responsibleai|safety", re.IGNORECASE)
_NO_KEY = "API_KEY_INVALID"
"""What Google says with a 400."""
_SECONDS = re.compile(r"(\d{1,5}(?:\.\d{1,9})?)s")
_SKEW = re.compile(r"(Signature expired)|Signature not yet current|RequestTimeTooSkewed")
"""What AWS says where a signature's time is more than five minutes from its own."""
_RETRYABLE = frozenset({408, 409, 425, 429})


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why an attempt failed: `reason` for the record (short, ours), the refusal if it was the last one."""

    consequence: Consequence
    reason: str
    refusal: Refusal
    rest_s: float | None = None
    """The replica wants to be left alone for so long: it said so, or is over its rate."""
    again: bool = False
    """The same replica may well answer if it is asked once more: it hung up, had a fault, or was busy."""
    harm: Harm = "none"
    """What it says of the replica's health: nothing, a failure, or that nobody need be sent there."""


class AttemptFailed(Exception):  # noqa: N818 - named by what happened
    """The attempt is over; `fault` says what that means."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.reason)
        self.fault = fault


def encode(plan: Plan, messages: Sequence[Message], body: Body, sentences: Sequence[str] = (), salt: str = "") -> bytes:
    """The request of one attempt in OpenAI's words. What the plan decides (caps, prompt, engine) is written over what
    the caller said.

    `sentences`: the answer is one of these, if there are any; llama.cpp's sampler takes no other token (GBNF). `salt`:
    the tenant's, where the engine keeps prefixes by it (vLLM, SGLang).
    """
    variant = plan.variant
    options = body.extra.get("stream_options")
    if body.images:
        messages = put_back(_shown_by_users(messages), body.images)
    request: dict[str, Any] = {
        **variant.sampling,
        **body.extra,
        **variant.engine,
        "model": variant.upstream_model,
        "messages": [{"role": "system", "content": variant.system}, *messages] if variant.system else messages,
        "stream": True,
        "stream_options": {**(options if isinstance(options, dict) else {}), "include_usage": True},
        body.cap_field: plan.max_tokens,
    }
    if body.temperature is not None:
        request["temperature"] = body.temperature
    if plan.choices > 1:
        request["n"] = plan.choices
    if variant.dialect == "llamacpp":
        request["timings_per_token"] = True  # exact usage, also of a stream that is cut
        if sentences:
            request["grammar"] = f"root ::= {' | '.join(_literal(one) for one in dict.fromkeys(sentences))}"
    elif variant.dialect in SALTED:
        request["cache_salt"] = salt  # no tenant's prompt begins where another's ended
        if messages and messages[-1]["role"] == "assistant":  # a prefill, to be gone on with
            request |= {"continue_final_message": True, "add_generation_prompt": False}
    return _encode(request)


def _shown_by_users(messages: Sequence[Message]) -> list[Message]:
    """The messages with images in users' turns alone: the result of a tool is text in chat, so that what it shows
    stands in a turn behind the results."""
    found: list[Message] = []
    waiting: list[dict[str, Any]] = []
    for message in messages:
        if waiting and message["role"] != "tool":
            found.append({"role": "user", "content": waiting})
            waiting = []
        if message["role"] == "tool" and (shown := list(parts_of(message))):
            waiting += [{"type": "text", "text": f"Shown by {message.get('tool_call_id')}:"}, *shown]
            told = [part for part in message["content"] if part not in shown]
            message = {**message, "content": told or "shown below"}
        found.append(message)
    return [*found, {"role": "user", "content": waiting}] if waiting else found


def extracts(variant: Variant, body: Body) -> bool:
    """Whether an answer may be held to sentences that are given. A caller who asks for tools or a format of their own
    gets that instead: two grammars can't both hold."""
    return variant.extractive and not body.has_tools and _OWN_FORM.isdisjoint(body.extra)


def _literal(text: str) -> str:
    """A text as GBNF writes it, which is as JSON does."""
    return msgspec.json.encode(text).decode()


def fault_of_status(status: int, headers: Mapping[str, str], data: bytes) -> Fault:
    """What an answer that is not 200 means. The body may be anything."""
    error = error_object(data) or _of_amazon(headers, data)
    said = str(error.get("message", ""))[:500] if error else ""
    reason = f"http {status}"
    if (skew := _SKEW.search(said)) is not None and status in (400, 403):
        which = "behind" if skew[1] else "ahead of"
        message = f"the model's server refused us: this machine's clock is {which} its own"
        return _failed("retry", "clock skew", message, harm="eject")
    if status in (401, 402, 403) or _NO_KEY in _reasons(
        error or {}
    ):  # our credential or our account there: the caller can't mend it, another key may
        return _failed("retry", reason, f"the model's server refused us ({status})", harm="eject")
    if 400 <= status < 500 and status not in _RETRYABLE:
        return _rejected(status, error, said, reason)
    if status == 429 and error and _names(error) & {"insufficient_quota", "billing_hard_limit_reached"}:
        message = "the provider's account is out of money"
        return _failed("retry", "no money there", message, harm="eject")
    message = f"the model's server answered {status}"
    rest_s = retry_after_s(headers)
    if rest_s is None and error:
        rest_s = _retry_info_s(error)
    if status == 429:  # over its rate, not ill
        return _failed("retry", reason, message, rest_s=BUSY_S if rest_s is None else rest_s, again=True)
    return _failed("retry", reason, message, rest_s=rest_s, again=status >= 500, harm="one")


def fault_of_event(error: Any) -> Fault:
    """An error inside a stream that began with 200."""
    fields = error if isinstance(error, dict) else {"message": str(error)}
    if _FILTER.search(" ".join(_names(fields))):
        return content_refused(fields)
    said = str(fields.get("message") or fields.get("type") or "")[:200]
    return _failed("retry", "error event", f"the model's server reported an error: {said}".rstrip(": "), harm="one")


def failed(reason: str, message: str, *, again: bool = False, harm: Harm = "one") -> Fault:
    """A fault of the way or the server: another replica may do better."""
    return _failed("retry", reason, message, again=again, harm=harm)


def error_object(data: bytes) -> dict[str, Any] | None:
    """The error of a JSON body, wherever its server puts it: an object or text under `error`, or the top level."""
    try:
        body = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if isinstance(body, list) and body:
        body = body[0]
    if not isinstance(body, dict):
        return None
    error = body.get("error", body if body.get("object") == "error" else None)
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """`retry-after-ms`, else `retry-after` in seconds (RFC 9110 section 10.2.3; a date is taken for a second)."""
    for name, scale in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        if not text:
            continue
        try:
            seconds = float(text) * scale
        except ValueError:
            return 1.0
        return seconds if 0 <= seconds < 86_400 else 1.0
    return None


def _reasons(error: Mapping[str, Any]) -> set[str]:
    """Google's ErrorInfo among an error's details."""
    details = error.get("details")
    found = details if isinstance(details, list) else []
    return {str(detail.get("reason")) for detail in found if isinstance(detail, dict)}


def _retry_info_s(error: Mapping[str, Any]) -> float | None:
    """Google's RetryInfo among an error's details: `retryDelay`, seconds with an `s`."""
    details = error.get("details")
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, dict) else None
        if isinstance(delay, str) and (found := _SECONDS.fullmatch(delay)):
            return float(found[1])
    return None


def _of_amazon(headers: Mapping[str, str], data: bytes) -> dict[str, Any] | None:
    """An AWS error: its name in a header, its message at the top of the body."""
    name = headers.get("x-amzn-errortype", "").partition(":")[0]
    if not name:
        return None
    try:
        body = msgspec.json.decode(data)
    except msgspec.DecodeError:
        body = None
    message = body.get("message") if isinstance(body, dict) else None
    return {"code": name, "message": message if isinstance(message, str) else name}


def _rejected(status: int, error: dict[str, Any] | None, said: str, reason: str) -> Fault:
    """400, 404, 413, 422: the request, or the model's name there."""
    names = " ".join(_names(error or {}))
    if error is not None and _FILTER.search(names):
        return content_refused(error)
    if status != 404 and (_CONTEXT.search(names) or _CONTEXT.search(said)):
        message = said or Code.CONTEXT_LENGTH_EXCEEDED.value.cause
        refusal = Refusal(code=Code.CONTEXT_LENGTH_EXCEEDED, message=message, param="messages", upstream=_quoted(error))
        return Fault(consequence="next", reason="context length", refusal=refusal)
    if status in (400, 413, 422):
        message = said or Code.UPSTREAM_REJECTED.value.cause
        refusal = Refusal(code=Code.UPSTREAM_REJECTED, message=message, upstream=_quoted(error))
        return Fault(consequence="final", reason=reason, refusal=refusal)
    return _failed("next", reason, f"the model's server answered {status}")


def content_refused(error: dict[str, Any]) -> Fault:
    """The provider's own filter: nobody else is asked, and the caller is told in its words."""
    refusal = Refusal(
        code=Code.CONTENT_REFUSED,
        message=str(error.get("message") or Code.CONTENT_REFUSED.value.cause)[:500],
        upstream=_quoted(error),
    )
    return Fault(consequence="final", reason="content filter", refusal=refusal)


def _failed(
    consequence: Consequence,
    reason: str,
    message: str,
    *,
    rest_s: float | None = None,
    again: bool = False,
    harm: Harm = "none",
) -> Fault:
    return Fault(
        consequence=consequence,
        reason=reason,
        refusal=Refusal(code=Code.UPSTREAM_FAILED, message=message, retry_after_s=rest_s),
        rest_s=rest_s,
        again=again,
        harm=harm,
    )


def _names(error: Mapping[str, Any]) -> set[str]:
    """What an error calls itself."""
    inner = error.get("innererror")
    parts = [error.get("code"), error.get("type"), inner.get("code") if isinstance(inner, dict) else None]
    return {str(part) for part in parts if part is not None}


def _quoted(error: dict[str, Any] | None) -> dict[str, object] | None:
    """OpenAI's four fields of the upstream's error; nothing else of it leaves (it may hold addresses or keys)."""
    if error is None:
        return None
    kept: dict[str, object] = {}
    for name in ("message", "type", "param", "code"):
        value = error.get(name)
        if isinstance(value, str):
            kept[name] = value[:1000]
        elif isinstance(value, int):
            kept[name] = value
    return kept or None
