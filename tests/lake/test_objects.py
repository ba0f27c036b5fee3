"""The lake on object storage: what an S3 server holds, by a server of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
from deltalake import DeltaTable

from support.lake import Pond
from support.objects import BUCKET, Bucket, bucket
from support.records import T0, row
from trimtab.controlplane.lake import LakeError, Place, Table, compact, erase

DAY = 86_400 * 10**9


def pond_of(folder: Path, objects: Bucket, name: str = "here") -> Pond:
    options = {
        "AWS_ENDPOINT_URL": objects.url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "eu-central-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }
    made = Pond(folder)
    made.table = Table(Place(url=f"s3://{BUCKET}/trimtab", options=options), folder / f"{name}.lock")
    made.staging = folder / f"{name}.jsonl"
    return made


def ids(pond: Pond) -> list[str]:
    """As whoever else reads the table finds them."""
    table = DeltaTable(pond.table.place.url, storage_options=pond.table.place.options)
    return sorted(str(one) for one in table.to_pyarrow_table(columns=["id"])["id"].to_pylist())


def test_rows_come_in_once_and_go_with_their_tenant(tmp_path: Path) -> None:
    """As on a disk: a second run takes nothing, small files are joined, a tenant's are gone from the bucket."""
    with bucket() as objects:
        pond = pond_of(tmp_path, objects)
        for portion in range(3):
            pond.write(
                *(
                    row(id=f"rec_{tenant}{portion}", tenant=tenant, channel="c", t_wall_ns=T0 + portion)
                    for tenant in ("a", "b")
                )
            )
            assert pond.ingest().rows == 2
        assert pond.ingest().rows == 0
        everything = [f"rec_{tenant}{portion}" for tenant in ("a", "b") for portion in range(3)]
        assert ids(pond) == everything
        done = compact(pond.table, keep_days=None, history_h=0, now_ns=T0 + DAY)
        assert (done.joined, done.into, done.deleted) == (6, 2, 6)
        assert ids(pond) == everything
        assert erase(pond.table, "a") == 1
        assert ids(pond) == everything[3:]
        told = objects.told()
        assert not any("tenant=a" in name for name in told["names"])
        assert told["unsigned"] == 0


def test_who_was_overtaken_adds_nothing(tmp_path: Path) -> None:
    """Two that take in from one mark: the store lets one of them make the next version, and the other is told."""
    with bucket() as objects:
        here, there = pond_of(tmp_path, objects), pond_of(tmp_path, objects, "there")
        here.write(row(id="rec_1", tenant="a", channel="c", t_wall_ns=T0))
        here.ingest()
        here.write(row(id="rec_2", tenant="a", channel="c", t_wall_ns=T0 + 1))
        append = there.table.append

        def late(*given: object) -> None:
            here.ingest()
            append(*given)  # type: ignore[arg-type]  # as they came

        there.table.append = late  # type: ignore[method-assign]  # while its rows are on their way
        with pytest.raises(LakeError, match="another process takes in"):
            there.ingest()
        assert ids(here) == ["rec_1", "rec_2"]
