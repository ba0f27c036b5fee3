"""The share of nulls of each field of the records: what nobody fills is seen."""

from __future__ import annotations

from trimtab.controlplane.records.nulls import nulls
from trimtab.core.decision import Feature, Features
from trimtab.core.record import blank


def test_each_field_by_its_way_and_share() -> None:
    """A field inside another counts only where that one is there; empty tables are null; most nulls first."""
    first, second = blank("rec_1", 1), blank("rec_2", 2)
    first.tenant = second.tenant = "shop"
    first.stages = {"bind": [0.0, 1.0]}
    first.features = Features(language=Feature("en", 0.9))
    found = {one.field: (one.null, one.rows) for one in nulls([first, second])}
    assert found["tenant"] == (0, 2)
    assert found["stages"] == (1, 2)
    assert found["plans"] == (2, 2)
    assert found["features"] == (1, 1)
    assert found["features.language.value"] == (0, 1)
    assert found["cost.settled_nanousd"] == (2, 2)
    assert "id" not in found
    shares = [one.share for one in nulls([first, second])]
    assert shares == sorted(shares, reverse=True)
    assert nulls([]) == []
