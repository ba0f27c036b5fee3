"""An engine child without a model: real process and channel. Its model's name says how it behaves: `missing` can't
start, `crash` ends at once, all else serves a loopback port that answers with its pid. `talks` prints
what it chokes on, as llama.cpp does."""

from __future__ import annotations

import argparse
import os
import queue
import signal
import socket
import sys

from trimtab.surfaces.processes.channel import ChildEnd, EngineFailed, EngineReady, Run, ToChild


def main() -> None:
    """As the real engine, less llama.cpp."""
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--control", type=int)
    arguments.add_argument("--workspace")
    given = arguments.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control = ChildEnd(given.control)
    orders: queue.SimpleQueue[ToChild] = queue.SimpleQueue()
    control.listen(orders.put)
    order = orders.get()
    assert isinstance(order, Run)
    if order.spec.model == "missing":
        print("E could not open a file", file=sys.stderr, flush=True)
        control.send(EngineFailed(reason="the model file missing does not exist"))
        sys.exit(1)
    if order.spec.model == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    talks = order.spec.model == "talks"
    listen = socket.create_server(("127.0.0.1", 0))
    control.send(EngineReady(url=f"http://127.0.0.1:{listen.getsockname()[1]}"))
    while True:
        connection, _ = listen.accept()
        with connection:
            if talks:
                print("E failed to parse: the secret prompt", file=sys.stderr, flush=True)
                print("/src/ggml/ggml.c:42: GGML_ASSERT(n > 0) failed", file=sys.stderr, flush=True)
            connection.sendall(b"%d %s\n" % (os.getpid(), order.api_key.encode()))


if __name__ == "__main__":
    main()
