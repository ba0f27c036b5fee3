"""Captured texts: kept redacted and encrypted, shown to who asks, and gone for good once their key is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from support.aside import upstream_aside
from support.gateway import KEY, OTHER_KEY, write_workspace
from support.live import live, trimtab
from support.records import CLOCK, FaultyDisk
from support.upstream import Seen, Step, answer, completion, stream
from support.workspaces import Sandbox
from trimtab.controlplane.records.textkeys import TextKeys
from trimtab.controlplane.records.texts import Erased, Texts, captured
from trimtab.controlplane.registry import audit_rows
from trimtab.core.captured import CapturedText
from trimtab.foundations.store import Disk

SECRET = bytes(range(32))
ANN, BOB = "a" * 16, "b" * 16


def text(record: str, subject: str = ANN, said: str = "blue horse", tenant: str = "shop") -> CapturedText:
    messages = [{"role": "user", "content": said}]
    return CapturedText(record=record, tenant=tenant, subject=subject, messages=messages, answers=None)


def write(folder: Path, *texts: CapturedText, **options: object) -> Texts:
    sink = Texts(folder, 0, SECRET, CLOCK, **{"group_s": 0.001} | options)  # type: ignore[arg-type]
    for one in texts:
        sink.keep(one)
    sink.close()
    return sink


def holds(folder: Path, *words: bytes) -> list[Path]:
    """Files with one of these words in them."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if any(word in path.read_bytes() for word in words)]


def script(seen: Seen) -> Iterable[Step]:
    """Whatever is asked, an answer with an address in it."""
    said = "Write to ann@example.org about the green cow."
    return stream([said]) if seen.json.get("stream") else answer(completion(said))


def capturing(documents: dict[str, str]) -> None:
    shop = documents["tenants/shop.yaml"]
    documents["tenants/shop.yaml"] = shop.replace("    cache: {reuse", "    capture: redacted\n    cache: {reuse", 1)


@pytest.mark.timeout(120)
def test_a_served_gateway_keeps_shows_and_erases(tmp_path: Path) -> None:
    """Whole answers, streams and stored answers are kept as the guard left them, of this channel only, and are found in
    no file as they were said; after `erase` the subject's can't be read, nor given out of the cache, another's can, and
    the records verify."""
    with upstream_aside(script) as url:
        write_workspace(tmp_path, url, url, capturing)
        with live(tmp_path) as server:

            def ask(said: str, user: str, key: str = KEY, **fields: object) -> str:
                status, headers, _ = server.chat(said, key, user=user, **fields)
                assert status == 200
                return str(headers["trimtab-record"])

            def shown(record: str) -> str:
                return trimtab("explain", record, "--text", "--workspace", str(tmp_path))

            question = "I am joe@example.com, where is the blue horse?"
            whole, streamed = ask(question, "ann", temperature=1), ask(question, "ann", temperature=1, stream=True)
            ask(question, "bob")
            stored = ask(question, "bob")
            aside = ask(question, "ann", OTHER_KEY)
            for record in (whole, streamed, stored):
                said = shown(record)
                assert "blue horse" in said, said
                assert "green cow" in said
                assert "@example" not in said
            assert "no text is kept" in shown(aside)
            assert server.state()["cache"]["entries"] > 0
            refused = server.chat(question, "tt-nobody")
            assert refused[0] == 401
            assert holds(tmp_path, b"blue horse", b"green cow", b"joe@example", b"ann@example") == []
            done = trimtab("erase", "--tenant", "shop", "--subject", "ann", "--yes", "--workspace", str(tmp_path))
            assert done.startswith("1 key destroyed\nThe running gateway has forgotten")
            assert server.state()["cache"]["entries"] == 0
            assert "its text was erased" in shown(whole)
            assert "its text was erased" in shown(streamed)
            assert "blue horse" in shown(stored)
            again = ask(question, "ann", temperature=1)
            assert "blue horse" in shown(again)
            assert "its text was erased" in shown(whole)
            machine = trimtab("explain", again, "--text", "--json", "--workspace", str(tmp_path))
            assert msgspec.json.decode(machine)["text"]["answers"][0]["role"] == "assistant"
        rows = [row for row in audit_rows(tmp_path) if row.action.startswith("erase")]
        assert [row.action for row in rows] == ["erase.begin", "erase.end"]
        assert holds(tmp_path / "var", b'"ann"') == []
        trimtab("erase", "--tenant", "shop", "--yes", "--workspace", str(tmp_path))
        assert "its text was erased" in shown(stored)
        assert trimtab("report", "--verify", "--workspace", str(tmp_path)).endswith("ok\n")


def limited(documents: dict[str, str]) -> None:
    capturing(documents)
    shop = documents["tenants/shop.yaml"]
    documents["tenants/shop.yaml"] = shop.replace(
        "tokens: {per_s: 1000000, burst: 10000000}", "tokens: {per_s: 9, burst: 500}"
    )


def test_a_stream_that_breaks_or_a_body_that_no_guard_has_seen_leaves_no_answer(tmp_path: Path) -> None:
    """A broken answer is not kept; a refusal before the guard, with the channel known or not, keeps nothing at all."""
    with upstream_aside(lambda _: stream(["green cow"])[:2]) as url:
        write_workspace(tmp_path, url, url, limited)
        with live(tmp_path) as server:
            _, headers, _ = server.chat("blue horse", KEY, temperature=1, stream=True)
            said = trimtab("explain", headers["trimtab-record"], "--text", "--workspace", str(tmp_path))
            assert "user: blue horse" in said
            assert "assistant: (no whole answer)" in said
            for text, fields in (("blue horse", {"model": "no-such-model"}), ("joe@example.com " * 400, {})):
                status, headers, _ = server.chat(text, KEY, **fields)
                assert status in (400, 404)
                said = trimtab("explain", headers["trimtab-record"], "--text", "--workspace", str(tmp_path))
                assert "no text is kept" in said


def test_what_is_kept_is_read_back_and_bound_to_its_record(tmp_path: Path) -> None:
    """By the record's id; another workspace's secret, and a box moved to another record, give nothing."""
    write(tmp_path, text("rec_1"), text("rec_2", BOB, "grey cat"))
    assert captured(tmp_path, SECRET, "rec_1") == text("rec_1")
    assert captured(tmp_path, SECRET, "rec_2") == text("rec_2", BOB, "grey cat")
    assert captured(tmp_path, SECRET, "rec_3") is None
    assert captured(tmp_path, bytes(32), "rec_1") == Erased("rec_1")
    assert holds(tmp_path, b"blue horse", b"grey cat") == []


def test_a_destroyed_key_is_gone_from_the_disk_and_its_texts_with_it(tmp_path: Path) -> None:
    """One subject's, then a whole tenant's; another tenant's stay, and new texts get new keys."""
    write(tmp_path, text("rec_1"), text("rec_2", BOB), text("rec_3", tenant="other"))
    keys = TextKeys(tmp_path, SECRET)
    (path,) = (tmp_path / "var" / "keys" / "shop").rglob(f"{ANN}.key")
    before = path.read_bytes()
    beside = path.with_name("beside")
    beside.hardlink_to(path)  # the blocks themselves
    assert keys.destroy("shop", ANN) == 1
    assert keys.destroy("shop", ANN) == 0
    assert not path.exists()
    assert beside.read_bytes() == bytes(len(before))
    assert captured(tmp_path, SECRET, "rec_1") == Erased("rec_1")
    assert captured(tmp_path, SECRET, "rec_2") == text("rec_2", BOB)
    assert keys.destroy("shop", None) == 2
    assert captured(tmp_path, SECRET, "rec_2") == Erased("rec_2")
    assert captured(tmp_path, SECRET, "rec_3") == text("rec_3", tenant="other")
    write(tmp_path, text("rec_4"))
    assert captured(tmp_path, SECRET, "rec_4") == text("rec_4")
    assert captured(tmp_path, SECRET, "rec_1") == Erased("rec_1")


def test_a_tenants_key_alone_is_enough(tmp_path: Path) -> None:
    """A crash after the tenant's key was destroyed leaves keys that open nothing, and are replaced when needed."""
    write(tmp_path, text("rec_1"))
    (tmp_path / "var" / "keys" / "shop" / "tenant.key").unlink()
    assert captured(tmp_path, SECRET, "rec_1") == Erased("rec_1")
    write(tmp_path, text("rec_2"))
    assert captured(tmp_path, SECRET, "rec_1") == Erased("rec_1")
    assert captured(tmp_path, SECRET, "rec_2") == text("rec_2")


def test_gateways_of_one_workspace_share_keys_and_forget_when_told(tmp_path: Path) -> None:
    """The first to need a key makes it. Until it is told to forget a destroyed one, what it writes can't be read."""
    one, two = TextKeys(tmp_path, SECRET), TextKeys(tmp_path, SECRET)
    key = one.of("shop", ANN, create=True)
    assert key == two.of("shop", ANN, create=True)
    assert two.of("shop", BOB, create=False) is None
    two.destroy("shop", ANN)
    assert one.of("shop", ANN, create=False) == key
    one.forget()
    assert one.of("shop", ANN, create=False) is None
    assert one.of("shop", ANN, create=True) not in (None, key)


def test_a_disk_that_refuses_delays_texts_and_bounds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They are written once it takes them; beyond the bound they are counted as lost, and the log says so."""
    monkeypatch.setattr("trimtab.controlplane.records.texts.RETRY_S", 0.001)
    monkeypatch.setattr("trimtab.controlplane.records.texts.QUEUE_BYTES", 1000)
    disk = FaultyDisk(at=1, times=1 << 30)
    sink = Texts(tmp_path, 0, SECRET, CLOCK, group_s=0.001, disk=disk)
    sink.keep(text("rec_0"))
    assert disk.failed.wait(10)
    for number in range(1, 20):
        sink.keep(text(f"rec_{number}"))
    assert 0 < sink.lost < 19
    assert "the disk refuses" in caplog.text
    disk.healed.set()
    assert sink.flush(10)
    sink.close()
    assert sum(captured(tmp_path, SECRET, f"rec_{number}") is not None for number in range(20)) == 20 - sink.lost
    assert isinstance(disk, Disk)


def test_texts_past_their_retention_are_deleted(tmp_path: Path) -> None:
    """As whole files, with the records' own days."""
    write(tmp_path, text("rec_1"))
    (old,) = (tmp_path / "var" / "texts").iterdir()
    old.rename(old.with_name(f"w0000-t{CLOCK.wall_ns() - 31 * 86_400 * 10**9:019d}.texts"))
    write(tmp_path, text("rec_2"), retention_days=32)
    assert captured(tmp_path, SECRET, "rec_1") is not None
    write(tmp_path, text("rec_3"), retention_days=30)
    assert captured(tmp_path, SECRET, "rec_1") is None
    assert captured(tmp_path, SECRET, "rec_2") is not None


def test_a_channel_that_redacts_nothing_keeps_nothing(tmp_path: Path) -> None:
    """`check` refuses `capture: redacted` without a check on the way in."""
    box = Sandbox(tmp_path)
    hr = (box.folder / "tenants" / "hr.yaml").read_text()
    assert "capture" not in hr
    box.replace("tenants/hr.yaml", "    emit: answer\n", "    emit: answer\n    capture: redacted\n")
    assert [problem for problem in box.problems() if problem.severity == "error"] == []
    line = next(line for line in hr.splitlines() if "checks_in" in line)
    start = line.index("checks_in")
    box.replace("tenants/hr.yaml", line, line[:start] + "checks_in: []" + line[line.index("]", start) + 1 :])
    (found,) = [problem for problem in box.problems() if problem.severity == "error"]
    assert "redacts nothing" in found.message
