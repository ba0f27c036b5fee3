"""The mirrored journal: what it acknowledged is found again whatever disk, power and process do; or it says that it
can't tell, and serves nothing."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from copy import deepcopy
from itertools import count
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from support.disk import MemoryDisk, PowerOff
from trimtab.foundations.store import BusyError, Found, Journal, JournalDamagedError, JournalDiskError

FOLDER = Path("/money")
SCRIPT = "2 1 c 3 1 c r 1 2 c 1 r 2"
"""Appends of so many lines, checkpoints (c), restarts (r)."""


def numbers(payloads: list[bytes]) -> list[int]:
    """What payloads say was spent: a checkpoint stands for all before it."""
    if payloads and payloads[0].startswith(b"all"):
        return [*map(int, payloads[0].split()[1:]), *map(int, payloads[1:])]
    return [*map(int, payloads)]


class Caller:
    """Appends the numbers 0, 1, 2 .. and knows which ones were acknowledged, and which group was never answered."""

    def __init__(self, disk: MemoryDisk) -> None:
        self.disk = disk
        self.acknowledged: list[int] = []
        self.unanswered: list[int] = []
        self.next = self.serial = 0
        self.journal: Journal | None = None

    def run(self, script: str) -> Caller:
        for step in script.split():
            if self.journal is None or step == "r":
                self.restart()
            if self.journal is not None and step == "c":
                self.checkpoint()
            elif self.journal is not None and step != "r":
                self.append(int(step))
        return self

    def restart(self) -> Found | None:
        if self.journal is not None:
            self.journal.close()
            self.journal = None
        self.disk.kill()
        try:
            self.journal = Journal.open(FOLDER, self.disk)
        except JournalDiskError:
            return None
        found = self.journal.found
        self.check(found)
        self.acknowledged, self.unanswered = numbers(found.payloads), []
        return found

    def append(self, count: int) -> None:
        group = [*range(self.next, self.next + count)]
        self.next += count
        self.unanswered = self.unanswered or group
        try:
            self.journal.append([b"%d" % number for number in group])
        except JournalDiskError:
            self.checkpoint()
        else:
            self.acknowledged += group
            self.unanswered = []

    def checkpoint(self) -> None:
        self.serial += 1  # no two checkpoints are alike: one must not pass for another
        said = " ".join([f"all:{self.serial}", *map(str, self.acknowledged)])
        try:
            self.journal.checkpoint(said.encode())
        except JournalDiskError:
            return
        self.unanswered = []

    def check(self, found: Found) -> None:
        """All that was acknowledged is there, behind it at most one group, whole; no file is called damaged that was
        not, once anything was acknowledged."""
        assert numbers(found.payloads) in (self.acknowledged, self.acknowledged + self.unanswered)
        problem = found.problem
        assert problem is None or problem.crash or "refuses" in problem.what or not self.acknowledged


def written(script: str = SCRIPT) -> tuple[dict[str, bytes], list[int]]:
    """The files that a script leaves, and what they must say."""
    caller = Caller(MemoryDisk()).run(script)
    return caller.disk.files(), caller.acknowledged


TWENTY = "1 2 c 3 1 2 c 1 1 1 c 2 1 3 1 1"
"""Twenty lines and three checkpoints; the last generation holds a checkpoint and five groups."""


def reopened(files: dict[str, bytes]) -> Found:
    disk = MemoryDisk.of(files)
    journal = Journal.open(FOLDER, disk)
    journal.close()
    again = Journal.open(FOLDER, disk)
    assert (again.found.payloads, again.found.problem) == (journal.found.payloads, None), "was not healed"
    return journal.found


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


# Use


def test_what_is_appended_is_found_in_order(tmp_path: Path) -> None:
    """On real files, over restarts: the last checkpoint, then all groups after it."""
    folder = tmp_path / "spend" / "journal"
    journal = Journal.open(folder)
    assert journal.found == Found(new=True, payloads=[], problem=None)
    journal.append([b"one", b"two"])
    journal.append([])
    journal.append([b""])
    journal.close()
    journal = Journal.open(folder)
    assert journal.found == Found(new=False, payloads=[b"one", b"two", b""], problem=None)
    journal.append([b"three"])
    journal.checkpoint(b"so far: 3")
    journal.append([b"four", b"f\xfcnf \x00"])
    journal.close()
    journal = Journal.open(folder)
    assert journal.found.payloads == [b"so far: 3", b"four", b"f\xfcnf \x00"]
    assert repr(journal) == f"<Journal {folder} generation 4 open>"
    journal.close()
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["000004.a", "000004.b", "lock"]
    assert (folder / "000004.a").read_bytes() == (folder / "000004.b").read_bytes()


def test_a_folder_has_one_writer(tmp_path: Path) -> None:
    """A second journal in the folder is refused while the first lives, and welcome after it."""
    journal = Journal.open(tmp_path)
    with pytest.raises(BusyError, match="another process writes this journal; stop it first"):
        Journal.open(tmp_path)
    journal.close()
    journal.close()
    Journal.open(tmp_path).close()


def test_threads_take_turns(tmp_path: Path) -> None:
    """Groups of many threads are all there, none of them mixed with another."""
    journal = Journal.open(tmp_path)

    def work(name: int) -> None:
        for turn in range(10):
            journal.append([b"%d %d %d" % (name, turn, line) for line in range(3)])

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.close()
    journal = Journal.open(tmp_path)
    rows = [tuple(map(int, payload.split())) for payload in journal.found.payloads]
    journal.close()
    assert sorted(rows) == [(name, turn, line) for name in range(6) for turn in range(10) for line in range(3)]
    assert all(row[2] == index % 3 and row[:2] == rows[index - index % 3][:2] for index, row in enumerate(rows))


def test_what_cannot_be_a_line_is_refused_and_changes_nothing() -> None:
    """A newline would end the line; a closed journal takes nothing."""
    disk = MemoryDisk()
    journal = Journal.open(FOLDER, disk)
    journal.append([b"1"])
    before = disk.files()
    for refused in (lambda: journal.append([b"2", b"3\n"]), lambda: journal.checkpoint(b"\n")):
        with pytest.raises(ValueError, match="newline"):
            refused()
    assert disk.files() == before
    journal.append([b"4"])
    journal.close()
    for refused in (lambda: journal.append([b"5"]), lambda: journal.checkpoint(b"6")):
        with pytest.raises(JournalDiskError, match="closed"):
            refused()
    assert numbers(reopened(disk.files()).payloads) == [1, 4]


WRITER = """
import sys
from pathlib import Path
from trimtab.foundations.store import Journal
journal = Journal.open(Path(sys.argv[1]))
number = len(journal.found.payloads)
while True:
    journal.append([b"%d" % number, b"%d" % (number + 1)])
    number += 2
    print(number, flush=True)
"""


def test_a_killed_process_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    """Three times kill -9 in the middle of writing real files: all lines up to the last acknowledged one are there."""
    for _ in range(3):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        said = [int(writer.stdout.readline()) for _ in range(30)]
        writer.send_signal(signal.SIGKILL)
        said += [int(line) for line in writer.stdout if line.endswith("\n")]
        writer.stdout.close()
        writer.wait(10)
    journal = Journal.open(tmp_path)
    journal.close()
    found = numbers(journal.found.payloads)
    assert found == [*range(len(found))]
    assert len(found) in (said[-1], said[-1] + 2)


# Damage of one mirror


def damaged(files: dict[str, bytes], step: int = 1) -> Iterator[tuple[str, int, dict[str, bytes]]]:
    """Each file alone: flipped at any byte, cut at any byte, gone."""
    for name, data in files.items():
        for at in range(0, len(data), step):
            for mask in (0x01, 0x20, 0x80):
                yield name, at, {**files, name: flipped(data, at, mask)}
            yield name, at, {**files, name: data[:at]}
        yield name, 0, {other: kept for other, kept in files.items() if other != name}


def test_damage_of_one_mirror_at_any_byte_is_found_and_healed() -> None:
    """Whatever byte of one mirror is flipped or cut off, all is served, the damage is named, and then it is gone."""
    files, acknowledged = written(TWENTY)
    assert len(files) == 2
    assert acknowledged == [*range(20)]
    for name, at, wrong in damaged(files):
        found = reopened(wrong)
        assert numbers(found.payloads) == acknowledged
        assert found.problem is not None
        assert found.problem.file == FOLDER / name
        assert found.problem.offset <= at
        start = files[name].rfind(b"\n", 0, -1) + 1
        assert found.problem.crash == (at >= start and name == "000004.b"), "only the end of .b can be a crash's doing"


def test_a_mirror_that_the_disk_refuses_is_made_good_from_the_other() -> None:
    """An unreadable sector in either mirror costs nothing; in both it is the disk's error, not damage."""
    files, acknowledged = written(TWENTY)
    for read in (5, 6):
        disk = MemoryDisk.of(files)
        disk.at = read
        journal = Journal.open(FOLDER, disk)
        assert numbers(journal.found.payloads) == acknowledged
        assert "the disk refuses it" in str(journal.found.problem)
    disk = MemoryDisk.of(files)
    disk.at, disk.times = 5, 2
    with pytest.raises(
        JournalDiskError, match=r"the disk refuses /money/.*\.a \((Input/output error|No space left on device)\)"
    ):
        Journal.open(FOLDER, disk)


def test_damage_of_one_file_after_a_crash_anywhere_never_serves_less() -> None:
    """Whatever operation the process died in, and whichever one file is damaged besides: all that was acknowledged is
    served, or nothing."""
    refused = served = 0
    for broken in (False, True):
        for off in range(1, 200):
            caller = Caller(Hoarder() if broken else MemoryDisk())
            caller.disk.off = off
            try:
                caller.run("2 1 c 1 r 1")
            except PowerOff:
                pass
            else:
                break
            caller.disk.heal()
            for _, _, wrong in damaged(caller.disk.files(), step=13):
                try:
                    found = numbers(reopened(wrong).payloads)
                except JournalDamagedError:
                    refused += 1
                else:
                    served += 1
                    assert found in (caller.acknowledged, caller.acknowledged + caller.unanswered)
    assert served > 10 * refused > 0


class Hoarder(MemoryDisk):
    """Nothing can be deleted: old generations stay."""

    def remove(self, path: Path) -> None:
        raise PermissionError(1, "Operation not permitted")


# Damage of both


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_flips_in_both_mirrors_are_never_served(data: st.DataObject) -> None:
    """One flipped byte in each mirror: an error that names file and offset, and every file is left as it was."""
    files, _ = written(TWENTY)
    wrong = {
        name: flipped(text, data.draw(st.integers(0, len(text) - 1)), 1 << data.draw(st.integers(0, 7)))
        for name, text in files.items()
    }
    disk = MemoryDisk.of(wrong)
    with pytest.raises(JournalDamagedError, match="acknowledged lines may be missing") as raised:
        Journal.open(FOLDER, disk)
    assert raised.value.file.name in files
    assert wrong[raised.value.file.name][: raised.value.offset] == files[raised.value.file.name][: raised.value.offset]
    assert disk.files() == wrong
    with pytest.raises(JournalDamagedError):
        Journal.open(FOLDER, disk)


def test_cuts_of_both_mirrors_are_told_unless_they_look_like_a_crash() -> None:
    """Every pair of cuts: what is served is less than was acknowledged only where the longer mirror ends exactly with a
    group, or `.b` does and `.a` ends within the group behind it. Those can't be told from appends that never were."""
    files, acknowledged = written("c 1 2 1")
    (name_a, a), (name_b, b) = files.items()
    ends = group_ends("c 1 2 1")
    assert ends[-1] == len(a)
    told = 0
    for cut_a in range(0, len(a) + 1, 3):
        for cut_b in {*range(0, len(b) + 1, 7), *ends}:
            whole_a, whole_b = (max(end for end in (0, *ends) if end <= cut) for cut in (cut_a, cut_b))
            looks_right = cut_b == whole_b if whole_b >= whole_a else cut_a == whole_a
            try:
                found = reopened({name_a: a[:cut_a], name_b: b[:cut_b]})
            except JournalDamagedError:
                told += 1
                assert not looks_right or whole_a == whole_b == 0
            else:
                assert looks_right
                served = numbers(found.payloads)
                assert served == acknowledged[: len(served)]
                assert (served == acknowledged) == (len(a) in (cut_a, cut_b))
    assert told > 1000


def group_ends(script: str) -> list[int]:
    """How long a mirror of the script's only generation is after each step."""
    steps = script.split()
    return [len(written(" ".join(steps[: count + 1]))[0]["000001.a"]) for count in range(len(steps))]


def test_both_mirrors_cut_at_the_same_byte() -> None:
    """Within a group it is an error; at a group's end nothing tells that there was more, and the caller must know by
    other means."""
    files, _ = written("c 1 2 1")
    ends = group_ends("c 1 2 1")
    for cut in range(len(files["000001.a"])):
        wrong = {name: data[:cut] for name, data in files.items()}
        if cut in ends:
            assert reopened(wrong).problem is None
        else:
            with pytest.raises(JournalDamagedError):
                reopened(wrong)


def test_a_torn_append_is_told_from_damage() -> None:
    """`.a` cut within its last group beside a `.b` that never got it: the append was not acknowledged, and is gone
    whole. `.b` that goes on where `.a` ends is nothing that a crash leaves."""
    long, _ = written("c 1 2")
    short, acknowledged = written("c 1")
    for cut in range(len(short["000001.b"]) + 1, len(long["000001.a"])):
        found = reopened({"000001.a": long["000001.a"][:cut], "000001.b": short["000001.b"]})
        assert numbers(found.payloads) == acknowledged
        assert found.problem is not None
        assert found.problem.crash
        with pytest.raises(JournalDamagedError):
            reopened({"000001.a": short["000001.a"], "000001.b": long["000001.b"][:cut]})


def test_another_journals_files_are_not_served() -> None:
    """A generation under another number, or mirrors of two journals, are refused."""
    files, _ = written("c 1 2")
    other, _ = written("1 c")
    renamed = {name.replace("000001", "000009"): data for name, data in files.items()}
    with pytest.raises(JournalDamagedError, match=r"000009\.a from byte 0 .*can't be read from its beginning"):
        reopened({**files, **renamed})
    mixed = {"000002.a": written("c c 1")[0]["000002.a"], "000002.b": written("1 c 1")[0]["000002.b"]}
    with pytest.raises(JournalDamagedError, match="is no mirror of"):
        reopened(mixed)
    assert other.keys() == {"000002.a", "000002.b"}


def test_the_error_says_what_to_do_and_that_works(tmp_path: Path) -> None:
    """Whoever accepts the loss runs the command of the message and starts again with all that can be read."""
    for flip_a, flip_b, kept in ((-4, 100, 3), (100, -4, 3), (-4, -4, 3)):
        folder = tmp_path / f"{flip_a} {flip_b}".replace(" ", "_")
        journal = Journal.open(folder)
        for number in range(4):
            journal.append([b"%d" % number])
        journal.close()
        for name, at in (("000001.a", flip_a), ("000001.b", flip_b)):
            data = bytearray((folder / name).read_bytes())
            data[at] ^= 1
            (folder / name).write_bytes(data)
        with pytest.raises(JournalDamagedError) as raised:
            Journal.open(folder)
        command = str(raised.value).split("cut it off: ")[1]
        subprocess.run(command.split(), check=True)
        journal = Journal.open(folder)
        assert numbers(journal.found.payloads) == [*range(kept)]
        journal.append([b"7"])
        journal.close()


# A disk that refuses, a process that dies, power that fails


@pytest.mark.parametrize("late", [False, True], ids=["undone", "done"])
@pytest.mark.parametrize("times", [1, 2, 1 << 30], ids=["once", "twice", "for_ever"])
def test_every_disk_operation_may_fail(times: int, late: bool) -> None:
    """For N = 1, 2, .. the N-th operation fails, once or from then on, before or after it was done, until a run has no
    fault. Then the process dies, or the power fails: what was acknowledged is there, nothing that was refused is half
    there, and what was found is durable."""
    for at in range(1, 1000):
        for choose in (None, lambda n: 0, lambda n: n, lambda n: n // 2):
            caller = Caller(MemoryDisk(at, times, late=late)).run(SCRIPT)
            failed = caller.disk.failed
            caller.disk.heal()
            if choose is not None:
                caller.disk.lose_power(choose)
            assert caller.restart() is not None
            found = caller.acknowledged
            caller.disk.lose_power(lambda n: 0)
            assert caller.restart() is not None
            assert caller.acknowledged == found
            caller.run("1 c 1")
        if not failed:
            break
    assert at > 100


def test_a_refused_journal_takes_a_checkpoint_and_goes_on() -> None:
    """After a failed sync nothing more goes to those files; a checkpoint begins new ones, without what was refused."""
    disk = MemoryDisk()
    journal = Journal.open(FOLDER, disk)
    journal.append([b"1"])
    disk.at = disk.count + 2  # the sync of .a
    with pytest.raises(JournalDiskError, match="takes nothing but a checkpoint now"):
        journal.append([b"2"])
    with pytest.raises(JournalDiskError, match="takes nothing but a checkpoint since the disk refused"):
        journal.append([b"3"])
    assert "refused" in repr(journal)
    journal.checkpoint(b"all 1")
    journal.append([b"4"])
    journal.close()
    assert numbers(reopened(disk.files()).payloads) == [1, 4]


def test_a_checkpoint_that_finds_no_room_leaves_the_journal_as_it_was() -> None:
    """While the new files are only being written, the old ones go on taking appends."""
    disk = MemoryDisk()
    journal = Journal.open(FOLDER, disk)
    journal.append([b"1"])
    for operation in range(1, 7):  # create, write, sync of each mirror
        disk.at = disk.count + operation
        with pytest.raises(JournalDiskError):
            journal.checkpoint(b"all 1")
        journal.append([b"%d" % (operation + 1)])
        assert disk.files().keys() == {"000001.a", "000001.b"}
    journal.close()
    assert numbers(reopened(disk.files()).payloads) == [*range(1, 8)]


def test_a_process_that_dies_in_its_first_append_is_no_damage() -> None:
    """`.a` alone, and no generation before it, is what a crash leaves of the first one."""
    disk = MemoryDisk(off=12)  # .b gets its name
    journal = Journal.open(FOLDER, disk)
    with pytest.raises(PowerOff):
        journal.append([b"1"])
    assert [*disk.files()] == ["000001.a", "000001.b.new"]
    disk.kill()
    disk.heal()
    found = Journal.open(FOLDER, disk).found
    assert found.payloads == [b"1"]
    assert found.problem is not None
    assert found.problem.crash


def test_a_refused_checkpoint_never_mixes_with_the_next() -> None:
    """What is left of a refused checkpoint keeps its name; the next one takes another, so a crash in it can't leave
    mirrors of two."""
    disk = MemoryDisk()
    journal = Journal.open(FOLDER, disk)
    journal.append([b"1"])
    disk.at, disk.times = disk.count + 8, 100  # .b gets its name, and the disk is gone
    with pytest.raises(JournalDiskError):
        journal.checkpoint(b"first")
    disk.times = 0
    disk.off = disk.count + 8
    with pytest.raises(PowerOff):
        journal.checkpoint(b"second")
    disk.kill()
    disk.heal()
    assert Journal.open(FOLDER, disk).found.payloads == [b"second"]
    assert [*disk.files()] == ["000004.a", "000004.b"]


def keeping(part: int, *, rest: bool = False) -> Callable[[int], int]:
    """Of what was not synced this part alone (from 0: changes of names, then files) survives, or all the `rest`."""
    parts = count()
    return lambda most: most if (next(parts) == part) != rest else 0


class Stopper(MemoryDisk):
    """The power fails when a file of this name is to be published."""

    def __init__(self) -> None:
        super().__init__(late=True)
        self.stop = ""

    def publish(self, path: Path) -> None:
        if path.name == self.stop:
            raise PowerOff
        super().publish(path)


def test_a_refused_checkpoint_does_not_come_back_under_the_next_ones_name() -> None:
    """Its folder was synced and the disk said no, so its names are durable, and their deletion is not. The next start
    takes the same number, and the power fails when its `.a` has its name: a `.b` of the refused one beside it would be
    no mirror of it."""
    disk = Stopper()
    journal = Journal.open(FOLDER, disk)
    journal.append([b"1"])
    disk.at = disk.count + 9
    with pytest.raises(JournalDiskError):
        journal.checkpoint(b"all 1")
    assert [*disk.files()] == ["000001.a", "000001.b"]
    assert {"000002.a", "000002.b"} <= disk.durable.keys()
    disk.kill()
    disk.stop = "000002.b"
    with pytest.raises(PowerOff):
        Journal.open(FOLDER, disk)
    disk.lose_power(keeping(len(disk.entries) - 1))  # the last change of a name
    assert "000002.a" in disk.files()
    disk.stop = ""
    assert Journal.open(FOLDER, disk).found.payloads == [b"1"]


@pytest.mark.parametrize("late", [False, True], ids=["undone", "done"])
def test_power_may_fail_in_every_operation_of_a_start(late: bool) -> None:
    """For N = 1, 2, .. the N-th operation of a process fails; the power then fails in the M-th of the next start. One
    part alone of what was not synced is kept, or all but one, or none, or all: the start after it finds what was
    acknowledged."""
    for at in range(1, 100):
        for off in range(1, 100):
            caller = Caller(MemoryDisk(at, late=late)).run("1 c")
            failed = caller.disk.failed
            caller.disk.heal()
            caller.disk.off = caller.disk.count + off
            with suppress(PowerOff):
                caller.restart()
            caller.journal = None
            over = caller.disk.count < caller.disk.off
            for part in range(10):
                for rest in (False, True):
                    again = deepcopy(caller)
                    again.disk.lose_power(keeping(part, rest=rest))
                    again.disk.heal()
                    assert again.restart() is not None
                    again.run("1 r")
                    assert len(again.disk.files()) == 2, "something was left lying"
            if over:
                break
        if not failed:
            break
    assert at > 20
    assert off > 15


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.data())
def test_power_may_fail_at_any_time(data: st.DataObject) -> None:
    """Three times the power fails in some operation, recovery included, while the disk may refuse some: any part of
    what was not synced is lost. All that was acknowledged is found."""
    at, times, late = data.draw(st.integers(0, 150)), data.draw(st.integers(1, 3)), data.draw(st.booleans())
    disk = MemoryDisk(at, times, late=late)
    caller = Caller(disk)
    scripts = st.text("123cr", min_size=1, max_size=12).map(" ".join)
    for _ in range(3):
        disk.off = disk.count + data.draw(st.integers(1, 80))
        with suppress(PowerOff):
            caller.run(data.draw(scripts))
        caller.journal = None
        disk.lose_power(lambda n: data.draw(st.integers(0, n)))
    disk.heal()
    assert caller.restart() is not None
    caller.run("1 r")
    assert len(disk.files()) == 2, "something was left lying"


def test_a_copy_taken_while_it_is_written_holds_all_that_was_acknowledged(tmp_path: Path) -> None:
    """Appends and checkpoints go on meanwhile; the copy is a journal at rest that opens without a word."""
    journal = Journal.open(tmp_path / "live")
    acknowledged, stop = [0], threading.Event()
    journal.append([b"1"])
    acknowledged[0] = 1

    def write() -> None:
        for number in count(2):
            if stop.is_set():
                return
            if number % 7 == 0:
                journal.checkpoint(b"all " + b" ".join(b"%d" % one for one in range(1, number + 1)))
            else:
                journal.append([b"%d" % number])
            acknowledged[0] = number

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(40):
            least = acknowledged[0]
            payloads, files = Journal.copy(tmp_path / "live")
            assert len(numbers(payloads)) >= least
            folder = tmp_path / f"copy{number}"
            folder.mkdir()
            for name, data in files.items():
                (folder / name).write_bytes(data)
            copy = Journal.open(folder)
            assert (copy.found.payloads, copy.found.problem) == (payloads, None)
            copy.close()
    finally:
        stop.set()
        writer.join()
        journal.close()
    assert Journal.copy(tmp_path / "nothing") == ([], {})
