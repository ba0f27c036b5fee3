"""Columns follow from the record's types; what they come to is frozen, as the record itself is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from deltalake import DeltaTable

from support.lake import Pond
from trimtab.controlplane.lake import columns
from trimtab.controlplane.lake.schema import column_type

GOLDEN = Path(__file__).parent.parent / "golden" / "files" / "lake.json"


def test_the_tables_schema(tmp_path: Path) -> None:
    """As Delta has it, which is what Spark, Trino and DuckDB see. A column that is new is a line here and in the
    changelog; one that is gone or of another type is a migration. UPDATE_GOLDEN=1 writes it anew."""
    pond = Pond(tmp_path)
    pond.ingest()
    table = DeltaTable(pond.table.place.url)
    found = msgspec.json.format(table.schema().to_json().encode(), indent=1).decode() + "\n"
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(found)
    assert GOLDEN.read_text() == found
    assert table.metadata().partition_columns == ["day", "tenant"]
    assert table.protocol().min_reader_version == 1  # what every reader of Delta can read


def test_every_field_is_a_column_once() -> None:
    """None is left out by hand, so a new one is there by itself."""
    from trimtab.core.record import Record

    names = [one.name for one in columns()]
    assert len(set(names)) == len(names)
    assert set(Record.__struct_fields__) < set(names)


class Inner(msgspec.Struct, omit_defaults=True):
    """Of `Outer`."""

    tags: list[str] = []
    word: str = "none"
    maybe: int | None = None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (int | None, "BIGINT"),
        (list[float], "DOUBLE[]"),
        (tuple[bool, ...], "BOOLEAN[]"),
        (dict[str, list[float]], "MAP(VARCHAR, DOUBLE[])"),
        (Inner, 'STRUCT("tags" VARCHAR[], "word" VARCHAR, "maybe" BIGINT)'),
        (list[Inner] | None, 'STRUCT("tags" VARCHAR[], "word" VARCHAR, "maybe" BIGINT)[]'),
        (dict[str, Any], "MAP(VARCHAR, VARCHAR)"),
    ],
)
def test_types(kind: object, expected: str) -> None:
    """What msgspec reads, in DuckDB's words."""
    assert column_type(kind) == expected


@pytest.mark.parametrize("kind", [int | str, dict[int, str], bytes])
def test_what_has_no_column_is_an_error(kind: object) -> None:
    """A record may not gain it unseen."""
    with pytest.raises(TypeError, match="the lake has no column"):
        column_type(kind)
