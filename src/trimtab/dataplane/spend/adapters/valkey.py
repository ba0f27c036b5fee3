"""Counters in Valkey or Redis (commands of 7.0): exact for any number of gateways, since each step is one Lua script.

Everything of a tenant carries its hash tag (`tt:{shop}:...`), so that a script finds all of a request on one node of a
cluster. Scripts get ready numbers: whole nano-dollars and microseconds, below 2^53, which Lua's numbers hold exactly.

Whoever can't be answered raises StoreLostError at once, without asking again: while the store is lost one probe asks
for all, so that its return meets no storm. What ends leases and corrects rates never waits: it goes through one queue,
in order, and stays there until the store has taken it. A lease that nobody ended in time counts as spent in full; if
its holder turns up after all, what it did cost is booked in the place of that.

A step whose answer was lost may have happened. A reservation is then given back behind it; an exchange is not, since
whoever settles the old lease settles its successor; what a lease may have grown by comes free with it; a correction of
rates is not repeated.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from importlib import resources
from typing import Any, Final, NamedTuple

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import PubSub
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.commands.core import AsyncScript
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError, ResponseError, TryAgainError

from trimtab.core.clock import Clock
from trimtab.dataplane.spend.base import Account, Charge, Charged, Level, LostLease, Place, Reserved, StoreLostError
from trimtab.dataplane.spend.periods import Period, window_named

TIMEOUT_S: Final = 1.0
"""Within which the store must answer."""
PROBE_S: Final = 0.5
"""Between two questions whether a lost store is back."""
TIME_S: Final = 5.0
"""Between two looks at the store's clock."""
MOST_WAITING: Final = 65_536
"""Ends of leases that are kept while the store is lost; beyond it the oldest are left to run out there."""
_BATCH: Final = 128
_CONNECTIONS: Final = 64
_AS_PER_US: Final = 10**12
_NS_PER_US: Final = 1000
_KEPT_MS: Final = 40 * 86_400_000
"""Books stay so long after their window's end, for reports."""
_NAMES: Final = ("reserve", "extend", "settle", "levels", "lost", "charge")
_SCHEMES: Final = {"valkey": "redis", "valkeys": "rediss"}
_LOST: Final = (RedisError, OSError, TimeoutError)
_NOT_NOW: Final = (BusyLoadingError, OutOfMemoryError, ReadOnlyError, TryAgainError)
"""Answers of a server that will take it later."""
_NOT_NOW_WORDS: Final = ("MISCONF", "NOREPLICAS", "MASTERDOWN", "CLUSTERDOWN")
_MARK: Final = "tt:{trimtab}:since"
"""When counters were first kept there, in microseconds: a store that comes back without it has lost them."""

_log = logging.getLogger(__name__)


class _Told(NamedTuple):
    """What is to be told to the store, in order. `again`: as often as it takes."""

    script: AsyncScript
    keys: list[str]
    arguments: list[str | int]
    again: bool


class StoreFacts(NamedTuple):
    """What a server says of itself. `appendfsync` is None where it does not tell; `max_bytes` 0: no limit."""

    server: str
    appendonly: bool
    appendfsync: str | None
    policy: str
    max_bytes: int


class ValkeyStore:
    """See the module, and `Store`. `open` before use, `close` after it. One for a process, on its event loop."""

    name = "valkey"

    def __init__(self, url: str, clock: Clock, *, password: str | None = None, own_time: bool = False) -> None:
        """`url`: redis://, rediss:// or unix:// (valkey:// and valkeys:// are the first two). `own_time`: go by this
        process's wall clock and not by the store's, which is the same for all gateways. Raises ValueError for a URL
        that is none."""
        self._clock, self._own_time = clock, own_time
        scheme, colon, rest = url.partition(":")
        pool = BlockingConnectionPool.from_url(
            _SCHEMES.get(scheme, scheme) + colon + rest,
            password=password,
            socket_timeout=TIMEOUT_S,
            socket_connect_timeout=TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            max_connections=_CONNECTIONS,
            timeout=None,  # who finds all connections in use waits: each is given back within TIMEOUT_S
            decode_responses=True,
        )
        self._redis: Redis = Redis.from_pool(pool)
        common = _source("common")
        self._scripts = {name: self._redis.register_script(common + _source(name)) for name in _NAMES}
        self._ahead_ns = 0
        """By how much the store's clock is ahead of our monotonic one: a wall clock that is set moves nothing here."""
        self._lost: str | None = None
        self._reached = False
        self._queue: deque[_Told] = deque()
        self._more = asyncio.Event()
        self._telling = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._freed: Callable[[Iterable[Account]], None] = _nobody
        self.dropped = 0
        """Ends of leases that did not fit into the queue."""

    def __repr__(self) -> str:
        return f"<ValkeyStore {'lost' if self._lost else 'there'}, {len(self._queue)} to tell>"

    @property
    def lost(self) -> str | None:
        """Why the store can't be reached; None while it can."""
        return self._lost

    async def open(self) -> None:
        """Reach the store. One that is not there is waited for in the background."""
        await self._probe()
        self._tasks = [
            asyncio.create_task(work()) for work in (self._keep_telling, self._keep_listening, self._keep_time)
        ]

    async def close(self, timeout_s: float = 2.0) -> None:
        """What is still to be told, then the connections."""
        try:
            async with asyncio.timeout(timeout_s):
                await self.flush()
        except TimeoutError:
            _log.warning("the shared store did not take %d ends of leases: they run out there", len(self._queue))
        while running := [task for task in self._tasks if not task.done()]:
            for task in running:  # once is not enough: the client's connecting takes a cancellation for its own
                task.cancel()
            await asyncio.wait(running, timeout=0.1)
        await self._redis.aclose()

    async def flush(self) -> None:
        """Return when the store has taken all that was to be told, or is lost."""
        while (self._queue or self._telling.locked()) and self._lost is None:
            await self._tell()

    def listen(self, freed: Callable[[Iterable[Account]], None]) -> None:
        self._freed = freed

    async def facts(self) -> StoreFacts:
        """Raises StoreLostError."""
        try:
            server, memory, persistence = [await self._redis.info(part) for part in ("server", "memory", "persistence")]
        except _LOST as error:
            self._lose(error)
            raise StoreLostError(str(error)) from error
        try:
            synced = (await self._redis.config_get("appendfsync")).get("appendfsync")
        except _LOST:  # managed servers often keep CONFIG to themselves
            synced = None
        version = server.get("valkey_version")
        return StoreFacts(
            server=f"Valkey {version}" if version else f"Redis {server.get('redis_version', 'of no version')}",
            appendonly=bool(persistence.get("aof_enabled")),
            appendfsync=synced,
            policy=str(memory.get("maxmemory_policy", "noeviction")),
            max_bytes=int(memory.get("maxmemory", 0)),
        )

    # --- rates

    async def charge(self, tenant: str, charges: Sequence[Charge]) -> Charged:
        ok, *used = await self._run("charge", *self._rates(tenant, charges, force=False))
        return Charged(ok == "1", tuple([int(one) * _AS_PER_US for one in used]))

    def credit(self, tenant: str, charges: Sequence[Charge]) -> None:
        self._later("charge", *self._rates(tenant, charges, force=True), again=False)

    def _rates(self, tenant: str, charges: Sequence[Charge], *, force: bool) -> tuple[list[str], list[str | int]]:
        prefix = _prefix(tenant)
        numbers = [-(-number // _AS_PER_US) for charge in charges for number in (charge.cost_as, charge.whole_as)]
        return [f"{prefix}rate:{charge.name}" for charge in charges], [prefix, self._now_us(), int(force), *numbers]

    # --- money

    async def reserve(
        self, lease: str, places: Sequence[Place], want: int, least: int, *, instead_of: str | None, until_ns: int
    ) -> Reserved:
        tenant = places[0].account.tenant
        now_ns = self._clock.wall_ns()
        now_us, until_us = self._now_us(), self._us(until_ns)
        arguments: list[str | int] = [_prefix(tenant), lease, now_us, until_us, want, least, instead_of or ""]
        for place in places:
            kept_ms = max(0, place.window.end_ns - now_ns) // 1_000_000 + _KEPT_MS
            arguments += [place.limit, -1 if place.most is None else place.most, kept_ms]
        if self._lost is not None:
            raise StoreLostError(self._lost)
        try:
            granted, *rows = await self._run("reserve", [_book(place) for place in places], arguments)
        except BaseException:
            if instead_of is None:  # it may have happened
                self._end(tenant, lease, 0)
            raise
        return Reserved(tuple(_levels(rows)), None if granted == "-1" else int(granted))

    async def extend(self, lease: str, places: Sequence[Place], want: int, until_ns: int) -> int:
        tenant = places[0].account.tenant
        arguments: list[str | int] = [_prefix(tenant), lease, self._now_us(), self._us(until_ns), want]
        arguments += [place.limit for place in places]
        return int(await self._run("extend", [_book(place) for place in places], arguments))

    def settle(self, tenant: str, lease: str, cost: int) -> None:
        self._end(tenant, lease, cost)

    def _end(self, tenant: str, lease: str, cost: int) -> None:
        self._later("settle", [], [_prefix(tenant), lease, cost], again=True)

    async def levels(self, places: Sequence[Place]) -> list[Level]:
        by_tenant: dict[str, list[int]] = {}
        for index, place in enumerate(places):
            by_tenant.setdefault(place.account.tenant, []).append(index)
        found: dict[int, Level] = {}
        for tenant, indexes in by_tenant.items():
            keys = [_book(places[index]) for index in indexes]
            rows = await self._run("levels", keys, [_prefix(tenant), self._now_us()])
            found.update(zip(indexes, _levels(rows), strict=True))
        return [found[index] for index in range(len(places))]

    def glance(self, places: Sequence[Place]) -> list[Level] | None:
        return None

    async def take_lost(self, tenant: str) -> list[LostLease]:
        """Leases of a tenant that ran out, each once; a negative grant takes one back whose holder turned up. Raises
        StoreLostError."""
        rows = await self._run("lost", [], [_prefix(tenant), self._now_us()])
        return [_lost_lease(tenant, row) for row in rows]

    # --- asking

    async def _run(self, name: str, keys: list[str], arguments: Sequence[str | int]) -> Any:
        if self._lost is not None:
            raise StoreLostError(self._lost)
        task = asyncio.current_task()
        asked = 0 if task is None else task.cancelling()
        try:
            answer = await self._scripts[name](keys=keys, args=list(arguments))
        except _LOST as error:
            self._lose(error)
            raise StoreLostError(str(error)) from error
        if task is not None and task.cancelling() > asked:
            raise asyncio.CancelledError  # the client's connecting took it for its own
        return answer

    def _lose(self, error: BaseException) -> None:
        if self._lost is None:
            self._lost = f"{type(error).__name__}: {error}"
            _log.error("the shared store is lost: %s", self._lost)
            self._more.set()

    async def _probe(self) -> None:
        """Whether it is there, and what its clock says. One that comes to be there gets all scripts at once, so that
        its return is not met by each request's own."""
        away = self._lost is not None or not self._reached
        try:
            before_ns = self._clock.now_ns()
            seconds, micros = await self._redis.time()
            middle_ns = (before_ns + self._clock.now_ns()) // 2
            if away:
                is_new = await self._greet(seconds * 1_000_000 + micros)
        except _LOST as error:
            self._lose(error)
            return
        self._ahead_ns = (seconds * 1_000_000 + micros) * _NS_PER_US - middle_ns
        if not away:
            return
        if self._reached and is_new:
            _log.error("the shared store came back without its counters: what was spent before counts no more there")
        if self._lost is not None:
            self._lost = None
            _log.warning("the shared store is back, %d ends of leases wait for it", len(self._queue))
        self._reached = True

    async def _greet(self, now_us: int) -> bool:
        """Whether it has never kept counters, or lost them."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for script in self._scripts.values():
                pipe.script_load(script.script)
            pipe.set(_MARK, now_us, nx=True)
            return bool((await pipe.execute())[-1])

    def _now_us(self) -> int:
        return self._us(self._clock.now_ns())

    def _us(self, now_ns: int) -> int:
        """The store's time at an instant of our monotonic clock."""
        ahead_ns = self._clock.wall_ns() - self._clock.now_ns() if self._own_time else self._ahead_ns
        return (now_ns + ahead_ns) // _NS_PER_US

    # --- telling

    def _later(self, name: str, keys: list[str], arguments: Sequence[str | int], *, again: bool) -> None:
        if len(self._queue) >= MOST_WAITING:
            self._queue.popleft()
            self.dropped += 1
        self._queue.append(_Told(self._scripts[name], keys, list(arguments), again))
        self._more.set()

    async def _keep_telling(self) -> None:
        while True:
            if self._lost is not None:
                await asyncio.sleep(PROBE_S)
                await self._probe()
            elif self._queue:
                await self._tell()
            else:
                self._more.clear()
                await self._more.wait()

    async def _keep_time(self) -> None:
        """A wall clock that is set, here or there, is noticed; and the loss of a store that nobody asks."""
        while True:
            await asyncio.sleep(TIME_S)
            if self._lost is None:
                await self._probe()

    async def _tell(self) -> None:
        """A batch in one exchange; what may not have arrived is told again, if it may be."""
        async with self._telling:
            await self._tell_batch()

    async def _tell_batch(self) -> None:
        batch = [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]
        if not batch:
            return
        try:
            # it gives its connection back however it ends: looking for the scripts is not covered by `execute`
            async with self._redis.pipeline(transaction=False) as pipe:
                for told in batch:
                    await told.script(keys=told.keys, args=told.arguments, client=pipe)
                answers = await pipe.execute(raise_on_error=False)
            for told, answer in zip(batch, answers, strict=True):
                if isinstance(answer, ResponseError) and not _later_again(answer):
                    self.dropped += 1  # asking again would change nothing, and hold up the others
                    _log.error("the shared store refuses %s: %s", told.arguments[:2], answer)
                elif isinstance(answer, Exception):
                    raise answer
        except _LOST as error:
            self._queue.extendleft(reversed([told for told in batch if told.again]))
            self._lose(error)

    async def _keep_listening(self) -> None:
        """Who waits is called when money comes free anywhere. A message that is lost with the connection only costs
        time: who waits looks once more in the end."""
        while True:
            try:
                async with self._redis.pubsub() as told:
                    await told.psubscribe("tt:*:freed")
                    await self._hear(told)
            except _LOST:
                await asyncio.sleep(PROBE_S)

    async def _hear(self, told: PubSub) -> None:
        while True:
            message = await told.get_message(ignore_subscribe_messages=True, timeout=TIMEOUT_S)
            if message is not None:
                tenant = str(message["channel"]).partition("{")[2].partition("}")[0]
                self._freed([Account(tenant, "", "day", "")])


def _later_again(answer: ResponseError) -> bool:
    return isinstance(answer, _NOT_NOW) or str(answer).startswith(_NOT_NOW_WORDS)


def _nobody(accounts: Iterable[Account]) -> None: ...


def _source(name: str) -> str:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf-8")


def _prefix(tenant: str) -> str:
    return f"tt:{{{tenant}}}:"


def _book(place: Place) -> str:
    account = place.account
    return f"{_prefix(account.tenant)}book:{account.scope}|{account.period}|{account.tz}|{place.window.id}"


def _levels(rows: Sequence[str]) -> list[Level]:
    return [Level(int(rows[at]), int(rows[at + 1])) for at in range(0, len(rows), 2)]


def _lost_lease(tenant: str, row: str) -> LostLease:
    lease, granted, *books = row.split("\n")
    accounts, windows = [], []
    for book in books:
        scope, named, tz, id = book.partition("}:book:")[2].split("|")
        period: Period = "day" if named == "day" else "month"
        accounts.append(Account(tenant, scope, period, tz))
        windows.append(window_named(period, tz, id))
    return LostLease(lease, tenant, int(granted), tuple(accounts), tuple(windows))


__all__ = ["StoreFacts", "ValkeyStore"]
