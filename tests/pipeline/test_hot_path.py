"""What a warm request must not do: compile, import, open a file or a database, start a process, connect anew."""

from __future__ import annotations

import asyncio
import sys
import threading
from pathlib import Path

from support.gateway import Gateway, chat
from support.rawhttp import RawClient
from support.upstream import ScriptedUpstream

WATCHED = frozenset(
    {"open", "compile", "exec", "import", "subprocess.Popen", "os.listdir", "os.scandir", "os.mkdir", "os.remove"}
    | {"socket.connect", "socket.getaddrinfo", "sqlite3.connect", "marshal.loads", "ctypes.dlopen"}
)
"""Audit events (docs.python.org, "Audit events table")."""


class Watch:
    """Watched events of this thread while it is on. A hook of the interpreter can't be taken away again, only idle."""

    def __init__(self) -> None:
        self.on = False
        self.seen: list[str] = []
        self._thread = threading.get_ident()
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event in WATCHED and threading.get_ident() == self._thread:
            self.seen.append(f"{event} {arguments[:1]}")


def test_a_warm_request_touches_nothing_but_its_connections(tmp_path: Path) -> None:
    """Whole, streamed, stored, redacted, tightened and refused: none of them does what belongs to a start."""
    watch = Watch()
    kinds: list[tuple[str, tuple[str, ...], dict[str, object]]] = [
        ("What is the capital of {}?", (), {}),
        ("Tell me more of {}, and why it matters.", (), {"stream": True}),
        ("What is the capital of France?", (), {}),
        ("write to ann@shop.example about {}", (), {"stream": True}),
        ("quickly: {}", ("trimtab-latency-ms: 500",), {}),
        ("cheaply: {}", ("trimtab-max-cost-usd: 0.000000001",), {}),
        ("wrongly: {}", (), {"model": "nosuch"}),
    ]

    async def main() -> None:
        async with (
            ScriptedUpstream() as up,
            Gateway(tmp_path, up.url, up.url) as gateway,
            RawClient(gateway.port) as client,
        ):
            for place in ("Norway", "Chad", "Peru"):
                watch.on = place == "Peru"
                for text, headers, fields in kinds:
                    client.send(chat(text.format(place), *headers, **fields))
                    await client.answer()
            watch.on = False
            paths = [record.path for record in gateway.records[-len(kinds) :]]
            assert paths[0] == "direct"
            assert "cache-exact" in paths
            assert "refused" in paths

    asyncio.run(main())
    assert watch.seen == []
