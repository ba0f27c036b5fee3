"""What was learned of models is in a file, whole, and found again; whatever else is there is ignored and said."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from podmodel.pods import GPU, passes
from support.disk import MemoryDisk
from support.frontdoor import clock
from support.gateway import Edit, replaced, write_workspace
from trimtab.controlplane.registry import Workspace, load
from trimtab.core.clock import SystemClock
from trimtab.dataplane.admission import Gates
from trimtab.dataplane.admission.tier import TierState
from trimtab.dataplane.inference import Governor
from trimtab.foundations.podmodel import Fit
from trimtab.foundations.store import Disk
from trimtab.foundations.store.line import frame
from trimtab.surfaces.learned import (
    EVERY_S,
    FOLDER,
    MEASURED,
    VERSION,
    File,
    Known,
    Learned,
    UnusableError,
    declarations,
    decode,
    read,
    tiers,
    write,
    write_measured,
)
from trimtab.surfaces.twin import run_virtual

PATH = Path("/learned/w0000.json")
DECLARED = {"small": "s1", "medium": "m1"}
URL = "http://127.0.0.1:1"


def state(seed: int, count: int = 60, outputs: int = 3) -> TierState:
    fit = Fit()
    for sample in passes(GPU, seed, count, noise=0.1):
        fit.observe(sample)
    return TierState(fit=fit.state(), share=0.3, outputs=[("shop", f"web-{n}", 10.0 + n) for n in range(outputs)])


def files(**written: bytes) -> MemoryDisk:
    return MemoryDisk.of({f"{name}.json": data for name, data in written.items()})


def file_of(wall_ns: int, **models: TierState) -> bytes:
    """As a worker writes it of models that are declared as above."""
    disk = MemoryDisk()
    write(PATH, {name: Known(DECLARED[name], one) for name, one in models.items()}, wall_ns, disk)
    return disk.files()[PATH.name]


def tiers_of(folder: Path, declared: dict[str, str], disk: Disk) -> dict[str, TierState]:
    return tiers(read(folder, disk), declared)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records]


# --- the file


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 80), st.integers(0, 600), st.integers(0, 2**62))
def test_what_is_written_is_read(seed: int, count: int, outputs: int, wall_ns: int) -> None:
    one = state(seed, count, outputs)
    data = file_of(wall_ns, small=one)
    assert decode(data) == File(wall_ns=wall_ns, models={"small": Known("s1", one)})
    assert tiers_of(PATH.parent, DECLARED, files(w0000=data)) == {"small": one}


def test_a_file_that_is_cut_anywhere_is_ignored() -> None:
    """At every byte; what another worker left is used then."""
    data, other = file_of(2, small=state(1, 20, 1)), state(2)
    for length in range(len(data)):
        with pytest.raises(UnusableError, match="damaged"):
            decode(data[:length])
    assert tiers_of(PATH.parent, DECLARED, files(w0000=data[:-1], w0001=file_of(1, small=other))) == {"small": other}


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_file_with_a_changed_byte_is_ignored(data: st.DataObject) -> None:
    whole = bytearray(file_of(2, small=state(1, 20, 1)))
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(UnusableError, match="damaged"):
        decode(bytes(whole))


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"version":%d,"wall_ns":1,"models":{}}' % (VERSION + 1), f"of version {VERSION + 1}, not {VERSION}"),
        (b'{"version":%d,"wall_ns":1,"models":{"small":3}}' % VERSION, "no such file"),
        (b"[]", "no such file"),
        (b"\xff", "no such file"),
    ],
)
def test_what_says_something_else_is_ignored_with_one_line(
    body: bytes, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert tiers_of(PATH.parent, DECLARED, files(w0000=frame(body))) == {}
    [line] = said(caplog)
    assert why in line
    assert "w0000.json" in line


def test_a_model_that_is_declared_otherwise_is_ignored_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    """The others of its file are not; nobody is told of one that is declared no more."""
    one, two = state(1), state(2)
    disk = files(w0000=file_of(1, small=one, medium=two))
    assert tiers_of(PATH.parent, DECLARED | {"small": "s2"}, disk) == {"medium": two}
    [line] = said(caplog)
    assert "small" in line
    caplog.clear()
    assert tiers_of(PATH.parent, {"medium": "m1"}, disk) == {"medium": two}
    assert said(caplog) == []


def test_the_newest_that_knows_a_model_counts() -> None:
    """Whoever's it is. What was measured later than it was learned brings its coefficients, and leaves the lengths of
    answers; what was measured earlier is not used."""
    one, two, three = state(1), state(2), state(3)
    disk = files(w0000=file_of(5, small=one), w0001=file_of(4, small=two, medium=two))
    assert tiers_of(PATH.parent, DECLARED, disk) == {"small": one, "medium": two}
    measured = file_of(6, small=TierState(fit=three.fit))
    assert tiers_of(PATH.parent, DECLARED, files(w0000=file_of(5, small=one), measured=measured)) == {
        "small": msgspec.structs.replace(one, fit=three.fit)
    }
    assert tiers_of(PATH.parent, DECLARED, files(w0000=file_of(7, small=one), measured=measured)) == {"small": one}
    assert tiers_of(PATH.parent, DECLARED, files(measured=measured)) == {"small": TierState(fit=three.fit)}
    assert MEASURED == "measured.json"


def test_a_folder_that_is_not_there_or_refuses_is_no_error(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Not there: nothing to say. A refusing disk is said, by the file."""
    assert tiers_of(tmp_path / "learned", DECLARED, Disk()) == {}
    assert said(caplog) == []
    for at in (1, 2):
        caplog.clear()
        disk = files(w0000=file_of(1, small=state(1)))
        disk.at = at
        assert tiers_of(PATH.parent, DECLARED, disk) == {}
        assert len(said(caplog)) == 1


# --- what decides whether it is the same model


def workspace(folder: Path, *edits: Edit) -> Workspace:
    return load(write_workspace(folder, URL, URL, *edits), SystemClock())


def with_engine(threads: int) -> Edit:
    """The model `small` runs on an engine of our own."""

    def edit(documents: dict[str, str]) -> None:
        documents["trimtab.yaml"] += f"engines: {{own: {{model: bundled, context: 8192, threads: {threads}}}}}\n"
        for old, new in (
            ('"SMALL/v1"', '"engine:own", dialect: llamacpp'),
            (', api_key: "file:upstream.key"', ""),
        ):
            replaced("models.yaml", old, new)(documents)

    return edit


def with_large(documents: dict[str, str]) -> None:
    documents["models.yaml"] = documents["models.yaml"].replace(
        "variants:", '  large: {endpoint: "MEDIUM/v1", tier: L, private: true}\nvariants:'
    )


def with_setting(port: int) -> Edit:
    """The model `small` has engines with another setting, too."""
    terms = f'settings: {{quick: {{endpoint: "http://127.0.0.1:{port}/v1"}}}}'
    return replaced("models.yaml", '{endpoint: "SMALL/v1",', f'{{endpoint: "SMALL/v1", {terms},')


def test_what_decides_a_models_pace_decides_whether_it_is_the_same(tmp_path: Path) -> None:
    """Where it runs and how its engine is declared; not how many requests it is given at once."""
    base = declarations(workspace(tmp_path / "a"))
    assert declarations(workspace(tmp_path / "b", replaced("models.yaml", "slots: 4", "slots: 9"))) == base
    other = declarations(workspace(tmp_path / "c", replaced("models.yaml", "SMALL/v1", "http://127.0.0.1:2/v1")))
    assert other["small"] != base["small"]
    assert other["medium"] == base["medium"]
    one, two = (declarations(workspace(tmp_path / str(threads), with_engine(threads))) for threads in (1, 2))
    assert one["small"] != two["small"]
    assert one["medium"] == two["medium"]


def test_what_was_measured_of_an_engine_is_of_each_model_on_it(tmp_path: Path) -> None:
    own, fit = workspace(tmp_path, with_engine(1)), state(1).fit
    assert write_measured(own, {"own": fit, "gone": fit}, 7) == ["small"]
    assert tiers_of(tmp_path / FOLDER, declarations(own), Disk()) == {"small": TierState(fit=fit)}
    assert write_measured(workspace(tmp_path / "none"), {"own": fit}, 7) == []


# --- a gateway's


class Process:
    """Gates of one gateway on a disk, and what it keeps of them."""

    def __init__(self, own: Workspace, disk: MemoryDisk, worker: int = 0) -> None:
        self.own, self.disk = own, disk
        self.gates = Gates(clock())
        self.gates.resize({"small": (4, 1), "medium": (2, 1)})
        self.governor = Governor()
        self.learned = Learned(lambda: self.own, worker, self.gates, self.governor, clock(), disk)

    def learn(self, seed: int, count: int, model: str = "small") -> None:
        gate = self.gates.of(model)
        assert gate is not None
        for sample in passes(GPU, seed, count):
            gate.tier.predictor.fit.observe(sample)


def test_what_is_learned_is_written_each_minute_and_at_the_end(tmp_path: Path) -> None:
    """Nothing where nothing, or too little, was learned. The next process knows what the last one did."""

    async def main() -> None:
        own, disk = workspace(tmp_path), MemoryDisk()
        first = Process(own, disk)
        await first.learned.begin()
        first.learn(1, 12)
        await asyncio.sleep(EVERY_S + 1)
        assert disk.files() == {}
        first.learn(2, 30)
        await asyncio.sleep(EVERY_S)
        written = disk.files()
        assert set(written) == {"w0000.json"}
        await asyncio.sleep(5 * EVERY_S)
        assert disk.files() == written
        first.learn(3, 1)
        await first.learned.close()
        assert disk.files() != written
        second = Process(own, disk, worker=3)
        await second.learned.begin()
        assert second.gates.states() == first.gates.states()
        await second.learned.close()
        assert set(disk.files()) == {"w0000.json"}

    run_virtual(main)


def test_what_a_setting_gains_is_known_after_a_restart(tmp_path: Path) -> None:
    """Without its certificate, which was of the process before; and not once the setting is declared otherwise."""

    async def main() -> None:
        disk = MemoryDisk()
        first = Process(workspace(tmp_path / "a", with_setting(2)), disk)
        await first.learned.begin()
        settings = first.own.snapshot.release.models["small"].settings
        for number in range(60):
            on = number % 2 == 0
            first.governor.observe(
                "small", settings, "shop", 1, "quick" if on else None, ms=200 if on else 400, tokens=20
            )
        measured = first.governor.choose("small", settings, "shop", 1)
        assert measured is not None
        assert (measured.setting, measured.why, measured.certificate is None) == ("quick", "measured", False)
        await first.learned.close()
        assert disk.files() != {}
        for number, how, why in ((2, "quick", "remembered"), (3, None, "exploring")):
            then = Process(workspace(tmp_path / f"b{number}", with_setting(number)), disk)
            await then.learned.begin()
            found = [then.governor.choose("small", settings, "shop", 1) for _ in range(3)]
            assert {(one.setting, one.why, one.certificate) for one in found if one is not None} >= {(how, why, None)}
            assert any(one is not None and one.gain == 2 for one in found) == (number == 2)
            await then.learned.close()

    run_virtual(main)


def test_what_is_not_served_for_a_while_stays_in_the_file(tmp_path: Path) -> None:
    """A model whose engine never came up is still known the next time; one that is no longer declared is not."""

    async def main() -> None:
        own, disk = workspace(tmp_path / "a", with_large), MemoryDisk()
        first, second, third = (Process(own, disk) for _ in range(3))
        first.gates.resize({"small": (4, 1), "large": (2, 1)})
        await first.learned.begin()
        first.learn(1, 60, "small")
        first.learn(2, 60, "large")
        await first.learned.close()
        await second.learned.begin()
        second.learn(3, 5, "small")
        await second.learned.close()
        assert set(decode(disk.files()["w0000.json"]).models) == {"small", "large"}
        await third.learned.begin()
        third.gates.resize({"small": (4, 1), "large": (2, 1)})
        assert third.gates.states()["large"] == first.gates.states()["large"]
        third.own = workspace(tmp_path / "b")
        third.learn(4, 5, "small")
        await third.learned.close()
        assert set(decode(disk.files()["w0000.json"]).models) == {"small"}

    run_virtual(main)


def test_a_state_that_no_tier_has_is_ignored_with_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """In a file that is otherwise well."""

    async def main() -> None:
        own, disk = workspace(tmp_path), MemoryDisk()
        declared, good = declarations(own), state(1)
        odd = msgspec.structs.replace(good, share=-1.0)
        models = {"small": Known(declared["small"], odd), "medium": Known(declared["medium"], good)}
        write(PATH, models, 1, disk)
        process = Process(own, disk)
        await process.learned.begin()
        assert process.gates.states()["medium"] == good
        assert not process.gates.states()["small"].is_enough
        assert sum("small is ignored" in line for line in said(caplog)) == 1
        await process.learned.close()

    run_virtual(main)


def test_a_full_disk_is_said_once_and_what_was_learned_is_written_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever part of the writing it refuses; what was there before stays whole until then."""

    async def main() -> None:
        for at in range(1, 6):
            caplog.clear()
            own, disk = workspace(tmp_path / str(at)), MemoryDisk()
            process = Process(own, disk)
            await process.learned.begin()
            process.learn(1, 60)
            await asyncio.sleep(EVERY_S + 1)
            before = disk.files()["w0000.json"]
            disk.at, disk.times = disk.count + at, 10**6
            for seed in (2, 3, 4):
                process.learn(seed, 5)
                await asyncio.sleep(EVERY_S)
                assert at == 5 or disk.files()["w0000.json"] == before
            refused = [line for line in said(caplog) if "can't be kept" in line]
            assert len(refused) == 1
            assert any(str(OSError(code, "")).split("]")[0] in refused[0] for code in (errno.ENOSPC, errno.EIO))
            disk.heal()
            await asyncio.sleep(EVERY_S)
            kept = decode(disk.files()["w0000.json"]).models["small"].state
            assert kept == process.gates.states()["small"]
            await process.learned.close()

    run_virtual(main)


def test_the_loop_never_waits_for_the_disk(tmp_path: Path) -> None:
    """Reading and writing are done in threads."""

    class Aside(MemoryDisk):
        def _do(self, act: Callable[[], None], half: Callable[[], None] = lambda: None) -> None:
            assert threading.current_thread() is not threading.main_thread()
            super()._do(act, half)

    async def main() -> None:
        process = Process(workspace(tmp_path), Aside())
        await process.learned.begin()
        process.learn(1, 60)
        await process.learned.close()
        assert process.disk.count > 3
        assert set(process.disk.files()) == {"w0000.json"}

    asyncio.run(main())
