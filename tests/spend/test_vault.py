"""Money is durable before it is spent: whatever power, process and disk do, what was spent is spent once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from spend.world import HandClock, S
from support.disk import MemoryDisk, PowerOff
from trimtab.core.clock import instant_ns
from trimtab.core.record import Record, blank
from trimtab.dataplane.spend import Account, Blocks, Kept, Level, MemoryStore, Place, StoreLostError, window_at
from trimtab.dataplane.spend.adapters.vault import ForeignLinesError
from trimtab.foundations.store import Journal

T = TypeVar("T")
FOLDER = Path("/money")
TENANT = Account("shop", "shop", "day", "UTC")
WEB = Account("shop", "shop/web", "month", "UTC")
LIMITS = {TENANT: 1_000_000, WEB: 400_000}


class Process:
    """One life of a gateway's money: what its journal holds, the records behind it, and what is spent meanwhile."""

    def __init__(self, disk: MemoryDisk, records: list[tuple[Record, tuple[Account, ...]]], clock: HandClock) -> None:
        self.clock, self.records = clock, records
        self.journal = Journal.open(FOLDER, disk)
        self.blocks = Blocks(self.journal, clock, lambda: {0: len(self.records)}, long_bytes=500)
        self.store = MemoryStore(clock, self.blocks)
        self.kept = Kept(self.journal.found.payloads)

    async def begin(self) -> None:
        for record, accounts in self.records:
            for account in accounts:
                place = self.place(account)
                if place.window.holds(record.t_wall_ns) and not self.kept.holds(place, record):
                    self.store.restore(place, record.cost.settled_nanousd or 0)
        places = [self.place(account) for account in LIMITS]
        self.kept.restore(self.store, places)
        await self.blocks.begin(self.store, places)

    def place(self, account: Account) -> Place:
        return Place(account, window_at(account.period, account.tz, self.clock.wall), LIMITS[account])

    def places(self, accounts: tuple[Account, ...]) -> list[Place]:
        return [self.place(account) for account in accounts]

    def level(self, account: Account) -> Level:
        return self.store.glance([self.place(account)])[0]

    async def reserve(self, request: str, want: int, accounts: tuple[Account, ...] = (TENANT, WEB)) -> int | None:
        answer = await self.store.reserve(
            f"{request}/web/key.0", self.places(accounts), want, 1, instead_of=None, until_ns=self.clock.wall + 60 * S
        )
        return answer.granted

    def record(self, request: str, cost: int, accounts: tuple[Account, ...] = (TENANT, WEB)) -> None:
        """As the plane does it: numbered and told to the vault in one step."""
        row = blank(request, self.clock.wall)
        row.cost.settled_nanousd = cost
        self.records.append((row, accounts))
        row.worker, row.seq = 0, len(self.records)
        self.blocks.write(row)


def run(step: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(step)


class Lives(RuleBasedStateMachine):
    """Requests, records, seconds, crashes and refusals of the disk in any order.

    What is true and what nobody may lose is kept aside: what each account was spent and still held when the process
    died. Records reach the disk in order, and a crash may take those that did not yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = HandClock()
        self.disk = MemoryDisk()
        self.records: list[tuple[Record, tuple[Account, ...]]] = []
        self.synced = 0
        self.runner = asyncio.Runner()
        self.open: dict[str, tuple[int, tuple[Account, ...]]] = {}
        self.unwritten: dict[str, tuple[int, tuple[Account, ...]]] = {}
        self.spent: dict[tuple[Account, str], int] = {}
        self.count = 0
        self.process: Process | None = None

    def run(self, step: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(step)

    @initialize()
    def first(self) -> None:
        self.start()

    def start(self) -> None:
        process = Process(self.disk, self.records, self.clock)
        self.run(process.begin())
        self.process = process
        for account in LIMITS:
            level = process.level(account)
            spent = self.spent.get((account, process.place(account).window.id), 0)
            assert level.settled <= spent <= level.used, "spent twice, or lost"
            window = process.place(account).window
            told = [row for row, accounts in self.records if account in accounts and window.holds(row.t_wall_ns)]
            assert level.settled >= sum(row.cost.settled_nanousd or 0 for row in told), "a record does not count"

    def teardown(self) -> None:
        self.runner.close()

    @precondition(lambda self: self.process is not None)
    @rule(want=st.integers(1, 300_000), accounts=st.sampled_from([(TENANT,), (TENANT, WEB)]))
    def reserve(self, want: int, accounts: tuple[Account, ...]) -> None:
        assert self.process is not None
        self.count += 1
        request = f"rec_{self.count}"
        with suppress(StoreLostError):
            granted = self.run(self.process.reserve(request, want, accounts))
            if granted is not None:
                self.open[request] = granted, accounts
            else:
                assert min(LIMITS[one] - self.process.level(one).used for one in accounts) < 1, "a false refusal"

    @precondition(lambda self: self.open)
    @rule(want=st.integers(1, 100_000), data=st.data())
    def extend(self, want: int, data: st.DataObject) -> None:
        assert self.process is not None
        request = data.draw(st.sampled_from(sorted(self.open)))
        granted, accounts = self.open[request]
        with suppress(StoreLostError):
            places, until_ns = self.process.places(accounts), self.clock.wall + 60 * S
            more = self.run(self.process.store.extend(f"{request}/web/key.0", places, want, until_ns))
            self.open[request] = granted + more, accounts

    @precondition(lambda self: self.open)
    @rule(part=st.floats(0, 1), between=st.booleans(), data=st.data())
    def settle(self, part: float, between: bool, data: st.DataObject) -> None:
        """Now and then a balance comes between what was spent and its record."""
        assert self.process is not None
        request = data.draw(st.sampled_from(sorted(self.open)))
        granted, accounts = self.open.pop(request)
        cost = round(part * granted)
        self.process.store.settle("shop", f"{request}/web/key.0", cost)
        self.unwritten[request] = cost, accounts
        for account in accounts:
            self._spend(account, cost)
        if between:
            self.second(balance=True)

    @precondition(lambda self: self.unwritten)
    @rule(data=st.data())
    def write(self, data: st.DataObject) -> None:
        assert self.process is not None
        request = data.draw(st.sampled_from(sorted(self.unwritten)))
        cost, accounts = self.unwritten.pop(request)
        self.process.record(request, cost, accounts)

    @rule()
    def records_synced(self) -> None:
        self.synced = len(self.records)

    @precondition(lambda self: self.process is not None)
    @rule(balance=st.booleans())
    def second(self, balance: bool) -> None:
        assert self.process is not None
        self.clock.move(S)

        async def one() -> None:
            assert self.process is not None
            self.process.blocks.look()
            if balance:
                with suppress(StoreLostError):
                    await self.process.blocks.balance()
            await asyncio.sleep(0)

        self.run(one())

    @precondition(lambda self: not self.open and not self.unwritten)
    @rule()
    def midnight(self) -> None:
        """The last seconds of a day, and its turn."""
        self.clock.move(window_at("day", "UTC", self.clock.wall).end_ns - self.clock.wall - 2 * S)
        self.second(balance=False)
        self.clock.move(S)

    @rule(inside=st.integers(0, 12), times=st.integers(1, 3), late=st.booleans())
    def disk_refuses(self, inside: int, times: int, late: bool) -> None:
        self.disk.at, self.disk.times, self.disk.late = self.disk.count + inside, times, late

    @precondition(lambda self: self.process is not None)
    @rule(
        power=st.booleans(), again=st.integers(0, 25), lose=st.randoms(use_true_random=False), written=st.floats(0, 1)
    )
    def crash(self, power: bool, again: int, lose: Any, written: float) -> None:
        """The process is gone, or the machine; the records that were not synced are gone in part. The power may fail
        once more, in operation `again` of the next start."""
        for granted, accounts in self.open.values():  # who knows what they spent: as much as they were granted
            for account in accounts:
                self._spend(account, granted)
        self.disk.heal()
        if power:
            self.disk.lose_power(lambda most: lose.randint(0, most))
        else:
            self.disk.kill()
        if again:
            self.disk.off = self.disk.count + again
            with suppress(PowerOff):
                Journal.open(FOLDER, self.disk)
            self.disk.heal()
            self.disk.lose_power(lambda most: lose.randint(0, most))
        upto = self.synced + round(written * (len(self.records) - self.synced))
        del self.records[upto:]
        self.synced = upto
        self.open, self.unwritten, self.process = {}, {}, None
        self.start()

    @precondition(lambda self: self.process is not None and not self.open and not self.unwritten)
    @rule()
    def stop(self) -> None:
        """A clean stop leaves nothing in doubt that was not before."""
        assert self.process is not None
        self.disk.heal()
        before = {account: self.process.level(account) for account in LIMITS}
        self.synced = len(self.records)
        self.run(self.process.blocks.close())
        self.process.journal.close()
        self.process = None
        self.start()
        assert self.process is not None
        assert {account: self.process.level(account) for account in LIMITS} == before

    @invariant()
    def never_over(self) -> None:
        if self.process is not None:
            for book in self.process.store.books():
                assert book.used <= LIMITS[book.account]
                assert book.settled + book.reserved <= book.drawn, "spent before it was durable"

    def _spend(self, account: Account, cost: int) -> None:
        window = window_at(account.period, account.tz, self.clock.wall).id
        self.spent[account, window] = self.spent.get((account, window), 0) + cost


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


# --- single stories


def lived(story: Callable[[Process], Coroutine[Any, Any, None]], disk: MemoryDisk | None = None) -> Process:
    """A process on a new disk, or on this one, that lives through a story."""
    process = Process(disk or MemoryDisk(), [], HandClock())

    async def main() -> None:
        await process.begin()
        await story(process)

    run(main())
    return process


def test_a_crash_leaves_in_doubt_what_nobody_accounts_for() -> None:
    """Spent, its record lost: it is in doubt. With its record, all but the block's rest is told."""
    disk = MemoryDisk()

    async def story(process: Process) -> None:
        for request, cost in (("rec_1", 10_000), ("rec_2", 20_000)):
            assert await process.reserve(request, cost) == cost
            process.store.settle("shop", f"{request}/web/key.0", cost)
        process.record("rec_1", 10_000)

    died = lived(story, disk)
    disk.kill()
    again = Process(disk, died.records, died.clock)
    run(again.begin())
    level = again.level(TENANT)
    assert level.settled == 10_000
    assert 20_000 <= level.doubt <= 60_000, "what rec_2 spent, and at most a block or two"


def test_a_balance_between_a_cost_and_its_record_counts_it_once() -> None:
    """Before the record is numbered its cost is not in a balance, afterwards it is: whichever lines a crash leaves."""
    disk = MemoryDisk()

    async def story(process: Process) -> None:
        assert await process.reserve("rec_1", 10_000) == 10_000
        process.store.settle("shop", "rec_1/web/key.0", 10_000)
        await process.blocks.balance()
        process.record("rec_1", 10_000)

    def settled(died: Process) -> int:
        disk.kill()
        again = Process(disk, died.records, died.clock)
        run(again.begin())
        return again.level(TENANT).settled

    died = lived(story, disk)
    assert settled(died) == 10_000
    assert settled(died) == 10_000

    async def longer(process: Process) -> None:
        await story(process)
        await process.blocks.balance()

    disk = MemoryDisk()
    died = lived(longer, disk)
    assert settled(died) == 10_000


def test_requests_inside_a_block_wait_for_no_disk() -> None:
    """Fifty requests cost a few writes, and none where the block behind them was drawn ahead."""
    disk = MemoryDisk()
    counts = []

    async def story(process: Process) -> None:
        for at in range(50):
            assert await process.reserve(f"rec_{at}", 1000) == 1000
            process.store.settle("shop", f"rec_{at}/web/key.0", 1000)
            process.record(f"rec_{at}", 1000)
            if at % 10 == 9:
                process.blocks.look()
            await asyncio.sleep(0)
            counts.append(disk.count)

    lived(story, disk)
    writes = [b - a for a, b in pairwise(counts)]
    assert sum(1 for one in writes if one == 0) >= 35, writes


def test_the_last_money_is_spendable() -> None:
    """Blocks shrink: requests of a thousandth go through to the last nano-dollar."""

    async def story(process: Process) -> None:
        for at in range(400):
            assert await process.reserve(f"rec_{at}", 1000) == 1000
            process.store.settle("shop", f"rec_{at}/web/key.0", 1000)
        assert process.level(WEB) == Level(400_000, 0, 0)
        assert await process.reserve("rec_more", 1000) is None

    lived(story)


def test_a_disk_that_refuses_is_said_and_made_good() -> None:
    """What is drawn goes on; what is not raises, until the disk takes it again."""
    disk = MemoryDisk()

    async def story(process: Process) -> None:
        disk.at, disk.times = disk.count + 1, 10_000
        assert await process.reserve("rec_1", 100) == 100, "inside the first block"
        with pytest.raises(StoreLostError, match="can't be made durable"):
            await process.reserve("rec_2", 50_000)
        assert process.blocks.refused is not None
        assert process.level(TENANT).reserved == 100
        disk.heal()
        assert await process.reserve("rec_3", 50_000) == 50_000
        assert process.blocks.refused is None

    lived(story, disk)


def test_a_window_that_begins_finds_its_block_drawn() -> None:
    """Drawn in the old one's last seconds, so that its first request touches no disk."""
    disk = MemoryDisk()

    async def story(process: Process) -> None:
        process.clock.move(instant_ns("2027-01-15T23:59:57Z") - process.clock.wall)
        process.blocks.look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        process.clock.move(4 * S)
        before = disk.count
        assert await process.reserve("rec_1", 500, (TENANT,)) == 500
        assert disk.count == before

    lived(story, disk)


def test_what_is_drawn_ahead_survives_a_new_beginning() -> None:
    """A disk that refused gets everything anew, the blocks of windows to come included."""
    disk = MemoryDisk()

    async def story(process: Process) -> None:
        process.clock.move(instant_ns("2027-01-15T23:59:57Z") - process.clock.wall)
        process.blocks.look()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        disk.at, disk.times = disk.count + 1, 1
        with pytest.raises(StoreLostError):
            await process.blocks.balance()
        await process.blocks.balance()
        process.clock.move(4 * S)
        assert await process.reserve("rec_1", 900, (TENANT,)) == 900

    died = lived(story, disk)
    disk.kill()
    again = Process(disk, [], died.clock)
    run(again.begin())
    assert again.level(TENANT).used >= 900


def test_a_long_journal_begins_anew() -> None:
    """It does not grow with the requests, and what it says stays the same."""
    disk = MemoryDisk()

    async def story(process: Process) -> None:
        for at in range(400):
            accounts = (TENANT, WEB) if at < 100 else (TENANT,)
            assert await process.reserve(f"rec_{at}", 900, accounts) == 900
            process.store.settle("shop", f"rec_{at}/web/key.0", 900)
            process.record(f"rec_{at}", 900, accounts)
            await process.blocks.balance()
            assert max(map(len, disk.files().values())) < 5000

    died = lived(story, disk)
    disk.kill()
    again = Process(disk, died.records, died.clock)
    run(again.begin())
    assert (again.level(TENANT).settled, again.level(WEB).settled) == (360_000, 90_000)


def test_lines_of_somebody_else_are_refused() -> None:
    """The digests fit, the words don't."""
    disk = MemoryDisk()
    journal = Journal.open(FOLDER, disk)
    journal.append([b'{"entries":[["shop",1]]}'])
    journal.close()
    with pytest.raises(ForeignLinesError, match="can't be understood"):
        Process(disk, [], HandClock())
