"""Drift: certified where it is told, and told as unknown where there are too few requests."""

from __future__ import annotations

from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from typing import Any

import msgspec
from click.testing import CliRunner

from support.figures import declared, ended
from trimtab.cli import cli
from trimtab.core.decision import Feature, Features
from trimtab.core.record import Record
from trimtab.foundations.stats import distance

DAY_S = 86_400


def _row(ago_s: float, chance: Random, german: float, late: float) -> Record:
    language = Feature("de" if chance.random() < german else "en", 0.9)
    complexity = Feature(chance.random(), 0.9)
    return ended(ago_s, late=chance.random() < late, features=Features(language=language, complexity=complexity))


def _found(folder: Path, count: int) -> tuple[int, dict[str, Any]]:
    """Requests of today and of the days before: those of today are in German more often, and as often late."""
    chance = Random(7)
    rows = [_row(2 * DAY_S, chance, 0.2, 0.3) for _ in range(count)] + [
        _row(3600, chance, 0.6, 0.3) for _ in range(count)
    ]
    declared(folder, *rows)
    done = CliRunner().invoke(cli, ["features", "drift", "--workspace", str(folder), "--json"])
    found = msgspec.json.decode(done.output)
    return done.exit_code, {one["name"]: one for one in found["features"]}


def test_what_has_changed_is_told_and_what_has_not(tmp_path: Path) -> None:
    """With both shares of the value that moved most; each with its part of the error."""
    code, found = _found(tmp_path, 3000)
    assert code == 1
    assert {name: one["verdict"] for name, one in found.items()} == {
        "language": "DRIFT",
        "complexity": "NO_DRIFT",
        "late": "NO_DRIFT",
        "intent": "INSUFFICIENT_DATA",
        "risk": "INSUFFICIENT_DATA",
        "slow": "INSUFFICIENT_DATA",
    }
    moved, was, is_ = found["language"]["moved"]
    assert moved in ("de", "en")
    assert abs(abs(is_ - was) - 0.4) < 0.1
    certificate = found["language"]["certificate"]
    assert certificate["lower"] <= 0.4 <= certificate["upper"]
    assert certificate["error"] * len(found) <= 0.05 + 1e-9


def test_few_requests_say_nothing(tmp_path: Path) -> None:
    """Whatever they look like."""
    code, found = _found(tmp_path, 10)
    assert code == 0
    assert {one["verdict"] for one in found.values()} == {"INSUFFICIENT_DATA"}


def test_the_bounds_hold() -> None:
    """In a thousand pairs of small samples of known distributions, no more often false than stated."""
    chance, false = Random(1), 0
    for _ in range(1000):
        first = [chance.random() < 0.3 for _ in range(60)]
        second = [chance.random() < 0.5 for _ in range(60)]
        told = distance(_counts(first), _counts(second), 0.1)
        false += not told.lower <= 0.2 <= told.upper
    assert false <= 100


def _counts(seen: list[bool]) -> dict[str, int]:
    return {"no": len(seen) - sum(seen), "yes": sum(seen)}
