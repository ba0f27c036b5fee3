"""Versions of what is kept: none that is newer is read, written over or behind; what has two goes up and down."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.aside import upstream_aside
from support.gateway import KEY, replaced, write_workspace
from support.live import live, trimtab
from support.records import CLOCK, fill
from support.upstream import openai
from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.records import CorruptSegment, Journal, rows, segments
from trimtab.controlplane.records.texts import captured
from trimtab.controlplane.registry import audit
from trimtab.core.errors import TrimtabError
from trimtab.dataplane.inference.adapters.http1 import Http1Dialer
from trimtab.dataplane.spend import Kept
from trimtab.foundations.store import Disk
from trimtab.foundations.store import Journal as Mirrored
from trimtab.foundations.store.line import frame
from trimtab.surfaces import learned, slo_state
from trimtab.surfaces.alerting import Watch
from trimtab.surfaces.kept.layouts import KINDS, LAYOUT, OLDEST, migrate

VERSION_1 = (
    b'{"engine":{"of":"0123456789abcdef","after":{"0":7},"tracks":{"shop/web/latency":'
    b'{"fine":[[29929728,7,1,0]],"coarse":[[498828,7,1,0]]}}},"told":{}}'
)
"""As it was written before it had a number."""


def watched(folder: Path) -> Path:
    """An example whose objectives were looked at once."""
    workspace = Sandbox(folder).folder
    trimtab("slo", "watch", "--once", "--workspace", str(workspace))
    return workspace


def bytes_of(folder: Path) -> dict[str, bytes]:
    """All but locks."""
    files = [path for path in sorted((folder / "var").rglob("*")) if path.is_file() and not path.name.endswith("lock")]
    return {str(path): path.read_bytes() for path in files}


# --- newer ones


def newer_records(workspace: Path) -> None:
    fill(workspace / "var" / "records", 2)
    segment = segments(workspace / "var" / "records")[0]
    segment.seal_path.unlink()
    lines = [line[9:].replace(b'"v":1', b'"v":2', 1) for line in segment.path.read_bytes().splitlines()]
    segment.path.write_bytes(b"".join(frame(line) + b"\n" for line in lines))


def newer_money(workspace: Path) -> None:
    journal = Mirrored.open(workspace / "var" / "money")
    journal.append([b'{"entries":[],"seqs":{},"v":2}'])
    journal.close()


def newer_texts(workspace: Path) -> None:
    folder = workspace / "var" / "texts"
    folder.mkdir()
    line = frame(b'{"record":"rec_1","tenant":"hr","subject":"0","box":"","v":2}')
    (folder / f"w0000-t{1:019d}.texts").write_bytes(line + b"\n")


def newer_audit(workspace: Path) -> None:
    row = audit.append(workspace, CLOCK, action="a", subject="s", file="f", before=b"", after=b"")
    newer = msgspec.structs.replace(row, v=2)
    (workspace / audit.FILE).write_bytes(msgspec.json.encode(newer) + b"\n")


def newer_slo(workspace: Path) -> None:
    path = workspace / slo_state.FILE
    path.parent.mkdir()
    path.write_bytes(frame(b'{"version":3}'))


def newer_learned(workspace: Path) -> None:
    path = workspace / learned.FOLDER / "w0000.json"
    path.parent.mkdir()
    path.write_bytes(frame(b'{"version":2}'))


def append_audit(workspace: Path) -> None:
    audit.append(workspace, CLOCK, action="a", subject="s", file="f", before=b"", after=b"")


USES: dict[str, tuple[Callable[[Path], None], list[Callable[[Path], object]]]] = {
    "records": (
        newer_records,
        [lambda w: Journal(w / "var" / "records", 0, CLOCK), lambda w: list(rows(w / "var" / "records"))],
    ),
    "money": (newer_money, [lambda w: Kept(Mirrored.peek(w / "var" / "money"))]),
    "texts": (newer_texts, [lambda w: captured(w, bytes(32), "rec_1")]),
    "audit": (newer_audit, [lambda w: list(audit.rows(w)), append_audit]),
    "slo": (newer_slo, [lambda w: Watch(w, CLOCK, Http1Dialer())]),
    "learned": (newer_learned, [lambda w: learned.write(w / learned.FOLDER / "w0000.json", {}, 1, Disk())]),
}
"""By kind: what makes one of a newer version, and who would read it or write to it."""


@pytest.mark.parametrize("kind", USES)
def test_a_newer_version_is_refused_and_stays_as_it_is(kind: str, tmp_path: Path) -> None:
    """By those who use it, in words that say so, and by `migrate`, to whatever layout."""
    make, uses = USES[kind]
    workspace = Sandbox(tmp_path).folder
    make(workspace)
    before = bytes_of(workspace)
    for use in [*uses, *(lambda w, one=one: migrate(w, one, check=False) for one in range(OLDEST, LAYOUT + 1))]:
        with pytest.raises((TrimtabError, CorruptSegment), match=r"newer|version \d"):
            use(workspace)
        assert bytes_of(workspace) == before
    assert CliRunner().invoke(cli, ["migrate", "--workspace", str(workspace)]).exit_code == 1


def test_a_gateway_does_not_start_on_rows_of_a_newer_one(tmp_path: Path) -> None:
    """It says which file, and writes nothing behind it."""
    with upstream_aside(openai) as url:
        workspace = write_workspace(tmp_path / "w", url, url)
        newer_records(workspace)
        before = bytes_of(workspace)
        trimtab("serve", "--workspace", str(workspace), "--port", "0", code=1)
        segment = segments(workspace / "var" / "records")[0].path
        assert segment.read_bytes() == before[str(segment)]
        assert len(segments(workspace / "var" / "records")) == 1


# --- up and down


def test_state_of_objectives_goes_up_and_down(tmp_path: Path) -> None:
    """To the byte; `--check` changes nothing and ends with 1 where something would be."""
    workspace = Sandbox(tmp_path).folder
    path = workspace / slo_state.FILE
    path.parent.mkdir()
    path.write_bytes(VERSION_1)
    assert "WOULD BE" in trimtab("migrate", "--check", "--workspace", str(workspace), code=1)
    assert path.read_bytes() == VERSION_1
    said = trimtab("migrate", "--workspace", str(workspace))
    assert said.splitlines()[1].split() == [slo_state.FILE, "1", "2"]
    newest = path.read_bytes()
    assert slo_state.version_of(newest) == 2
    assert slo_state.decode(newest) == slo_state.decode(VERSION_1)
    assert trimtab("migrate", "--check", "--workspace", str(workspace)).startswith("Nothing to do")
    trimtab("migrate", "--to", "1", "--workspace", str(workspace))
    assert path.read_bytes() == VERSION_1
    assert "knows 1, 2" in CliRunner().invoke(cli, ["migrate", "--to", "3", "--workspace", str(workspace)]).output


def test_an_older_state_is_gone_on_with(tmp_path: Path) -> None:
    """Without a migration: what was counted counts, and is written in the newest version."""
    workspace = watched(tmp_path)
    path = workspace / slo_state.FILE
    saved = slo_state.decode(path.read_bytes())
    told = msgspec.structs.replace(saved, engine=msgspec.structs.replace(saved.engine, after={0: 41}))
    path.write_bytes(slo_state.encode(told, 1))
    trimtab("slo", "watch", "--once", "--workspace", str(workspace))
    assert slo_state.version_of(path.read_bytes()) == 2
    assert slo_state.decode(path.read_bytes()).engine.after == {0: 41}


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), bit=st.integers(0, 7))
def test_a_changed_bit_of_it_is_found(where: float, bit: int) -> None:
    """The state is then made anew from the records, never believed."""
    data = bytearray(slo_state.encode(slo_state.decode(VERSION_1)))
    data[min(int(where * len(data)), len(data) - 1)] ^= 1 << bit
    with pytest.raises(slo_state.SloStateError):
        slo_state.decode(bytes(data))


def test_nothing_is_migrated_under_who_writes_it(tmp_path: Path) -> None:
    """Neither under a watch nor under a gateway."""
    workspace = watched(tmp_path)
    before = (workspace / slo_state.FILE).read_bytes()
    with (workspace / slo_state.LOCK).open() as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        with pytest.raises(TrimtabError, match="another process"):
            migrate(workspace, 1, check=False)
        assert len(migrate(workspace, 1, check=True)) == 1
    assert (workspace / slo_state.FILE).read_bytes() == before


# --- the table


def capturing(documents: dict[str, str]) -> None:
    replaced("tenants/shop.yaml", "    cache: {reuse", "    capture: redacted\n    cache: {reuse")(documents)
    documents["slo.yaml"] = "{}\n"


def test_the_table_has_every_file_of_a_served_workspace_with_its_version(tmp_path: Path) -> None:
    """What a gateway and its commands write, they write in the version that the table says."""
    with upstream_aside(openai) as url:
        workspace = write_workspace(tmp_path, url, url, capturing)
        with live(workspace) as server:
            assert server.chat("Hello", key=KEY, temperature=1)[0] == 200
            trimtab("keys", "create", "--tenant", "shop", "--name", "x", "--workspace", str(workspace))
    trimtab("slo", "watch", "--once", "--workspace", str(workspace))
    files = [path.relative_to(workspace).as_posix() for path in (workspace / "var").rglob("*") if path.is_file()]
    kept = [file for file in files if not file.endswith(("lock", ".seal"))]
    assert {one.split("/")[1] for one in kept} >= {"records", "money", "texts", "keys", "audit", "slo", "secret"}
    for file in kept:
        assert [kind for kind in KINDS if fnmatch(file, kind.file.replace("**/", ""))], file
    for kind in KINDS:
        for _, version in kind.seen(workspace) if kind.seen is not None else ():
            assert version == kind.version
    assert {kind.file for kind in KINDS if kind.seen is not None and list(kind.seen(workspace))} >= {
        "var/records/*.jsonl", "var/money/*", "var/texts/*.texts", "var/audit/audit.jsonl", slo_state.FILE,
    }  # fmt: skip
