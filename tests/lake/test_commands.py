"""`trimtab lake` and `trimtab query`, as they are typed."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from support.lake import Pond
from support.records import CLOCK, row, spent
from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.lake import Place
from trimtab.controlplane.registry import Lake
from trimtab.core.errors import ConfigError
from trimtab.surfaces.lake import open_lake, place_of

SHOWN = "SELECT tenant, sum(settled_usd) AS usd, any_value(stages) AS stages, any_value(stream) AS stream FROM records"


class Shop:
    """An example workspace with records."""

    def __init__(self, folder: Path) -> None:
        self.sandbox = Sandbox(folder)
        self.folder = self.sandbox.folder
        self.pond = Pond(self.folder / "var")

    def run(self, *words: str, code: int = 0) -> Result:
        done = CliRunner().invoke(cli, [*words, "--workspace", str(self.folder)])
        assert done.exit_code == code, done.output
        return done

    def json(self, *words: str, code: int = 0) -> Any:
        return msgspec.json.decode(self.run(*words, "--json", code=code).stdout)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """Three rows, one of nobody, and nothing in the lake."""
    made = Shop(tmp_path)
    made.pond.write(spent("hr", 1_500_000, stages={"decide": [0.0, 1.5]}), spent("hr", 1), row())
    return made


def test_rows_are_taken_in_and_asked_for(shop: Shop) -> None:
    """Twice takes them once; status says how far it is, query what they say."""
    assert shop.run("lake", "ingest").stdout == "3 rows taken in\n"
    assert shop.run("lake", "ingest").stdout == "0 rows taken in\n"
    shop.pond.write(spent("hr", 2))
    status = shop.json("lake")
    assert (status["rows"], status["files"]) == (3, 2)
    assert (status["taken"], status["behind"]) == ({"0": 3}, {"0": 1})
    assert "worker 0: up to row 3, 1 row behind" in shop.run("lake", "status").stdout
    found = shop.run("query", f"{SHOWN} GROUP BY tenant ORDER BY tenant").stdout.splitlines()
    assert [line.split() for line in found] == [
        ["TENANT", "USD", "STAGES", "STREAM"],
        ["_", "-", "{}", "-"],
        ["hr", "0.001500001", '{"decide":[0.0,1.5]}', "-"],
    ]


def test_answers_for_machines(shop: Shop) -> None:
    """Money is text in both, so that no reader makes a float of it; nested values are JSON."""
    shop.run("lake", "ingest")
    found = shop.json("query", f"{SHOWN} WHERE tenant = 'hr' GROUP BY tenant")
    assert found["rows"] == [{"tenant": "hr", "usd": "0.001500001", "stages": {"decide": [0.0, 1.5]}, "stream": None}]
    assert found["columns"]["usd"] == "DECIMAL(38,9)"
    assert found["cut"] is False
    text = shop.run("query", f"{SHOWN} WHERE tenant = 'hr' GROUP BY tenant", "--csv").stdout
    head, line = csv.reader(text.splitlines())
    assert head == ["tenant", "usd", "stages", "stream"]
    assert line == ["hr", "0.001500001", '{"decide":[0.0,1.5]}', ""]
    large = shop.json("query", "SELECT 170141183460469231731687303715884105727::HUGEINT AS n, DATE '2026-01-02' AS d")
    assert large["rows"] == [{"n": "170141183460469231731687303715884105727", "d": "2026-01-02"}]


def test_what_is_cut_is_told(shop: Shop) -> None:
    """On stderr, or as a member."""
    shop.run("lake", "ingest")
    done = shop.run("query", "SELECT id FROM records", "--rows", "2")
    assert done.stderr == "cut after 2 rows: --rows N shows more\n"
    assert len(done.stdout.splitlines()) == 3
    assert shop.json("query", "SELECT id FROM records", "--rows", "2")["cut"] is True


def test_a_plan_is_printed_as_it_is(shop: Shop) -> None:
    """EXPLAIN draws boxes."""
    shop.run("lake", "ingest")
    assert "READ_PARQUET" in shop.run("query", "EXPLAIN SELECT id FROM records").stdout


def test_a_question_that_does_more_than_read_is_refused(shop: Shop) -> None:
    """With what may be asked; --json in the common form."""
    shop.run("lake", "ingest")
    done = shop.run("query", "DELETE FROM records", code=1)
    assert done.stderr == (
        "trimtab: the lake is only read here, by SELECT, WITH, DESCRIBE, SHOW or EXPLAIN; this is DELETE\n"
    )
    assert shop.json("query", "DELETE FROM records", code=1)["error"]["kind"] == "failed"
    assert "give one" in shop.run("query", "SELECT 1", "--csv", "--json", code=2).stderr


def test_damage_is_named(shop: Shop) -> None:
    """Exit code 1, and the rest is in."""
    [segment] = shop.pond.records.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes().replace(b'"settled_nanousd":1,', b'"settled_nanousd":9,'))
    done = shop.run("lake", "ingest", code=1)
    assert done.stdout == "2 rows taken in\n"
    assert "line 2: is damaged" in done.stderr


def test_old_days_and_tenants_go(shop: Shop) -> None:
    """By `keep_days` of trimtab.yaml, and by name."""
    with (shop.folder / "trimtab.yaml").open("a") as file:
        file.write("lake: {keep_days: 30}\n")
    shop.pond.write(spent("old", 1, t_wall_ns=CLOCK.wall_ns() - 31 * 86_400 * 10**9))
    shop.run("lake", "ingest")
    assert shop.json("lake", "compact")["dropped"] == 1
    assert "0 files of days that are no longer kept dropped" in shop.run("lake", "compact").stdout
    assert shop.run("lake", "erase", "hr").stdout == "hr: 1 file deleted\n"
    assert shop.json("lake", "erase", "hr") == {"tenant": "hr", "files": 0}
    assert shop.json("query", "SELECT tenant FROM records")["rows"] == [{"tenant": "_"}]


def test_object_storage_is_opened_by_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Options go to delta-rs, secrets resolved; the handle does not show them. DuckDB does not read it from here."""
    monkeypatch.setenv("LAKE_SECRET", "hush")
    lake = Lake(url="s3://bucket/x", options={"AWS_REGION": "eu-central-1", "AWS_SECRET_ACCESS_KEY": "env:LAKE_SECRET"})
    place = place_of(lake, tmp_path)
    assert place == Place(url="s3://bucket/x", options={"AWS_REGION": "eu-central-1", "AWS_SECRET_ACCESS_KEY": "hush"})
    assert "hush" not in repr(open_lake(lake, tmp_path)) + repr(place)
    monkeypatch.delenv("LAKE_SECRET")
    with pytest.raises(ConfigError, match=r"options\.AWS_SECRET_ACCESS_KEY"):
        place_of(lake, tmp_path)
    shop = Shop(tmp_path)
    with (shop.folder / "trimtab.yaml").open("a") as file:
        file.write("lake: {url: s3://bucket/x}\n")
    assert "not on this machine's disk" in shop.run("query", "SELECT 1", code=1).stderr


def test_without_the_extra_it_says_what_to_install(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each command that needs it; the gateway does not."""
    monkeypatch.setitem(sys.modules, "deltalake", None)
    done = shop.run("lake", "ingest", code=1)
    assert "pip install 'trimtab[lake]'" in done.stderr
    assert shop.sandbox.problems() == []


@pytest.mark.parametrize(
    ("line", "severity", "said"),
    [
        ("{url: var/lake, keep_days: 400}", None, ""),
        ("{url: /srv/lake}", None, ""),
        ("{url: s3://bucket/x, options: {AWS_REGION: eu-central-1}}", None, ""),
        ("{url: s3://}", "error", "names no bucket"),
        ("{url: https://bucket/x}", "error", "is neither a folder nor a URL of s3"),
        ("{url: s3://me:hunter2hunter@bucket/x}", "error", "password"),
        ("{url: s3://bucket/x, options: {AWS_SECRET_ACCESS_KEY: plain}}", "error", "holds a secret itself"),
        ("{url: s3://bucket/x, options: {AWS_SECRET_ACCESS_KEY: env:NOT_SET_HERE}}", "warning", "NOT_SET_HERE"),
        ("{options: {AWS_REGION: eu-central-1}}", "warning", "opens nothing: url is a folder"),
        ("{keep_days: 0}", "error", "keep_days"),
    ],
)
def test_the_document_is_checked(tmp_path: Path, line: str, severity: str | None, said: str) -> None:
    """A place that can be opened by what is written, and no secret in it."""
    sandbox = Sandbox(tmp_path)
    with (sandbox.folder / "trimtab.yaml").open("a") as file:
        file.write(f"lake: {line}\n")
    found = sandbox.problems()
    assert {one.severity for one in found} == ({severity} if severity else set())
    assert said in " ".join(map(str, found))
