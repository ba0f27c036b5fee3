"""Backups of a workspace that is written to, and what a restore makes of them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO, Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.aside import upstream_aside
from support.gateway import KEY, replaced, write_workspace
from support.live import eventually, live, trimtab
from support.records import CLOCK, fill, row
from support.upstream import Seen, Step, openai
from support.workspaces import Sandbox
from trimtab.controlplane.records import Journal, rows, segments, verify
from trimtab.foundations.signature import SigningKey
from trimtab.surfaces.kept.archive import Writer, writing
from trimtab.surfaces.kept.backup import back_up
from trimtab.surfaces.kept.contents import Contents
from trimtab.surfaces.kept.restore import restore

SHOP = "tenants/shop.yaml"
SIGNER = SigningKey.of_pem(
    Ed25519PrivateKey.from_private_bytes(bytes(32))
    .private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    .decode()
)


def monthly(documents: dict[str, str]) -> None:
    """A budget a month, so that midnight changes nothing."""
    replaced(SHOP, "period: day", "period: month")(documents)


def capturing(documents: dict[str, str]) -> None:
    replaced(SHOP, "    cache: {reuse", "    capture: redacted\n    cache: {reuse")(documents)


def shown(workspace: Path) -> Any:
    said = trimtab("budget", "show", "shop", "--top", "0", "--json", "--workspace", str(workspace))
    return next(row for row in msgspec.json.decode(said)["budgets"] if row["name"] == "shop")


def test_taken_under_load_it_is_consistent(tmp_path: Path) -> None:
    """Two backups of a gateway that four clients ask: each verifies, holds what was answered before it, and counts no
    less as spent or in doubt than the provider had answered; the restored gateway goes on."""
    answered = [0]

    def script(seen: Seen) -> Iterable[Step]:
        answered[0] += 1
        return openai(seen)

    made: list[tuple[Path, int]] = []
    with upstream_aside(script) as url:
        workspace = write_workspace(tmp_path / "live", url, url, monthly, capturing)
        with live(workspace) as server:
            assert server.chat("How much?", key=KEY, temperature=1)[0] == 200
            cost = shown(workspace)["settled_nanousd"]
            stop = threading.Event()

            def client() -> None:
                while not stop.is_set():
                    server.chat("Hello there", key=KEY, temperature=1)

            clients = [threading.Thread(target=client) for _ in range(4)]
            for one in clients:
                one.start()
            for number in range(2):
                before = answered[0]
                eventually(lambda before=before: answered[0] >= before + 20)
                before, target = answered[0], tmp_path / f"{number}.tar.gz"
                trimtab("backup", str(target), "--workspace", str(workspace))
                made.append((target, before))
            stop.set()
            for one in clients:
                one.join()
        record = next(reversed(list(rows(workspace / "var" / "records")))).id
        for target, before in made:
            folder = tmp_path / f"restored-{target.name}"
            said = trimtab("restore", str(target), str(folder))
            assert said.endswith("ok\n"), said
            assert "ok" in trimtab("report", "--verify", "--workspace", str(folder))
            level = shown(folder)
            kept = [one for one in rows(folder / "var" / "records") if one.tenant == "shop"]
            assert len(kept) >= before - 4, "four were under way"
            assert level["settled_nanousd"] >= len(kept) * cost
            assert level["settled_nanousd"] + level["in_doubt_nanousd"] >= before * cost
            assert "Hello there" in trimtab("explain", kept[-5].id, "--text", "--workspace", str(folder))
            assert record not in {one.id for one in kept}
        with live(folder) as again:
            row_ = shown(folder)
            assert row_["settled_nanousd"] == level["settled_nanousd"]
            assert again.chat("Hello there", key=KEY, temperature=1)[0] == 200
            assert shown(folder)["settled_nanousd"] == level["settled_nanousd"] + cost
        assert "ok" in trimtab("report", "--verify", "--workspace", str(folder))


def test_without_keys_texts_stay_unreadable_and_closed_periods_spend_nothing(tmp_path: Path) -> None:
    """The archive holds ciphertext that nobody opens; all that was left of the running month is in doubt, and a caller
    is told that it is spent until somebody grants more."""
    with upstream_aside(openai) as url:
        workspace = write_workspace(tmp_path / "live", url, url, monthly, capturing)
        with live(workspace) as server:
            _, headers, _ = server.chat("a blue horse", key=KEY, temperature=1)
        trimtab("backup", str(tmp_path / "b.tar"), "--without-keys", "--workspace", str(workspace))
        folder = tmp_path / "restored"
        said = trimtab("restore", str(tmp_path / "b.tar"), str(folder), "--close-periods")
        assert "without the keys" in said
        assert "1 budget closed" in said
        record = headers["trimtab-record"]
        assert "blue horse" in trimtab("explain", record, "--text", "--workspace", str(workspace))
        assert "blue horse" not in trimtab("explain", record, "--text", "--workspace", str(folder))
        assert list((folder / "var" / "texts").iterdir())
        before = shown(workspace)
        with live(folder) as again:
            now = shown(folder)
            assert now["settled_nanousd"] == before["settled_nanousd"]
            assert now["settled_nanousd"] + now["in_doubt_nanousd"] == now["limit_nanousd"]
            status, _, body = again.chat("Hello there", key=KEY, temperature=1)
            assert (status, msgspec.json.decode(body)["error"]["code"]) == (429, "budget_exhausted")


class Hooked(Writer):
    """Calls back once, before it takes a file of records."""

    def __init__(self, writer: Writer, then: Any) -> None:
        self.__dict__.update(writer.__dict__)
        self._then = then

    def add_stream(self, name: str, file: IO[bytes], size: int, mode: int) -> None:
        then, self._then = self._then, None
        if then is not None:
            then()
        super().add_stream(name, file, size, mode)


def copied(workspace: Path, target: Path, then: Any) -> Contents:
    """The records of a workspace in a tar, with `then` in the middle of it."""
    with writing(target) as writer:
        contents = Contents(workspace, Hooked(writer, then), keys=True)
        contents.records()
    folder = target.with_suffix("")
    folder.mkdir()
    shutil.unpack_archive(target, folder, filter="data")
    return contents


def test_a_segment_that_is_closed_and_signed_meanwhile_is_copied_as_it_was_before(tmp_path: Path) -> None:
    """Its rows end where they did, without a signature that vouches for more; the next start signs it."""
    workspace = Sandbox(tmp_path).folder
    folder = workspace / "var" / "records"
    journal = Journal(folder, 0, CLOCK, group_s=0.001, signer=SIGNER)
    for _ in range(3):
        journal.write(row(tenant="t"))
    assert journal.flush()

    def more() -> None:
        journal.write(row(tenant="t"))
        journal.close()

    contents = copied(workspace, tmp_path / "b.tar", more)
    there = tmp_path / "b" / "workspace" / "var" / "records"
    assert contents.heads[0].seq == 3
    assert verify(there, [SIGNER.public]).problems == []
    assert len(list(rows(there))) == 3
    assert verify(folder, [SIGNER.public]).rows == 4


def test_segments_that_retention_deletes_meanwhile_are_missing_from_the_beginning(tmp_path: Path) -> None:
    """Never from the middle: what is there follows on itself."""
    workspace = Sandbox(tmp_path).folder
    folder = workspace / "var" / "records"
    fill(folder, 30, segment_bytes=1, groups=6)
    found = segments(folder)
    assert len(found) > 4

    def retire() -> None:
        for one in found[:3]:
            one.path.unlink()

    copied(workspace, tmp_path / "b.tar", retire)
    there = tmp_path / "b" / "workspace" / "var" / "records"
    report = verify(there)
    assert report.problems == []
    assert report.segments == len(found) - 3


def test_a_torn_row_stays_behind(tmp_path: Path) -> None:
    """Of what is being written at that instant only whole rows are taken."""
    workspace = Sandbox(tmp_path).folder
    folder = workspace / "var" / "records"
    fill(folder, 4)
    last = segments(folder)[-1]
    last.seal_path.unlink()
    with last.path.open("ab") as file:
        file.write(b'01234567 {"v":1,"half')
    done = back_up(workspace, tmp_path / "b.tar", CLOCK, keys=True)
    assert (done.problems, done.manifest.heads[0].seq) == ([], 4)
    restored = restore(tmp_path / "b.tar", tmp_path / "again", CLOCK)
    assert (restored.problems, restored.records.rows) == ([], 4)
    assert segments(tmp_path / "again" / "var" / "records")[-1].path.read_bytes().endswith(b"}\n")


def test_damage_of_the_workspace_itself_is_said_and_kept(tmp_path: Path) -> None:
    """A backup of it can be made, and restored as it was; both end with 1."""
    workspace = Sandbox(tmp_path).folder
    fill(workspace / "var" / "records", 4)
    path = segments(workspace / "var" / "records")[-1].path
    data = bytearray(path.read_bytes())
    data[30] ^= 1
    path.write_bytes(data)
    trimtab("backup", str(tmp_path / "b.tar"), "--workspace", str(workspace), code=1)
    said = trimtab("restore", str(tmp_path / "b.tar"), str(tmp_path / "again"), code=1)
    assert "line 1" in said
    assert "not ok" in said
    assert path.read_bytes() == (tmp_path / "again" / path.relative_to(workspace)).read_bytes()


def test_links_are_followed_and_in_no_circle(tmp_path: Path) -> None:
    """A document that stands elsewhere, as a mounted one does, is in the backup as a file."""
    workspace = Sandbox(tmp_path).folder
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    shutil.move(workspace / "prices.yaml", elsewhere / "prices.yaml")
    (workspace / "prices.yaml").symlink_to(elsewhere / "prices.yaml")
    (workspace / "corpora" / "round").symlink_to(workspace / "corpora")
    back_up(workspace, tmp_path / "b.tar", CLOCK, keys=True)
    restore(tmp_path / "b.tar", tmp_path / "again", CLOCK)
    assert (tmp_path / "again" / "prices.yaml").read_bytes() == (elsewhere / "prices.yaml").read_bytes()
    assert not (tmp_path / "again" / "prices.yaml").is_symlink()


@pytest.mark.parametrize("what", ["version", "host", "cpus"])
def test_what_is_not_as_it_was_there_is_said(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another Trimtab, another host, another number of CPUs."""
    from trimtab.surfaces.kept import restore as module

    workspace = Sandbox(tmp_path).folder
    back_up(workspace, tmp_path / "b.tar", CLOCK, keys=True)
    here = module.this_machine()
    other = {"host": here.host + "x", "cpus": here.cpus + 1}
    if what == "version":
        monkeypatch.setattr(module, "__version__", "9.9.9")
    else:
        monkeypatch.setattr(module, "this_machine", lambda: msgspec.structs.replace(here, **{what: other[what]}))
    found = restore(tmp_path / "b.tar", tmp_path / "again", CLOCK).differs
    words = {"version": "this is 9.9.9", "host": "only one of them serves", "cpus": "var/learned"}
    assert [line for line in found if words[what] in line], found
