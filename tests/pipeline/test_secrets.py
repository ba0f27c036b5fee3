"""Secrets planted in every slot appear in no log, error, record, answer or model's request where they don't belong."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from support.gateway import KEY, SECRET, Gateway, chat, post
from support.rawhttp import RawClient
from support.upstream import EVENTS, Cut, Head, ScriptedUpstream, Seen, Sse, Step, answer, chunk, failure, openai
from trimtab.surfaces.twin import run_virtual

UPSTREAM_KEY = "sk-upstream-0123456789abcdef"
ADDRESS = "very.private@person.example"
PROMPT = "the launch codes are 7715"


def echoing(kind: str) -> object:
    """An upstream that repeats all that it was sent, in one of the ways in which servers fail."""

    def script(seen: Seen) -> Iterable[Step]:
        said = f"bad key {seen.headers.get('authorization')} for {seen.body.decode()}"
        scripts: dict[str, Iterable[Step]] = {
            "answers": openai(seen),
            "400": failure(400, said),
            "401": failure(401, said),
            "500": failure(500, said),
            "500 in words": answer(said.encode(), 500),
            "200 with an error": answer({"error": {"message": said, "code": said}}),
            "an error event": [Head(200, (EVENTS,)), Sse({"error": {"message": said}})],
            "an error event later": [Head(200, (EVENTS,)), chunk({"content": "x"}), Sse({"error": said})],
            "an event that is no json": [Head(200, (EVENTS,)), Sse("{" + said)],
            "a head that is no http": [Sse(said), Cut()],
            "a strange type": [Head(200, (("content-type", "text/html"),)), Sse(said)],
        }
        return scripts[kind]

    return script


KINDS = [
    "answers",
    "400",
    "401",
    "500",
    "500 in words",
    "200 with an error",
    "an error event",
    "an error event later",
    "an event that is no json",
    "a head that is no http",
    "a strange type",
]


@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_told(kind: str, streamed: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Caller's key, our upstream key, the workspace's secret: nowhere. The caller's own words: not in log or record."""

    async def main() -> tuple[bytes, bytes]:
        script = echoing(kind)
        async with ScriptedUpstream(script) as up, Gateway(tmp_path, up.url) as gateway:  # type: ignore[arg-type]
            got = await gateway.ask(
                f"{PROMPT}, write to {ADDRESS}",
                "trimtab-session: session-of-ann",
                model="tier:S",
                stream=streamed,
                user=ADDRESS,
                metadata={"note": ADDRESS},
            )
            assert all(ADDRESS.encode() not in seen.body for seen in up.requests)
            assert all(KEY.encode() not in seen.body and KEY not in str(seen.headers) for seen in up.requests)
            return got.body + str(got.headers).encode(), msgspec.json.encode(gateway.records)

    with caplog.at_level(logging.DEBUG):
        told, records = run_virtual(main)
    log = caplog.text.encode()
    for place in (told, records, log):
        assert UPSTREAM_KEY.encode() not in place
        assert KEY.encode() not in place
        assert SECRET not in place
    for place in (records, log):
        for own in (ADDRESS, PROMPT, "session-of-ann"):
            assert own.encode() not in place


def test_a_fault_of_ours_tells_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """500 with the record's id; the trace is in the log, without keys."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            monkeypatch.setattr(gateway.plane.gates, "of", {}.pop)  # the broken part
            got = await gateway.ask(PROMPT)
            assert (got.status, got.json["error"]["code"]) == (500, "internal_error")
            assert got.json["error"]["trimtab"]["record"] == gateway.last.id
            assert PROMPT.encode() not in got.body
            assert gateway.last.code == "internal_error"
            assert gateway.last.id in caplog.text

    with caplog.at_level(logging.DEBUG):
        run_virtual(main)
    assert KEY not in caplog.text
    assert UPSTREAM_KEY not in caplog.text


def test_refused_requests_tell_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key with a typo, in a header or where it does not belong, comes back in no answer."""
    typo = KEY[:-1] + ("A" if KEY[-1] != "A" else "B")

    async def main() -> bytes:
        told = b""
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            for request in (
                chat("x", key=typo),
                post(b'{"messages": [' + typo.encode(), key=typo),
                chat("x", f"trimtab-channel: {typo}"),
                chat("x", f"trimtab-latency-ms: {typo}"),
            ):
                async with RawClient(gateway.port) as client:
                    client.send(request)
                    told += (await client.answer()).body
            return told + msgspec.json.encode(gateway.records)

    told = run_virtual(main)
    assert typo.encode() not in told
    assert KEY.encode() not in told
