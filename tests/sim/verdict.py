"""What must hold when all is quiet: everything ended, nothing is held, and what was spent is what was told."""

from __future__ import annotations

from sim.audit import Audit
from sim.gateway import Gateway
from sim.loop import Broken
from sim.scenario import OF_THE_STORE
from sim.world import Client, World
from trimtab.core.money import settle
from trimtab.core.record import Record, answering
from trimtab.dataplane.routing import LEAST_OUTPUT

AS_PER_US = 10**12


def judge(world: World) -> None:
    """Raises Broken for the first thing that does not hold."""
    if world.upstream_faults:
        raise world.upstream_faults[0]
    for gateway in world.gateways:
        assert gateway is not None
        _nothing_held(gateway)
    for audit in world.audits:
        _all_ended(audit)
    _answered_once(world)
    for client in world.clients.values():
        _money(world, client)
    _lost_rows(world)
    _rates(world)


def _nothing_held(gateway: Gateway) -> None:
    plane = gateway.plane
    for name, gate in plane.gates.views().items():
        if (gate.running, gate.waiting) != (0, 0):
            raise Broken(f"{gateway.name}: the gate of {name} is {gate}")
    for views in plane.fleet.views().values():
        for view in views:
            if view.running:
                raise Broken(f"{gateway.name}: {view}")
    if plane.cache._making:
        raise Broken(f"{gateway.name}: answers are still being made: {plane.cache}")
    if plane.budgets._queues:
        raise Broken(f"{gateway.name}: {plane.budgets}")
    if gateway.asking or gateway.tasks:
        raise Broken(f"{gateway.name}: {sorted(gateway.asking)} still ask, {sorted(gateway.tasks)} still run")


def _all_ended(audit: Audit) -> None:
    audit.check(list(audit.books))
    for name, book in audit.books.items():
        if book.reserved:
            raise Broken(f"{name} has {book.reserved} reserved for good: {audit.open}")
        spent = sum(lease.cost for lease in audit.leases.values() if name in lease.books)
        if spent != book.settled:
            raise Broken(f"{name} has {book.settled} settled, its leases cost {spent}")


def _answered_once(world: World) -> None:
    for client in world.clients.values():
        if client.crashed or client.gateway is None:
            continue
        if client.ends + client.gone < 1 or client.ends > 1:
            raise Broken(f"{client.asked.id} was told {client.ends} ends")
    for gateway in world.all:
        rows = [record for record in gateway.records if record.kind == "request"]
        if len({record.id for record in rows}) != len(rows):
            raise Broken(f"{gateway.name} wrote a record twice")
        asked = [one for one in world.clients.values() if one.gateway is gateway and not one.crashed]
        whole = [one for one in asked if one.task is not None and one.task.done() and _began(one)]
        if gateway in world.gateways and len(rows) != len(whole):
            raise Broken(f"{gateway.name} wrote {len(rows)} records of {len(whole)} requests")
        for record in rows:
            if record.code == "internal_error":
                raise Broken(f"{gateway.name}: {record.id} failed inside")


def _began(client: Client) -> bool:
    """Not so if it hung up before anybody had looked at it."""
    return client.world.loop.contexts[client.asked.id].get(answering) is not None


def record_of(client: Client) -> Record | None:
    """The request's row; None: its gateway was killed before it was written."""
    if client.gateway is None or client.task is None or not client.task.done():
        return None
    id = client.world.loop.contexts[client.asked.id].get(answering)
    return next((record for record in client.gateway.records if record.id == id), None)


def _money(world: World, client: Client) -> None:
    record = record_of(client)
    if record is None or client.gateway is None or client.gateway not in world.gateways:
        return
    more = sum(
        row.cost.settled_nanousd or 0 for row in client.gateway.records if row.kind == "adjust" and row.of == record.id
    )
    told = (record.cost.settled_nanousd or 0) + more
    audit = client.gateway.audit
    leases = audit.of.get(record.id, [])
    ended = [lease for lease in leases if lease.state == "settled"]
    name = client.asked.id
    if leases and not any(lease.state == "lost" for lease in leases):
        booked = audit.spent_by(record.id)
        if booked != told:
            raise Broken(f"{name}: its records say {told}, its accounts {booked}: {leases}")
    if len([lease for lease in ended if lease.cost]) > 1:
        raise Broken(f"{name} was settled more than once: {leases}")
    _truth(world, client, record, told)
    if record.code == "budget_exhausted" and "reserve" not in record.stages:
        _refused_in_time(world, client)
    if record.code == "deadline_exceeded" and "route" not in record.stages:
        _followed(world, client)


def _truth(world: World, client: Client, record: Record, told: int) -> None:
    """Between what the client has got and what the servers have sent and billed."""
    served = [one for one in world.upstreams.served if one.asked == client.asked.id]
    most = sum(
        world.price(one.model).input * one.prompt + world.price(one.model).output * (one.sent + one.billed)
        for one in served
    )
    if told > settle(most):
        raise Broken(f"{client.asked.id} was billed {told}, its servers sent for {settle(most)}: {served}")
    if client.tokens and served and record.path == "direct":
        last = served[-1]
        price = world.price(last.model)
        least = settle(price.input * last.prompt + price.output * client.tokens)
        if told < least:
            raise Broken(f"{client.asked.id} was billed {told} for what cost {least} at least")


def _refused_in_time(world: World, client: Client) -> None:
    """Refused before anything was reserved: then nothing that is left could have paid for a short answer."""
    asked = client.asked
    assert client.gateway is not None
    left = client.gateway.unspent[asked.id]
    model = {None: "small", "small-plain": "small", "whole-plain": "whole"}[asked.model]
    fewest = min(LEAST_OUTPUT, asked.max_tokens or LEAST_OUTPUT)
    least = world.price(model).most(world.bound(client), fewest * asked.n)
    if left is None or left >= least:
        raise Broken(f"{asked.id} was refused while {left} are unspent of the {least} it needs")


def _followed(world: World, client: Client) -> None:
    """Its time ran out while it waited for an equal request: then there was one that ran."""
    asked = client.asked
    assert client.ended_s is not None
    for other in world.clients.values():
        if other is client or other.asked.text != asked.text or other.gateway is not client.gateway:
            continue
        if other.ended_s is not None and other.ended_s >= client.ended_s - 0.001 and other.asked.at_s < client.ended_s:
            return
    raise Broken(f"{asked.id} waited to its deadline for an answer that nobody made")


def _lost_rows(world: World) -> None:
    """What counts as spent without a record has a row; who turned up after all has it taken back. A gateway that lives
    loses no lease: at most where the end of one overtook its beginning on the way."""
    if world.scripts is None:
        return
    audit = world.scripts.audit
    if not world.scenario.faults & {"slow store", "network"}:
        living = {id for gateway in world.gateways if gateway is not None for id in gateway.holders.values()}
        for lease in audit.leases.values():
            if lease.state == "lost" and lease.id.partition("/")[0] in living:
                raise Broken(f"a gateway that lives has lost {lease}")
    for lease in audit.leases.values():
        rows = audit.told.get(lease.id, [])
        expected = lease.granted if lease.state == "lost" else 0
        if sum(rows) != expected or len(rows) > 2:
            raise Broken(f"the lost rows of {lease} are {rows}")


def _rates(world: World) -> None:
    """Requests and tokens are charged once, tokens by what they were in the end. Where the store may have lost a
    correction, or has done what nobody stayed to hear of, nobody knows."""
    shared = world.scripts is not None
    if shared and (world.scenario.faults & OF_THE_STORE or any(map(_left_while_charged, world.clients.values()))):
        return
    charged: dict[str, list[int]] = {}
    for audit in world.audits:
        charged |= audit.charged
    for scope, limits in world.scenario.rates.items():
        kind = {"shop": "tenant shop", "shop/web": "channel shop/web"}.get(scope, "")
        rows = [row for row in map(record_of, world.clients.values()) if row is not None and _is_of(row, scope)]
        bound = [row for row in rows if "guard_in" in row.stages]
        if kind and limits.requests is not None:
            times = len(charged.get(f"{kind} requests", ()))
            due = bound if scope == "shop/web" else [row for row in rows if "body" in row.stages]
            if times != len(due):
                raise Broken(f"{kind} requests: {len(due)} requests were charged {times} times")
        if kind and limits.tokens is not None:
            charges = charged.get(f"{kind} tokens", [])
            total = sum(charges) * (AS_PER_US if shared else 1)
            used = sum((row.tokens.prompt or 0) + (row.tokens.completion or 0) for row in bound)
            beyond = total - used * -(-(10**18) // int(limits.tokens.per_s))
            if not 0 <= beyond <= (len(charges) * AS_PER_US if shared else 0):  # rounded up to a microsecond, each
                raise Broken(f"{kind} tokens: {total} attoseconds were charged for {used} tokens, {beyond} too many")


def _left_while_charged(client: Client) -> bool:
    record = record_of(client)
    return client.gone and (record is None or "guard_in" not in record.stages)


def _is_of(record: Record, scope: str) -> bool:
    return record.tenant == "shop" and (scope == "shop" or record.channel == "web")
