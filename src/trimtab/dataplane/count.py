"""Count a prompt's tokens without asking for an answer: who asks and how often is held to as ever, nothing is spent."""

from __future__ import annotations

import msgspec

from trimtab.core import images
from trimtab.core.errors import Code, Refusal
from trimtab.core.request import Arrival, Body, Request
from trimtab.dataplane import hold, ingress, settle
from trimtab.dataplane.bounded import bounded
from trimtab.dataplane.plane import Configuration, DataPlane
from trimtab.dataplane.spend import StoreLostError
from trimtab.foundations.tokens import text_bytes

_ASIDE_BYTES = 32_768  # prompts above this are counted off the event loop


async def count(request: Request, arrival: Arrival, plane: DataPlane) -> int | Refusal:
    """Tokens of what a model would read of this request, the wrapping of its template left out. Where the request is
    routed, by the counter that finds the most among the models that may answer."""
    configuration, head = plane.configuration, request.head
    entry = ingress.authenticate(head, arrival, configuration.snapshot.tenancy, plane.clock.wall_ns())
    if isinstance(entry, Refusal):
        return entry
    try:
        charged = await plane.limiter.charge_request(entry)
    except StoreLostError:
        return hold.store_lost()
    if charged.refusal is not None:
        return charged.refusal
    body = await request.body()
    if isinstance(body, Refusal):
        return body
    place = ingress.channel_of(head.headers.get("trimtab-channel"), entry)
    if isinstance(place, Refusal):
        return place
    most = bounded(body, place[1], configuration.catalogue.models)
    if isinstance(most, Refusal):
        return most
    target = ingress.resolve(body.model, configuration.catalogue, place[1])
    if isinstance(target, Refusal):
        return target
    variants = configuration.catalogue.variants.values()
    tiers = place[1].tiers
    names = {one.model for one in variants if target.takes(one) and (one.tier in tiers or target.pin is not None)}
    if not names:
        return Refusal(code=Code.NOTHING_ALLOWED, message="no model of this channel's tiers is declared")
    text, shown = _read(body), images.count(body.messages)
    if text_bytes(text) > _ASIDE_BYTES:
        return await plane.clock.offload(_most, configuration, names, text, shown)
    return _most(configuration, names, text, shown)


def _most(configuration: Configuration, names: set[str], text: str, images: int) -> int:
    counters, models = configuration.counters, configuration.catalogue.models
    return max(counters[name].count(text) + images * (models[name].images or 0) for name in names)


def _read(body: Body) -> str:
    """Every text of the messages, and the tools as JSON, which is how templates show them."""
    texts = settle.texts(body.messages)
    if tools := body.extra.get("tools"):
        texts.append(msgspec.json.encode(tools).decode())
    return "\n".join(texts)
