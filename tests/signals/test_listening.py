"""Engines are read at their metrics path, and what they tell of others decides where a request goes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.engines import sglang, vllm
from support.gateway import Edit, Gateway, replaced
from support.upstream import Cut, Hang, Head, Raw, ScriptedUpstream, Seen, Step, answer, failure, openai
from trimtab.core.models import Model
from trimtab.dataplane.inference import Signals
from trimtab.dataplane.inference.signals import MOST_BYTES
from trimtab.surfaces.listening import Listening
from trimtab.surfaces.processes import EngineStatus
from trimtab.surfaces.replicas import replicas_of
from trimtab.surfaces.twin import run_virtual

KEY = "Bearer sk-upstream-0123456789abcdef"


def declared(dialect: str, metrics: str = ", metrics: /metrics") -> Edit:
    """Both upstreams are replicas of one model of this dialect."""

    def edit(documents: dict[str, str]) -> None:
        old = 'small: {endpoint: "SMALL/v1", tier: S, context: 8192, slots: 4,'
        new = f'small: {{endpoint: ["SMALL/v1", "MEDIUM/v1"], tier: S, dialect: {dialect}, slots: 4{metrics},'
        replaced("models.yaml", old, new)(documents)
        replaced("models.yaml", '"MEDIUM/v1", tier: M', '"http://127.0.0.1:9/v1", tier: M')(documents)

    return edit


def engine(told: Callable[[], list[Step]]) -> Callable[[Seen], Iterable[Step]]:
    def script(seen: Seen) -> Iterable[Step]:
        if seen.path == "/metrics":
            assert (seen.method, seen.headers["authorization"]) == ("GET", KEY)
            return told()
        return openai(seen)

    return script


def text(body: bytes) -> list[Step]:
    return [Head(200, (("content-type", "text/plain"), ("content-length", str(len(body))))), Raw(body)]


@pytest.mark.parametrize(("dialect", "write"), [("vllm", vllm), ("sglang", sglang)])
def test_requests_go_where_others_ask_less(tmp_path: Path, dialect: str, write: Callable[..., bytes]) -> None:
    """The first engine tells of four requests that are nobody's here: the next go to the second one. When these have
    moved there, ours go to the first."""

    async def main() -> None:
        loads = [4.0, 0.0]

        def told(number: int) -> Callable[[Seen], Iterable[Step]]:
            return engine(lambda: text(write([loads[number]], [0], [0.25 * loads[number] / 4])))

        async with ScriptedUpstream(told(0)) as one, ScriptedUpstream(told(1)) as two:
            async with Gateway(tmp_path, one.url, two.url, declared(dialect)) as gateway:
                watching = asyncio.create_task(Listening(gateway.plane).watch())
                await asyncio.sleep(1)
                assert gateway.plane.signals.fresh("small/0", 10**9) == Signals(running=4, waiting=0, kv_used=0.25)
                for number in range(3):
                    await gateway.ask(f"first {number}", temperature=1)
                assert [record.replica for record in gateway.records] == ["small/1"] * 3
                loads[:] = [0, 4]
                await asyncio.sleep(5)
                for number in range(3):
                    await gateway.ask(f"then {number}", temperature=1)
                assert [record.replica for record in gateway.records[3:]] == ["small/0"] * 3
                assert len([seen for seen in one.requests if seen.path == "/metrics"]) == 2, "every health.probe_s"
                watching.cancel()

    run_virtual(main)


def test_an_engine_that_stops_telling_is_chosen_by_what_is_counted(tmp_path: Path) -> None:
    """503, a redirect, silence, a cut, no metrics, too much: its last word counts for three periods. It is not ejected,
    and nothing is asked at the address of a redirect."""

    async def main() -> None:
        now: list[Step] = text(vllm([4], [0], [0.5]))
        async with ScriptedUpstream(engine(lambda: now)) as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, declared("vllm")) as gateway:
                watching = asyncio.create_task(Listening(gateway.plane).watch())

                async def asked() -> str | None:
                    await gateway.ask("Hello", temperature=1)
                    return gateway.last.replica

                elsewhere = [("location", f"{two.url}/health"), ("content-length", "0")]
                for silent in (
                    failure(503),
                    [Head(302, tuple(elsewhere))],
                    [Hang()],
                    [Cut()],
                    answer({}),
                    text(b"#" * (MOST_BYTES + 1)),
                ):
                    now = text(vllm([4], [0], [0.5]))
                    await asyncio.sleep(6)
                    assert await asked() == "small/1"
                    now = silent
                    await asyncio.sleep(9)
                    assert await asked() == "small/1", "its last word"
                    await asyncio.sleep(7)
                    assert gateway.plane.signals.fresh("small/0", gateway.plane.clock.now_ns()) is None
                    assert await asked() == "small/0"
                assert {view.state for view in gateway.plane.fleet.views()["small"]} == {"ready"}
                assert {seen.path for seen in two.requests} == {"/v1/chat/completions", "/metrics"}
                watching.cancel()

    run_virtual(main)


def test_nothing_is_read_where_no_path_is_declared(tmp_path: Path) -> None:
    async def main() -> None:
        async with ScriptedUpstream() as one, ScriptedUpstream() as two:
            async with Gateway(tmp_path, one.url, two.url, declared("vllm", "")) as gateway:
                watching = asyncio.create_task(Listening(gateway.plane).watch())
                await asyncio.sleep(20)
                assert not one.requests
                watching.cancel()

    run_virtual(main)


def test_why_an_engine_tells_nothing_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """And again when it had told meanwhile. Its key is in no line."""

    async def main() -> None:
        now = failure(404)
        async with ScriptedUpstream(engine(lambda: now)) as one, ScriptedUpstream(engine(lambda: now)) as two:
            async with Gateway(tmp_path, one.url, two.url, declared("sglang")) as gateway:
                watching = asyncio.create_task(Listening(gateway.plane).watch())
                await asyncio.sleep(22)
                now = text(sglang([1], [0], [0]))
                await asyncio.sleep(5)
                now = text(vllm([1], [0], [0]))
                await asyncio.sleep(12)
                watching.cancel()

    with caplog.at_level(logging.WARNING):
        run_virtual(main)
    said = sorted(record.getMessage() for record in caplog.records)
    assert said == [
        "replica small/0 tells nothing at /metrics: http 404",
        "replica small/0 tells nothing at /metrics: no metrics of sglang",
        "replica small/1 tells nothing at /metrics: http 404",
        "replica small/1 tells nothing at /metrics: no metrics of sglang",
    ]


def test_a_scrape_has_what_engines_told(tmp_path: Path) -> None:
    """By model and replica, and its age; figures that are too old have no series."""

    async def main() -> None:
        now = text(vllm([3], [2], [0.5]))
        async with ScriptedUpstream(engine(lambda: now)) as one, ScriptedUpstream(engine(lambda: failure(500))) as two:
            async with Gateway(tmp_path, one.url, two.url, declared("vllm")) as gateway:
                watching = asyncio.create_task(Listening(gateway.plane).watch())

                async def series() -> dict[str, dict[tuple[str, str], float]]:
                    parsed = text_string_to_metric_families((await gateway.metrics.text()).decode())
                    return {
                        family.name: {(one.labels["model"], one.labels["replica"]): one.value for one in family.samples}
                        for family in parsed
                        if family.name.startswith("trimtab_engine_")
                        and family.name not in ("trimtab_engine_state", "trimtab_engine_restarts")
                    }

                await asyncio.sleep(4)
                found, key = await series(), ("small", "small/0")
                assert found["trimtab_engine_signals_age_seconds"].pop(key) == pytest.approx(4, abs=0.1)
                assert found == {
                    "trimtab_engine_running": {key: 3},
                    "trimtab_engine_waiting": {key: 2},
                    "trimtab_engine_kv_used_ratio": {key: 0.5},
                    "trimtab_engine_signals_age_seconds": {},
                }
                now = failure(500)
                await asyncio.sleep(20)
                found = await series()
                assert found["trimtab_engine_running"] == {}
                assert found["trimtab_engine_signals_age_seconds"][key] > 15
                watching.cancel()

    run_virtual(main)


def test_embedded_engines_are_read_always(tmp_path: Path) -> None:
    """With their key, whatever the model declares."""
    model = Model(endpoint="engine:small", tier="S", dialect="llamacpp")
    status = EngineStatus(
        name="small", state="ready", url="http://127.0.0.1:1234", api_key="k", pid=1, detail=None, restarts=0
    )
    (replica,) = replicas_of({"m": model}, {"small": status}, tmp_path)["m"]
    assert (replica.dialect, replica.metrics) == ("llamacpp", "/metrics")
    assert replica.headers == (("authorization", "Bearer k"),)
