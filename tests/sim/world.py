"""A world of one seed: gateways, models' servers, clients and what goes wrong, until all is quiet again.

Clients call `pipeline.answer` with a body in bytes and a reply of their own; towards the models' servers and the shared
store everything is bytes on in-memory connections. Faults begin while requests come and stop some time after the last
of them; then everything must end by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import msgspec

from sim.audit import Audit
from sim.gateway import Gateway
from sim.loop import PROCESS, Broken, SimClock, SimLoop
from sim.ports import Scripts
from sim.scenario import LASTS_S, Asked, Scenario
from sim.upstreams import Served, Upstreams
from sim.valkey import Fate, SimValkey
from sim.workspace import KEYS, PORTS, SYSTEM, Words, with_money
from support.upstream import ScriptedUpstream
from trimtab.core.clock import instant_ns
from trimtab.core.errors import Refusal
from trimtab.core.money import Price
from trimtab.core.record import Record
from trimtab.core.request import Arrival, Chunk, Completion, Head, Request, Text
from trimtab.dataplane.pipeline import answer
from trimtab.dataplane.plane import Headers
from trimtab.foundations.tokens import prompt_bound, text_bytes
from trimtab.surfaces.server.openai import parse
from trimtab.surfaces.twin.pipes import Direction, Link

MIDNIGHT_NS = instant_ns("2027-01-16T00:00:00Z")
ENDS_WITHIN_S = 60.0
"""After the last request has come: the longest deadline, with all that may be slow."""
LONGEST_PAUSE_S = 90.0
FAULTS_STOP_S = LASTS_S + LONGEST_PAUSE_S
_count = Words().count


class Client(asyncio.Future[None]):
    """Who asked, what it has got, and how it ended. Done when nothing more can come. It is the request's `Reply`."""

    def __init__(self, world: World, asked: Asked) -> None:
        super().__init__(loop=world.loop)
        self.world, self.asked = world, asked
        self.gateway: Gateway | None = None
        self.task: asyncio.Task[Record] | None = None
        self.status: int | None = None
        self.code: str | None = None
        self.tokens = 0
        self.pieces = 0
        self.ends = 0
        """How often it was told that this is all."""
        self.gone = False
        self.crashed = False
        self.ended_s: float | None = None
        self._random = world.scenario.random(f"client/{asked.id}")

    # --- Reply

    def start(self, status: int, headers: Headers, *, stream: bool) -> None:
        self._said("start")
        if self.status is not None:
            raise Broken(f"{self.asked.id} was answered twice")
        self.status = status

    async def write(self, *items: Chunk | Text | Completion) -> None:
        self._said("write")
        self.tokens += sum(map(_tokens, items))
        self.pieces += len(items)
        self.world.check_paid(self)
        if self.asked.goes_after is not None and self.pieces >= self.asked.goes_after:
            self.hang_up()
        if self.asked.reads_s:
            await asyncio.sleep(self.asked.reads_s * self._random.random())
        else:
            await asyncio.sleep(0)

    async def end(self) -> None:
        self._said("end")
        self._ends()

    def fail(self, refusal: Refusal, headers: Headers, record: str) -> None:
        self._said("fail")
        self._ends()
        if self.status is None:
            self.status = refusal.status
        self.code = refusal.code.wire

    def _ends(self) -> None:
        """What this request held comes free in the same turn of the loop: others go in just that moment."""
        self.ends += 1
        for other in self.world.clients.values():
            if other.asked.goes_with == self.asked.id:
                self.world.loop.call_soon(other.hang_up)

    def _said(self, what: str) -> None:
        if self.ends:
            raise Broken(f"{self.asked.id} is told more after its end: {what}")

    # --- the client itself

    async def ask(self) -> None:
        asked, world = self.asked, self.world
        await asyncio.sleep(asked.at_s)
        gateway = world.gateways[asked.gateway]
        world.loop.note("client", asked.id, "asks", gateway.name if gateway is not None else "nobody")
        if gateway is None:
            self.crashed = True
            self.finish()
            return
        self.gateway = gateway
        headers = {"authorization": f"Bearer {KEYS[asked.key]}"}
        if asked.channel is not None:
            headers["trimtab-channel"] = asked.channel
        data = msgspec.json.encode(self.body())

        async def body() -> Any:
            return parse(data)

        clock = gateway.clock
        request = Request(Head("POST", "/v1/chat/completions", headers), body)
        arrival = Arrival(clock.now_ns(), clock.wall_ns())
        self.task = world.loop.spawn(gateway.name, answer(request, arrival, self, gateway.plane), asked.id)
        gateway.tasks[asked.id] = self.task
        self.task.add_done_callback(self._over)
        if asked.goes_at_s is not None:
            world.loop.call_later(asked.goes_at_s, self.hang_up)

    def body(self) -> dict[str, Any]:
        asked = self.asked
        fields: dict[str, Any] = {"messages": [{"role": "user", "content": asked.text}], "user": asked.id}
        if asked.stream:
            fields |= {"stream": True, "stream_options": {"include_usage": True}}
        if asked.n > 1:
            fields["n"] = asked.n
        for name in ("max_tokens", "temperature", "model"):
            if getattr(asked, name) is not None:
                fields[name] = getattr(asked, name)
        return fields

    def hang_up(self) -> None:
        if self.task is not None and not (self.ends or self.gone or self.done()):
            self.gone = True
            self.world.loop.note("client", self.asked.id, "hangs up")
            self.task.cancel()

    def _over(self, task: asyncio.Task[Record]) -> None:
        assert self.gateway is not None
        self.gateway.tasks.pop(self.asked.id, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            self.world.loop.fail(error)
        self.finish()

    def finish(self) -> None:
        if not self.done():
            self.ended_s = self.world.loop.time()
            self.world.loop.note("client", self.asked.id, "is done", self.status, self.code, self.tokens)
            self.set_result(None)


class World:
    """See the module. `live` runs it; what must hold in the end is `verdict.judge`'s."""

    def __init__(self, loop: SimLoop, scenario: Scenario) -> None:
        self.loop, self.scenario = loop, scenario
        self.snapshot = with_money(scenario.money, scenario.rates)
        self.epoch_ns = MIDNIGHT_NS - int(scenario.to_midnight_s * 1e9)
        self.clients = {asked.id: Client(self, asked) for asked in scenario.asked}
        self.upstreams = Upstreams(scenario, self._arrived, loop.note)
        self.gateways: list[Gateway | None] = []
        self.all: list[Gateway] = []
        """Those that were killed included."""
        self.valkey: SimValkey | None = None
        self.scripts: Scripts | None = None
        self.fate: Any = None
        """What stands between the shared store's wire and its commands, in place of the scenario's faults."""
        self.calm = False

    # --- life

    async def live(self) -> None:
        scenario, loop = self.scenario, self.loop
        servers = {model: self.upstreams.server(model, port) for model, port in PORTS.items()}
        for server in servers.values():
            await server.start()
        if scenario.shared:
            await self._start_store()
        for number in range(scenario.gateways):
            self.gateways.append(await self._boot(number))
        loop.before_time_moves = self._idle
        began = loop.time()
        wrong = [loop.spawn("", work, name) for name, work in self._wrongs(servers)]
        for client in self.clients.values():
            loop.spawn("", client.ask(), f"client {client.asked.id}")
        await self._all_done(began + FAULTS_STOP_S + ENDS_WITHIN_S)
        await asyncio.gather(*wrong)
        await self._calm_down(servers)
        self.upstream_faults = [fault for server in servers.values() for fault in server.faults]

    async def _all_done(self, until: float) -> None:
        """Every request ends by its own deadline, whatever went wrong."""
        left = {client for client in self.clients.values() if not client.done()}
        if left:
            _, late = await asyncio.wait(left, timeout=until - self.loop.time())
            if late:
                names = sorted(client.asked.id for client in late)
                raise Broken(f"{', '.join(names)} never ended")

    async def _calm_down(self, servers: dict[str, ScriptedUpstream]) -> None:
        """No more faults. What is to be told reaches the store, what nobody ends runs out."""
        self.calm = self.upstreams.calm = True
        self.loop.note("calm")
        for number, gateway in enumerate(self.gateways):
            if gateway is None:
                self.gateways[number] = await self._boot(number)
        await asyncio.sleep(3.0)
        if self.scripts is not None:
            self.loop.jump(100.0)
            await asyncio.sleep(3.0)
            for _ in range(3):
                for gateway in self.gateways:
                    assert gateway is not None
                    await gateway.store.flush()
                    await gateway.look_for_lost()

    async def _boot(self, number: int) -> Gateway:
        """A gateway in this place, with a clock and a name of its own."""
        name = f"g{number}.{len(self.all)}"
        clock = SimClock(self.loop, self.epoch_ns, self.scenario.random(f"offload/{name}"))
        gateway = Gateway(name, self.loop, clock, self.snapshot, len(self.all) + 1, self.scripts)
        self.all.append(gateway)
        url = self.valkey.url if self.valkey is not None else ""
        await self.loop.spawn(name, gateway.boot(url), f"{name} starts")
        self.loop.note(name, "is there")
        return gateway

    async def _start_store(self) -> None:
        random, scenario = self.scenario.random("store"), self.scenario
        self.valkey = SimValkey(self.now_us, lambda *step: self.scripts(*step) if self.scripts else None)
        self.scripts = Scripts(self.valkey.data, {}, self.loop.note)
        if scenario.has("lost store"):
            self.valkey.fate = lambda name: self._fate(random)
        if scenario.has("slow store"):
            slowest = random.choice((0.02, 0.3, 1.3))
            self.valkey.pause_s = lambda: 0.0 if self.calm else slowest * random.random() ** 3
        await self.valkey.start()

    def _fate(self, random: Random) -> Fate:
        if self.calm or random.random() > 0.025:
            return "done"
        fate: Fate = random.choice(("before", "after", "mute"))
        self.loop.note("store", fate)
        return fate

    def now_us(self) -> int:
        """The store's own time: the true one."""
        return self.epoch_ns // 1000 + round(self.loop.time() * 1e6)

    # --- what goes wrong

    def _wrongs(self, servers: dict[str, ScriptedUpstream]) -> Sequence[tuple[str, Any]]:
        scenario = self.scenario
        found = []
        if scenario.has("refused"):
            found.append(("a server is away", self._refuse(servers)))
        if scenario.has("steps"):
            found.append(("clocks are set", self._step()))
        if scenario.shared and scenario.has("gone store"):
            found.append(("the store is gone", self._gone()))
        if scenario.has("pauses"):
            found.append(("a gateway stands still", self._pause()))
        if scenario.shared and scenario.has("crashes"):
            found.append(("gateways are killed", self._crash()))
        return found

    async def _refuse(self, servers: dict[str, ScriptedUpstream]) -> None:
        random = self.scenario.random("refused")
        server = servers[random.choice(sorted(servers))]
        await asyncio.sleep(random.random() * LASTS_S)
        self.loop.note("upstream", server.port, "stops")
        await server.stop()
        await asyncio.sleep(random.random() * 4.0)
        await server.start()

    async def _step(self) -> None:
        random = self.scenario.random("steps")
        for _ in range(random.randint(1, 3)):
            await asyncio.sleep(random.random() * LASTS_S / 2)
            gateway = random.choice(self.gateways)
            if gateway is not None:
                step_s = random.choice((-1, 1)) * random.choice((0.3, 5.0, 90.0, 4000.0))
                self.loop.note(gateway.name, "clock is set by", step_s)
                gateway.clock.step(int(step_s * 1e9))

    async def _gone(self) -> None:
        random = self.scenario.random("gone")
        assert self.valkey is not None
        await asyncio.sleep(random.random() * LASTS_S)
        self.loop.note("store", "is gone")
        self.valkey.stop()
        await asyncio.sleep(random.choice((0.1, 2.0, 2.0, 5.0, 90.0)) * random.random())
        await self.valkey.start()
        self.loop.note("store", "is back")

    async def _pause(self) -> None:
        random = self.scenario.random("pauses")
        await asyncio.sleep(random.random() * LASTS_S / 2)
        gateway = random.choice(self.gateways)
        if gateway is not None:
            self.loop.note(gateway.name, "stands still")
            self.loop.freeze(gateway.name)
            await asyncio.sleep(random.choice((0.3, 2.0, 8.0, LONGEST_PAUSE_S)))
            self.loop.thaw(gateway.name)
            self.loop.note(gateway.name, "goes on")

    async def _crash(self) -> None:
        random = self.scenario.random("crashes")
        for _ in range(random.randint(1, 2)):
            await asyncio.sleep(random.random() * LASTS_S)
            number = random.randrange(len(self.gateways))
            gateway, self.gateways[number] = self.gateways[number], None
            if gateway is None:
                continue
            self.loop.note(gateway.name, "is killed")
            self.loop.kill(gateway.name)
            for client in self.clients.values():
                if client.gateway is gateway and not client.done():
                    client.crashed = True
                    client.finish()
            await asyncio.sleep(random.random())
            self.gateways[number] = await self._boot(number)

    # --- while it runs

    def _idle(self) -> None:
        for gateway in self.gateways:
            if gateway is not None and not self.loop.is_frozen(gateway.name):
                gateway.check_idle()

    def _arrived(self, served: Served) -> None:
        """A model's server was asked for no more than what there was money for."""
        client = self.clients[served.asked]
        gateway = client.gateway
        holder = gateway.holders.get(served.asked) if gateway is not None else None
        found = gateway.audit.found.get(holder) if gateway is not None and holder is not None else None
        if found is None:
            return
        price = self.price(served.model)
        most = price.most(self.bound(client), served.cap * served.n)
        if most > min(found.rooms):
            raise Broken(f"{served.asked} may cost {most} at {served.model}, and there were {min(found.rooms)}")

    def check_paid(self, client: Client) -> None:
        """What has left is paid for; what came with the end of its answer has been produced, paid for or not."""
        gateway = client.gateway
        assert gateway is not None
        holder = gateway.holders.get(client.asked.id)
        leases = gateway.audit.of.get(holder, []) if holder is not None else []
        mine = [served for served in self.upstreams.served if served.asked == client.asked.id]
        if not leases or not mine or mine[-1].over:
            return
        cost = self.price(mine[-1].model).most(mine[-1].prompt, client.tokens)
        if cost > max(lease.granted for lease in leases):
            raise Broken(f"{client.asked.id} was sent {client.tokens} tokens for {cost}, held are {leases}")

    def price(self, model: str) -> Price:
        return self.snapshot.prices.models[model]

    def bound(self, client: Client) -> int:
        """Tokens that the request's prompt can't exceed."""
        body = parse(msgspec.json.encode(client.body()))
        assert not isinstance(body, Refusal)
        bound = prompt_bound(body.messages, body.extra)
        assert bound is not None
        return bound + text_bytes(SYSTEM)

    @property
    def audits(self) -> list[Audit]:
        """One for all where the store is shared."""
        return [self.scripts.audit] if self.scripts is not None else [gateway.audit for gateway in self.all]


def link_of(scenario: Scenario) -> Any:
    way = Direction(delay_s=scenario.delay_s / 10, jitter_s=scenario.delay_s)
    return lambda port, nth: Link(up=way, down=way)


def _tokens(item: Chunk | Text | Completion) -> int:
    if isinstance(item, Text):
        return _count(item.content)
    choices = item.data.get("choices") or ()
    texts = [(choice.get("delta") or choice.get("message") or {}).get("content") or "" for choice in choices]
    return sum(map(_count, texts))


__all__ = ["PROCESS", "Client", "World", "link_of"]
