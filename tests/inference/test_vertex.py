"""Gemini on Google Cloud is asked with a token that is had for a service account's key, and renewed before it ends."""

from __future__ import annotations

import asyncio
import logging
import os
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from dialects.test_upstreams import TALK, TOOLS
from dialects.wires import PROVIDERS, USED
from support.gateway import Edit, Gateway, events, replaced
from support.upstream import Delay, ScriptedUpstream, Seen, Step, answer
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.surfaces.twin import VirtualLoop, run_virtual

FILE = Path(__file__).parent.parent / "dialects" / "golden" / "upstream-vertex.txt"
BASE = "/v1/projects/p/locations/europe-west4/publishers/google"
ACCOUNT = "gateway@p.iam.gserviceaccount.com"


@pytest.fixture(scope="module")
def key() -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


def vertex(folder: Path, key: RSAPrivateKey, token_url: str, **changed: Any) -> Edit:
    """The small model is at Vertex AI; its account's key is in a file."""
    folder.mkdir(exist_ok=True)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    account = {
        "type": "service_account",
        "client_email": ACCOUNT,
        "private_key_id": "k1",
        "private_key": pem,
        "token_uri": f"{token_url}/token",
    }
    (folder / "account.json").write_bytes(msgspec.json.encode({**account, **changed}))
    old = 'small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4, api_key: "file:upstream.key", private: true}'
    fields = "upstream_name: gemini-2.5-flash, tier: S, context: 8192, slots: 4, private: true, region: eu"
    new = f'small: {{endpoint: "SMALL{BASE}", dialect: vertex, api_key: "file:account.json", {fields}}}'
    return replaced("models.yaml", old, new)


def google(clock: Clock, public: RSAPublicKey, *, slow_s: float = 0) -> Callable[[Seen], Iterable[Step]]:
    """The token server: checks the assertion as RFC 7523 says, and gives another token each time."""

    def script(seen: Seen) -> Iterable[Step]:
        asked = parse_qs(seen.body.decode())
        assert (seen.path, asked["grant_type"]) == ("/token", ["urn:ietf:params:oauth:grant-type:jwt-bearer"])
        head, claims, signature = asked["assertion"][0].split(".")
        public.verify(_bytes(signature), f"{head}.{claims}".encode(), PKCS1v15(), SHA256())
        assert msgspec.json.decode(_bytes(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
        told, now_s = msgspec.json.decode(_bytes(claims)), clock.wall_ns() // NS_PER_S
        assert told["iss"] == ACCOUNT
        assert told["aud"].endswith("/token")
        assert told["scope"] == "https://www.googleapis.com/auth/cloud-platform"
        assert told["iat"] <= now_s < told["exp"] <= told["iat"] + 3600
        token = {"access_token": f"ya29.token-{seen.nth}", "expires_in": 3600, "token_type": "Bearer"}
        return [Delay(slow_s), *answer(token)] if slow_s else answer(token)

    return script


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_what_is_sent_and_what_comes_of_it(tmp_path: Path, key: RSAPrivateKey) -> None:
    """The request is Gemini's at another address and with the token, whole and streamed; the golden file has it and
    the answer, and all kinds of tokens come to the same nano-dollar either way."""

    async def one(kind: str, script: list[Step], **fields: Any) -> str:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with ScriptedUpstream(google(loop.clock, key.public_key())) as there:
            async with ScriptedUpstream(lambda _: script) as up:
                edit = vertex(tmp_path / kind, key, there.url)
                async with Gateway(tmp_path / kind, up.url, None, edit) as gateway:
                    asked = {"model": "tier:S", "temperature": 0.5, "max_tokens": 50, **fields}
                    whole = await gateway.ask(TALK, **asked)
                    usage: dict[str, Any] = {"stream_options": {"include_usage": True}}
                    streamed = await gateway.ask(TALK, stream=True, **usage, **asked)
                    first, second = up.requests
                    assert (first.path, first.json) == (second.path, second.json)
                    assert first.headers["authorization"] == "Bearer ya29.token-0"
                    assert len({row.cost.settled_nanousd for row in gateway.records}) == 1
                    told = f"=== {kind}: sent to {first.path}\n{_pretty(first.json)}"
                    told += f"=== {kind}: whole\n{_pretty(_own(whole.json))}=== {kind}: streamed\n"
                    lines = (
                        one if isinstance(one, str) else msgspec.json.encode(_own(one)).decode()
                        for one in _of(streamed)
                    )
                    return told + "".join(f"{line}\n" for line in lines)

    async def main() -> str:
        told = await one("text", PROVIDERS["gemini"].text, stop=["END"])
        told += await one("tool", PROVIDERS["gemini"].tool, tools=TOOLS, tool_choice="required")
        return told + await one("usage", USED["gemini"].steps)

    told = run_virtual(main)
    if os.environ.get("UPDATE_GOLDEN"):
        FILE.write_text(told)
    assert FILE.read_text() == told, f"{FILE.name} has changed; UPDATE_GOLDEN=1 accepts it"


def _of(streamed: Any) -> list[Any]:
    return events(streamed.body)


def _own(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in answer.items() if name not in ("trimtab", "id", "created")}


def _pretty(value: Any) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


def test_a_token_is_renewed_before_it_ends_and_nobody_waits(tmp_path: Path, key: RSAPrivateKey) -> None:
    """Nobody asks for it, and yet it is there: requests of a second day go with a fresh one. While a new one is on its
    slow way the old one is sent; one that was refused is replaced."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        async with ScriptedUpstream(google(loop.clock, key.public_key(), slow_s=8)) as there:
            async with ScriptedUpstream(lambda _: PROVIDERS["gemini"].text) as up:
                async with Gateway(tmp_path, up.url, None, vertex(tmp_path, key, there.url)) as gateway:

                    async def sent() -> str:
                        began = loop.time()
                        assert (await gateway.ask("Hi", model="tier:S", temperature=1)).status == 200
                        assert loop.time() - began < 1
                        return up.requests[-1].headers["authorization"].removeprefix("Bearer ya29.token-")

                    await asyncio.sleep(9)
                    assert await sent() == "0"
                    await asyncio.sleep(3300)
                    assert (await sent(), len(there.requests)) == ("0", 2)
                    await asyncio.sleep(9)
                    assert await sent() == "1"
                    await asyncio.sleep(86_400)
                    assert int(await sent()) == len(there.requests) - 1
                    asked = len(there.requests)
                    await asyncio.sleep(120)
                    up.script = lambda _: answer({"error": {"code": 401, "message": "revoked"}}, 401)
                    assert (await gateway.ask("Hi", model="tier:S", temperature=1)).status == 502
                    await there.asked(asked + 1)

    run_virtual(main)


def test_a_token_server_that_refuses(tmp_path: Path, key: RSAPrivateKey, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is sent to the model; the log says why, and that it may be the clock; no part of the key is anywhere."""
    said = (
        "Invalid JWT: Token must be a short-lived token and in a reasonable timeframe. Check your iat and exp values."
    )
    refusal = answer({"error": "invalid_grant", "error_description": said}, 400)

    async def main() -> None:
        async with ScriptedUpstream(lambda _: refusal) as there, ScriptedUpstream() as up:
            async with Gateway(tmp_path, up.url, None, vertex(tmp_path, key, there.url)) as gateway:
                got = await gateway.ask("Hi", model="tier:S")
                assert (got.status, gateway.last.attempts[0].reason, up.requests) == (502, "no credential", [])

    with caplog.at_level(logging.WARNING):
        run_virtual(main)
    assert "answered 400 (invalid_grant): this machine's clock may be wrong" in caplog.text
    assert "PRIVATE KEY" not in caplog.text


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"private_key": "-----BEGIN PRIVATE KEY-----\nx\n"}, "has a private_key that is none in PEM"),
        ({"client_email": None}, "is no key file of a service account"),
        ({"token_uri": "ftp://h/token"}, "an upstream is http"),
    ],
)
def test_a_file_that_is_no_account(
    changed: dict[str, Any], words: str, tmp_path: Path, key: RSAPrivateKey, caplog: pytest.LogCaptureFixture
) -> None:
    """The model has no replica, and the log says what is wrong with the file."""

    async def main() -> None:
        edit = vertex(tmp_path, key, "http://127.0.0.1:1", **changed)
        async with Gateway(tmp_path, "http://127.0.0.1:1", None, edit) as gateway:
            assert gateway.plane.fleet.count("small") == 0

    with caplog.at_level(logging.ERROR):
        run_virtual(main)
    assert words in caplog.text
    assert ACCOUNT not in caplog.text
