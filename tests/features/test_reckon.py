"""Values as of an instant: nothing that ended later counts, and the figure is the one that plain Python makes of the
rows."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from random import Random  # noqa: TID251 - seeded
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.lake import Pond
from support.records import T0, row
from trimtab.controlplane.features import Ask, as_of, of_all_keys
from trimtab.core.features import Feature
from trimtab.core.record import Record
from trimtab.core.rows import CostRow, Met, Tokens, VerdictRow

S = 10**9
TENANTS, CHANNELS = ("a", "b"), ("x", "y")


def feature(**fields: Any) -> Feature:
    return msgspec.convert({"of": "channel", "value": "count", "window": "1m", "default": 0, **fields}, Feature)


def _random(number: int) -> Record:
    """A request within two minutes, which takes up to one; what may be unknown is so now and then."""
    chance = Random(number)
    return row(
        t_wall_ns=T0 + chance.randrange(120) * S,
        e2e_ms=chance.randrange(0, 60_000, 500) * 1.0,
        tenant=chance.choice([*TENANTS, None]),
        channel=chance.choice(CHANNELS),
        market=chance.choice(["de", None]),
        variant=chance.choice(["v@1", "w@2"]),
        tier=chance.choice(["S", "M"]),
        path=chance.choice(["direct", "cache-exact", None]),
        status=chance.choice([200, 429]),
        tokens=Tokens(completion=chance.choice([None, 0, 7, 1000])),
        cost=CostRow(settled_nanousd=chance.randrange(10**15)),
        met=Met(latency=chance.choice([True, False, None])),
    )


ROWS = [_random(number) for number in range(300)]


@pytest.fixture(scope="module")
def pond(tmp_path_factory: pytest.TempPathFactory) -> Pond:
    made = Pond(tmp_path_factory.mktemp("pond"))
    made.write(*ROWS)
    made.ingest()
    return made


KEY: dict[str, Callable[[Record], str | None]] = {
    "tenant": lambda one: one.tenant,
    "channel": lambda one: f"{one.tenant}/{one.channel}",
    "market": lambda one: one.market,
    "variant": lambda one: one.variant,
    "tier": lambda one: one.tier,
}
FORMS: dict[str, tuple[dict[str, Any], Callable[[Record], int | float | None]]] = {
    "count": ({"value": "count"}, lambda one: 1),
    "missed": (
        {"value": "share", "holds": {"met.latency": False}},
        lambda one: None if one.met.latency is None else not one.met.latency,
    ),
    "cached": (
        {"value": "share", "holds": {"path": ["cache-exact", "cache-semantic"], "status": 200}},
        lambda one: None if one.path is None else one.path == "cache-exact" and one.status == 200,
    ),
    "mean": ({"value": "mean", "column": "cost.settled_nanousd"}, lambda one: one.cost.settled_nanousd),
    "sum": ({"value": "sum", "column": "tokens.completion"}, lambda one: one.tokens.completion),
    "p50": ({"value": "p50", "column": "e2e_ms"}, lambda one: one.e2e_ms),
    "p95": ({"value": "p95", "column": "tokens.completion"}, lambda one: one.tokens.completion),
    "max": ({"value": "max", "column": "e2e_ms"}, lambda one: one.e2e_ms),
}
WHERE: tuple[tuple[dict[str, Any], Callable[[Record], bool]], ...] = (
    ({}, lambda one: True),
    ({"status": 200}, lambda one: one.status == 200),
    ({"tier": ["S"], "met.latency": True}, lambda one: one.tier == "S" and one.met.latency is True),
)


def _plainly(value: str, found: list[int | float]) -> float | None:
    """The same by the words of the documentation."""
    if not found:
        return None
    exact = sorted(Fraction(one) for one in found)
    if value == "count":
        return float(len(exact))
    if value in ("p50", "p95"):
        return float(exact[math.ceil(Fraction(value[1:]) / 100 * len(exact)) - 1])
    if value == "max":
        return float(exact[-1])
    total = sum(exact)
    return float(total if value == "sum" else total / len(exact))


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(sorted(FORMS)),
    of=st.sampled_from(sorted(KEY)),
    where=st.sampled_from(WHERE),
    window=st.sampled_from([("1m", 60), ("2m", 120), ("1h", 3600)]),
    times=st.lists(st.integers(-5, 250), min_size=1, max_size=4),
)
def test_a_value_is_what_had_ended_before(
    pond: Pond,
    form: str,
    of: str,
    where: tuple[dict[str, Any], Callable[[Record], bool]],
    window: tuple[str, int],
    times: list[int],
) -> None:
    """Of every key at every instant, the ends of windows included: the last row ends before it, the first not before
    the window begins. Asked for one by one or all at once it is the same."""
    words, x = FORMS[form]
    one = feature(of=of, where=where[0], window=window[0], **words)
    keys = sorted({str(KEY[of](each)) for each in ROWS if each.tenant is not None})
    for second in times:
        t_ns = T0 + second * S
        expected = {}
        for key in keys:
            found = [
                value
                for each in ROWS
                if each.tenant is not None and KEY[of](each) == key and where[1](each)
                and t_ns - window[1] * S <= each.t_wall_ns + int((each.e2e_ms or 0) * 1_000_000) < t_ns
                and (value := x(each)) is not None
            ]  # fmt: skip
            expected[key] = (len(found), _plainly(one.value, found))
        got = {each.key: (each.n, each.value) for each in as_of(pond.table, one, [Ask(key, t_ns) for key in keys])}
        assert {key: n for key, (n, _) in got.items()} == {key: n for key, (n, _) in expected.items()}
        for key, (_, value) in expected.items():
            told = got[key][1]
            # a double of an exact sum
            assert told == value if told is None or value is None else math.isclose(told, value, rel_tol=1e-15), key
        published = {each.key: (each.n, each.value) for each in of_all_keys(pond.table, one, t_ns)}
        assert published == {key: told for key, told in got.items() if told[0]}


def test_rows_that_come_later_change_nothing(tmp_path: Path) -> None:
    """What is asked about the past stays what it was, though a request that ran then has ended since."""
    pond, one = Pond(tmp_path), feature(of="tenant", value="mean", column="e2e_ms")
    pond.write(row(tenant="a", t_wall_ns=T0, e2e_ms=1000.0))
    pond.ingest()
    asked = [Ask("a", T0 + 10 * S)]
    before = list(as_of(pond.table, one, asked))
    pond.write(row(tenant="a", t_wall_ns=T0 + S, e2e_ms=9000.0), row(tenant="a", t_wall_ns=T0 + S, e2e_ms=30_000.0))
    pond.ingest()
    assert list(as_of(pond.table, one, asked)) == before
    assert [each.n for each in as_of(pond.table, one, [Ask("a", T0 + 10 * S + 1)])] == [2]


def test_a_verdict_counts_from_when_it_was_given(tmp_path: Path) -> None:
    """Whenever the answer was; who thinks again is counted once, as thought at the time."""
    pond = Pond(tmp_path)
    given = [("thumb", 0, 1.0), ("thumb", 20, 0.0), ("csat", 25, 1.0)]
    pond.write(
        *[
            row(
                kind="verdict",
                of="rec_1",
                tenant="a",
                t_wall_ns=T0 + at * S,
                verdict=VerdictRow(name=name, score=score),
            )
            for name, at, score in given
        ]
    )
    pond.ingest()
    one = feature(of="tenant", value="mean", column="verdict.score", rows="verdict", where={"verdict.name": "thumb"})
    times = [0, 1, 20, 21, 61, 81]
    found = list(as_of(pond.table, one, [Ask("a", T0 + at * S) for at in times]))
    assert [(each.n, each.value) for each in found] == [(0, None), (1, 1.0), (1, 1.0), (1, 0.0), (1, 0.0), (0, None)]


def test_too_few_rows_are_unknown(pond: Pond) -> None:
    """Their number is told, their value is not, and keys without one are not published."""
    few = feature(of="tenant", window="1h", min_rows=1000)
    (one,) = as_of(pond.table, few, [Ask("a", T0 + 300 * S)])
    assert one.n > 50
    assert one.value is None
    assert of_all_keys(pond.table, few, T0 + 300 * S) == []


def test_values_have_no_order(pond: Pond) -> None:
    """A sum of numbers that doubles can't add exactly is the same for many asked at once as for one."""
    one = feature(of="tenant", value="sum", column="cost.settled_nanousd", window="1h")
    asks = [Ask("a", T0 + second * S) for second in range(0, 200, 7)]
    assert list(as_of(pond.table, one, asks)) == [next(iter(as_of(pond.table, one, [each]))) for each in asks]
