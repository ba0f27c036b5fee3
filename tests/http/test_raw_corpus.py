"""The corpus of ambiguous requests over real sockets: 400 and a close, and never a second request."""

from __future__ import annotations

import asyncio

import pytest

from support.corpus import BODIES, CORPUS, SECOND, TE
from support.frontdoor import LOOPS, echo, front_door
from support.rawhttp import RawClient
from trimtab.surfaces.server import HttpLimits, HttpReply, HttpRequest

IMPATIENT = HttpLimits(head_timeout_s=0.5, body_timeout_s=0.5, idle_timeout_s=0.5)
"""So that what is wrongly waited for, or wrongly served, is soon told."""
real = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])


@real
@pytest.mark.parametrize("cut", [False, True], ids=["in one segment", "cut before its last byte"])
def test_the_corpus_over_sockets(loop: str, cut: bool) -> None:
    """Each is answered once, with 400, and closed; the request behind it reaches no handler."""
    assert len(TE) >= 40
    paths: list[str] = []

    async def note(request: HttpRequest, reply: HttpReply) -> None:
        paths.append(request.path)
        await echo(request, reply)

    async def one(port: int, data: bytes) -> bytes:
        async with RawClient(port) as client:
            client.send(data[:-1] if cut else data)
            if cut:
                await client.writer.drain()
                await asyncio.sleep(0)
            client.send((data[-1:] if cut else b"") + SECOND)
            return await client.rest()

    async def main() -> dict[str, bytes]:
        async with front_door(note, IMPATIENT) as door:
            return {name: await one(door.port, data) for name, data in CORPUS.items()}

    answers = LOOPS[loop](main)
    wrong = {name: got for name, got in answers.items() if not _refused(got)}
    assert not wrong
    assert set(paths) <= {"/first"}
    assert len(paths) <= len(BODIES)


def _refused(got: bytes) -> bool:
    return (
        got.startswith(b"HTTP/1.1 400 Bad Request\r\n")
        and got.count(b"HTTP/1.1 ") == 1
        and b"connection: close\r\n" in got
        and b'"code":"malformed_http"' in got
    )
