"""docs/reference/headers.md names what is really on the wire."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import msgspec

from support.gateway import Gateway, events, post
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream

TEXT = (Path(__file__).parent.parent.parent / "docs" / "reference" / "headers.md").read_text()
FRAMING = {"content-type", "content-length", "transfer-encoding", "cache-control", "connection", "x-accel-buffering"}


def section(title: str) -> set[str]:
    """First cells of the tables below a heading."""
    part = TEXT.partition(f"## {title}\n")[2].partition("\n## ")[0]
    return set(re.findall(r"^\| `([^`]+)` \|", part, re.MULTILINE))


def test_headers_and_members_of_answers_are_those_of_the_reference(tmp_path: Path) -> None:
    """Of a whole answer, a stream, a refusal and a message: none that is not described, and each member that is."""

    async def main() -> None:
        async with ScriptedUpstream() as up, Gateway(tmp_path, up.url) as gateway:
            whole = await gateway.ask("Hello")
            stream = await gateway.ask("Hello there", stream=True, stream_options={"include_usage": True})
            refused = await gateway.ask("Hello", "trimtab-max-cost-usd: 0.0000001", temperature=1)
            async with RawClient(gateway.port) as client:
                body = {"max_tokens": 9, "messages": [{"role": "user", "content": "Hello"}]}
                client.send(post(msgspec.json.encode(body), path="/v1/messages"))
                message = await client.answer()
        for answer in (whole, stream, refused, message):
            assert set(answer.headers) - FRAMING <= section("Headers of answers")
        members = section("The `trimtab` object of answers")
        assert set(whole.json["trimtab"]) == members
        assert set(message.json["trimtab"]) == members
        assert set(events(stream.body)[-2]["trimtab"]) == members
        assert set(msgspec.json.decode(refused.body)["error"]["trimtab"]) == section("Errors")

    asyncio.run(main())
