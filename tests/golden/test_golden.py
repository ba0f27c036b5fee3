"""What is frozen: the wire, the record, the documents' schemas, the policy's variables, names and keys.

A difference here is a version step, a migration and a line in the changelog; `UPDATE_GOLDEN=1` writes the files anew.
Virtual time and seeded identifiers make whole answers repeat to the byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from support.gateway import KEY, SECRET, Gateway, chat
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream, failure
from trimtab.controlplane.registry.documents import TYPES
from trimtab.core.errors import Code
from trimtab.core.keys import KEY_PATTERN, hash_key, key_id
from trimtab.core.tenancy import CacheTerms
from trimtab.dataplane.cache import cache_key
from trimtab.dataplane.ingress import HEADERS
from trimtab.dataplane.policy import reference
from trimtab.foundations.config import json_schema
from trimtab.foundations.derive import hkdf_sha256, pseudonym, tenant_secret
from trimtab.surfaces.twin import run_virtual

FILES = Path(__file__).parent / "files"
MESSAGES = ({"role": "user", "content": "What is a trim tab?"},)


def same(name: str, text: str) -> None:
    """`text` is what the golden file says."""
    path = FILES / name
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text, f"{name} has changed; UPDATE_GOLDEN=1 accepts it"


def pretty(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=1).decode() + "\n"


REQUESTS: dict[str, bytes] = {
    "whole": chat("What is a trim tab?", "trimtab-latency-ms: 2000"),
    "stream": chat("What is it?", stream=True, stream_options={"include_usage": True}),
    "cached": chat("What is a trim tab?", "trimtab-latency-ms: 2000"),
    "bad key": chat("x", key="tt_live_" + "a" * 36),
    "unknown model": chat("x", model="gpt-5o"),
    "bad contract": chat("x", "trimtab-latency: 5"),
}


def test_the_wire_and_the_record(tmp_path: Path) -> None:
    """Answers with their headers, stream events, error bodies, and the rows that they leave, to the byte."""

    async def main() -> tuple[str, str]:
        wire = ""
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url, up.url) as gateway:
            for name, request in REQUESTS.items():
                async with RawClient(gateway.port) as client:
                    client.send(request)
                    answer = await client.answer()
                head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
                wire += f"=== {name}\n{answer.status}\n{head}\n\n{answer.body.decode()}\n"
            return wire, "".join(pretty(record) for record in gateway.records)

    wire, records = run_virtual(main)
    same("wire.txt", wire)
    same("records.json", records)


def test_an_error_event_in_a_stream(tmp_path: Path) -> None:
    """A broken stream and its record."""

    async def main() -> tuple[str, str]:
        async with ScriptedUpstream(lambda _: failure(503, "busy")) as up:
            async with Gateway(tmp_path, up.url, up.url) as gateway:
                got = await gateway.ask("x", stream=True)
                return f"{got.status}\n{got.body.decode()}\n", pretty(gateway.last)

    wire, record = run_virtual(main)
    same("fallback.txt", wire + record)


@pytest.mark.parametrize("name", list(TYPES))
def test_document_schemas(name: str) -> None:
    """Every field that a workspace may have."""
    same(f"schema-{name}.json", json_schema(TYPES[name], name).decode())


def test_policy_variables_and_effects() -> None:
    """What conditions may read, by stage."""
    same("policy.md", reference())


def test_error_codes() -> None:
    """The closed enum: code, status, retryable, type."""
    rows = [f"{code.wire} {code.status} {code.value.retryable} {code.value.type}" for code in Code]
    same("errors.txt", "\n".join(rows) + "\n")


def test_names_and_derivations() -> None:
    """Key ids, sessions, tenant secrets, cache keys, contract headers: the same for ever."""
    secret = tenant_secret(SECRET, "shop")

    def key(**changes: object) -> str:
        given: dict[str, object] = {
            "tenant": "shop",
            "tenant_secret": secret,
            "messages": MESSAGES,
            "values": (("<EMAIL_1>", "a@b.example"),),
            "fields": {"model": None, "temperature": 0},
            "terms": CacheTerms(),
            "scope": ("web", None),
        }
        make: Callable[..., bytes] = cache_key
        return make(**(given | changes)).hex()

    rows = {
        "key": KEY,
        "key pattern": KEY_PATTERN,
        "key hash": hash_key(KEY),
        "key id": key_id(hash_key(KEY)),
        "hkdf": hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42).hex(),
        "tenant secret": secret.hex(),
        "pseudonym": pseudonym(secret, "user\0ann"),
        "cache key": key(),
        "cache key, ids ignored": key(terms=CacheTerms(ids="ignore")),
        "headers": " ".join(HEADERS),
    }
    same("names.txt", "\n".join(f"{name}: {value}" for name, value in rows.items()) + "\n")


def test_hkdf_is_rfc_5869s() -> None:
    """Test case 1 of its appendix A."""
    found = hkdf_sha256(b"\x0b" * 22, bytes(range(13)), bytes(range(0xF0, 0xFA)), 42).hex()
    assert found == "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
