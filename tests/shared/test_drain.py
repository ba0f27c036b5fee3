"""Three gateways of one address go down together."""

from __future__ import annotations

import signal

import pytest

from shared.bench import HOLD, TIGHT_KEY, Bench, code, until
from support.gateway import chat
from support.rawhttp import RawAnswer, RawClient

pytestmark = pytest.mark.timeout(120)


def test_a_drain_answers_everybody_until_the_last_stream_of_any_has_ended(bench: Bench) -> None:
    """SIGTERM while one gateway has a stream: the kernel still gives connections to all, and each gets its 503."""

    async def main() -> tuple[list[RawAnswer], bytes]:
        async with RawClient(bench.server.port) as client:
            client.send(chat(f"{HOLD} drain", "connection: close", "trimtab-channel: fresh", stream=True))
            await client.head()
            await client.chunk()
            bench.server.process.send_signal(signal.SIGTERM)
            await until(lambda: all(one["draining"] for one in bench.workers()))
            refused = [await bench.ask(key=TIGHT_KEY) for _ in range(60)]
            bench.release()
            return refused, await client.rest()

    refused, whole = bench.run(main())
    assert {(answer.status, code(answer)) for answer in refused} == {(503, "draining")}
    assert b"data: [DONE]" in whole
    assert bench.server.process.wait(20) == 0
