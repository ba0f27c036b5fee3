"""Requests that can't be served: a code, a record, nothing held, never a 500."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from support.frontdoor import clock
from support.gateway import KEY, OTHER_KEY, Gateway, chat, post, replaced
from support.rawhttp import RawAnswer, RawClient
from support.upstream import ScriptedUpstream
from trimtab.core.keys import hash_key, key_id, make
from trimtab.surfaces.twin import run_virtual

HELLO = [{"role": "user", "content": "Hello"}]
PIXEL = "data:image/gif;base64,R0lGODlhAQABAAAAACw="
DEEP = b'{"messages": ' + b"[" * 200_000 + b"]" * 200_000 + b"}"

BODIES: dict[str, tuple[bytes, int, str]] = {
    "nothing": (b"", 400, "malformed_json"),
    "half an object": (b'{"messages": [', 400, "malformed_json"),
    "nan": (b'{"messages": [{"role": "user", "content": "x"}], "temperature": NaN}', 400, "malformed_json"),
    "infinity": (b'{"messages": [], "top_p": Infinity}', 400, "malformed_json"),
    "invalid utf-8": (b'{"messages": [{"role": "user", "content": "\xff\xfe"}]}', 400, "malformed_json"),
    "nested 200,000 deep": (DEEP, 400, "malformed_json"),
    "a list": (b"[]", 400, "invalid_request"),
    "a text": (b'"hello"', 400, "invalid_request"),
}
FIELDS: dict[str, tuple[dict[str, Any], int, str, str]] = {
    "no messages": ({"messages": None}, 400, "invalid_request", "messages"),
    "empty messages": ({"messages": []}, 400, "invalid_request", "messages"),
    "messages is a text": ({"messages": "hi"}, 400, "invalid_request", "messages"),
    "a message is a text": ({"messages": ["hi"]}, 400, "invalid_request", "messages[0]"),
    "unknown role": ({"messages": [{"role": "king", "content": "x"}]}, 400, "invalid_request", "messages[0].role"),
    "role is a list": ({"messages": [{"role": [], "content": "x"}]}, 400, "invalid_request", "messages[0].role"),
    "content is a number": (
        {"messages": [{"role": "user", "content": 7}]},
        400,
        "invalid_request",
        "messages[0].content",
    ),
    "tool calls are a text": (
        {"messages": [{"role": "assistant", "tool_calls": "x"}]},
        400,
        "invalid_request",
        "messages[0].tool_calls",
    ),
    "n is 0": ({"n": 0}, 400, "invalid_request", "n"),
    "n is true": ({"n": True}, 400, "invalid_request", "n"),
    "n is huge": ({"n": 10**30}, 400, "invalid_request", "n"),
    "max_tokens is negative": ({"max_tokens": -1}, 400, "invalid_request", "max_tokens"),
    "max_tokens is a text": ({"max_tokens": "9"}, 400, "invalid_request", "max_tokens"),
    "temperature is 3": ({"temperature": 3}, 400, "invalid_request", "temperature"),
    "stream is a text": ({"stream": "yes"}, 400, "invalid_request", "stream"),
    "model is a number": ({"model": 4}, 400, "invalid_request", "model"),
    "model is endless": ({"model": "x" * 70_000}, 400, "invalid_request", "model"),
    "stream_options without stream": ({"stream_options": {}}, 400, "invalid_request", "stream_options"),
    "n_predict": ({"n_predict": 99999}, 400, "field_not_allowed", "n_predict"),
    "cache_salt": ({"cache_salt": "x"}, 400, "field_not_allowed", "cache_salt"),
    "id_slot": ({"id_slot": 3}, 400, "field_not_allowed", "id_slot"),
    "an image to fetch": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://10.0.0.1/"}}]}]},
        400,
        "field_not_allowed",
        "messages[0].content[0].image_url",
    ),
    "an image of no kind": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:x"}}]}]},
        400,
        "invalid_request",
        "messages[0].content[0].image_url",
    ),
    "an image without its address": (
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        400,
        "invalid_request",
        "messages[0].content[0].image_url",
    ),
    "an image where none is taken": (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": PIXEL}}]}]},
        400,
        "invalid_request",
        "messages",
    ),
    "unknown model": ({"model": "gpt-9"}, 404, "model_not_found", "model"),
    "a model that is not the caller's": ({"model": "small-plain"}, 403, "model_not_allowed", "model"),
    "an unknown contract term": ({"trimtab": {"latncy_ms": 5}}, 400, "invalid_contract", "trimtab.latncy_ms"),
    "a contract that is a text": ({"trimtab": "fast"}, 400, "invalid_contract", "trimtab"),
    "a term that is no number": ({"trimtab": {"latency_ms": "soon"}}, 400, "invalid_contract", "trimtab.latency_ms"),
    "a term in metadata": (
        {"metadata": {"trimtab-min-quality": "2"}},
        400,
        "invalid_contract",
        "metadata.trimtab-min-quality",
    ),
}
HEADERS = {
    "latency that is no number": ("trimtab-latency-ms: fast", 400, "invalid_contract"),
    "latency of zero": ("trimtab-latency-ms: 0", 400, "invalid_contract"),
    "latency nan": ("trimtab-latency-ms: nan", 400, "invalid_contract"),
    "cost below zero": ("trimtab-max-cost-usd: -1", 400, "invalid_contract"),
    "cost that is infinite": ("trimtab-max-cost-usd: inf", 400, "invalid_contract"),
    "quality above 1": ("trimtab-min-quality: 1.5", 400, "invalid_contract"),
    "unknown priority": ("trimtab-priority: asap", 400, "invalid_contract"),
    "unknown persona": ("trimtab-persona: king", 400, "invalid_contract"),
    "unknown term": ("trimtab-latencyms: 5", 400, "invalid_contract"),
    "channel of another tenant": ("trimtab-channel: desk", 403, "channel_not_allowed"),
    "unknown channel": ("trimtab-channel: nowhere", 403, "channel_not_allowed"),
    "a cap that pays for nothing": ("trimtab-max-cost-usd: 0.0000001", 429, "cost_cap"),
}


def code_of(answer: RawAnswer) -> str:
    """The code of an OpenAI error body, whose shape is checked on the way."""
    error = answer.json["error"]
    assert isinstance(error["message"], str)
    assert error["message"]
    assert isinstance(error["type"], str)
    return str(error["code"])


def refused(folder: Path, request: bytes) -> tuple[RawAnswer, Gateway, int]:
    """The answer to a request over a gateway on virtual time; how many requests reached the upstream."""

    async def main() -> tuple[RawAnswer, Gateway, int]:
        async with ScriptedUpstream() as up, Gateway(folder, up.url, up.url) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(request)
                return await client.answer(), gateway, len(up.requests)

    return run_virtual(main)


@pytest.mark.parametrize("name", list(BODIES))
def test_a_body_that_is_no_request_is_400_with_a_record(name: str, tmp_path: Path) -> None:
    """The code says what is wrong with it, and the record has the same code."""
    body, status, code = BODIES[name]
    answer, gateway, asked = refused(tmp_path, post(body))
    assert (answer.status, code_of(answer), asked) == (status, code, 0)
    assert (gateway.last.status, gateway.last.code, gateway.last.path) == (status, code, "refused")


@pytest.mark.parametrize("name", list(FIELDS))
def test_a_field_that_is_wrong_is_named(name: str, tmp_path: Path) -> None:
    """`param` is the field as the caller wrote it."""
    fields, status, code, param = FIELDS[name]
    body = msgspec.json.encode({"messages": HELLO, **fields})
    answer, gateway, asked = refused(tmp_path, post(body))
    assert (answer.status, code_of(answer), answer.json["error"]["param"], asked) == (status, code, param, 0)
    assert gateway.last.code == code


@pytest.mark.parametrize("name", list(HEADERS))
def test_a_contract_header_that_cannot_be_meant_is_refused(name: str, tmp_path: Path) -> None:
    """What can't be read, or never could apply, is no silent default."""
    header, status, code = HEADERS[name]
    answer, gateway, asked = refused(tmp_path, chat("Hello", header))
    assert (answer.status, code_of(answer), asked) == (status, code, 0)
    assert gateway.last.code == code


def test_an_unknown_channel_and_another_tenants_look_the_same(tmp_path: Path) -> None:
    """Nothing tells a caller which channels exist elsewhere."""
    one, _, _ = refused(tmp_path / "a", chat("Hello", "trimtab-channel: desk"))
    two, _, _ = refused(tmp_path / "b", chat("Hello", "trimtab-channel: nowhere"))
    mine, theirs = one.json["error"], two.json["error"]
    for error in (mine, theirs):
        del error["trimtab"]["record"]
    assert mine == theirs


def test_a_model_typo_gets_a_suggestion_that_may_be_sent(tmp_path: Path) -> None:
    """The nearest of the names that this key may send."""
    answer, _, _ = refused(tmp_path, chat(model="gpt-4p"))
    assert "Did you mean gpt-4o?" in answer.json["error"]["message"]


def test_a_prompt_of_100_000_tokens_is_refused_before_any_model_sees_it(tmp_path: Path) -> None:
    """Where money would allow it the context does not: 400 with the code that clients know, and no request upstream."""

    async def main() -> None:
        edit = replaced("tenants/shop.yaml", 'max_per_request_usd: "0.05"}\n    tiers: [S, M]\n    cache',
                        'max_per_request_usd: "9"}\n    tiers: [S, M]\n    cache')  # fmt: skip
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url, edit) as gateway:
            answer = await gateway.ask("word " * 100_000)
            assert (answer.status, code_of(answer), len(up.requests)) == (400, "context_length_exceeded", 0)

    run_virtual(main)


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (None, "missing_api_key"),
        ("Authorization: Basic abc", "missing_api_key"),
        ("Authorization: Bearer nonsense", "invalid_api_key"),
        (f"Authorization: Bearer {KEY[:-1]}", "invalid_api_key"),
        (f"Authorization: Bearer {KEY[:-2]}{KEY[-1]}{KEY[-2]}", "invalid_api_key"),
        ("Authorization: Bearer tt-demo-shop", "invalid_api_key"),
    ],
)
def test_a_bad_key_is_401_before_the_body_is_looked_at(header: str | None, code: str, tmp_path: Path) -> None:
    """And the key is in no answer."""
    headers = () if header is None else (header,)
    answer, gateway, _ = refused(tmp_path, post(b"not json", *headers, key=None))
    assert (answer.status, code_of(answer)) == (401, code)
    assert "body" not in gateway.last.stages
    assert header is None or header.split()[-1].encode() not in answer.body


@pytest.mark.parametrize(
    ("extra", "key"),
    [
        (' revoked_at: "2026-01-01T00:00:00Z", expires_at: "2026-01-01T00:00:00Z",', KEY),
        ("", make("test", lambda count: bytes(range(50, 50 + count)))),
    ],
)
def test_revoked_keys_are_unknown_keys(extra: str, key: str, tmp_path: Path) -> None:
    """The same answer for both, also where a revoked key has expired as well."""

    async def main() -> None:
        edit = replaced("tenants/shop.yaml", "default_channel: web,", f"default_channel: web,{extra}")
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, None, edit) as gateway:
            async with RawClient(gateway.port) as client:
                client.send(chat(key=key))
                answer = await client.answer()
            assert (answer.status, code_of(answer)) == (401, "invalid_api_key")
            assert answer.json["error"]["message"] == "The API key is unknown or revoked."
            assert gateway.last.key_id is None

    run_virtual(main)


def test_a_key_serves_until_its_end_and_is_then_told_so(tmp_path: Path) -> None:
    """At `expires_at` it is refused, with a code of its own; a second before it is served."""

    async def main() -> None:
        ends_s = clock().wall_ns() // 10**9 + 60
        ends = datetime.fromtimestamp(ends_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        edit = replaced("tenants/shop.yaml", "default_channel: web,", f'default_channel: web, expires_at: "{ends}",')
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, None, edit) as gateway:
            await asyncio.sleep(ends_s - 1 - clock().wall_ns() / 1e9)
            assert (await gateway.ask()).status == 200
            await asyncio.sleep(1)
            answer = await gateway.ask()
            assert (answer.status, code_of(answer)) == (401, "expired_api_key")
            message = f"the API key {key_id(hash_key(KEY))} has expired, at {ends}"
            assert answer.json["error"]["message"] == message
            assert gateway.last.key_id is None

    run_virtual(main)


def test_a_refused_request_holds_nothing_and_the_next_one_is_served(tmp_path: Path) -> None:
    """A thousand bad bodies on one connection after another leave neither records unwritten nor anything held."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for body, status, _ in BODIES.values():
                async with RawClient(gateway.port) as client:
                    client.send(post(body))
                    assert (await client.answer()).status == status
            assert (await gateway.ask()).status == 200
            assert len(gateway.records) == len(BODIES) + 1
            gateway.assert_nothing_held()

    run_virtual(main)


def test_paths_and_methods_that_are_not_served(tmp_path: Path) -> None:
    """404 and 405 in the same error body, with what would be allowed."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for line, status, code in (
                (b"GET /v1/nothing HTTP/1.1", 404, "route_not_found"),
                (b"GET /state HTTP/1.1", 404, "route_not_found"),
                (b"GET /v1/chat/completions HTTP/1.1", 405, "method_not_allowed"),
            ):
                async with RawClient(gateway.port) as client:
                    client.send(line + b"\r\nHost: x\r\n\r\n")
                    answer = await client.answer()
                    assert (answer.status, code_of(answer)) == (status, code)
            assert answer.headers["allow"] == "POST"

    run_virtual(main)


def test_the_other_tenants_key_reaches_its_own_channel_only(tmp_path: Path) -> None:
    """A key opens its own tenant's channels."""
    answer, gateway, _ = refused(tmp_path, chat("Hello", key=OTHER_KEY))
    assert answer.status == 200
    assert (gateway.last.tenant, gateway.last.channel) == ("other", "desk")


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_of_64_mb_is_refused_without_being_kept(framing: str, tmp_path: Path) -> None:
    """413 and close: at its head if it says its length, else at the bound; what is held meanwhile stays within it."""
    megabyte = b"x" * (1 << 20)

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            async with RawClient(gateway.port) as client:
                head = ["POST /v1/chat/completions HTTP/1.1", "Host: test", f"Authorization: Bearer {KEY}"]
                head.append(f"Content-Length: {64 << 20}" if framing == "length" else "Transfer-Encoding: chunked")
                client.send("\r\n".join([*head, "", ""]).encode())
                answer = asyncio.create_task(client.answer())
                sent = 0
                while not answer.done() and sent < 64:
                    piece = megabyte if framing == "length" else b"%x\r\n%b\r\n" % (len(megabyte), megabyte)
                    client.send(piece)
                    sent += 1
                    for _ in range(4):
                        await asyncio.sleep(0.001)
                got = await answer
                assert (got.status, code_of(got)) == (413, "body_too_large")
                assert got.headers["connection"] == "close"
                assert sent <= 12
            assert gateway.last.code == "body_too_large"

    run_virtual(main)
