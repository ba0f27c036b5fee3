"""Where nothing is ever sent: whatever a host is written as, and whatever a name resolves to."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from support.frontdoor import LOOPS
from support.upstream import ScriptedUpstream
from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialer import ConnectFailed
from trimtab.foundations.addresses import refusal

LOOPBACK = [
    "127.0.0.1", "127.1", "127.0.1", "127.000.000.001", "127.0.0.1.", "127.255.255.254", "0.0.0.0", "0",
    "2130706433", "017700000001", "0x7f000001", "0x7F000001", "0x7f.0x0.0x0.0x1", "0x7f.1", "0177.0.0.1", "0177.1",
    "localhost", "LOCALHOST", "localhost.", "[::1]", "[0:0:0:0:0:0:0:1]", "[::]", "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]", "[0:0:0:0:0:ffff:127.0.0.1]", "[::127.0.0.1]", "[::7f00:1]", "[64:ff9b::127.0.0.1]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]",
]  # fmt: skip
METADATA = [
    "169.254.169.254", "169.254.169.254.", "2852039166", "0xa9fea9fe", "0xA9.0xFE.0xA9.0xFE", "0251.0376.0251.0376",
    "169.254.43518", "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]", "[64:ff9b::169.254.169.254]",
    "[2002:a9fe:a9fe::]", "[fe80::1]", "[fd00:ec2::254]", "100.100.100.200", "0x646464c8", "192.0.0.192",
    "169.254.170.2", "169.254.0.1",
]  # fmt: skip
PRIVATE = [
    "10.0.0.1", "167772161", "0x0a000001", "10.1", "012.0.0.1", "172.16.0.1", "192.168.0.1", "3232235521", "192.168.1",
    "100.64.0.1", "198.18.0.1", "[fc00::1]", "[fd12:3456::1]", "[::ffff:10.0.0.1]", "[2002:0a00:0001::]",
    "224.0.0.1", "[ff02::1]", "255.255.255.255", "240.0.0.1",
]  # fmt: skip


def test_sixty_encodings_and_not_one_connection() -> None:
    """Undeclared private addresses are refused however they are written; those of clouds' credentials even where
    private ones are declared. A listener on this machine sees nobody."""
    assert len(LOOPBACK) + len(METADATA) + len(PRIVATE) >= 60

    async def main() -> None:
        async with ScriptedUpstream(host="127.0.0.1") as four, ScriptedUpstream(host="::1", port=four.port) as six:
            dialer = Http1Dialer(connect_timeout_s=1)
            cases = [(host, False) for host in LOOPBACK + METADATA + PRIVATE] + [(host, True) for host in METADATA]
            for host, private in cases:
                origin = Origin.parse(f"http://{host}:{four.port}/v1", private=private)
                with pytest.raises(ConnectFailed):
                    await dialer.send(origin, "GET", "/", [], b"")
            assert (four.accepted, six.accepted) == (0, 0)
            declared = Origin.parse(f"http://127.0.0.1:{four.port}", private=True)
            (await dialer.send(declared, "GET", "/health", [], b"")).close()
            assert four.accepted == 1, "the listener would have seen one"
            await dialer.close()

    asyncio.run(main())


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_name_is_resolved_once_and_what_was_checked_is_connected_to(
    loop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that says a public address first and this machine's the second time (DNS rebinding): it is asked
    once, and what is connected to is what it said then. One that says both at once is refused."""
    asked: list[str] = []

    async def main() -> None:
        running = asyncio.get_running_loop()

        async def rebinding(host: str, port: int, **_: Any) -> list[Any]:
            asked.append(host)
            told = {"rebinds.test": ["192.0.2.1", "127.0.0.1"][len(asked) - 1 :][:1], "both.test": ["8.8.8.8", "::1"]}
            return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", (one, port)) for one in told[host]]

        reached: list[str] = []

        async def connects(factory: Any, host: str, port: int, **_: Any) -> Any:
            reached.append(host)
            raise ConnectionRefusedError("nobody is there")

        class Loop:
            def __getattr__(self, name: str) -> Any:
                return {"getaddrinfo": rebinding, "create_connection": connects}.get(name) or getattr(running, name)

        monkeypatch.setattr(asyncio, "get_running_loop", Loop)
        dialer = Http1Dialer()
        try:
            for name in ("rebinds.test", "both.test"):
                with pytest.raises(ConnectFailed):
                    await dialer.send(Origin.parse(f"http://{name}"), "GET", "/", [], b"")
        finally:
            monkeypatch.undo()
        assert asked == ["rebinds.test", "both.test"]
        assert "127.0.0.1" not in reached and "::1" not in reached and "8.8.8.8" not in reached

    LOOPS[loop](main)


def test_public_addresses_are_not_refused() -> None:
    """The table does not hold because everything is refused."""
    for address in ("8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"):
        assert refusal(address, private=False) is None
    for address in ("10.0.0.1", "127.0.0.1", "::1", "fd12:3456::1"):
        assert refusal(address, private=False) is not None
        assert refusal(address, private=True) is None
