"""Probes of replicas: who is ill is found without a request, and who is back too."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

from support.gateway import Gateway, replaced
from support.upstream import Hang, ScriptedUpstream, Seen, Step, answer, failure, openai
from trimtab.surfaces.probing import Probes
from trimtab.surfaces.twin import run_virtual

PROBED = replaced("models.yaml", "slots: 4,", 'slots: 4, health: {probe: "/health", probe_s: 2},')


def test_a_replica_that_does_not_answer_its_probe_is_left_alone_until_it_does(tmp_path: Path) -> None:
    """503, silence or no connection, twice in a row: no request is sent there. 200 again: a trial, and it is back.
    Nobody's request was lost to find out."""

    async def main() -> None:
        health: list[Step] = answer({})

        def script(seen: Seen) -> Iterable[Step]:
            if seen.path == "/health":
                assert (seen.method, seen.headers["authorization"]) == ("GET", "Bearer sk-upstream-0123456789abcdef")
                return health
            return openai(seen)

        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, PROBED) as gateway:
                watching = asyncio.create_task(Probes(gateway.plane).watch())

                def state() -> str:
                    return gateway.plane.fleet.views()["small"][0].health

                async def asked() -> str:
                    await gateway.ask(temperature=1)
                    return str(gateway.last.attempts[0].replica)

                await asyncio.sleep(3)
                assert (state(), await asked()) == ("well", "small/0")
                for ill in (failure(503), [Hang()]):
                    health = list(ill)
                    await asyncio.sleep(2.5)
                    assert state() == "well", "one that is lost says nothing"
                    await asyncio.sleep(4)
                    assert (state(), await asked()) == ("ejected", "medium/0")
                    health = answer({})
                    await asyncio.sleep(4.5)
                    assert (state(), await asked(), state()) == ("half-open", "small/0", "slow")
                    await asyncio.sleep(20)
                    assert state() == "well"
                watching.cancel()

    run_virtual(main)


def test_a_replica_that_fails_requests_is_not_called_back_by_its_probe(tmp_path: Path) -> None:
    """A server whose health page is well while its answers are not stays ejected as long as its failures say."""

    async def main() -> None:
        script = lambda seen: answer({}) if seen.path == "/health" else failure(500)  # noqa: E731
        async with ScriptedUpstream(script) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, PROBED) as gateway:
                watching = asyncio.create_task(Probes(gateway.plane).watch())
                for n in range(60):
                    assert (await gateway.ask(f"{n}", temperature=1)).status == 200
                    await asyncio.sleep(1)
                asked = [seen for seen in one.requests if seen.method == "POST"]
                assert len(asked) <= 6 + 5, "five failures, then trials after 2, 4, 8, 16 and 16 s"
                watching.cancel()

    run_virtual(main)
