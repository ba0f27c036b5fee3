"""A gateway before a scripted model, every stage on and the answer cache off: for what other parts cost it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from benchmarks.admission_live.workspace import START_S, TRIMTAB
from benchmarks.gateway_overhead import processes
from benchmarks.gateway_overhead import workspace as layout
from benchmarks.gateway_overhead.native import CannotRunError
from benchmarks.soak.watch import gateway_pid

_TEXT = "say-n8-w1-g1 where is the parcel that was sent to me last week, {number}"


class Served(NamedTuple):
    """`pid`: of the gateway that answers."""

    workspace: Path
    port: int
    key: str
    pid: int


@contextmanager
def served(folder: Path, edit: Callable[[Path], object] = lambda workspace: None) -> Iterator[Served]:
    """`trimtab serve` until the block ends, its workspace changed by `edit`. Raises CannotRunError."""
    upstream, port, workspace, log = processes.free_port(), processes.free_port(), folder / "ws", folder / "serve.log"
    layout.lay_out(workspace, upstream, lambda made: layout.call(TRIMTAB, "init", str(made)))
    path = workspace / f"tenants/{layout.TENANT}.yaml"
    path.write_text(path.read_text().replace("reuse: true", "reuse: false"))
    edit(workspace)
    key = layout.create_key(TRIMTAB, workspace)
    model = [sys.executable, "-m", "benchmarks.scripted", str(upstream), "--untraced"]
    serve = [TRIMTAB, "serve", "--workspace", str(workspace), "--port", str(port)]
    with processes.running(model, None, folder / "model.log"), processes.running(serve, None, log) as supervisor:
        until = time.monotonic() + START_S
        while "Trimtab serves at" not in log.read_text():
            if supervisor.poll() is not None or time.monotonic() > until:
                raise CannotRunError(f"the gateway does not start: {log.read_text()}")
            time.sleep(0.1)
        yield Served(workspace, port, key, gateway_pid(supervisor.pid))


def body(number: int) -> bytes:
    """Of a request whose answer streams in eight pieces."""
    text = _TEXT.format(number=number)
    return b'{"model":"auto","stream":true,"messages":[{"role":"user","content":"%b"}]}' % text.encode()
