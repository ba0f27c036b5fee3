"""What this machine reaches: engines, embedder, the gateway's own work, the disk. Within about a minute.

Everything is started here, beside a gateway that may run: engines as processes of their own on the workspace's
declarations, the data plane in this process over an upstream that answers at once. Nothing is charged or recorded. What
was learned of engines is kept for the gateway's next start, unless one runs now and so shared the machine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from trimtab.controlplane.records import Journal
from trimtab.controlplane.records.report import rank
from trimtab.controlplane.registry import Workspace
from trimtab.core.clock import NS_PER_MS, NS_PER_S, Clock
from trimtab.core.record import blank
from trimtab.dataplane import wiring
from trimtab.dataplane.inference import Origin, Replica
from trimtab.dataplane.inference.dialer import UpstreamError
from trimtab.dataplane.pipeline import answer
from trimtab.foundations.embed import Embedder, create_embedder
from trimtab.surfaces.doctor.engines import EngineError, measure_engine
from trimtab.surfaces.doctor.fitted import learned
from trimtab.surfaces.doctor.measured import JournalFigures, Measured, PlaneFigures
from trimtab.surfaces.doctor.scripted import Scripted
from trimtab.surfaces.inprocess import Nowhere, Silent, arrival, chat_request, keyed, open_plane, unlimited
from trimtab.surfaces.learned import FOLDER, write_measured
from trimtab.surfaces.processes import EngineSpec, usable_cores

Progress = Callable[[str], None]
USUAL_S: Final = 50.0
"""What the whole may take, some seconds more or less: a part goes on to the end of what it has begun."""
ENGINES, EMBEDDER, PLANES = 0.62, 0.04, 0.16
"""Shares of it, the rest for the disk and ends of parts; engines divide theirs, channels theirs."""
SYNCS: Final = 40
ROWS: Final = 2_000
_QUESTIONS: Final = ("How long does delivery take?", "Can I return a pair of shoes?", "What does it cost to pay later?")


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
        progress(f"engine {spec.name}: starting, prompts and answers, alone and together")
        try:
            engines.append(await measure_engine(spec, workspace.folder, clock, seconds * ENGINES / len(specs)))
        except (OSError, UpstreamError, EngineError) as problem:
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
    kept: list[str] = []
    if not gateway_runs:
        known = {one.engine: learned(one.passes).state() for one in engines}
        try:
            kept = await clock.offload(write_measured, workspace, known, clock.wall_ns())
        except OSError as problem:
            notes.append(f"{FOLDER}: {problem}, so that nothing of it is kept")
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
        kept=kept,
    )


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
