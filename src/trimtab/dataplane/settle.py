"""Settle: true tokens and money against the lease, the record, the cache filled. Synchronous: nothing comes between.

`account` closes the account of what was used; it runs before a whole answer starts and before a stream's usage chunk,
so that both can say what the request cost. `close` runs last, in the pipeline's `finally`: it gives back what is still
held, whatever ended the request; `write` then hands the record over.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from trimtab.core import images
from trimtab.core.clock import NS_PER_MS
from trimtab.core.decision import Plan
from trimtab.core.errors import Code
from trimtab.core.money import Usage
from trimtab.core.money import settle as rounded_up
from trimtab.core.record import Record, blank
from trimtab.core.request import Body, Message
from trimtab.core.rows import InterToken, Tokens
from trimtab.dataplane import arms
from trimtab.dataplane.cache import Entry, storable
from trimtab.dataplane.guard import Screened
from trimtab.dataplane.ingress import Bound
from trimtab.dataplane.run import Run
from trimtab.foundations.tokens import RatioEstimator, text_bytes

_PER_MESSAGE_TOKENS = 4
_SYSTEM_ROLES = ("system", "developer")


def account(run: Run) -> None:
    """Book what was used: once; later calls change nothing."""
    if run.settled:
        return
    run.settled = True
    count_usage(run)
    record = run.record
    spent = spent_nanousd(run)
    if run.lease is not None:
        run.drift_nanousd = run.lease.settle(spent)
        if run.meter is not None:
            record.cost.reserved_nanousd = run.lease.granted
    record.cost.settled_nanousd = spent - run.drift_nanousd if _priced(run) else None
    record.cost.unpriced = _unpriced(run)
    record.tokens = _tokens(run)
    record.cost.baseline_nanousd = _baseline(run)
    if run.bound is not None and run.charged_tokens:
        used = record.tokens.prompt or 0
        actual = used + (record.tokens.completion or 0)
        run.charges[-1] = run.plane.limiter.true_up(run.bound.entry, run.charges[-1], actual - run.charged_tokens)
    _learn_length(run)
    _store(run)


def close(run: Run) -> None:
    """Give back all that is held, in one turn of the loop. Idempotent."""
    run.close_upstream()
    run.book_infer()
    account(run)
    pool(run)
    run.end_ticket("success" if run.record.code is None else "dropped")
    run.end_flight()


def write(run: Run) -> None:
    """The record, once everything is in it."""
    record = run.record
    record.e2e_ms = run.ledger.elapsed_ms()
    if run.first_ns is not None:
        record.ttft_ms = (run.first_ns - run.ledger.arrival.at_ns) / NS_PER_MS
    record.itl = inter_token(run.gaps_ms)
    _judge(run)
    arms.note(run)
    if record.attempts:
        run.plane.hedges.request(record.cost.settled_nanousd or 0)
    run.plane.count(record)
    run.plane.sink.write(record)
    if run.drift_nanousd:
        run.plane.sink.write(_adjustment(run))


def pool(run: Run) -> None:
    """What the attempts outside of the residency used, on their pool's account."""
    tokens, run.tokens = run.tokens, None
    if tokens is not None:
        used = [attempt.usage for attempt in run.record.attempts[run.outside :] if attempt.usage is not None]
        tokens.settle(sum((one.prompt or 0) + (one.completion or 0) for one in used))


def _learn_length(run: Run) -> None:
    """From answers that ended by themselves, where somebody reserves by it."""
    answering, bound, plan = run.answering, run.bound, run.plan
    if run.meter is None or run.cut or answering is None or bound is None or plan is None or not answering.is_whole:
        return
    if run.usage is not None and run.usage.completion:
        length = run.usage.completion // plan.choices
        run.plane.lengths.observe(bound.tenant.id, bound.name, plan.variant.name, length)


def _adjustment(run: Run) -> Record:
    """What a provider billed beyond our meter, in a row of its own, in the period of the request's money."""
    record = run.record
    row = blank(run.plane.ids.record_id(), record.t_wall_ns)
    row.kind, row.of, row.snapshots = "adjust", record.id, record.snapshots
    row.tenant, row.channel, row.key_id, row.market = record.tenant, record.channel, record.key_id, record.market
    row.variant, row.stages = record.variant, {"reserve": record.stages.get("reserve", [0.0, 0.0])}
    row.cost.settled_nanousd = run.drift_nanousd
    return row


def spent_nanousd(run: Run) -> int:
    """What all attempts so far have cost, rounded up once."""
    units = 0
    for attempt in run.record.attempts:
        price = run.prices.get(attempt.variant or "")
        if attempt.usage is not None and price is not None:
            units += price.units(attempt.usage)
    return rounded_up(units)


def capped(plan: Plan, max_tokens: int) -> Plan:
    """The plan with fewer output tokens, and the estimate that goes with them."""
    price = plan.variant.price
    estimate = None if price is None else price.most(plan.prompt_bound, max_tokens * plan.choices)
    return msgspec.structs.replace(plan, max_tokens=max_tokens, estimate_nanousd=estimate)


def shortened(run: Run, plan: Plan) -> Plan:
    """The plan of a model that goes on with an answer: what has come of it is prompt now, and was written already."""
    assert run.resuming is not None
    written = (run.before.completion if run.before is not None else None) or 0
    plan = msgspec.structs.replace(plan, prompt_bound=plan.prompt_bound + text_bytes(run.resuming.text))
    return capped(plan, max(1, plan.max_tokens - written))


def note_bound(record: Record, bound: Bound) -> None:
    """What bind found out, in the record."""
    record.channel, record.persona, record.session = bound.name, bound.persona, bound.session
    record.contract, record.events = bound.contract, list(bound.events)
    record.experiment = arms.row_of(bound)
    # the session stands in the record as its HMAC only
    record.asked = msgspec.structs.replace(bound.asked, session=None) if bound.asked.session else bound.asked


def redacted(body: Body, screened: Screened) -> Body:
    """The body with its screened texts; the same object if nothing was found."""
    if screened.messages is body.messages and screened.extra is body.extra:
        return body
    return msgspec.structs.replace(body, messages=screened.messages, extra=screened.extra)


def texts(messages: Iterable[Message]) -> list[str]:
    """Every text of these messages that a model reads."""
    found: list[str] = []
    for message in messages:
        _texts(message.get("content"), found)
        for call in message.get("tool_calls") or ():
            _texts(call, found)
    return found


def inter_token(gaps_ms: Sequence[float]) -> InterToken | None:
    """Exact order statistics of the gaps (nearest rank); None without a gap."""
    if not gaps_ms:
        return None
    ordered = sorted(gaps_ms)
    last = len(ordered)
    return InterToken(p50=ordered[math.ceil(0.5 * last) - 1], p95=ordered[math.ceil(0.95 * last) - 1], max=ordered[-1])


def count_usage(run: Run) -> None:
    """Usage of the attempt that answered: as the upstream told it; what it did not tell is counted here."""
    answering = run.answering
    if answering is None:
        return
    usage = answering.usage()
    counter = run.configuration.counters.get(answering.plan.variant.model)
    if not answering.told and counter is not None:
        prompt = usage.prompt
        if prompt is None:
            before = run.resuming.before if run.resuming is not None else ""
            parts = [part for part in (answering.plan.variant.system or "", *texts(run.sent), before) if part]
            around = _PER_MESSAGE_TOKENS if counter.source == "counted" else 0  # an estimate has learnt that, too
            prompt = sum(counter.count(part) + around for part in parts)
            prompt += images.count(run.sent) * (answering.plan.variant.images or 0)
        completion = usage.completion
        if completion is None:
            completion = counter.written(answering.produced.text, answering.produced.pieces)
        usage = msgspec.structs.replace(usage, prompt=prompt, completion=completion, source=counter.source)
    elif isinstance(counter, RatioEstimator) and usage.prompt and run.before is None and not images.count(run.sent):
        counter.observe(sum(map(len, texts(run.sent))), usage.prompt)
        if usage.completion and not usage.reasoning:  # what was thought is billed, and not shown
            counter.observe_answer(len(answering.produced.text), answering.produced.pieces, usage.completion)
    for row in run.record.attempts:
        if row.reason == "outrun" and row.usage is None:  # its prompt was read there, too
            row.usage = Usage(prompt=usage.prompt, completion=0, source="estimated")
    attempt = run.record.attempts[-1]
    attempt.usage, attempt.skipped = usage, answering.skipped
    if attempt.dur_ms is None:
        attempt.dur_ms = run.ledger.elapsed_ms() - attempt.start_ms
    run.usage = usage if run.before is None else _together(run.before, usage)


def _together(first: Usage, then: Usage) -> Usage:
    """Of an answer that another model went on with: the caller's prompt, and all that was written."""
    written = None
    if first.completion is not None and then.completion is not None:
        written = first.completion + then.completion
    return msgspec.structs.replace(first, completion=written, reasoning=None, audio_out=None)


def _priced(run: Run) -> bool:
    """Whether every attempt that was made has a price; a request that asked nobody cost 0 for certain."""
    return all(run.prices.get(attempt.variant or "") is not None for attempt in run.record.attempts)


def _unpriced(run: Run) -> list[str]:
    """Kinds of tokens that an attempt used and its model's price does not have, each once."""
    found: dict[str, None] = {}
    for attempt in run.record.attempts:
        price = run.prices.get(attempt.variant or "")
        if attempt.usage is not None and price is not None:
            found |= dict.fromkeys(price.unpriced(attempt.usage))
    return list(found)


def tokens_of(usage: Usage) -> Tokens:
    """Usage as the record has it, the prompt's parts left open."""
    return Tokens(**msgspec.structs.asdict(usage))


def _tokens(run: Run) -> Tokens:
    """Totals as used; the prompt's parts by their share of its bytes."""
    if run.stored is not None:
        return Tokens(prompt=0, cached=0, completion=0, source="cache")
    usage = run.usage
    if usage is None:
        return Tokens()
    tokens = tokens_of(usage)
    if usage.prompt and run.plan is not None:
        tokens.retrieved = min(usage.prompt, run.retrieved.tokens) if run.retrieved is not None else None
        rest = usage.prompt - (tokens.retrieved or 0)
        sizes = _sizes(run)
        total = sum(sizes.values()) or 1
        tokens.system = rest * sizes["system"] // total
        tokens.history = rest * sizes["history"] // total
        tokens.user = rest - tokens.system - tokens.history
    return tokens


def _sizes(run: Run) -> dict[str, int]:
    sizes = {"system": text_bytes((run.plan.variant.system if run.plan else "") or ""), "history": 0, "user": 0}
    sent = run.body.messages if run.retrieved is not None and run.body is not None else run.sent
    last = len(sent) - 1
    for index, message in enumerate(sent):
        size = sum(text_bytes(text) for text in texts([message]))
        part = "system" if message["role"] in _SYSTEM_ROLES else "user" if index == last else "history"
        sizes[part] += size
    return sizes


def _baseline(run: Run) -> int | None:
    """What the channel's one-model-for-all would have cost for the same tokens."""
    usage = run.stored.usage if run.stored is not None else run.usage
    if usage is None or run.bound is None or run.bound.channel.baseline is None:
        return None
    if run.body is not None and run.body.embedding is not None:
        return None  # no chat model stands in for an embedder: nothing was saved
    variant = run.configuration.catalogue.variants.get(run.bound.channel.baseline)
    return None if variant is None or variant.price is None else rounded_up(variant.price.units(usage))


def _store(run: Run) -> None:
    """Fill the cache, if this request leads a flight and its answer is whole."""
    whole, usage, plan = run.whole, run.usage, run.plan
    if run.flight is None or whole is None or usage is None or plan is None or run.record.code is not None:
        return
    assert run.bound is not None
    reasons = [choice.get("finish_reason") for choice in whole["choices"]]
    stands_in = run.bound.target.place(plan.variant) or arms.is_stand_in(run.bound, plan) or plan.leaves
    if not storable(reasons) or stands_in:
        return  # a stand-in's answer would outlive what it stood in for
    flight, run.flight = run.flight, None
    flight.store(
        Entry.of(
            data={"choices": whole["choices"]},
            usage=usage,
            variant=plan.variant,
            expires_ns=run.ledger.clock.now_ns() + int(run.bound.channel.cache.ttl_s * 1e9),
        )
    )


def _judge(run: Run) -> None:
    """Whether the contract was kept; None where it can't be told: nothing was answered, or nobody measured quality.

    Time to first token is a streaming caller's affair: who waits for the whole answer is judged by its end.
    """
    record, contract = run.record, run.record.contract
    if contract is None:
        return
    if record.cost.settled_nanousd is not None:
        record.met.cost = record.cost.settled_nanousd <= contract.cost.max_per_request_nanousd
    if record.status == 200 and record.e2e_ms is not None:
        latency = contract.latency
        record.met.latency = (
            record.code is None
            and record.e2e_ms <= latency.e2e_ms
            and (record.ttft_ms is None or record.ttft_ms <= latency.ttft_ms)
            and (record.itl is None or record.itl.p95 <= latency.itl_ms)
        )
    elif record.code == Code.DEADLINE_EXCEEDED.wire:
        record.met.latency = False


def _texts(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, list):
        for part in value:
            _texts(part, found)
    elif isinstance(value, dict):
        for name, part in value.items():
            if name not in ("type", "id", "role"):
                _texts(part, found)
