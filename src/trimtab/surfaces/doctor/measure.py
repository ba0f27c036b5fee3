"""What this machine reaches: engines, embedder, the gateway's own work, the disk. Within about a minute.

Everything is started here, beside a gateway that may run: engines as processes of their own on the workspace's
declarations, the data plane in this process over an upstream that answers at once. Nothing is charged or recorded.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from trimtab.controlplane.records import Journal
from trimtab.controlplane.records.report import rank
from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import NS_PER_MS, NS_PER_S, Clock
from trimtab.core.record import blank
from trimtab.dataplane import wiring
from trimtab.dataplane.inference import Origin, Replica
from trimtab.dataplane.inference.adapters import Http1Dialer
from trimtab.dataplane.inference.dialer import UpstreamError
from trimtab.dataplane.pipeline import answer
from trimtab.foundations.embed import Embedder, create_embedder
from trimtab.surfaces.doctor.measured import (
    Decode,
    EngineFigures,
    JournalFigures,
    Measured,
    PlaneFigures,
    Prefill,
)
from trimtab.surfaces.doctor.scripted import Scripted
from trimtab.surfaces.inprocess import Nowhere, Silent, arrival, chat_request, keyed, open_plane, unlimited
from trimtab.surfaces.processes import EngineSpec, usable_cores
from trimtab.surfaces.processes.channel import EngineFailed, EngineReady, Run, ToSupervisor
from trimtab.surfaces.processes.child import Child
from trimtab.surfaces.processes.supervisor import ENGINE_MODULE

Progress = Callable[[str], None]
USUAL_S: Final = 50.0
"""What the whole may take; starting engines comes on top."""
ENGINES, EMBEDDER, PLANES = 0.72, 0.04, 0.2
"""Shares of it; engines divide theirs, channels theirs."""
START_S: Final = 30.0
SYNCS: Final = 40
ROWS: Final = 2_000
PROMPTS: Final = (150, 40, 300)
"""Words of the cold prompts: a question with passages, a bare one, one with a history."""
ANSWER_TOKENS: Final = 32
_QUESTIONS: Final = ("How long does delivery take?", "Can I return a pair of shoes?", "What does it cost to pay later?")
_GRACE_S: Final = 2.0


async def measure(
    workspace: Workspace,
    specs: Sequence[EngineSpec],
    clock: Clock,
    progress: Progress,
    *,
    gateway_runs: bool,
    seconds: float = USUAL_S,
) -> Measured:
    """Measure what the workspace declares, in about so many seconds (each figure is taken once however few they are).
    A part that can't be measured is a note, not an error."""
    began_ns, notes = clock.now_ns(), list[str]()
    engines = []
    for spec in specs:
        progress(f"engine {spec.name}: starting, prompts cold and warm, answers alone and together")
        try:
            engines.append(await _engine(spec, workspace.folder, clock, seconds * ENGINES / len(specs)))
        except (OSError, UpstreamError, _EngineError) as problem:
            notes.append(f"engine {spec.name}: {str(problem) or 'it did not come up in time'}")
    embedder = create_embedder("nano", clock)
    progress("embedder: queries")
    embeds = await _embed(embedder, clock, seconds * EMBEDDER)
    progress("gateway: its own work per request, channel by channel")
    planes = await _planes(workspace, embedder, clock, seconds * PLANES)
    progress("disk: records and syncs")
    try:
        journal = await clock.offload(_journal, workspace.folder, clock)
    except OSError as problem:
        journal = None
        notes.append(f"disk: {problem}")
    return Measured(
        cores=usable_cores(),
        gateway_runs=gateway_runs,
        engines=engines,
        embed_ms=rank(sorted(embeds), 0.5),
        embed_p95_ms=rank(sorted(embeds), 0.95),
        planes=planes,
        journal=journal,
        took_s=(clock.now_ns() - began_ns) / NS_PER_S,
        notes=notes,
    )


class _EngineError(Exception):
    """The engine could not be started, or answered with an error."""


# --- engines


async def _engine(spec: EngineSpec, folder: Path, clock: Clock, share_s: float) -> EngineFigures:
    key, said = secrets.token_urlsafe(32), asyncio.get_running_loop().create_future()

    def hear(message: ToSupervisor) -> None:
        if not said.done():
            said.set_result(message)

    child = await Child.start(["-m", ENGINE_MODULE, "--workspace", str(folder)], hear, printed=lambda line: None)
    dialer = Http1Dialer()
    try:
        child.tell(Run(spec=spec, api_key=key))
        async with asyncio.timeout(START_S):
            message = await said
        if isinstance(message, EngineFailed):
            raise _EngineError(message.reason)
        assert isinstance(message, EngineReady)
        asking = _Asking(dialer, Origin.parse(message.url), key, clock)
        return await _figures(spec, asking, clock, clock.now_ns() + int(share_s * NS_PER_S))
    finally:
        await dialer.close()
        await child.stop(_GRACE_S)


async def _figures(spec: EngineSpec, asking: _Asking, clock: Clock, until_ns: int) -> EngineFigures:
    """At least one of each; more while there is time, half of it for prompts."""
    await asking.prompt(8, "warm up")
    prefills: list[Prefill] = []
    half_ns = (clock.now_ns() + until_ns) // 2
    fitting = [words for words in PROMPTS if words * 2 < spec.context] or [spec.context // 4]
    turn = 0
    while not prefills or (clock.now_ns() < half_ns and turn < 4 * len(fitting)):
        text = f"number {turn}"
        words = fitting[turn % len(fitting)]
        prefills.append(await asking.prompt(words, text))
        prefills.append(await asking.prompt(words, text))  # the same again: its prefix is known
        turn += 1
    decodes: list[Decode] = []
    for streams in dict.fromkeys((1, spec.slots)):
        if not decodes or clock.now_ns() < until_ns:
            decodes.append(await asking.decode(streams))
    return EngineFigures(engine=spec.name, model=spec.model, threads=spec.threads, prefills=prefills, decodes=decodes)


class _Asking:
    """Requests to one engine."""

    def __init__(self, dialer: Http1Dialer, origin: Origin, key: str, clock: Clock) -> None:
        self._dialer, self._origin, self._clock = dialer, origin, clock
        self._headers = (("authorization", f"Bearer {key}"), ("content-type", "application/json"))

    async def prompt(self, words: int, opening: str) -> Prefill:
        """One token of answer to so many words, which begin with `opening`."""
        began_ns = self._clock.now_ns()
        told = await self._complete(" ".join([opening, *(["and so on"] * (words // 3))]), 1)
        took_ms = (self._clock.now_ns() - began_ns) / NS_PER_MS
        cached = int(told.get("cache_n") or 0)
        return Prefill(
            tokens=int(told["prompt_n"]) + cached,
            cached=cached,
            first_token_ms=took_ms,
            read_ms=float(told["prompt_ms"]),
        )

    async def decode(self, streams: int) -> Decode:
        """So many answers at once."""
        began_ns = self._clock.now_ns()
        told = await asyncio.gather(*(self._complete(f"Tell story {one}.", ANSWER_TOKENS) for one in range(streams)))
        took_s = (self._clock.now_ns() - began_ns) / NS_PER_S
        each = [float(one["predicted_per_second"]) for one in told]
        total = sum(int(one["predicted_n"]) for one in told)
        return Decode(streams=streams, tokens_per_s=sum(each) / len(each), total_tokens_per_s=total / took_s)

    async def _complete(self, prompt: str, tokens: int) -> dict[str, Any]:
        """The engine's own timings of one completion."""
        body = {"prompt": prompt, "n_predict": tokens, "ignore_eos": True, "cache_prompt": True, "temperature": 0}
        path = "/completion"
        sent = await self._dialer.send(self._origin, "POST", path, self._headers, msgspec.json.encode(body))
        data = await sent.read_all(1 << 22)
        if sent.status != 200:
            raise _EngineError(f"it answered {sent.status}")
        timings: dict[str, Any] = msgspec.json.decode(data)["timings"]
        return timings


# --- the rest


async def _embed(embedder: Embedder, clock: Clock, seconds: float) -> list[float]:
    await embedder.queries(["warm up"])
    took: list[float] = []
    until_ns = clock.now_ns() + int(seconds * NS_PER_S)
    while clock.now_ns() < until_ns or len(took) < 5:
        began_ns = clock.now_ns()
        await embedder.queries([f"{_QUESTIONS[len(took) % len(_QUESTIONS)]} Case {len(took)}."])
        took.append((clock.now_ns() - began_ns) / NS_PER_MS)
    return took


async def _planes(workspace: Workspace, embedder: Embedder, clock: Clock, seconds: float) -> list[PlaneFigures]:
    """The whole data plane for each channel, as `answer` runs it, over replicas that are scripted."""
    tenancy, keys = keyed(unlimited(workspace.snapshot.tenancy))
    plane = await open_plane(workspace, tenancy, clock=clock, embedder=embedder, dialer=Scripted(), sink=Nowhere())
    origin = Origin.parse("http://127.0.0.1:1")
    replicas = {
        name: [Replica(id=f"{name}/0", model=name, origin=origin, path="/v1/chat/completions")]
        for name in workspace.snapshot.release.models
    }
    wiring.set_fleet(plane, replicas)
    channels = [(tenant, name) for tenant, one in tenancy.tenants.items() for name in one.channels]
    found = []
    for tenant, channel in channels:
        until_ns = clock.now_ns() + int(seconds / len(channels) * NS_PER_S)
        paths: dict[str, int] = {}
        count, spent = 0, 0.0
        while clock.now_ns() < until_ns or count < 5:
            text = f"{_QUESTIONS[count % len(_QUESTIONS)]} Case {count}."  # none is in the cache
            request = chat_request(keys[tenant], f"{tenant}/{channel}", [{"role": "user", "content": text}], {})
            before = _cpu_s()
            record = await answer(request, arrival(clock), Silent(), plane)
            if count:  # the first one warms up
                spent += _cpu_s() - before
            path = record.code or record.path or "unknown"
            paths[path] = paths.get(path, 0) + 1
            count += 1
        usual = max(paths, key=lambda path: paths[path])
        found.append(
            PlaneFigures(channel=f"{tenant}/{channel}", path=usual, requests=count, cpu_ms=spent / (count - 1) * 1000)
        )
    return found


def _cpu_s() -> float:
    used = os.times()
    return used.user + used.system


def _journal(folder: Path, clock: Clock) -> JournalFigures:
    """On the disk of the records, in a folder of its own."""
    place = folder / "var" if (folder / "var").is_dir() else folder
    with tempfile.TemporaryDirectory(prefix=".measure-", dir=place) as scratch:
        syncs = []
        descriptor = os.open(Path(scratch) / "sync", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            for _ in range(SYNCS):
                began_ns = clock.now_ns()
                os.write(descriptor, bytes(4096))
                os.fsync(descriptor)
                syncs.append((clock.now_ns() - began_ns) / NS_PER_MS)
        finally:
            os.close(descriptor)
        journal = Journal(Path(scratch) / "records", 0, clock)
        began_ns = clock.now_ns()
        for number in range(ROWS):
            record = blank(f"rec_{number:026d}", clock.wall_ns())
            record.tenant, record.channel, record.status = "measure", "measure", 200
            record.stages = {stage: [1.0, 0.1] for stage in ("ingress", "bind", "decide", "route", "infer", "settle")}
            journal.write(record)
        journal.flush(30.0)
        took_s = (clock.now_ns() - began_ns) / NS_PER_S
        journal.close()
    median, slow = rank(sorted(syncs), 0.5), rank(sorted(syncs), 0.95)
    assert median is not None
    assert slow is not None
    return JournalFigures(records_per_s=ROWS / took_s, sync_ms=median, sync_p95_ms=slow)


__all__ = ["Progress", "measure"]
