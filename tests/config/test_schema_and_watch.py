"""JSON Schema of documents, and the fingerprint that tells that a workspace changed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from trimtab.core.tenancy import Tenant
from trimtab.foundations.config import fingerprint, json_schema


def test_the_schema_knows_what_the_reader_knows() -> None:
    """Unknown fields, required fields, bounds and money (as a number too) stand in the JSON Schema."""
    schema = msgspec.json.decode(json_schema(Tenant, "tenants/NAME.yaml"))
    tenant, budget = schema["$defs"]["Tenant"], schema["$defs"]["Budget"]
    assert schema["title"] == "tenants/NAME.yaml"
    assert tenant["additionalProperties"] is False
    assert set(tenant["required"]) == {"id", "channels"}
    assert budget["properties"]["usd"]["type"] == ["number", "string"]
    assert schema["$defs"]["LatencyTargets"]["properties"]["percentile"]["exclusiveMaximum"] == 1


def test_a_fingerprint_tells_every_change(tmp_path: Path) -> None:
    """Equal while nobody writes; another after a write, a rename, a new or a removed file; and it names them."""
    (tmp_path / "t").mkdir()
    (tmp_path / "a.yaml").write_text("a")
    (tmp_path / "t" / "b.yaml").write_text("b")
    patterns = ("*.yaml", "t/*.yaml")
    first = fingerprint(tmp_path, patterns)
    assert first == fingerprint(tmp_path, patterns)
    (tmp_path / "notes.txt").write_text("x")
    assert first == fingerprint(tmp_path, patterns)

    same = (tmp_path / "a.yaml").stat()
    (tmp_path / "new").write_text("A")  # as large and as old: only the inode tells
    os.utime(tmp_path / "new", ns=(same.st_atime_ns, same.st_mtime_ns))
    (tmp_path / "new").rename(tmp_path / "a.yaml")
    second = fingerprint(tmp_path, patterns)
    assert first.changed(second) == ["a.yaml"]

    (tmp_path / "t" / "b.yaml").unlink()
    (tmp_path / "t" / "c.yaml").write_text("c")
    assert second.changed(fingerprint(tmp_path, patterns)) == ["t/b.yaml", "t/c.yaml"]
