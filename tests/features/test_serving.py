"""A gateway's rules read what was published; what they saw stands in the record, and learning uses exactly that."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from support.figures import declared, declares, ended, written
from support.gateway import Gateway, replaced
from support.records import CLOCK
from support.scrape import scrape, value
from support.upstream import ScriptedUpstream
from trimtab.cli import cli
from trimtab.controlplane.records.explanation import explain
from trimtab.controlplane.registry import load
from trimtab.core.record import Record
from trimtab.core.rows import SeenFeature
from trimtab.surfaces import features
from trimtab.surfaces.following import Following
from trimtab.surfaces.kept.decisions import decide_anew

Main = Callable[[Gateway, Following], Awaitable[None]]


def served(folder: Path, main: Main) -> list[Record]:
    """What `main` asks of a gateway that follows what is published; the records."""

    async def run() -> list[Record]:
        async with ScriptedUpstream() as small, ScriptedUpstream() as medium:
            async with Gateway(folder, small.url, medium.url, declares) as gateway:
                following = Following(folder, gateway.plane)
                await following.begin()
                await main(gateway, following)
                return gateway.records

    return asyncio.run(run())


async def asked(gateway: Gateway, following: Following) -> None:
    await gateway.ask("Hello", "cache-control: no-store")


def seen(row: Record, name: str) -> list[SeenFeature]:
    return [one for one in row.online if one.name == name]


def test_a_rule_reads_what_was_published_and_the_record_says_it(tmp_path: Path) -> None:
    """Nothing is known: the small model answers. The channel was late lately: the medium one does."""
    (before,) = served(tmp_path, asked)
    assert before.tier == "S"
    assert [(one.key, one.value, one.as_of_ns) for one in seen(before, "late")] == [("shop/web", None, None)]
    assert not seen(before, "load"), "no rule reads it"
    written(tmp_path, ended(20), ended(10), ended(5, late=False))
    done = features.materialise(load(tmp_path), CLOCK)
    (after,) = served(tmp_path, asked)
    assert after.tier == "M"
    assert [(one.key, one.value, one.as_of_ns) for one in seen(after, "late")] == [("shop/web", 2 / 3, done.as_of_ns)]
    (rule,) = [one for one in after.rules if one.id == "late-lately"]
    assert (rule.hit, rule.values) == (True, {"feature_late": 2 / 3})
    assert explain(after).online == after.online
    again = decide_anew([before, after], load(tmp_path).snapshot)
    assert (again.differences, again.untold) == ([], {})
    strict = load(declared_strictly(tmp_path / "strict")).snapshot
    assert any("late-lately hit, and now did not" in one.what for one in decide_anew([after], strict).differences)


def declared_strictly(folder: Path) -> Path:
    """The same, with a rule that asks for more."""
    edit = replaced("policy.yaml", "feature_late > 0.5", "feature_late > 0.8")
    return declared(folder, edit=edit).folder


def test_a_plan_has_the_features_of_its_variant(tmp_path: Path) -> None:
    """Each plan's own stands in the record; the slow one is not taken."""
    (first,) = served(tmp_path, asked)
    small = first.variant
    assert small is not None
    written(tmp_path, ended(20, late=False, variant=small, e2e_ms=9500.0))
    features.materialise(load(tmp_path), CLOCK)
    (row,) = served(tmp_path, asked)
    medium = row.variant
    assert row.tier == "M"
    assert {one.key: one.value for one in seen(row, "slow")} == {small: 9500.0, medium: None}
    written(tmp_path, ended(20, late=False, variant=medium, e2e_ms=6000.0))
    features.materialise(load(tmp_path), CLOCK)
    (row,) = served(tmp_path, asked)
    assert {one.key: one.value for one in seen(row, "slow")} == {small: 9500.0, medium: 6000.0}
    (admit,) = [one for one in row.rules if one.id == "slow-is-not-waited-for"]
    assert (admit.hit, admit.values) == (True, {"feature_slow": 6000.0})


def test_all_gateways_see_the_same_and_take_it_up_later(tmp_path: Path) -> None:
    """Two that run, of which one began before anything was published."""

    async def main(gateway: Gateway, following: Following) -> None:
        await asked(gateway, following)
        written(tmp_path, ended(10), ended(5))
        await asyncio.to_thread(features.materialise, load(tmp_path), CLOCK)
        await following.begin()
        await asked(gateway, following)

    first, second = served(tmp_path, main)
    (other,) = served(tmp_path, asked)
    assert [one.tier for one in (first, second, other)] == ["S", "M", "M"]
    assert second.online[0] == other.online[0]


def test_old_values_are_unknown_and_metrics_say_so(tmp_path: Path) -> None:
    """Their age is told; a value of another definition is none."""
    declared(tmp_path, ended(10), ended(5))
    features.materialise(load(tmp_path), CLOCK)
    old = features.read(tmp_path)

    async def fresh(gateway: Gateway, following: Following) -> None:
        await asked(gateway, following)
        shown = await scrape(gateway)
        assert value(shown, "trimtab_features_stale") == 0
        assert value(shown, "trimtab_feature_values", feature="late") == 1
        features.write(tmp_path, msgspec.structs.replace(old, as_of_ns=old.as_of_ns - 3600 * 10**9))
        await following.begin()
        await asked(gateway, following)
        shown = await scrape(gateway)
        assert value(shown, "trimtab_features_stale") == 1
        assert value(shown, "trimtab_features_age_seconds") > 3600
        other = {name: msgspec.structs.replace(one, definition="another") for name, one in old.features.items()}
        features.write(tmp_path, msgspec.structs.replace(old, features=other))
        await following.begin()
        await asked(gateway, following)
        assert value(await scrape(gateway), "trimtab_feature_values", feature="late") == 0

    rows = served(tmp_path, fresh)
    assert [one.tier for one in rows] == ["M", "S", "S"]
    assert [seen(one, "late")[0].value for one in rows] == [1.0, None, None]


def test_a_damaged_file_leaves_what_was_known(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Said once; when it is whole again it is taken up."""
    declared(tmp_path, ended(10), ended(5))
    features.materialise(load(tmp_path), CLOCK)

    async def main(gateway: Gateway, following: Following) -> None:
        (tmp_path / features.FILE).write_bytes(b"not whole")
        await following.begin()
        await following.begin()
        await asked(gateway, following)

    (row,) = served(tmp_path, main)
    assert row.tier == "M"
    assert len([one for one in caplog.records if "features stay as they were" in one.message]) == 1


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_rows_of_a_file_get_what_was_known_at_their_time(tmp_path: Path, form: str) -> None:
    """Of an entity at a time, before and after: nothing that ended later counts; unknown values are empty."""
    workspace = declared(tmp_path, ended(60), ended(40, late=False), ended(20, tenant="other", channel="desk"))
    now_ns = CLOCK.wall_ns()
    rows = [("shop", "web", 100), ("shop", "web", 50), ("shop", "web", 30), ("other", "desk", 10), ("none", "x", 10)]
    source, out = tmp_path / f"rows.{form}", tmp_path / f"out.{form}"
    lines = "".join(f"{now_ns - ago * 10**9},{tenant},{channel},v@1\n" for tenant, channel, ago in rows)
    (tmp_path / "rows.csv").write_text("time,tenant,channel,variant\n" + lines)
    if form == "parquet":
        import duckdb

        with duckdb.connect() as connection:
            connection.execute(f"COPY (FROM read_csv('{tmp_path / 'rows.csv'}')) TO '{source}' (FORMAT parquet)")
    done = CliRunner().invoke(
        cli, ["features", "join", str(source), "--out", str(out), "--workspace", str(workspace.folder), "--json"]
    )
    assert done.exit_code == 0, done.output
    assert msgspec.json.decode(done.output)["unknown"] == {"late": 2, "load": 4, "slow": 5}
    found = _joined(out)
    assert [row["late"] for row in found] == [None, 1.0, 0.5, 1.0, None]
    assert [row["load"] for row in found] == [None, None, 2.0, None, None]


def _joined(out: Path) -> list[dict[str, float | None]]:
    import duckdb

    with duckdb.connect() as connection:
        if out.suffix == ".parquet":
            rows = connection.sql(f"SELECT late, load FROM '{out}'").fetchall()
        else:
            with out.open() as file:
                rows = [
                    tuple(float(row[name]) if row[name] else None for name in ("late", "load"))
                    for row in csv.DictReader(file)
                ]
    return [dict(zip(("late", "load"), row, strict=True)) for row in rows]


def test_learning_uses_what_was_seen(tmp_path: Path) -> None:
    """Of a record: what its decision saw, which the lake no longer says of its time, since more has ended by then."""
    workspace = declared(tmp_path, ended(30), ended(25))
    features.materialise(workspace, CLOCK)
    (row,) = served(tmp_path, asked)
    row.t_wall_ns -= 5 * 10**9
    written(tmp_path, ended(15, late=False), row)
    (tmp_path / "rows.csv").write_text(f"record,label\n{row.id},good\n")

    def late(*options: str) -> str:
        given = ["features", "join", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out.csv"), *options]
        done = CliRunner().invoke(cli, [*given, "--workspace", str(tmp_path)])
        assert done.exit_code == 0, done.output
        with (tmp_path / "out.csv").open() as file:
            (found,) = csv.DictReader(file)
        assert found["label"] == "good"
        return found["late"]

    assert late("--seen") == "1"
    assert float(late()) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty"),
        ("tenant,channel\na,b\n", "has neither a column time"),
        ("time,tenant\n2026-01-01T00:00:00Z,a\n", "has no column channel"),
        ("time,tenant,channel,variant\n2026-01-01,a,b,c\n", "row 2: 2026-01-01 is no time"),
        ("time,tenant,channel,variant\n2999-01-01T00:00:00Z,a,b,c\n", "row 2: at its time not everything has ended"),
        ("time,tenant,channel,variant\n2026-01-01T00:00:00Z,a,b\n", "3 cells, where the first line names 4"),
        ("time,tenant,channel,variant,late\n", "has a column late already"),
        ("record\nrec_none\n", "the lake has no request rec_none"),
    ],
)
def test_what_can_not_be_joined_is_told(tmp_path: Path, text: str, words: str) -> None:
    """And nothing is written."""
    declared(tmp_path, ended(5))
    (tmp_path / "rows.csv").write_text(text)
    given = ["features", "join", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out.csv")]
    done = CliRunner().invoke(cli, [*given, "--workspace", str(tmp_path)])
    assert done.exit_code == 1
    assert words in done.output
    assert not (tmp_path / "out.csv").exists()


def test_what_the_lake_no_longer_keeps_is_unknown(tmp_path: Path) -> None:
    """Not reckoned from the days that are left of its window, and told."""
    declared(tmp_path, ended(5), edit=replaced("trimtab.yaml", "demo: false", "demo: false\nlake: {keep_days: 2}"))
    (tmp_path / "rows.csv").write_text("time,tenant,channel,variant\n2026-01-01T00:00:00Z,shop,web,v@1\n")
    given = ["features", "join", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "out.csv"), "--json"]
    done = CliRunner().invoke(cli, [*given, "--workspace", str(tmp_path)])
    assert msgspec.json.decode(done.output)["too_old"] == {"late": 1, "load": 1, "slow": 1}
