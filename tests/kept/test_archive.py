"""What comes as an archive is not believed: nothing leads outside, nothing damaged or cut is restored."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.records import CLOCK, fill
from support.workspaces import Sandbox
from trimtab.surfaces.kept.archive import MANIFEST, ArchiveError
from trimtab.surfaces.kept.backup import back_up
from trimtab.surfaces.kept.restore import NotEmptyError, restore

Change = Callable[[list[tuple[tarfile.TarInfo, bytes]]], None]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of an example with a few rows."""
    folder = tmp_path_factory.mktemp("made")
    sandbox = Sandbox(folder)
    fill(sandbox.folder / "var" / "records", 5)
    back_up(sandbox.folder, folder / "whole.tar", CLOCK, keys=True)
    return folder / "whole.tar"


def changed(made: Path, folder: Path, change: Change) -> Path:
    """The same archive after `change` of its members."""
    with tarfile.open(made) as tar:
        members = [(entry, tar.extractfile(entry).read()) for entry in tar]  # type: ignore[union-attr]
    change(members)
    path = folder / "changed.tar"
    with tarfile.open(path, "w") as tar:
        for entry, data in members:
            entry.size = len(data) if entry.isreg() else 0
            tar.addfile(entry, io.BytesIO(data))
    return path


def put(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> Change:
    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname = kind, link
        members.insert(0, (entry, b"x"))

    return change


def edited(**fields: object) -> Change:
    """Members of the manifest."""

    def change(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        entry, data = members[-1]
        members[-1] = entry, msgspec.json.encode(msgspec.json.decode(data) | fields)

    return change


def renamed(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[0][0].name = "workspace/elsewhere.yaml"


def without_manifest(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop()


def behind(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.append(members[0])


def one_less(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members.pop(0)


def other_bytes(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
    members[3] = members[3][0], members[3][1] + b"#"


HOSTILE: dict[str, tuple[Change, str]] = {
    "parent": (put("workspace/../out"), "no name below"),
    "parent within": (put("workspace/var/../../out"), "no name below"),
    "absolute": (put("/tmp/out"), "no name below"),
    "absolute below": (put("workspace//etc/out"), "no name below"),
    "not below": (put("out"), "no name below"),
    "the folder itself": (put("workspace/."), "no name below"),
    "dots": (put("workspace/./x"), "not written as"),
    "symlink": (put("workspace/x", tarfile.SYMTYPE, "/etc/passwd"), "no plain file"),
    "hard link": (put("workspace/x", tarfile.LNKTYPE, "workspace/trimtab.yaml"), "no plain file"),
    "folder": (put("workspace/x", tarfile.DIRTYPE), "no plain file"),
    "fifo": (put("workspace/x", tarfile.FIFOTYPE), "no plain file"),
    "device": (put("workspace/x", tarfile.CHRTYPE), "no plain file"),
    "twice": (put("workspace/trimtab.yaml"), "twice"),
    "file and folder": (put("workspace/tenants"), "damaged, or no backup"),
    "unknown": (put("workspace/x"), "not in its manifest"),
    "renamed": (renamed, "is missing|not in its manifest"),
    "missing": (one_less, "is missing"),
    "other bytes": (other_bytes, "is damaged"),
    "no manifest": (without_manifest, "was cut"),
    "behind the manifest": (behind, "behind its manifest"),
    "newer": (edited(version=2), "newer Trimtab"),
    "another format": (edited(format="other"), "no backup of Trimtab"),
    "broken manifest": (edited(members=3), "its manifest is damaged"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_whole_backup_is_refused(case: str, made: Path, tmp_path: Path) -> None:
    """With the reason, and nothing is left behind, in the folder or beside it."""
    change, why = HOSTILE[case]
    path = changed(made, tmp_path, change)
    inner = tmp_path / "inner"
    inner.mkdir()
    with pytest.raises(ArchiveError, match=why):
        restore(path, inner / "workspace", CLOCK)
    assert list(inner.iterdir()) == []
    assert sorted(one.name for one in tmp_path.iterdir()) == ["changed.tar", "inner"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1), cut=st.booleans(), zipped=st.booleans())
def test_a_flipped_byte_or_a_cut_is_found(
    where: float, cut: bool, zipped: bool, made: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Wherever it is: what is restored all the same is the same, byte for byte."""
    folder = tmp_path_factory.mktemp("flipped")
    if zipped:
        import gzip

        data = bytearray(gzip.compress(made.read_bytes(), 1, mtime=0))
    else:
        data = bytearray(made.read_bytes())
    at = min(int(where * len(data)), len(data) - 1)
    data[at] ^= 1
    (folder / "x.tar").write_bytes(data[:at] if cut else data)
    try:
        restore(folder / "x.tar", folder / "workspace", CLOCK)
    except ArchiveError:
        assert [one.name for one in folder.iterdir()] == ["x.tar"]
    else:
        restore(made, folder / "whole", CLOCK)
        assert contents(folder / "workspace") == contents(folder / "whole")


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_restore_writes_over_nothing(made: Path, tmp_path: Path) -> None:
    """Neither into a folder with something in it, nor through a link; an empty folder is taken."""
    full, empty, link = tmp_path / "full", tmp_path / "empty", tmp_path / "link"
    full.mkdir()
    (full / "mine").write_text("x")
    empty.mkdir()
    link.symlink_to(empty)
    for target in (full, full / "mine", link):
        with pytest.raises(NotEmptyError):
            restore(made, target, CLOCK)
    assert contents(full) == {"mine": b"x"}
    assert list(empty.iterdir()) == []
    assert restore(made, empty, CLOCK).problems == []
    assert (empty / "trimtab.yaml").is_file()


def test_modes_are_as_they_should_be(made: Path, tmp_path: Path) -> None:
    """What was its owner's alone is so again, and no archive makes a file that others may write."""

    def opened(members: list[tuple[tarfile.TarInfo, bytes]]) -> None:
        for entry, _ in members:
            entry.mode = 0o7777 if entry.name == "workspace/trimtab.yaml" else entry.mode

    path = changed(made, tmp_path, opened)
    restore(path, tmp_path / "workspace", CLOCK)
    modes = {str(p.relative_to(tmp_path / "workspace")): p.stat().st_mode & 0o7777 for p in tmp_path.rglob("*")
             if p.is_relative_to(tmp_path / "workspace")}  # fmt: skip
    assert (modes["var"], modes["var/records"], modes["run"], modes["var/secret"]) == (0o700, 0o700, 0o700, 0o600)
    assert modes["trimtab.yaml"] == 0o755


def test_a_backup_is_whole_or_not_there(made: Path, tmp_path: Path) -> None:
    """It is never written over, not put where the next would hold it, and where it fails there is no file."""
    sandbox = Sandbox(tmp_path)
    target = tmp_path / "b.tar"
    with pytest.raises(ArchiveError, match="lies in the workspace"):
        back_up(sandbox.folder, sandbox.folder / "b.tar", CLOCK, keys=True)
    money = sandbox.folder / "var" / "money"
    money.mkdir()
    (money / "000001.a").write_bytes(b"damaged")
    with pytest.raises(Exception, match="acknowledged lines may be missing"):
        back_up(sandbox.folder, target, CLOCK, keys=True)
    assert not target.exists()
    (money / "000001.a").unlink()
    back_up(sandbox.folder, target, CLOCK, keys=True)
    before = target.read_bytes()
    with pytest.raises(ArchiveError, match="never written over"):
        back_up(sandbox.folder, target, CLOCK, keys=True)
    assert target.read_bytes() == before
    assert sorted(one.name for one in tmp_path.iterdir()) == ["b.tar", "workspace"]


def test_what_tells_of_a_running_process_is_left_out(made: Path) -> None:
    """Locks, sockets and half-written files; records come after all that refers to them."""
    with tarfile.open(made) as tar:
        names = tar.getnames()
    assert names[-1] == MANIFEST
    assert not [name for name in names if name.endswith((".lock", "/lock", ".new")) or "/run/" in name]
    assert names[-2].startswith("workspace/var/records/")
    assert "workspace/.schema/tenant.json" in names
    assert "workspace/var/secret" in names
