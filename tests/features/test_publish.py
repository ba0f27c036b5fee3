"""Publishing: what gateways read is what the lake says of that instant, and a tenant that is erased is in neither."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from support.figures import S, declared, ended, written
from support.records import CLOCK, row
from support.serving import eventually
from trimtab.cli import cli
from trimtab.controlplane import lake as lakes
from trimtab.controlplane.features import as_of, of_all_keys
from trimtab.controlplane.features.words import Ask
from trimtab.controlplane.lake import ask
from trimtab.controlplane.registry import Workspace
from trimtab.core.errors import NewerVersionError
from trimtab.foundations.store import Disk
from trimtab.foundations.store.disk import BusyError
from trimtab.foundations.store.line import frame
from trimtab.surfaces import features
from trimtab.surfaces.controlling import Controlling
from trimtab.surfaces.kept import layouts
from trimtab.surfaces.lake import open_lake


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Two tenants; one of them was late twice of three times."""
    return declared(
        tmp_path / "w",
        ended(30, variant="v@1"),
        ended(20, variant="v@1"),
        ended(10, late=False, variant="w@1"),
        ended(10, tenant="other", channel="desk", late=False, variant="w@1"),
    )


def contents(workspace: Workspace, name: str) -> dict[str, float]:
    return features.read(workspace.folder).features[name].values


def rows_of_table(workspace: Workspace) -> list[tuple[str, str, str]]:
    import duckdb

    files = features.published_table(workspace).files()
    with duckdb.connect() as connection:
        return connection.sql(f"SELECT tenant, name, key FROM read_parquet({files}) ORDER BY ALL").fetchall()


def test_what_is_published_is_what_the_lake_says(workspace: Workspace) -> None:
    """At that instant, whenever it is asked, after more has ended, too."""
    done = features.materialise(workspace, CLOCK)
    assert contents(workspace, "late") == {"shop/web": 2 / 3, "other/desk": 0.0}
    assert contents(workspace, "load") == {"shop": 3.0}, "two rows are needed"
    assert contents(workspace, "slow") == {"v@1": 1000.0, "w@1": 1000.0}
    assert done.values == {"late": 2, "load": 1, "slow": 2}
    written(workspace.folder, ended(-0.5), row(t_wall_ns=done.as_of_ns - S, e2e_ms=60_000.0, tenant="shop"))
    lake = features.settled(workspace, CLOCK).table
    for name, one in workspace.snapshot.release.features.features.items():
        published = contents(workspace, name)
        assert {each.key: each.value for each in of_all_keys(lake, one, done.as_of_ns)} == published
        asked = [Ask(key, done.as_of_ns) for key in published]
        assert [each.value for each in as_of(lake, one, asked)] == list(published.values())


def test_every_value_is_kept_in_the_table(workspace: Workspace) -> None:
    """With its definition, its rows, as of when, and when it was known; a later publication is appended."""
    features.materialise(workspace, CLOCK)
    assert rows_of_table(workspace) == [
        ("_", "slow", "v@1"),
        ("_", "slow", "w@1"),
        ("other", "late", "other/desk"),
        ("shop", "late", "shop/web"),
        ("shop", "load", "shop"),
    ]
    features.materialise(workspace, CLOCK)
    assert len(rows_of_table(workspace)) == 10
    features.compact(workspace, CLOCK.wall_ns())
    assert len(rows_of_table(workspace)) == 10


def test_an_erased_tenant_is_gone_from_lake_table_and_file(workspace: Workspace) -> None:
    """So is what was reckoned from the rows of several, until it is reckoned from what is left."""
    features.materialise(workspace, CLOCK)
    done = CliRunner().invoke(cli, ["lake", "erase", "shop", "--workspace", str(workspace.folder)])
    assert done.exit_code == 0, done.output
    assert contents(workspace, "late") == {"other/desk": 0.0}
    assert contents(workspace, "load") == contents(workspace, "slow") == {}
    assert rows_of_table(workspace) == [("other", "late", "other/desk")]
    left = [path for path in (workspace.folder / "var").rglob("*") if path.is_file() and b"v@1" in path.read_bytes()]
    assert all("records" in path.parts for path in left), left
    features.materialise(workspace, CLOCK)
    assert contents(workspace, "slow") == {"w@1": 1000.0}
    assert contents(workspace, "late") == {"other/desk": 0.0}


def test_nothing_is_published_while_a_tenant_is_erased(workspace: Workspace) -> None:
    """Else a value that was reckoned before could be written after."""
    with features.erasing(workspace, "shop"), pytest.raises(BusyError):
        features.materialise(workspace, CLOCK)


def test_keys_beyond_the_bound_are_left_out_and_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those with fewest rows."""
    monkeypatch.setattr(features, "MOST_VALUES", 3)
    done = features.materialise(workspace, CLOCK)
    assert done.left_out == {"late": 1, "slow": 1}
    assert list(contents(workspace, "late")) == ["shop/web"]


def test_a_newer_file_is_not_written_over(workspace: Workspace) -> None:
    """A damaged one is; migrate knows both."""
    path = workspace.folder / features.FILE
    Disk().make_folder(path.parent)
    path.write_bytes(b"00000000 {}")
    assert layouts.migrate(workspace.folder, layouts.LAYOUT, check=True) == []
    features.materialise(workspace, CLOCK)
    path.write_bytes(frame(msgspec.json.encode({"version": features.VERSION + 1})))
    with pytest.raises(NewerVersionError):
        features.materialise(workspace, CLOCK)
    with pytest.raises(NewerVersionError):
        layouts.migrate(workspace.folder, layouts.LAYOUT, check=True)


def test_the_control_process_publishes_by_itself(workspace: Workspace) -> None:
    """Once features are declared, without a command."""

    async def main() -> None:
        loops = asyncio.create_task(Controlling(workspace.folder).run())
        await asyncio.to_thread(eventually, lambda: (workspace.folder / features.FILE).is_file() or None)
        loops.cancel()
        await asyncio.gather(loops, return_exceptions=True)

    asyncio.run(main())
    assert contents(workspace, "load") == {"shop": 3.0}


@pytest.fixture
def printed(workspace: Workspace) -> Iterator[list[str]]:
    runner = CliRunner()
    out = []
    for command in ("materialise", "show", "show late", "at load"):
        done = runner.invoke(cli, ["features", *command.split(), "--workspace", str(workspace.folder)])
        assert done.exit_code == 0, done.output
        out.append(done.output)
    yield out


def test_the_command_shows_what_is_published(printed: list[str]) -> None:
    """How many keys, then each; and how old."""
    published, shown, late, at = printed
    assert "late: 2 values" in published
    assert "share met.latency    channel" in shown or "share met.latency  channel" in shown
    assert "shop/web    0.666667" in late or "shop/web  0.666667" in late
    assert "s ago" in late
    assert "load     shop" in at and "3" in at


def test_a_lake_without_features_is_as_it_was(tmp_path: Path) -> None:
    """Erasing needs no table of values."""
    workspace = declared(tmp_path / "w", ended(5), edit=lambda documents: None)
    lake = open_lake(workspace.settings.lake, workspace.folder)
    lakes.ingest(workspace.folder / "var" / "records", lake, workspace.folder / "var" / "staging", source="gateway")
    done = CliRunner().invoke(cli, ["lake", "erase", "shop", "--workspace", str(workspace.folder)])
    assert done.exit_code == 0, done.output
    assert ask(lake.files(), "SELECT count(*) FROM records", rows=1, memory_mib=256).rows == [(0,)]
