"""A workspace that declares features, with rules that read them and records to reckon them from."""

from __future__ import annotations

from pathlib import Path

from support.gateway import Edit, write_workspace
from support.records import CLOCK, row
from trimtab.controlplane.records import Journal
from trimtab.controlplane.registry import Workspace, load
from trimtab.core.record import Record
from trimtab.core.rows import Met

S = 10**9
FEATURES = """
features:
  late: {of: channel, value: share, holds: {met.latency: false}, window: 1h, default: 0}
  load: {of: tenant, value: count, window: 1h, default: 0, min_rows: 2}
  slow: {of: variant, value: p95, column: e2e_ms, window: 1h, default: 0}
"""
RULES = """
  - id: late-lately
    at: decide
    when: "feature_late > 0.5"
    then: {forbid: ["tier:S"]}
    tests:
      - {name: late, given: {feature_late: 0.9}, hit: true}
      - {name: unknown, given: {feature_late: null}, hit: false}
  - id: slow-lately
    at: route
    when: "has_feature_slow && feature_slow > 9000.0"
    then: {forbid: ["variant:small-plain"]}
    tests:
      - {name: slow, given: {feature_slow: 9001}, hit: true}
      - {name: unknown, given: {feature_slow: null}, hit: false}
  - id: slow-is-not-waited-for
    at: admit
    when: "feature_slow > 5000.0"
    then: {on_full: {wait_ms: 0, reroute: true}}
    tests:
      - {name: slow, given: {feature_slow: 5001}, hit: true}
      - {name: unknown, given: {feature_slow: null}, hit: false}
"""


def declares(documents: dict[str, str]) -> None:
    documents["features.yaml"] = FEATURES
    documents["policy.yaml"] += RULES


def declared(
    folder: Path, *rows: Record, edit: Edit = lambda _: None, urls: tuple[str, str] | None = None
) -> Workspace:
    """The workspace, with these rows in its journal."""
    small, medium = urls or ("http://127.0.0.1:1", "http://127.0.0.1:1")
    write_workspace(folder, small, medium, declares, edit)
    written(folder, *rows)
    return load(folder)


def written(folder: Path, *rows: Record) -> None:
    journal = Journal(folder / "var" / "records", 0, CLOCK, group_s=0.001)
    for one in rows:
        journal.write(one)
    journal.close()


def ended(ago_s: float, tenant: str = "shop", channel: str = "web", late: bool = True, **fields: object) -> Record:
    """A request that ended so long ago, after a second."""
    own = {"e2e_ms": 1000.0, **fields}
    return row(
        t_wall_ns=CLOCK.wall_ns() - int((ago_s + 1) * S),
        tenant=tenant,
        channel=channel,
        met=Met(latency=not late),
        **own,
    )
