"""A tenant's month: its money to the nano-dollar, whatever the order of rows, and a digest that it can check."""

from __future__ import annotations

from datetime import UTC
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trimtab.controlplane.records.statement import Entry, compared, digest, month_of, read, state, written
from trimtab.core.record import Record, blank
from trimtab.core.rows import CostRow

NOVEMBER = 1_793_491_200_000_000_000  # 2026-11-01T00:00:00Z
DAY = 86_400_000_000_000


def row(
    number: int, at_ns: int, nanousd: int | None, *, kind: str = "request", of: str | None = None, tenant: str = "shop"
) -> Record:
    made = blank(f"rec_{number:026d}", at_ns)
    made.kind = kind  # type: ignore[assignment]  # of the parameters below
    made.of, made.tenant, made.channel, made.status = of, tenant, f"c{number % 3}", 200
    made.cost = CostRow(settled_nanousd=nanousd, baseline_nanousd=1000 if number % 2 else None)
    made.met.latency = (True, False, None)[number % 3]
    return made


ROWS = st.lists(
    st.tuples(
        st.integers(-2 * DAY, 32 * DAY),
        st.one_of(st.none(), st.integers(0, 10**9)),
        st.one_of(st.none(), st.integers(-(10**6), 10**6)),
        st.sampled_from(["shop", "shop", "other"]),
    ),
    max_size=30,
)


def rows_of(drawn: list[tuple[int, int | None, int | None, str]]) -> list[Record]:
    made = []
    for number, (offset, nanousd, adjust, tenant) in enumerate(drawn):
        request = row(number, NOVEMBER + offset, nanousd, tenant=tenant)
        made.append(request)
        if adjust is not None:
            at_ns = request.t_wall_ns + 3 * DAY
            made.append(row(1000 + number, at_ns, adjust, kind="adjust", of=request.id, tenant=tenant))
    return made


@given(ROWS, st.randoms(use_true_random=False))
def test_money_is_that_of_the_rows(drawn: list[tuple[int, int | None, int | None, str]], order: object) -> None:
    """Of the month in which it was reserved, with all that came later of it; the channels add up to the total."""
    made = rows_of(drawn)
    shuffled = list(made)
    order.shuffle(shuffled)  # type: ignore[attr-defined]  # hypothesis's own Random
    statement, entries = state("shop", "2026-11", UTC, shuffled)
    inside = {
        one.id
        for one in made
        if one.kind == "request" and one.tenant == "shop" and 0 <= one.t_wall_ns - NOVEMBER < 30 * DAY
    }
    spent = sum(one.cost.settled_nanousd or 0 for one in made if (one.of or one.id) in inside)
    assert statement.total.spent_nanousd == spent == sum(one.nanousd or 0 for one in entries)
    assert statement.total.requests == len(inside) == len(entries)
    assert sum(one.spent_nanousd for one in statement.channels) == spent
    kept = statement.total.latency
    assert kept.kept + kept.missed + kept.unknown == len(inside)
    assert state("shop", "2026-11", UTC, made) == (statement, entries)
    assert statement.digest == digest(reversed(entries))


@given(ROWS)
def test_a_tenant_finds_what_differs(drawn: list[tuple[int, int | None, int | None, str]]) -> None:
    """Its own list, in the form that a statement has: equal, and then with one line gone, changed and added."""
    _, entries = state("shop", "2026-11", UTC, rows_of(drawn))
    own = read(written(entries))
    assert own == entries
    assert compared(entries, own) == []
    stranger = Entry("rec_Z", 5)
    assert [(one.record, one.why) for one in compared(entries, [*own, stranger])] == [("rec_Z", "not in ours")]
    if entries:
        first, rest = own[0], own[1:]
        assert [one.why for one in compared(entries, rest)] == ["not in theirs"]
        other = Entry(first.record, (first.nanousd or 0) + 1)
        assert [(one.theirs, one.why) for one in compared(entries, [other, *rest])] == [
            (other.nanousd, "another amount")
        ]
        assert digest([other, *rest]) != digest(entries)


def test_what_was_lost_with_its_gateway_is_in_its_month() -> None:
    """No request row was written: its money counts all the same, under the id that it had."""
    lost = row(7, NOVEMBER + DAY, 500, kind="lost", of="rec_GONE")
    statement, entries = state("shop", "2026-11", UTC, [lost, row(8, NOVEMBER + DAY, 100)])
    assert entries == [Entry("rec_" + "8".zfill(26), 100), Entry("rec_GONE", 500)]
    assert (statement.total.requests, statement.total.spent_nanousd) == (1, 600)


def test_a_month_turns_where_its_tenant_is() -> None:
    tokyo, utc = month_of("2026-11", ZoneInfo("Asia/Tokyo")), month_of("2026-11", UTC)
    assert utc == (NOVEMBER, NOVEMBER + 30 * DAY)
    assert tokyo[0] == utc[0] - 9 * DAY // 24
    assert month_of("2026-12", UTC)[0] == utc[1]
    with pytest.raises(ValueError, match="is no month"):
        month_of("2026-13", UTC)


@pytest.mark.parametrize("text", ["rec_1", "rec_1,abc", "id,5", "rec_1,NaN"])
def test_a_line_that_is_none_is_named(text: str) -> None:
    with pytest.raises(ValueError, match="line 2 is no record"):
        read(f"record,usd\n{text}\n")
