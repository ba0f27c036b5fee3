"""Vectors: stages 8, 9 and 11 for a request that wants its texts embedded. One plan, so there is nothing to rank or to
reroute to; the engine is ours and in this process, so what it reads never leaves."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec

from trimtab.core.errors import Code, Refusal
from trimtab.core.money import Price, Usage, usd
from trimtab.core.money import settle as rounded_up
from trimtab.core.request import EmbeddingTerms
from trimtab.core.rows import Attempt
from trimtab.core.trace import span_id
from trimtab.dataplane import deliver, hold, settle
from trimtab.dataplane.admission import Turn
from trimtab.dataplane.run import Run, Wanted
from trimtab.foundations.embed import MAX_CHARACTERS, Vectors
from trimtab.foundations.podmodel import Ask

_PLACE: Final = "the embedder"
_FREE: Final = Price(input=0, output=0)
"""Our own machine's work costs nothing unless prices.yaml has a price under the embedder's name."""
_ENCODE_ASIDE: Final = 16_384
"""More numbers than these are written as JSON off the event loop."""
_CHARACTERS: Final = 4
"""Of a token, about: by whose texts are how long tenants take turns."""
_encode = msgspec.json.Encoder().encode


async def fulfil(wanted: Wanted, run: Run) -> None:
    """Vectors or a refusal, within the contract's deadline. A template can't stand in for numbers, so `on_miss` decides
    only how long is waited."""
    try:
        async with asyncio.timeout(hold.left_s(run, wanted.bound)):
            data = await _vectors(wanted, run)
    except TimeoutError:
        data = hold.too_late(wanted.bound)
        run.end_ticket("dropped")
        if run.record.attempts:
            run.record.attempts[-1].outcome, run.record.attempts[-1].reason = "dropped", "no vectors in time"
    if isinstance(data, Refusal):
        deliver.refuse(run, data)
        return
    settle.account(run)
    tokens = run.usage.prompt if run.usage is not None else None
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    name = run.plane.embedder.name
    await deliver.send_whole(run, "direct", {"object": "list", "data": data, "model": name, "usage": usage})


async def _vectors(wanted: Wanted, run: Run) -> msgspec.Raw | Refusal:
    """The answer's `data`."""
    ledger, plane, bound = run.ledger, run.plane, wanted.bound
    for index, text in enumerate(wanted.texts):
        if len(text) > MAX_CHARACTERS:  # the engine would read its beginning, and nobody would know
            message = f"input[{index}] has {len(text)} characters, the model reads {MAX_CHARACTERS}: send it in parts"
            return Refusal(code=Code.CONTEXT_LENGTH_EXCEEDED, message=message, param="input")
    with ledger.stage("admit"):
        read = Ask(prompt=sum(map(len, wanted.texts)) / _CHARACTERS, output=0)
        refused = await _admit(run, hold.turn(run, bound, read, strict=True))
        if refused is not None:
            return refused
    with ledger.stage("reserve"):
        usage = await _reserve(wanted, run)
        if isinstance(usage, Refusal):
            run.end_ticket("ignored")
            return usage
    with ledger.stage("infer"):
        vectors = await _infer(wanted, run, usage)
        if vectors.size > _ENCODE_ASIDE:
            return await plane.clock.offload(_rows, vectors, wanted.terms)
        return _rows(vectors, wanted.terms)


async def _admit(run: Run, turn: Turn) -> Refusal | None:
    gate, bound = run.plane.embedding_gate, run.bound
    assert bound is not None
    return await hold.token(run, gate, turn, hold.wait_s(run, bound), model=run.plane.embedder.name, place=_PLACE)


async def _reserve(wanted: Wanted, run: Run) -> Usage | Refusal:
    """The money, to the nano-dollar: tokens are counted before they are read, and nothing is produced."""
    embedder, bound, cost = run.plane.embedder, wanted.bound, run.record.cost
    price = run.configuration.snapshot.prices.models.get(embedder.name, _FREE)
    tokens = sum(await embedder.tokens(wanted.texts))
    usage = Usage(prompt=tokens, cached=0, completion=0, source="counted")
    exact = rounded_up(price.units(usage))
    run.prices[embedder.name] = price
    cost.estimate_nanousd = exact
    if exact > bound.contract.cost.max_per_request_nanousd:
        cap = usd(bound.contract.cost.max_per_request_nanousd)
        message = f"{tokens} tokens cost ${usd(exact)}, the cap of a request is ${cap}"
        return Refusal(code=Code.COST_CAP, message=message)
    assert run.ticket is not None
    turn = run.ticket.turn
    lease = await hold.money(run, bound, turn, want=exact, least=exact, again=lambda turn: _admit(run, turn))
    if isinstance(lease, Refusal):
        return lease
    cost.reserved_nanousd = lease.granted
    return usage


async def _infer(wanted: Wanted, run: Run, usage: Usage) -> Vectors:
    """Ask the engine. From here on the tokens count as used, also where nobody waits for the vectors any more: else a
    caller could keep the engine busy for nothing by hanging up."""
    embedder, record = run.plane.embedder, run.record
    row = Attempt(
        replica=embedder.name, start_ms=run.ledger.elapsed_ms(), outcome="ignored", usage=usage, variant=embedder.name
    )
    row.model, row.span_id = embedder.name, span_id(record.id, "attempt 0")
    record.attempts.append(row)
    record.replica = record.variant = embedder.name
    run.usage = usage
    embed = embedder.queries if wanted.terms.input_type == "query" else embedder.passages
    try:
        vectors = await embed(wanted.texts)
    except Exception:
        row.outcome, row.reason, row.usage, run.usage = "dropped", "the embedder failed", None, None
        raise
    row.outcome, row.dur_ms = "success", run.ledger.elapsed_ms() - row.start_ms
    return vectors


def _rows(vectors: Vectors, terms: EmbeddingTerms) -> msgspec.Raw:
    """As OpenAI writes them. Bytes become base64 in JSON."""
    is_raw = terms.encoding_format == "base64"
    little = vectors.astype("<f4", copy=False)
    return msgspec.Raw(
        _encode(
            [
                {"object": "embedding", "index": index, "embedding": row.tobytes() if is_raw else row.tolist()}
                for index, row in enumerate(little)
            ]
        )
    )
