"""The engine child: one llama.cpp server on a loopback port of its own choice. `python -m ... --control FD`."""

from __future__ import annotations

import argparse
import os
import queue
import signal
from pathlib import Path
from typing import Any

from trimtab.surfaces.processes.channel import (
    ChildEnd,
    EngineFailed,
    EngineReady,
    EngineSpec,
    Run,
    SpeculationSpec,
    ToChild,
)
from trimtab.surfaces.processes.model import ModelMissingError, model_file


def main() -> None:
    arguments = argparse.ArgumentParser(prog="trimtab-engine")
    arguments.add_argument("--control", type=int, required=True)
    arguments.add_argument("--workspace", type=Path, required=True)
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C goes to all: the supervisor decides
    control = ChildEnd(given.control)
    orders: queue.SimpleQueue[ToChild] = queue.SimpleQueue()
    control.listen(orders.put)
    order = orders.get()
    if not isinstance(order, Run):
        raise SystemExit(f"expected an order to run, got {order}")
    try:
        server = serve(order.spec, order.api_key, given.workspace)
    except (ModelMissingError, RuntimeError, ValueError) as error:
        control.send(EngineFailed(reason=str(error)))
        os._exit(1)
    control.send(EngineReady(url=server.listening_address))
    orders.get()  # nothing more is ever ordered: it ends by signal or by the supervisor's end


def serve(spec: EngineSpec, api_key: str, workspace: Path) -> Any:
    """Load and listen. Raises ModelMissingError, or RuntimeError with the library's words."""
    import xllamacpp

    path = model_file(spec.model, workspace)
    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {spec.name}  # unset, every answer's `model` would be the file's path
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [api_key]
    params.n_parallel = spec.slots
    params.n_ctx = spec.slots * spec.context
    params.cache_ram_mib = (
        0  # prompts beyond the slots' own would be found by whoever sends an equal one, of any tenant
    )
    params.cache_idle_slots = False
    params.endpoint_metrics = True
    params.verbosity = 1  # errors only: its log goes into ours
    if spec.pass_tokens is not None:
        params.n_ubatch = spec.pass_tokens
        params.n_batch = max(params.n_batch, spec.pass_tokens)
    if spec.speculation is not None:
        _speculate(params, spec.speculation, workspace)
    if spec.threads is not None:
        params.cpuparams.n_threads = spec.threads
        params.cpuparams_batch.n_threads = spec.threads
    try:
        server = xllamacpp.Server(params)
    except RuntimeError as error:
        raise RuntimeError(f"{path} can't be loaded; llama.cpp's own words are above ({error})") from error
    # The library has put its own handlers in place, which would only set a flag that nobody looks at.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return server


def _speculate(params: Any, spec: SpeculationSpec, workspace: Path) -> None:
    """Set in the process: llama.cpp reads the fields of a request that once did it, and does not heed them
    (xllamacpp 2026.10)."""
    import xllamacpp

    kinds = xllamacpp.common_speculative_type
    if spec.model is None:
        params.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n = spec.match
        params.speculative.ngram_simple.size_m = spec.tokens
    else:
        params.speculative.types = [kinds.COMMON_SPECULATIVE_TYPE_DRAFT_SIMPLE]
        params.speculative.draft.n_max = spec.tokens
        params.speculative.draft.mparams.path = str(model_file(spec.model, workspace))


if __name__ == "__main__":
    main()
