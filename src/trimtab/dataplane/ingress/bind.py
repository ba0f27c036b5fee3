"""Bind: from what is declared and what is asked to the one frozen contract of this request.

The most specific declaration wins (channel, then HTTP route, then persona); a caller may only tighten: the effective
term is the stricter of declared and asked, and asking for a looser one is no error. The contract is never loosened
afterwards. Events that run when the request arrives raise the priority class that the channel declares.
"""

from __future__ import annotations

import msgspec

from trimtab.core.canonical import digest
from trimtab.core.clock import NS_PER_MS
from trimtab.core.contract import Asked, Contract, Cost, Latency, Priority, PriorityName, Quality
from trimtab.core.errors import Code, Refusal
from trimtab.core.events import Raise, Timelines
from trimtab.core.experiments import NO_EXPERIMENTS, Assigned, Experiments
from trimtab.core.money import nanousd
from trimtab.core.request import Arrival, Body, Head, Message
from trimtab.core.tenancy import Channel, KeyEntry, Override, Tenant
from trimtab.dataplane.ingress.models import Catalogue, Target, resolve, resolve_embedder
from trimtab.dataplane.ingress.terms import TermError, asked_in_headers, merged, refusal
from trimtab.foundations.config import did_you_mean
from trimtab.foundations.derive import pseudonym, tenant_secret
from trimtab.foundations.embed import Embedder

DEADLINE_FACTOR = 3.0
"""`deadline_ms` where none is declared, in units of `e2e_ms`."""
_CHANNEL = "trimtab-channel"
_SYSTEM_ROLES = ("system", "developer")


class Bound(msgspec.Struct, frozen=True, kw_only=True):
    """A request under contract. `deadline_ns` is absolute, on the clock that stamped the arrival."""

    entry: KeyEntry
    name: str
    """The channel's name within its tenant."""
    channel: Channel
    contract: Contract
    asked: Asked
    deadline_ns: int
    persona: str | None
    session: str
    target: Target
    events: tuple[str, ...] = ()
    """Those to which the contract owes its priority class."""
    experiments: tuple[Assigned, ...] = ()
    """Its place in each experiment of the channel; none for a caller who names a variant."""

    @property
    def tenant(self) -> Tenant:
        return self.entry.tenant

    @property
    def split(self) -> Assigned | None:
        """In the experiment that says who answers, if there is one: a channel has one at most."""
        return next((one for one in self.experiments if one.split.kind != "shadow"), None)


def bind(
    head: Head,
    body: Body,
    entry: KeyEntry,
    arrival: Arrival,
    catalogue: Catalogue,
    workspace_secret: bytes,
    embedder: Embedder,
    raised: Timelines,
    experiments: Experiments = NO_EXPERIMENTS,
) -> Bound | Refusal:
    """400 for terms that can't be read, 403 for a channel or model that is not the key's, 404 for no such model."""
    try:
        asked = merged(asked_in_headers(head.headers), body.asked)
    except TermError as error:
        return refusal(error)
    place = channel_of(asked.channel, entry)
    if isinstance(place, Refusal):
        return place
    name, channel = place
    if channel.system == "forbid" and any(message["role"] in _SYSTEM_ROLES for message in body.messages):
        return Refusal(code=Code.SYSTEM_NOT_ALLOWED, message=Code.SYSTEM_NOT_ALLOWED.value.cause, param="messages")
    persona = asked.persona or entry.key.persona
    if asked.persona is not None and asked.persona not in channel.personas:
        hint = did_you_mean(asked.persona, list(channel.personas))
        message = f"the channel has no persona {asked.persona[:64]!r}. {hint}".rstrip()
        return Refusal(code=Code.INVALID_CONTRACT, message=message, param="trimtab-persona")
    if body.embedding is None:
        target = resolve(body.model, catalogue, channel)
    else:
        target = resolve_embedder(body.model, body.embedding.dimensions, embedder)
    if isinstance(target, Refusal):
        return target
    timeline = raised.get((entry.tenant.id, name)) if raised else None
    raise_ = timeline.at(arrival.wall_ns) if timeline is not None else None
    contract = bind_terms(entry.tenant, channel, head.route, persona, asked, raise_)
    session = session_of(asked, body, entry, workspace_secret)
    chosen = body.embedding is not None or target.pin in catalogue.variants
    assigned = () if chosen else experiments.assigned(entry.tenant.id, name, session)
    return Bound(
        entry=entry,
        name=name,
        channel=channel,
        contract=contract,
        asked=asked,
        deadline_ns=arrival.at_ns + int(contract.latency.deadline_ms * NS_PER_MS),
        persona=persona,
        session=session,
        target=_kept(target, experiments, assigned),
        events=_owed(contract, channel.priority or entry.tenant.priority, raise_),
        experiments=assigned,
    )


def _kept(target: Target, experiments: Experiments, assigned: tuple[Assigned, ...]) -> Target:
    """The target without the variants that are kept for others: arms, but this session's and the one it has named."""
    own = {one.arm.variant for one in assigned if one.arm is not None and one.split.kind != "shadow"}
    held = experiments.held - own - {target.pin}
    return msgspec.structs.replace(target, held=held) if held else target


def channel_of(asked: str | None, entry: KeyEntry) -> tuple[str, Channel] | Refusal:
    """Name and channel: what was asked for (`NAME` or `TENANT/NAME`), else the key's default. Only the key's own tenant
    is looked in, so a hint never tells of another's."""
    name = _channel_name(asked, entry)
    channel = entry.tenant.channels.get(name)
    if channel is not None:
        return name, channel
    code = Code.CHANNEL_NOT_ALLOWED if name else Code.CHANNEL_REQUIRED
    message = f"{code.value.cause} {did_you_mean(name, entry.tenant.channels)}"
    return Refusal(code=code, message=message, param=_CHANNEL)


def presumed(head: Head, entry: KeyEntry) -> str | None:
    """The channel as the headers say, before a body that may name another is read; None: they name none that is
    there."""
    name = _channel_name(head.headers.get(_CHANNEL), entry)
    return name if name in entry.tenant.channels else None


def _channel_name(asked: str | None, entry: KeyEntry) -> str:
    return (asked or entry.key.default_channel or "").removeprefix(entry.tenant.id + "/")


def bind_terms(
    tenant: Tenant, channel: Channel, route: str, persona: str | None, asked: Asked, raise_: Raise | None = None
) -> Contract:
    """The effective terms, named by their hash. `raise_`: what running events make of the declared class."""
    overrides = [part for part in (channel.routes.get(route), channel.personas.get(persona or "")) if part]
    contract = Contract(
        latency=_latency(channel, overrides, asked),
        quality=Quality(max(_quality(channel, overrides), asked.min_quality or 0.0)),
        cost=Cost(_cap(channel, overrides, asked)),
        residency=channel.residency or tenant.residency,
        priority=_priority(raise_.priority if raise_ else channel.priority or tenant.priority, asked.priority),
        on_miss=channel.on_miss,
        resume=channel.resume,
        emit=channel.emit,
    )
    return msgspec.structs.replace(contract, hash=digest(contract, 16))


def _latency(channel: Channel, overrides: list[Override], asked: Asked) -> Latency:
    terms = msgspec.structs.asdict(channel.targets.latency)
    for override in overrides:
        terms |= {name: value for name, value in msgspec.structs.asdict(override.latency).items() if value is not None}
    declared_ms: float = terms["e2e_ms"]
    deadline_ms: float = terms["deadline_ms"] or declared_ms * DEADLINE_FACTOR
    e2e_ms = min(declared_ms, asked.latency_ms or declared_ms)
    return Latency(
        ttft_ms=min(terms["ttft_ms"], asked.ttft_ms or terms["ttft_ms"], e2e_ms),
        itl_ms=min(terms["itl_ms"], asked.itl_ms or terms["itl_ms"]),
        e2e_ms=e2e_ms,
        percentile=terms["percentile"],
        deadline_ms=deadline_ms * e2e_ms / declared_ms,
    )


def _quality(channel: Channel, overrides: list[Override]) -> float:
    least = channel.targets.quality.min
    for override in overrides:
        if override.quality is not None:
            least = override.quality.min
    return least


def _cap(channel: Channel, overrides: list[Override], asked: Asked) -> int:
    cap = channel.cost.max_per_request_usd
    for override in overrides:
        if override.max_per_request_usd is not None:
            cap = override.max_per_request_usd
    declared = nanousd(cap)
    return declared if asked.max_cost_nanousd is None else min(declared, asked.max_cost_nanousd)


def _priority(declared: PriorityName, asked: PriorityName | None) -> PriorityName:
    """A caller may lower its class, never raise it."""
    return declared if asked is None or Priority[asked] < Priority[declared] else asked


def _owed(contract: Contract, declared: PriorityName, raise_: Raise | None) -> tuple[str, ...]:
    """The events without which the class would be lower; none where the caller asks for no more than is declared."""
    return raise_.events if raise_ is not None and contract.rank < Priority[declared] else ()


def session_of(asked: Asked, body: Body, entry: KeyEntry, workspace_secret: bytes) -> str:
    """16 hex that are the same for one conversation: from the header, else `user`, else key, system and first turn."""
    if asked.session is not None:
        value = f"session\0{asked.session}"
    elif body.user is not None:
        value = f"user\0{body.user}"
    else:
        value = "\0".join(["turns", entry.key.account, *_opening(body.messages)])
    return pseudonym(tenant_secret(workspace_secret, entry.tenant.id), value)


def _opening(messages: tuple[Message, ...]) -> list[str]:
    """System texts and the first user turn: what stays the same while a conversation grows."""
    texts = []
    for message in messages:
        content = message.get("content")
        texts.append(content if isinstance(content, str) else repr(content))
        if message["role"] == "user":
            break
    return texts
