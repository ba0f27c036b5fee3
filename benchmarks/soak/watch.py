"""What a gateway holds, looked at from outside: /proc, the admin socket, the records on its disk."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchmarks.gateway_overhead import admin

MIB = 1 << 20


class Held(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway process held at one moment. MiB; `sockets` are among `fds`; `waited_s`: until it stood still."""

    rss_mib: float
    pss_mib: float
    threads: int
    fds: int
    sockets: int
    tasks: int
    connections: int
    tickets: int
    waiting: int
    reserved_nanousd: int
    settled_nanousd: int
    records: int
    records_lost: int
    cache_mib: float
    cache_evicted: int
    waited_s: float = 0.0


class Told(msgspec.Struct):
    """Sums over the records of one run."""

    rows: int = 0
    settled_nanousd: int = 0
    answered: int = 0
    """Requests that a model answered, whole."""
    prompt: int = 0
    completion: int = 0
    bytes: int = 0
    largest_segment: int = 0


class _Tokens(msgspec.Struct):
    prompt: int | None = None
    completion: int | None = None


class _Cost(msgspec.Struct):
    settled_nanousd: int | None = None


class _Row(msgspec.Struct):
    kind: str
    tokens: _Tokens
    cost: _Cost
    status: int | None = None
    code: str | None = None
    path: str | None = None


def held(pid: int, workspace: Path) -> Held:
    """Now. Descriptors first: the gateway may close the connections of the questions below a moment after them."""
    links = list(_links(pid))
    told = msgspec.json.decode(_admin(workspace, "GET", "/state"))
    scraped = _admin(workspace, "GET", "/metrics").decode()
    rows = msgspec.json.decode(_admin(workspace, "GET", "/budgets"))["budgets"]
    month = next(row for row in rows if row["period"] == "month")
    status = Path(f"/proc/{pid}/status").read_text()
    gates = told["gates"].values()
    return Held(
        rss_mib=int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / MIB,
        pss_mib=_number(r"^Pss:\s+(\d+)", Path(f"/proc/{pid}/smaps_rollup").read_text()) / 1024,
        threads=int(_number(r"^Threads:\s+(\d+)", status)),
        fds=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        tasks=int(_number(r"^trimtab_tasks (\S+)", scraped)),
        connections=int(_number(r"^trimtab_connections (\S+)", scraped)),
        tickets=sum(gate["slots"] - gate["free"] for gate in gates),
        waiting=sum(gate["waiting"] for gate in gates),
        reserved_nanousd=sum(row["reserved_nanousd"] for row in rows),
        settled_nanousd=month["settled_nanousd"],
        records=told["journal"]["seq"],
        records_lost=told["journal"]["lost"],
        cache_mib=told["cache"]["bytes"] / MIB,
        cache_evicted=told["cache"]["evicted"],
    )


def idle(pid: int, workspace: Path, idle_s: float, base: Held | None, limit_s: float = 60) -> Held:
    """What is held after `idle_s` without load, or later: until no more is than in `base`, `limit_s` at most."""
    began = time.monotonic()
    time.sleep(idle_s)
    while True:
        now, waited_s = held(pid, workspace), time.monotonic() - began
        if base is None or is_back(now, base) or waited_s > limit_s:
            return msgspec.structs.replace(now, waited_s=round(waited_s, 1))
        time.sleep(1)


def is_back(now: Held, base: Held) -> bool:
    """Nothing is under way, and tasks and descriptors are as before."""
    counts = now.tasks <= base.tasks and now.fds <= base.fds and now.threads <= base.threads
    return counts and not (now.tickets or now.waiting or now.reserved_nanousd or now.connections > base.connections)


def read_records(folder: Path) -> Told:
    """Every row on the disk. Raises msgspec.DecodeError for one that can't be read."""
    told, decoder = Told(), msgspec.json.Decoder(_Row)
    for path in sorted(folder.glob("*.jsonl")):
        size = path.stat().st_size
        told.bytes += size
        told.largest_segment = max(told.largest_segment, size)
        with path.open("rb") as file:
            for line in file:
                row = decoder.decode(line[9:])  # behind the checksum
                told.settled_nanousd += row.cost.settled_nanousd or 0
                if row.kind != "request":
                    continue
                told.rows += 1
                if row.status == 200 and row.code is None and row.path == "direct":
                    told.answered += 1
                    told.prompt += row.tokens.prompt or 0
                    told.completion += row.tokens.completion or 0
    return told


def gateway_pid(supervisor: int) -> int:
    """The one gateway process of `trimtab serve`."""
    children = map(int, Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split())
    (pid,) = (one for one in children if b"processes.gateway" in Path(f"/proc/{one}/cmdline").read_bytes())
    return pid


def flush(workspace: Path) -> None:
    """Have all records on the disk."""
    _admin(workspace, "POST", "/records/flush")


def _admin(workspace: Path, method: str, route: str) -> bytes:
    status, body = admin.exchange(workspace, method, route)
    assert status == 200, (route, status, body)
    return body


def _links(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208
        try:
            yield os.readlink(f"{folder}/{name}")  # noqa: PTH115
        except FileNotFoundError:
            continue  # closed meanwhile


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text, re.MULTILINE)
    assert found is not None, pattern
    return float(found[1])


__all__ = ["MIB", "Held", "Told", "flush", "gateway_pid", "held", "idle", "is_back", "read_records"]
