"""Secrets planted in every place of a request, of an upstream's answers and of faults of ours: real processes, and what
they leave behind, logs at their most talkative, metrics, records, error bodies, holds none of them.

tests/pipeline/test_secrets.py does the same inside one process, for every way in which an upstream fails.
"""

from __future__ import annotations

import http.client
import os
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import msgspec
import pytest

from support.aside import upstream_aside
from support.faulty_gateway import AS_A_WARNING, IN_A_CALLBACK, IN_A_CAUSE, IN_A_STAGE, IN_A_THREAD
from support.gateway import KEY, SECRET, post, write_workspace
from support.live import Live, eventually, live
from support.serving import gone
from support.upstream import EVENTS, Cut, Head, Seen, Sse, Step, answer, chunk, failure, openai

PROMPT = "the launch codes are 7715 and nobody may know"
ADDRESS, CARD, IBAN = "very.private@person.example", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00"
TYPO = KEY[:-1] + ("A" if KEY[-1] != "A" else "B")
UPSTREAM_KEY = "sk-upstream-0123456789abcdef"
OURS = "upstream-words-of-its-own-8812"
MODEL, TOOL, QUERY, HEADER, WAY = (f"planted-{place}-4471" for place in ("model", "tool", "query", "header", "path"))
CREDENTIALS = (KEY, TYPO, UPSTREAM_KEY, SECRET.decode("latin-1"))
PRIVATE = (PROMPT, ADDRESS, CARD, IBAN, TOOL, QUERY, HEADER, WAY)
"""What a caller wrote. The name of a model that is not there comes back to who asked for it, in the error alone."""
EVERYTHING = (*CREDENTIALS, *PRIVATE, MODEL, OURS)
TEXT = f"{PROMPT}, {ADDRESS} {CARD} {IBAN}"


def upstream(seen: Seen) -> Iterable[Step]:
    """Repeats all that it was sent, in the way that the text asks for."""
    said = f"{OURS} {seen.headers.get('authorization')} {seen.body.decode()}"
    text = seen.body.decode()
    if "break-500" in text:
        return failure(500, said)
    if "break-400" in text:
        return failure(400, said)
    if "break-json" in text:
        return answer(said.encode())
    if "break-stream" in text:
        return [Head(200, (EVENTS,)), chunk({"content": "x"}), Sse("{" + said), Cut()]
    if "break-http" in text:
        return [Sse(said), Cut()]
    return openai(seen)


@dataclass
class Left:
    """What a gateway left behind after all of it."""

    log: list[str]
    metrics: bytes
    records: bytes
    errors: list[tuple[str, int, bytes]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)


def chat(live: Live, word: str, key: str = KEY, **fields: object) -> tuple[int, bytes]:
    messages = [{"role": "user", "content": f"{word} {TEXT}"}]
    if fields.pop("tool_calls", None):
        call = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": f'{{"who": "{TOOL}"}}'}}
        messages += [{"role": "assistant", "content": None, "tool_calls": [call]}]  # type: ignore[dict-item]
        messages += [{"role": "tool", "tool_call_id": "c1", "content": TOOL}]
    body = msgspec.json.encode({"messages": messages, "temperature": 1, **fields})
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json", "x-note": HEADER}
    headers |= {"trimtab-session": HEADER, "cookie": HEADER}
    try:
        status, _, told = live.request("POST", f"/v1/chat/completions?q={QUERY}", body, headers)
    except http.client.IncompleteRead as cut:  # a stream that broke, and was visibly cut
        return 502, cut.partial.rpartition(b"data: ")[2]
    return status, told


def raw(live: Live, data: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        connection.sendall(data)
        connection.settimeout(20)
        told = b""
        while b"}}" not in told and (piece := connection.recv(65536)):
            told += piece
        return told


def hang_up(live: Live) -> None:
    """In the middle of a stream."""
    body = msgspec.json.encode({"messages": [{"role": "user", "content": TEXT}], "stream": True, "temperature": 1})
    with socket.create_connection(("127.0.0.1", live.port), timeout=20) as connection:
        connection.sendall(post(body))
        connection.recv(64)


def everything_that_fails(live: Live) -> list[tuple[str, int, bytes]]:
    """Every kind of request and failure once; the error answers."""
    told = [(word, *chat(live, word)) for word in ("fine", "break-500", "break-400", "break-json", "break-http")]
    told += [(f"{word} stream", *chat(live, word, stream=True)) for word in ("fine", "break-stream", "break-500")]
    told.append(("tools", *chat(live, "fine", tool_calls=True)))
    told.append(("wrong key", *chat(live, "fine", key=TYPO)))
    told.append(("unknown model", *chat(live, "fine", model=MODEL)))
    told += [(word, *chat(live, word)) for word in (IN_A_STAGE, IN_A_CAUSE, IN_A_CALLBACK, IN_A_THREAD, AS_A_WARNING)]
    bearer = {"authorization": f"Bearer {KEY}", "x-note": HEADER}
    broken = b'{"messages": [{"role": "user", "content": "' + TEXT.encode()
    for place, method, path, data in (
        ("malformed json", "POST", "/v1/chat/completions", broken),
        ("wrong type", "POST", "/v1/chat/completions", msgspec.json.encode({"messages": TEXT, "stream": PROMPT})),
        ("embeddings", "POST", "/v1/embeddings", msgspec.json.encode({"input": TEXT, "model": MODEL})),
        ("unknown path", "POST", f"/v1/x?{QUERY}", b"{}"),
        ("fault of a handler", "GET", f"/v1/models?{QUERY}", b""),
    ):
        try:
            status, _, body = live.request(method, path, data, bearer)
        except (OSError, http.client.HTTPException):  # a handler that raised: cut without an answer
            status, body = 500, b""
        told.append((place, status, body))
    told.append(("no http", 400, raw(live, f"GE{WAY} /{WAY} HTTP/1.1\r\nx: {HEADER}\r\n {HEADER}\r\n\r\n".encode())))
    hang_up(live)
    return [one for one in told if one[1] >= 400]


@pytest.fixture(scope="module", params=["json", "text"])
def left(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Left]:
    folder = tmp_path_factory.mktemp("planted")
    program = (sys.executable, "-m", "support.faulty_serve")
    options = ("--log-format", request.param, "--log-level", "debug", "--access-log", "all")
    with upstream_aside(upstream) as url:
        write_workspace(folder, url, url)
        with live(folder, *options, program=program) as server:
            errors = everything_that_fails(server)
            state = server.state()
            eventually(lambda: server.state()["journal"]["durable"] >= state["journal"]["seq"])
            metrics = server.request("GET", "/metrics")[2]
            old = server.gateway_pid()
            os.kill(old, signal.SIGKILL)  # a restart says what it finds
            eventually(lambda: gone(old))
            eventually(lambda: server.request("GET", "/healthz")[0] == 200)
            log = server.log
        records = b"".join(path.read_bytes() for path in sorted((folder / "var" / "records").iterdir()))
    yield Left(list(log), metrics, records, errors)


def test_the_faults_happened(left: Left) -> None:
    """Without which the rest would prove nothing."""
    places = {place for place, _, _ in left.errors}
    assert places >= {"break-500", "break-400", "break-json", "break-http", "wrong key", "unknown model"}
    assert places >= {IN_A_STAGE, IN_A_CAUSE, "malformed json", "wrong type", "unknown path", "no http"}
    log = "\n".join(left.log)
    for kind in ("KeyError", "RuntimeError", "from ValueError", "LookupError", "UserWarning", "faulty_gateway.py"):
        assert kind in log, kind
    assert b"internal_error" in left.metrics
    assert b"malformed_http" in left.metrics
    assert left.records.count(b"\n") > 15


@pytest.mark.parametrize("place", ["log", "metrics", "records"])
def test_nothing_planted_is_left_behind(place: str, left: Left) -> None:
    """Not a word, in no form that a reader would know again."""
    text = "\n".join(left.log) if place == "log" else getattr(left, place).decode("latin-1")
    for planted in EVERYTHING:
        assert planted not in text, (place, planted)
        assert planted.encode().hex() not in text, (place, planted)


def test_error_answers_tell_no_credential_and_nothing_private(left: Left) -> None:
    """Ours say what was wrong by field and position. Where the upstream's words are the caller's business (its 400),
    they are what it says about the caller's own text, without our key."""
    for place, status, body in left.errors:
        for planted in CREDENTIALS:
            assert planted.encode() not in body, (place, status, planted)
        if place != "break-400":
            for planted in (*PRIVATE, OURS):
                assert planted.encode() not in body, (place, status, planted)


def test_faults_name_their_record(left: Left) -> None:
    """Each 5xx has a line of its own with the record's id and code; the id is that of the error body."""
    bodies = [msgspec.json.decode(body) for _, status, body in left.errors if status >= 500 and body]
    ids = [body["error"]["trimtab"]["record"] for body in bodies if body["error"]["trimtab"]["record"]]
    assert len(ids) >= 5
    for record in ids:
        assert any(record in line for line in left.log), record


def test_no_line_is_forged(left: Left) -> None:
    """A line break or an escape sequence in what a fault says begins no line of its own."""
    assert not any("\x1b" in line for line in left.log)
    assert not any(line.startswith("ERROR forged") for line in left.log)
    if left.log[0].startswith("{"):
        for line in left.log:
            told = msgspec.json.decode(line)
            assert {"time", "level", "logger", "role", "message"} <= told.keys()
    else:
        assert all(line[:2] == "20" and line[23:25] == "Z " for line in left.log)
