"""Deliver: the ways in which an answer leaves. Live (chunk by chunk, through the guards), whole (checked before any of
it leaves), stored, as a template, or as a refusal.

A fault before the first byte has left is handed back as a value, so that the next plan can answer; after it the caller
gets an error event and a transfer that is visibly cut, never a clean end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import msgspec

from trimtab.core.decision import Path, Plan
from trimtab.core.errors import Code, Refusal
from trimtab.core.money import Usage
from trimtab.core.request import Chunk, Completion, Text
from trimtab.dataplane import envelope, settle
from trimtab.dataplane.cache import Entry
from trimtab.dataplane.capture import captures
from trimtab.dataplane.ground import CHECK, Ground, ground
from trimtab.dataplane.guard import OutScreen, regions_of
from trimtab.dataplane.inference import Answering, Assembler, AttemptFailed, is_content, pieces, texts_of, wire_usage
from trimtab.dataplane.run import Decision, Run, Template

_MISSABLE = frozenset(
    {Code.QUEUE_FULL, Code.NO_REPLICA, Code.UPSTREAM_FAILED, Code.DEADLINE_EXCEEDED, Code.BUDGET_BUSY}
)
"""Refusals that `on_miss: template` turns into an answer: the contract can't be met just now."""
_NO_USAGE = Usage(prompt=0, completion=0)
_NOTHING: Mapping[str, Any] = MappingProxyType({})
_REFUSAL = Template("refusal", "content_filter")
_DENIED = "deny"


class NotAnswered(msgspec.Struct, frozen=True):
    """A plan did not answer, and nothing has left: `reason` for the record, `last`: no other plan is to be tried."""

    refusal: Refusal
    reason: str
    last: bool = False


# --- an upstream's answer -------------------------------------------------------------------------------------------


async def answer(run: Run, plan: Plan, answering: Answering) -> NotAnswered | None:
    """Hand an answer on that has begun to come. None: the client has it, or has been told that it broke."""
    assert run.bound is not None
    assert run.body is not None
    run.plan = plan
    return await _live(run, plan, answering) if run.is_live else await _whole(run, plan, answering)


async def _live(run: Run, plan: Plan, answering: Answering) -> NotAnswered | None:
    goes_on = run.started
    screen = run.screen = run.screen if goes_on and run.screen is not None else _screen(run)
    keep = Assembler() if (run.flight is not None or captures(run)) and not goes_on else None
    if goes_on:
        _took(run, plan, answering)
    elif (verdict := _verdict(run, None)) is not None:
        # a rule that would stop a clean answer stops it before any of it has left
        await _replace(run, plan, verdict)
        return None
    clock = run.ledger.clock
    try:
        while some := await _come(run, answering):
            if run.resuming is not None:
                some = run.resuming.take(some)
            if keep is not None:
                for event in some:
                    keep.add(event)
            if not screen.passes:
                began_ns = clock.now_ns()
                some = screen.feed_all(some)
                run.ledger.spent("guard_out", began_ns, clock.now_ns())
            if some:
                await _send_live(run, plan, answering, some)
            if screen.violation is not None:
                break
    except AttemptFailed as failure:
        return _broken(run, failure)
    if rest := screen.finish():
        await _send_live(run, plan, answering, rest)
    run.record.guards.extend(screen.rows())
    if screen.violation is not None:
        await _replace(run, plan, _verdict(run, screen.violation) or _REFUSAL)
        return None
    if not run.started:
        _begin_live(run, plan, answering)
    run.record.attempts[-1].outcome = "success"
    if keep is not None and not run.cut:
        run.whole = keep.completion()
    run.book_infer()
    settle.account(run)
    await _end_stream(run, run.usage or _NO_USAGE, answering.raw_usage, answering.beside_usage)
    return None


async def _send_live(run: Run, plan: Plan, answering: Answering, events: Sequence[Chunk | Text]) -> None:
    if not run.started:
        _begin_live(run, plan, answering)
    await _send(run, events)


def _begin_live(run: Run, plan: Plan, answering: Answering) -> None:
    _took(run, plan, answering)
    _start(run, plan.path, stream=True)


async def _whole(run: Run, plan: Plan, answering: Answering) -> NotAnswered | None:
    """Nothing leaves before all of it is there and checked; a fault can still be hidden by the next plan."""
    whole = Assembler()
    try:
        while some := await _come(run, answering):
            for event in some:
                whole.add(event)
    except AttemptFailed as failure:
        return _broken(run, failure)
    completion = {**answering.beside_usage, **whole.completion()}
    began_ns = run.ledger.clock.now_ns()
    grounds = ground(run, [choice["message"].get("content") or "" for choice in completion["choices"]])
    run.ledger.spent("guard_out", began_ns, run.ledger.clock.now_ns())
    if grounds is not None and not grounds.supported:
        run.quote = grounds.quote
        await _replace(run, plan, _verdict(run, CHECK, grounds.score) or _ungrounded(grounds))
        return None
    clean = _checked(run, completion)
    if clean is None:
        await _replace(run, plan, _verdict(run, _DENIED) or _REFUSAL)
        return None
    verdict = _verdict(run, None)
    if verdict is not None:
        await _replace(run, plan, verdict)
        return None
    _took(run, plan, answering)
    run.record.attempts[-1].outcome = "success"
    run.whole = None if run.cut else completion
    run.book_infer()
    settle.account(run)
    await _complete(run, plan.path, clean, run.usage or _NO_USAGE, answering.raw_usage)
    return None


async def _come(run: Run, answering: Answering) -> list[Chunk | Text]:
    """What has come, with what was redacted at the border put back; nothing at the end. Raises as `_paid`."""
    while (some := await _paid(run, answering)) and run.back is not None:
        if back := run.back.feed_all(some):
            return back
    return some or (list(run.back.finish()) if run.back is not None else [])


async def _paid(run: Run, answering: Answering) -> list[Chunk | Text]:
    """What has come and is paid for. Where the money ends the answer does, as does one that heeds no cap: it is cut,
    and every choice that has not ended is told `length`. Raises AttemptFailed, StoreLostError."""
    if run.cut:
        return []
    some = await answering.some()
    run.note_written()
    meter = run.meter
    if meter is None or not some or answering.is_whole:
        return some
    over = await meter.over(*answering.produced.fresh())
    if not over:
        return some
    run.cut = True
    unfinished = answering.unfinished()
    answering.close()
    assert run.lease is not None
    run.record.rule = "max_tokens" if meter.all_paid else f"budget {(await run.lease.tightest()).name}"
    while some and over > 0:
        over -= meter.tokens(texts_of(some.pop()))
    some.append(Chunk({"choices": [{"index": at, "delta": {}, "finish_reason": "length"} for at in unfinished]}))
    return some


def _checked(run: Run, completion: dict[str, Any]) -> dict[str, Any] | None:
    """A whole answer through the guards; None: it holds what must not leave. Shares nothing that is changed later."""
    screen = _screen(run)
    if screen.passes:
        return completion
    clock = run.ledger.clock
    began_ns = clock.now_ns()
    clean = completion if screen.clears(completion) else _in_pieces(screen, completion)
    run.ledger.spent("guard_out", began_ns, clock.now_ns())
    run.record.guards.extend(screen.rows())
    return None if screen.violation is not None else clean


def _in_pieces(screen: OutScreen, completion: dict[str, Any]) -> dict[str, Any]:
    clean = Assembler()
    for chunk in pieces(completion):
        out = screen.feed(chunk)
        if out is not None:
            clean.add(out)
    for rest in screen.finish():
        clean.add(rest)
    return {**completion, **clean.completion()}


def _broken(run: Run, failure: AttemptFailed) -> NotAnswered | None:
    """The upstream failed after its first content: another may begin anew, or go on with what has left of it."""
    fault = failure.fault
    attempt = run.record.attempts[-1]
    attempt.outcome, attempt.reason = "dropped", fault.reason
    run.close_upstream()
    settle.count_usage(run)
    if run.answering is not None:
        run.plane.fleet.failed(run.answering.replica, fault)
    run.answering = None
    if not run.started or run.resuming is not None:
        run.before = run.usage if run.started else None
        return NotAnswered(fault.refusal, fault.reason, last=fault.consequence == "final")
    break_off(run, fault.refusal)
    return None


async def _replace(run: Run, plan: Plan, verdict: Template) -> None:
    """The template instead of the answer, or after what has already left of it. The upstream is hung up on."""
    run.close_upstream()
    run.end_flight()
    run.record.attempts[-1].outcome = "success"
    settle.account(run)
    if not run.started:
        await template(run, verdict)
        return
    assert run.body is not None
    run.template = verdict.name
    text = envelope.template_text(run, verdict)
    run.record.finish_reason = verdict.finish_reason
    for index in range(plan.choices):
        choice = {"index": index, "delta": {"content": text}, "finish_reason": verdict.finish_reason}
        await _send(run, [Chunk({"choices": [choice]})])
    await _end_stream(run, run.usage or _NO_USAGE, {})


# --- other ways -----------------------------------------------------------------------------------------------------


async def stored(run: Run, entry: Entry) -> None:
    """A stored answer, through the guards again: what must not leave may have been declared after it was stored."""
    run.stored = entry
    run.record.tier, run.record.variant = entry.tier, entry.variant
    clean = _checked(run, entry.data)
    if clean is None:
        await template(run, _verdict(run, _DENIED) or _REFUSAL)
        return
    settle.account(run)
    await _complete(run, "cache-exact", clean, entry.usage or _NO_USAGE, {})


async def unasked(run: Run) -> None:
    """No model is asked, since nothing that it may say could leave: what stands in for its answer, at once."""
    began_ns = run.ledger.clock.now_ns()
    grounds = ground(run, [""])
    run.ledger.spent("guard_out", began_ns, run.ledger.clock.now_ns())
    assert grounds is not None, "there are passages"
    run.quote = grounds.quote
    await template(run, _verdict(run, CHECK, grounds.score) or _ungrounded(grounds))


async def template(run: Run, wanted: Template) -> None:
    """A deterministic answer in a language of the tenant; every choice gets the same."""
    settle.account(run)
    run.template = wanted.name
    text = envelope.template_text(run, wanted)
    count = run.body.n if run.body is not None else 1
    message = {"role": "assistant", "content": text}
    choices = [
        {"index": index, "message": dict(message), "logprobs": None, "finish_reason": wanted.finish_reason}
        for index in range(count)
    ]
    run.end_flight()
    await _complete(run, "template", {"choices": choices}, run.usage or _NO_USAGE, {})


async def miss(run: Run, refusal: Refusal, decision: Decision) -> None:
    """No plan answered: what the contract says of that."""
    contract, body = decision.bound.contract, decision.body
    if contract.on_miss != "template" or refusal.code not in _MISSABLE:
        refuse(run, refusal)
    elif body.has_tools or body.has_format:  # a machine would take the template's words for data
        if refusal.status != 503:
            refusal = msgspec.structs.replace(refusal, code=Code.NO_REPLICA)
        refuse(run, refusal)
    else:
        run.record.code, run.record.rule = refusal.code.wire, refusal.rule
        await template(run, Template("unavailable", "stop"))


def refuse(run: Run, refusal: Refusal) -> None:
    """The whole answer is a no; inside a stream it is an error event."""
    if run.started:
        break_off(run, refusal)
        return
    run.close_upstream()
    settle.account(run)
    record = run.record
    record.status, record.code, record.rule, record.path = refusal.status, refusal.code.wire, refusal.rule, "refused"
    run.started = True
    run.reply.fail(refusal, envelope.headers(run), record.id)


def break_off(run: Run, refusal: Refusal) -> None:
    """A stream ends before its time, and says so."""
    run.close_upstream()
    settle.account(run)
    record = run.record
    record.status, record.code, record.rule = refusal.status, refusal.code.wire, refusal.rule
    run.reply.fail(refusal, [], record.id)


def gone(run: Run) -> None:
    """The client hung up: nobody is told anything, what was produced is settled."""
    run.close_upstream()
    if run.record.status is None or run.started:
        run.record.status, run.record.code = Code.CLIENT_CLOSED.status, Code.CLIENT_CLOSED.wire
        if run.record.attempts and run.record.attempts[-1].outcome == "ignored":
            run.record.attempts[-1].reason = "cancelled"


# --- shared ---------------------------------------------------------------------------------------------------------


def _screen(run: Run) -> OutScreen:
    assert run.bound is not None
    guards = run.bound.channel.guards
    regions = regions_of(tuple(run.bound.tenant.markets))
    return OutScreen(run.guards_out, guards.deny, run.placeholders, guards.restore, regions)


def _ungrounded(grounds: Ground) -> Template:
    return Template("quote", "stop") if grounds.quote is not None else Template("out_of_scope", "content_filter")


def _verdict(run: Run, fired: str | None, score: float = 0.0) -> Template | None:
    """What policy makes of the guards' findings: `fired` is the check that found something, None for a clean answer.

    An ungrounded answer is no violation (nothing forbidden was said), but its score is the check's.
    """
    values = {
        **run.values,
        "guard_score": 1.0 if fired is None else score,
        "guard_violation": fired is not None and fired != CHECK,
        "guard_check": fired or "",
    }
    began_ns = run.ledger.clock.now_ns()
    effects = run.configuration.snapshot.release.policy.look("guard_out", values)
    run.ledger.spent("guard_out", began_ns, run.ledger.clock.now_ns())
    known = {(trace.id, trace.at): index for index, trace in enumerate(run.record.rules)}
    for trace in effects.trace:
        place = known.get((trace.id, trace.at))
        if place is None:
            run.record.rules.append(trace)
        else:
            run.record.rules[place] = trace
    if effects.answer is None:
        return None
    run.record.rule = next((trace.id for trace in effects.trace if trace.hit), None)
    name = effects.answer.removeprefix("template:")
    if name == "quote":
        return _ungrounded(Ground(score, False, run.quote, ()))
    return Template(name, "content_filter")


def _took(run: Run, plan: Plan, answering: Answering) -> None:
    record = run.record
    record.tier, record.variant, record.replica = plan.tier, plan.variant.id, answering.replica.id


def _start(run: Run, path: Path, *, stream: bool) -> None:
    record = run.record
    run.book_infer(ended=False)
    record.path, record.status = path, 200
    run.started = True
    run.reply.start(200, envelope.headers(run, whole=not stream), stream=stream)


async def _send(run: Run, events: Sequence[Chunk | Text]) -> None:
    """Events of a live stream that leave together, under our name."""
    told = 0
    for event in events:
        if isinstance(event, Text):
            told += 1
            event.top = envelope.top(run, event.top)
        else:
            if is_content(event.data):
                told += 1
                for choice in event.choices:
                    if choice.get("finish_reason") is not None:
                        run.record.finish_reason = choice["finish_reason"]
            event.data.update(envelope.identity(run))
            event.data["object"] = "chat.completion.chunk"
    if told:
        run.mark_content(told)
    await run.reply.write(*events)


async def _end_stream(run: Run, usage: Usage, raw: Mapping[str, Any], beside: Mapping[str, Any] = _NOTHING) -> None:
    assert run.body is not None
    if run.body.include_usage:
        data = {**beside, **envelope.identity(run), "object": "chat.completion.chunk", "choices": []}
        data["usage"] = wire_usage(usage, raw)
        data["trimtab"] = envelope.extras(run)
        await run.reply.write(Chunk(data, usage))
    await run.reply.end()


async def _complete(run: Run, path: Path, completion: dict[str, Any], usage: Usage, raw: Any) -> None:
    """A whole answer, in the form that the caller wants it."""
    assert run.body is not None
    choices = completion["choices"]
    run.record.finish_reason = choices[0].get("finish_reason") if choices else None
    if run.body.stream:
        _start(run, path, stream=True)
        await _send(run, pieces({"choices": choices}))
        await _end_stream(run, usage, raw)
        return
    data = {**envelope.identity(run), "object": "chat.completion"}
    for name, value in completion.items():
        data.setdefault(name, value)
    data["usage"] = wire_usage(usage, raw)
    await send_whole(run, path, data, usage)


async def send_whole(run: Run, path: Path, data: dict[str, Any], usage: Usage | None = None) -> None:
    """All of an answer at once, whatever was asked for. Its account is closed."""
    run.record.path, run.record.status = path, 200
    data["trimtab"] = envelope.extras(run)
    _start(run, path, stream=False)
    await run.reply.write(Completion(data, usage))
    await run.reply.end()
