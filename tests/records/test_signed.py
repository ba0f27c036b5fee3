"""Signed segments and retention: whoever has the folder and not the key changes nothing unseen."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from support.records import CLOCK, FaultyDisk, row
from support.serving import eventually
from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.records import Journal, Report, rows, segments, verify
from trimtab.controlplane.records.segment import Segment
from trimtab.core.record import Record
from trimtab.foundations.signature import KeyFormatError, PublicKey, SigningKey
from trimtab.foundations.store.line import digest, frame, unframe

DAY_NS = 86_400 * 10**9


def pem(seed: int) -> str:
    """A private key that is the same in every run."""
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public_pem(seed: int) -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEY, OTHER = SigningKey.of_pem(pem(1)), SigningKey.of_pem(pem(2))


class Later:
    """The machine's clock, with a wall that a test moves on."""

    now_ns = staticmethod(CLOCK.now_ns)
    offload = CLOCK.offload

    def __init__(self, days: float = 0) -> None:
        self.days = days

    def wall_ns(self) -> int:
        return CLOCK.wall_ns() + int(self.days * DAY_NS)


def write(
    folder: Path, count: int, *, clock: Later | None = None, seal: bool = True, **options: object
) -> list[Record]:
    """A journal of `count` rows, a segment for each three of them; `seal` False: it ends as by kill -9."""
    given: dict[str, object] = {"signer": KEY, "group_s": 0.001, "segment_bytes": 2500, "keep_s": 0} | options
    journal = Journal(folder, given.pop("worker", 0), clock or Later(), **given)  # type: ignore[arg-type]
    written = [row(tenant="t", channel="c") for _ in range(count)]
    for record in written:
        journal.write(record)
        assert journal.flush(10)
    journal.close()
    if not seal:
        newest = segments(folder)[-1]
        newest.seal_path.unlink(missing_ok=True)
        newest.root_path.unlink(missing_ok=True)
    return written


def check(folder: Path, *keys: SigningKey) -> Report:
    return verify(folder, [key.public for key in keys or (KEY,)])


class Made(NamedTuple):
    folder: Path
    files: list[Path]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Two workers; of the first, retention has deleted the oldest segments."""
    folder = tmp_path_factory.mktemp("signed")
    write(folder, 7)
    write(folder, 7, clock=Later(100), retention_days=30)
    write(folder, 4, worker=1)
    report = check(folder)
    assert (report.problems, report.proof.retired > 1, report.proof.open) == ([], True, 0)
    assert report.proof.signed == report.segments + report.proof.retired
    return Made(folder, sorted(path for path in folder.iterdir() if path.suffix != ".lock"))


def test_what_is_signed_verifies_and_an_unsigned_journal_says_so(tmp_path: Path) -> None:
    """Every closed segment has a root, by rotation and by a clean stop; without a key nothing is claimed."""
    written = write(tmp_path, 8)
    report = check(tmp_path)
    assert (report.rows, report.problems) == (8, [])
    assert report.proof.signed == report.segments == len(list(tmp_path.glob("*.sig"))) > 2
    assert [record.id for record in rows(tmp_path)] == [record.id for record in written]
    assert verify(tmp_path).proof.checked is False
    plain = tmp_path / "plain"
    write(plain, 4, signer=None)
    assert (verify(plain).proof.signed, verify(plain).problems) == (0, [])
    assert any("has no signature" in problem for problem in check(plain).problems)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_any_flipped_bit_is_found(made: Made, data: st.DataObject) -> None:
    """Whichever bit of whichever file is flipped, `verify` finds it and names the segment."""
    file = data.draw(st.sampled_from(made.files))
    whole = file.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    bit = data.draw(st.integers(0, 7))
    try:
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :])
        problems = check(made.folder).problems
    finally:
        file.write_bytes(whole)
    assert any(file.stem in problem for problem in problems), (file.name, at, bit)


def test_a_root_that_says_the_same_in_other_bytes_is_found(made: Made) -> None:
    """Of the newest, to which no other refers: hex in capitals, and a space between fields."""
    path = segments(made.folder, 0)[-1].root_path
    whole = path.read_bytes()
    at = whole.index(b'"signature":"') + len(b'"signature":"')
    for other in (whole[:at] + whole[at:].upper(), whole.replace(b'"signature":', b'"signature": ')):
        path.write_bytes(other)
        assert any("signature file is damaged" in problem for problem in check(made.folder).problems)
    path.write_bytes(whole)
    assert check(made.folder).problems == []


def test_any_line_or_end_taken_from_a_closed_segment_is_found(made: Made) -> None:
    """A row out of any place of it, the last one too, and any cut."""
    for segment in segments(made.folder):
        whole = segment.path.read_bytes()
        parts = whole.splitlines(keepends=True)
        wrong = [b"".join(parts[:index] + parts[index + 1 :]) for index in range(len(parts))]
        wrong += [whole[:size] for size in range(0, len(whole), 97)]
        for data in wrong:
            segment.path.write_bytes(data)
            assert any(segment.path.name in problem for problem in check(made.folder).problems)
        segment.path.write_bytes(whole)
    assert check(made.folder).problems == []


def test_any_segment_or_signature_taken_away_is_found(made: Made, tmp_path: Path) -> None:
    """Alone or with all that stands beside it, also where it is the oldest; but for the newest of a worker, whose end
    nobody outside has: `heads` is for that."""
    newest = {segment.path.stem for segment in (segments(made.folder, 0)[-1], segments(made.folder, 1)[-1])}
    stems = sorted({file.stem for file in made.files})
    for stem in stems:
        beside = [file for file in made.files if file.stem == stem]
        for gone in [[file] for file in beside] + [beside]:
            if stem in newest and gone != [made.folder / f"{stem}.jsonl"]:
                continue
            for file in gone:
                file.rename(tmp_path / file.name)
            assert check(made.folder).problems, [file.name for file in gone]
            for file in gone:
                (tmp_path / file.name).rename(file)
    before = check(made.folder).proof.heads
    for file in [file for file in made.files if file.stem == max(newest)]:
        file.rename(tmp_path / file.name)
    assert check(made.folder).proof.heads != before
    for file in [file for file in made.files if file.stem == max(newest)]:
        (tmp_path / file.name).rename(file)


def test_swapped_segments_are_found(made: Made) -> None:
    """Two segments, or two signatures, or both, under each other's names."""
    first, second = segments(made.folder, 0)[:2]

    def swap(one: Path, other: Path) -> None:
        a, b = one.read_bytes(), other.read_bytes()
        one.write_bytes(b)
        other.write_bytes(a)

    pairs: list[Callable[[Segment], Path]] = [lambda segment: segment.path, lambda segment: segment.root_path]
    for chosen in ([pairs[0]], [pairs[1]], pairs):
        for of in chosen:
            swap(of(first), of(second))
        assert len(check(made.folder).problems) >= 2
        for of in chosen:
            swap(of(first), of(second))
    assert check(made.folder).problems == []


def forge(folder: Path) -> None:
    """Change the first row's channel, and compute every CRC and the whole chain anew, over all segments."""
    prev: str | None = None
    for segment in segments(folder):
        out = b""
        for line in segment.path.read_bytes().splitlines():
            body = unframe(line)
            assert body is not None
            fields = msgspec.json.decode(body)
            if prev is None:
                fields["channel"] = "x"
            else:
                fields["prev"] = prev
            made = frame(msgspec.json.encode(fields))
            prev = digest(made)
            out += made + b"\n"
        segment.path.write_bytes(out)


def test_a_forged_chain_is_found_by_the_signature_alone(tmp_path: Path) -> None:
    """A whole chain computed anew passes without signatures, and with them in no form: roots left as they were, made
    anew with another key, or taken away."""
    plain = tmp_path / "plain"
    write(plain, 8, signer=None, segment_bytes=1 << 20, seal=False)
    forge(plain)
    assert verify(plain).problems == []
    folder = tmp_path / "signed"
    write(folder, 8)
    forge(folder)
    report = check(folder)
    assert any("are not those that were signed" in problem for problem in report.problems)
    for file in folder.glob("*.sig"):
        file.unlink()
    assert check(folder).problems
    write(folder, 0, signer=OTHER)
    report = check(folder)
    assert any(f"signed by the key {OTHER.id}, which was not given" in problem for problem in report.problems)
    assert check(folder, KEY, OTHER).proof.late == len(segments(folder))


def test_a_crash_is_signed_by_the_next_start_which_says_so(tmp_path: Path) -> None:
    """What kill -9 left open is no damage, and after the next start it is signed as late; a torn end is cut first."""
    write(tmp_path, 4, segment_bytes=1 << 20, seal=False)
    assert (check(tmp_path).problems, check(tmp_path).proof.open) == ([], 1)
    (segment,) = segments(tmp_path)
    segment.path.write_bytes(segment.path.read_bytes()[:-5])
    write(tmp_path, 2)
    report = check(tmp_path)
    assert (report.problems, report.rows, report.proof.late, report.proof.open) == ([], 5, 1, 0)


def test_damage_is_not_signed_by_the_next_start(tmp_path: Path) -> None:
    """A start vouches for nothing that is damaged or does not follow what was signed."""
    write(tmp_path, 3)
    write(tmp_path, 3, segment_bytes=1 << 20, seal=False)
    newest = segments(tmp_path)[-1]
    first, *others = newest.path.read_bytes().splitlines(keepends=True)
    fields = msgspec.json.decode(unframe(first[:-1]) or b"")
    fields["prev"] = "0" * 32
    made = frame(msgspec.json.encode(fields))
    newest.path.write_bytes(made + b"\n" + b"".join(others))
    write(tmp_path, 1)
    assert not newest.root_path.exists()
    assert any(newest.path.name in problem and "no signature" in problem for problem in check(tmp_path).problems)


def test_signing_may_begin_later_and_the_key_may_change(tmp_path: Path) -> None:
    """What was there unsigned is signed as late; roots of both keys make one chain, and both keys are needed."""
    write(tmp_path, 4, signer=None)
    write(tmp_path, 4)
    write(tmp_path, 4, signer=OTHER)
    report = check(tmp_path, KEY, OTHER)
    assert (report.problems, report.rows) == ([], 12)
    assert 0 < report.proof.late < report.proof.signed == report.segments
    assert check(tmp_path, KEY).problems


@pytest.mark.parametrize("times", [1, 3])
def test_every_disk_operation_may_fail_while_segments_are_signed(tmp_path: Path, times: int) -> None:
    """Whichever operation fails, rows are written, and what could not be signed is by the next start."""
    for at in range(1, 60):
        folder = tmp_path / str(at)
        disk = FaultyDisk(at, times)
        write(folder, 5, disk=disk, retry_s=(0.001, 0.01), segment_bytes=1500)
        write(folder, 1)
        report = check(folder)
        assert (report.problems, report.rows, report.missing, report.proof.open) == ([], 6, 0, 0)
        if not disk.failed.is_set():
            return
    raise AssertionError("the disk always failed")


def test_a_segment_is_closed_after_its_time_though_it_is_small(tmp_path: Path) -> None:
    """So that rows of a quiet gateway are signed, and grow old."""
    clock = Later()
    journal = Journal(tmp_path, 0, clock, signer=KEY, group_s=0.001, segment_s=3600, keep_s=3600)
    for days in (0, 0.01, 0.1, 0.11, 0.2):
        clock.days = days
        journal.write(row())
        assert journal.flush(10)
    journal.close()
    assert [len(segment.path.read_bytes().splitlines()) for segment in segments(tmp_path)] == [3, 2]
    assert check(tmp_path).problems == []


def test_a_quiet_journal_closes_and_signs_its_segment(tmp_path: Path) -> None:
    """Without a further row, and without being closed."""
    clock = Later()
    journal = Journal(tmp_path, 0, clock, signer=KEY, group_s=0.001, segment_s=3600, keep_s=0.001)
    journal.write(row())
    assert journal.flush(10)
    assert check(tmp_path).proof.open == 1
    clock.days = 0.1
    assert eventually(lambda: check(tmp_path).proof.signed == 1)
    journal.close()
    assert check(tmp_path).problems == []


def test_retention_deletes_what_is_older_as_a_whole_and_leaves_its_word(tmp_path: Path) -> None:
    """Oldest first, never the newest; the chain verifies from there on, before it by signature only; numbers go on."""
    write(tmp_path, 7)
    write(tmp_path, 4, clock=Later(10))
    kept = len(segments(tmp_path))
    write(tmp_path, 0, clock=Later(30), retention_days=30)
    assert len(segments(tmp_path)) == kept, "30 days, and an hour for a clock that was set back"
    write(tmp_path, 0, clock=Later(31), retention_days=30)
    left = segments(tmp_path)
    assert left[0].wall_ns > CLOCK.wall_ns() + 9 * DAY_NS
    report = check(tmp_path)
    assert (report.problems, report.rows) == ([], 11 - left[0].first_seq + 1)
    assert report.proof.starts == {0: left[0].first_seq}
    assert report.proof.retired == kept - len(left)
    write(tmp_path, 0, clock=Later(1000), retention_days=30)
    assert len(segments(tmp_path)) == 1
    (record,) = write(tmp_path, 1, clock=Later(1000))
    assert record.seq == 12
    assert check(tmp_path).problems == []


def test_retention_without_a_key_only_deletes(tmp_path: Path) -> None:
    """No word is left, since nobody could believe it."""
    write(tmp_path, 7, signer=None)
    write(tmp_path, 1, signer=None, clock=Later(100), retention_days=30)
    assert len(segments(tmp_path)) == 1
    assert (list(tmp_path.glob("*.gone")), verify(tmp_path).problems) == ([], [])


def test_a_reader_outlives_retention(tmp_path: Path) -> None:
    """Segments deleted while somebody reads are passed over."""
    write(tmp_path, 9)
    reading = rows(tmp_path)
    assert next(reading).seq == 1
    segments(tmp_path)[1].path.unlink()
    assert [record.seq for record in reading][-1] == 9


def test_a_worn_row_of_retention_proves_nothing_with_older_ones_there(tmp_path: Path) -> None:
    """Somebody puts a true word of retention back beside a segment that was taken out of the middle: only a beginning
    may be missing."""
    write(tmp_path, 9)
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in list(tmp_path.glob("w*.*")):
        shutil.copy(file, copy)
    write(copy, 1, clock=Later(100), retention_days=30)
    second = segments(tmp_path)[1]
    shutil.copy(copy / second.gone_path.name, tmp_path)
    second.path.unlink()
    assert any("older ones are there" in problem for problem in check(tmp_path).problems)


def test_the_command_checks_with_the_workspaces_key_or_one_that_is_given(tmp_path: Path) -> None:
    """`trimtab report --verify` says what is signed and ends with 1 where a row is forged; an auditor gives a public
    key and needs no workspace but the records."""
    box = Sandbox(tmp_path).write("sign.pem", pem(1)).append("trimtab.yaml", "\nrecords: {sign_key: file:sign.pem}\n")
    assert not [problem for problem in box.problems() if problem.severity == "error"]
    folder = box.folder / "var" / "records"
    write(folder, 7)
    said = CliRunner().invoke(cli, ["report", "--verify", "--workspace", str(box.folder)])
    assert said.exit_code == 0, said.output
    assert "3 signed\n" in said.output
    assert check(folder).proof.heads[0] in said.output
    audit = tmp_path / "audit"
    shutil.copytree(folder, audit / "var" / "records")
    (tmp_path / "a.pub").write_text(public_pem(1))
    (tmp_path / "b.pub").write_text(public_pem(2))
    arguments = ["report", "--verify", "--workspace", str(audit), "--public-key"]
    assert CliRunner().invoke(cli, [*arguments, str(tmp_path / "a.pub")]).exit_code == 0
    assert CliRunner().invoke(cli, [*arguments, str(tmp_path / "b.pub")]).exit_code == 1
    assert "is no public key" in CliRunner().invoke(cli, [*arguments, str(box.folder / "sign.pem")]).output
    forge(folder)
    said = CliRunner().invoke(cli, ["report", "--verify", "--workspace", str(box.folder)])
    assert said.exit_code == 1
    assert f"damaged: {segments(folder)[0].path.name} line" in said.output


def test_keys_are_refused_in_words_and_never_shown() -> None:
    """Another kind of key, a public one in a private one's place, and what is none; `repr` has no key."""
    with pytest.raises(KeyFormatError, match="no unencrypted private key"):
        SigningKey.of_pem("sesame")
    with pytest.raises(KeyFormatError, match="no unencrypted private key"):
        SigningKey.of_pem(public_pem(1))
    assert repr(KEY) == f"<SigningKey {PublicKey.of_pem(public_pem(1)).id}>"


def test_a_segment_is_signed_before_the_next_begins(tmp_path: Path) -> None:
    """While the journal goes on, no closed segment stands there without its signature."""
    journal = Journal(tmp_path, 0, CLOCK, group_s=0.001, signer=KEY, segment_bytes=1)
    try:
        for _ in range(4):
            journal.write(row(tenant="t"))
            assert journal.flush(10)
            assert verify(tmp_path, [KEY.public]).problems == []
    finally:
        journal.close()
