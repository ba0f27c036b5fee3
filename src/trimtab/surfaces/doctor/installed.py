"""The workspace on its disk: documents, folders and modes, models, indexes, records, and what a crash left behind."""

from __future__ import annotations

import fcntl
import hashlib
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from trimtab.controlplane import records
from trimtab.controlplane.registry import SECRET, Settings, Workspace, examine, own_keys
from trimtab.core.clock import NS_PER_S, Clock
from trimtab.core.errors import TrimtabError
from trimtab.core.money import usd
from trimtab.dataplane.spend import Kept
from trimtab.foundations.config import errors
from trimtab.foundations.embed import NANO
from trimtab.foundations.store import Journal
from trimtab.foundations.tokens import GgufError
from trimtab.foundations.tokens.gguf import metadata
from trimtab.surfaces import indexes
from trimtab.surfaces.budgets import money_folder
from trimtab.surfaces.doctor.finding import Finding, error, good, warning
from trimtab.surfaces.doctor.machine import memory_left, mib
from trimtab.surfaces.doctor.store import store
from trimtab.surfaces.processes import ModelMissingError, PortTakenError, listen, model_file
from trimtab.surfaces.processes.model import FILE, SHA256
from trimtab.surfaces.server.ask import NotRunningError, admin_socket, ask

GATEWAY_BYTES: Final = 320 << 20
"""What a gateway takes with its embedder and an index of some hundred passages."""
_AHEAD_S: Final = 60
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def installed(folder: Path, clock: Clock) -> Iterator[Finding]:
    """All that can be told with the documents that there are; a running gateway is asked."""
    loaded, problems = examine(folder)
    count = len(errors(problems))
    said = f"{count} errors, {len(problems) - count} warnings"
    if loaded is None:
        yield error("workspace", said, "A gateway does not start with it.", f"trimtab check --workspace {folder}")
    elif problems:
        fix = f"trimtab check --workspace {folder}"
        yield warning("workspace", said, "A declaration does less than it seems to.", fix)
    else:
        yield good("workspace", said)
    if folder.is_dir():
        yield from _folders(folder)
        yield from _records(folder, clock)
    state = _state(folder)
    shared = loaded is not None and loaded.settings.storage.is_shared
    if state is None and not shared and money_folder(folder).is_dir():
        yield _money(folder, clock)
    yield _gateway(folder, state)
    if loaded is not None and loaded.settings.storage.is_shared:
        yield from store(loaded.settings.storage, folder, clock)
    if loaded is not None:
        yield from _models(folder, loaded.settings, running=state is not None)
        yield from _indexes(folder, loaded)
        if state is None:
            yield _port(loaded.settings)


def _folders(folder: Path) -> Iterator[Finding]:
    closed = [
        str(path.relative_to(folder)) if path != folder else "."
        for path in (folder, folder / "var", folder / "var" / "records", folder / "run")
        if path.is_dir() and not os.access(path, os.R_OK | os.W_OK | os.X_OK)
    ]
    if closed:
        said = f"can't be written: {', '.join(closed)}"
        fix = f"chown -R {os.geteuid()} {folder}, or serve as the folder's owner."
        yield error("folders", said, "Records, indexes and the admin socket are written there.", fix)
    else:
        yield good("folders", "can be written")
    secret = folder / SECRET
    try:
        mode, size = secret.stat().st_mode, len(secret.read_bytes())
    except OSError as problem:
        cause = "Cache keys, sessions and placeholders are derived from it."
        fix = "Copy it from where the workspace was made, or write 32 random bytes there, mode 0600."
        yield error(SECRET, f"can't be read: {problem.strerror}", cause, fix)
        return
    if size < 16:
        fix = "Write 32 random bytes there, mode 0600."
        yield error(SECRET, f"has {size} bytes", "It is guessable, and no gateway starts with it.", fix)
    elif mode & _OTHERS:
        said = f"has mode {stat.S_IMODE(mode):04o}"
        cause = "Who reads it can link sessions and cached questions to people."
        yield error(SECRET, said, cause, f"chmod 600 {secret}, and replace it if others had access.")
    else:
        yield good(SECRET, f"has mode {stat.S_IMODE(mode):04o}")


def _records(folder: Path, clock: Clock) -> Iterator[Finding]:
    where = folder / "var" / "records"
    try:
        report = records.verify(where, own_keys(folder))
        newest = max((row.t_wall_ns for row in records.query(where, on_corrupt=lambda _: None)), default=0)
    except OSError as problem:
        cause = "Budgets are rebuilt from them at a start."
        yield error("records", f"can't be read: {problem}", cause, "Give the gateway's user access to var/records.")
        return
    said = f"{report.rows:,} rows in {report.segments} segments"
    if report.problems:
        told = f"{said}; {len(report.problems)} places are damaged, the first: {report.problems[0]}"
        cause = "Rows there count for no budget and no report. The disk failed, or somebody changed the file."
        yield error("records", told, cause, "Restore the segment from a copy, or move it away: the rest is still read.")
    elif report.missing:
        cause = "The disk refused them, and the queue in memory was full."
        fix = "Make room on the disk; trimtab_records_lost_total tells while it happens."
        yield warning("records", f"{said}; {report.missing:,} rows were lost", cause, fix)
    else:
        yield good("records", said)
    ahead_s = (newest - clock.wall_ns()) / NS_PER_S
    if ahead_s > _AHEAD_S:
        said = f"the newest is {ahead_s:,.0f} s in the future"
        cause = "The clock was set back, or was wrong when they were written: budgets may count them again."
        yield warning("order of records", said, cause, "Keep the clock by NTP.")


def _money(folder: Path, clock: Clock) -> Finding:
    """The journal of what is drawn, as the next start will find it."""
    try:
        kept = Kept(Journal.peek(money_folder(folder)))
    except TrimtabError as problem:
        fix = "Restore var/money from a copy, or move it away: budgets are then worked out of the records."
        return error("money", str(problem), "No gateway starts with it: it may not know what was spent.", fix)
    now = [entry for entry in kept.entries.values() if entry.window.holds(clock.wall_ns())]
    drawn = sum(max(entry.drawn - (entry.settled or 0), 0) for entry in now)
    said = f"{len(now)} budgets in var/money"
    if not drawn:
        return good("money", said)
    cause = "A gateway was killed: where the records don't tell what became of it, it counts as spent."
    fix = "trimtab budget show, and grant what was not spent."
    return warning("money", f"{said}, ${usd(drawn)} drawn and not settled", cause, fix)


def _state(folder: Path) -> dict[str, Any] | None:
    try:
        return ask(folder, "GET", "/state")  # type: ignore[no-any-return]  # an object
    except NotRunningError:
        return None


def _gateway(folder: Path, state: dict[str, Any] | None) -> Finding:
    if state is None:
        return _left_behind(folder) or good("gateway", "does not run")
    engines = ", ".join(f"{one['name']} {one['state']}" for one in state["engines"]) or "none of its own"
    workers = f", {len(state['workers'])} gateways" if "workers" in state else ""
    said = f"serves at {state['url']}{workers}; engines: {engines}"
    fix = "Its log on stderr says more; trimtab check for the documents."
    if state["problems"]:
        cause = f"{len(state['problems'])} problems keep a changed workspace out: the last good one serves."
        return error("gateway", said, cause, f"trimtab check --workspace {folder}")
    ill = [one for one in state["engines"] if one["state"] not in ("ready", "stopped")]
    if ill:
        return error("gateway", said, "; ".join(f"{one['name']}: {one['detail'] or one['state']}" for one in ill), fix)
    if state["journal"]["failing"]:
        cause = f"The disk refuses records ({state['journal']['failing']}); they wait in memory."
        return error("gateway", said, cause, "Make room, or mend the disk: it goes on by itself.")
    if state["store"]["lost"] and state["store"]["name"] == "memory":
        cause = f"Requests with a budget are refused: {state['store']['lost']}"
        return error("gateway", said, cause, "Make room, or mend the disk: it goes on by itself.")
    return good("gateway", said)


def _left_behind(folder: Path) -> Finding | None:
    """What a gateway that was killed leaves: harmless, unless its process still holds the records."""
    for lock in sorted((folder / "var" / "records").glob("w*.lock")):
        if _is_held(lock):
            said = f"does not answer, but a process holds {lock.name}"
            cause = "Another gateway of this workspace is starting, hangs, or runs in another container."
            return error("gateway", said, cause, f"Find it: fuser {lock}; stop it, or wait until it is up.")
    sock = admin_socket(folder)
    if sock.is_socket() or (folder / "run" / "admin.path").exists():
        cause = "A gateway was killed. It is removed at the next start."
        return warning("gateway", f"does not run, and left {sock.name} behind", cause, "Nothing, or: trimtab serve")
    return None


def _is_held(lock: Path) -> bool:
    try:
        descriptor = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return False


def _models(folder: Path, settings: Settings, *, running: bool) -> Iterator[Finding]:
    need = GATEWAY_BYTES
    hashed: dict[Path, str] = {}
    for name, engine in settings.engines.items():
        what = f"engine {name}"
        try:
            path = model_file(engine.model, folder)
            size = path.stat().st_size + _cache_bytes(metadata(path), engine.slots * engine.context)
        except ModelMissingError as problem:
            yield error(what, str(problem), "The engine can't start; its tiers refuse.", "trimtab init --fetch-model")
            continue
        except (GgufError, OSError) as problem:
            yield error(what, str(problem), "llama.cpp loads GGUF files only.", "Download the file again.")
            continue
        need += size
        if path.name == FILE and hashed.setdefault(path, _sha256(path)) != SHA256:
            fix = f"Delete {path}, then: trimtab init --fetch-model"
            yield error(what, f"{path.name} is not the file that was published", "Damaged, or replaced.", fix)
        else:
            yield good(what, f"{path.name}, about {mib(size)} with {engine.slots} slots of {engine.context} tokens")
    left = memory_left()
    if left is None or running:
        return
    said = f"{mib(left)} free, about {mib(need)} needed"
    if left < need:
        cause = "The kernel ends a process when memory runs out: an engine is then started again and again."
        yield error("memory", said, cause, "Fewer engines, slots or context in trimtab.yaml, or more memory.")
    else:
        yield good("memory", said)


def _cache_bytes(header: dict[str, Any], tokens: int) -> int:
    """Keys and values of so many tokens in 16 bits, for all layers; 0 where the header does not tell."""
    kind = header.get("general.architecture")
    try:
        heads = int(header[f"{kind}.attention.head_count"])
        shared = int(header.get(f"{kind}.attention.head_count_kv", heads))
        width = int(header[f"{kind}.embedding_length"]) // heads
        return int(header[f"{kind}.block_count"]) * shared * width * 2 * 2 * tokens
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _indexes(folder: Path, loaded: Workspace) -> Iterator[Finding]:
    for name in indexes.used(loaded.snapshot.tenancy):
        status = indexes.status(folder, name, NANO)
        said = f"{status.state}, {status.passages} passages in {', '.join(status.languages) or 'no named language'}"
        if status.state in ("damaged", "no corpus"):  # what is stale or absent is built at the next start
            cause = status.detail or f"corpora/{name} does not exist: channels that need it refuse."
            fix = f"trimtab index build {name}" if status.state == "damaged" else f"Put documents into corpora/{name}."
            yield error(f"corpus {name}", said, cause, fix)
        else:
            yield good(f"corpus {name}", said)


def _port(settings: Settings) -> Finding:
    host, port = settings.server.host, settings.server.port
    what, fix = f"port {port}", "trimtab serve --port N, server.port in trimtab.yaml, or stop the other process."
    try:
        listen(host, port).close()
    except PortTakenError as problem:
        owner = _owner(port)
        return error(what, str(problem) + (f", {owner}" if owner else ""), "Two processes can't listen there.", fix)
    except (OSError, socket.gaierror) as problem:
        return error(what, f"{host} can't be listened on: {problem}", "The address is not this machine's.", fix)
    return good(what, f"is free on {host}")


def _owner(port: int) -> str | None:
    """Whose the listening socket is; only root sees those of others."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            rows = [line.split() for line in Path(table).read_text().splitlines()[1:]]
        except OSError:
            continue
        inodes |= {
            f"socket:[{row[9]}]" for row in rows if row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port
        }
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if any(str(one.readlink()) in inodes for one in (process / "fd").iterdir()):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
        except OSError:
            continue  # it has gone, or is another's
    return None


__all__ = ["GATEWAY_BYTES", "installed"]
