"""Three gateways of one workspace over a real store and a scripted upstream, all real processes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from shared.bench import Bench, documents
from support.gateway import write_workspace
from support.live import live
from support.upstream import ScriptedUpstream
from support.valkey import ValkeyServer


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Bench]:
    """As the test's module says in `WORKERS` and `STORAGE`, further lines of the document's `storage`."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "store").mkdir()
    with ValkeyServer(folder / "store", durable=True) as store, asyncio.Runner() as runner:
        bench = Bench(store, runner)
        bench.upstream = runner.run(ScriptedUpstream(bench.script).start())
        url = bench.upstream.url
        workers, storage = getattr(request.module, "WORKERS", 3), getattr(request.module, "STORAGE", "")
        workspace = write_workspace(folder / "w", url, url, documents(store.url, workers, storage))
        try:
            with live(workspace) as server:
                bench.server = server
                yield bench
        finally:
            runner.run(bench.upstream.stop())
