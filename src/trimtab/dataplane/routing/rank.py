"""Routing: from what is allowed to a ranked list of plans, and a reason for every variant that is not on it.

A plan is one variant with its caps. Order: what stays in the residency before what leaves it, what the caller named
before what may stand in for it, what policy prefers, then plans that the money covers whole, then cheapest first, then
by tier and name, so that equal requests rank equally.
Latency is kept by policy (`prefer`) and admission;
a prediction per plan comes with the iteration model.

Degrading is what the policy's route rules say, in their order: *window* drops the oldest turns until the plan fits its
money, *tier* puts cheaper plans first, which order by cost does already. What still does not fit is cut in its output
tokens, down to `LEAST_OUTPUT`, since a short answer within budget beats a refusal.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from trimtab.core.contract import Contract
from trimtab.core.decision import Allowed, Degradation, Effects, Plan, RuleTrace, Value
from trimtab.core.errors import Code, Refusal
from trimtab.core.experiments import Assigned
from trimtab.core.models import Variant, says_audio
from trimtab.core.money import NANO, usd
from trimtab.core.request import Body, Message
from trimtab.core.rows import PlanRow
from trimtab.dataplane.routing.arms import KEPT, UNNEEDED, with_arm
from trimtab.dataplane.routing.window import least_dropped, windowed
from trimtab.foundations.tokens import prompt_bound, text_bytes

_UNSAID = "has no words for "
_HEARD = "would be heard past the checks on the way out"
_ELSEWHERE = "residency"
_NO_TIER, _FORBIDDEN, _QUALITY = "tier not allowed", "forbidden by policy", "quality"
NOT_ASKED: Final = "not asked for"
BARRED: Final = frozenset({_NO_TIER, _FORBIDDEN, _ELSEWHERE, _QUALITY})
"""Reasons that follow from policy, contract and the variant alone."""

LEAST_OUTPUT = 16
"""Output tokens below which an answer is not worth its prompt."""

RETRIEVAL_TOKENS = 640
"""Of passages in a prompt; halved where money is short, down to LEAST_RETRIEVAL: one short passage."""
LEAST_RETRIEVAL = 160

Look = Callable[[Mapping[str, Value | None]], Effects]
"""The policy's rules at `route`, for one plan's values."""


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """What routing needs of one request. `left_nanousd`: what the tightest budget has; None: there is no budget.
    `fits_context`: whether a variant's context can hold the prompt, asked only where the token bound says that it
    might not."""

    messages: tuple[Message, ...]
    body: Body
    contract: Contract
    allowed: Allowed
    takes: Callable[[Variant], bool]
    place: Callable[[Variant], int]
    """0 for what the caller asked for, more for what may stand in for it."""
    unfit: Callable[[Variant], str | None]
    """What of the request a variant's endpoint has no words for, the field first."""
    checked: bool
    """Whether the answer's text is looked at on its way out, which none that is heard can be."""
    left_nanousd: int | None
    index: str | None
    """Id of the channel's index, where there is one that may be used: plans are then RAG plans."""
    fits_context: Callable[[Variant], bool]
    held: frozenset[str] = frozenset()
    """Variants that are kept for experiments."""
    assigned: Assigned | None = None
    """The session's place in the channel's experiment."""
    about: Callable[[Variant], Mapping[str, Value | None]] = lambda _: {}
    """What rules may read of a variant beyond its plan's cost."""


class Ranked(msgspec.Struct, frozen=True):
    """Plans, best first; rows for the record (ranked ones first, then those left out, with the reason); the trace of
    the rules looked at. `answer`: a rule's template in place of any plan."""

    plans: tuple[Plan, ...]
    left_out: tuple[PlanRow, ...]
    trace: tuple[RuleTrace, ...]
    answer: str | None = None


def rank(variants: Sequence[Variant], question: Question, look: Look) -> tuple[Ranked, Refusal | None]:
    """Plans within what is allowed, or the refusal that says why there is none."""
    plans: list[tuple[Plan, bool]] = []
    left_out: list[PlanRow] = []
    traces: list[RuleTrace] = []
    prefer: dict[str, None] = dict.fromkeys(question.allowed.prefer)
    for variant in variants:
        reason = _excluded(variant, question)
        if reason is None:
            found, effects = _plan(variant, question, look)
            traces.extend(effects.trace)
            prefer.update(dict.fromkeys(effects.prefer))
            if effects.answer is not None:
                return Ranked((), tuple(left_out), tuple(traces), effects.answer), None
            if isinstance(found, Plan):
                plans.append((found, _covered(found, question)))
                continue
            reason = found
        left_out.append(_row(variant, reason))
    preferred = tuple(prefer)
    if all(plan.overflow is not None for plan, _ in plans):  # nobody leaves a residency where nothing could run over
        left_out.extend(_row(plan.variant, _ELSEWHERE) for plan, _ in plans)
        plans = []
    plans.sort(key=lambda one: _key(one[0], one[1], question, preferred))
    ordered, unfit, why = with_arm(plans, question.assigned)
    if unfit is not None:
        left_out.append(_row(unfit.variant, why))
    resident_first = tuple(sorted(ordered, key=lambda plan: plan.leaves))  # whatever an arm stands in for
    return Ranked(resident_first, tuple(left_out), tuple(traces)), None if ordered else _refusal(left_out, question)


def _key(plan: Plan, covered: bool, question: Question, prefer: tuple[str, ...]) -> tuple[object, ...]:
    return plan.leaves, question.place(plan.variant), order(plan.variant, plan.estimate_nanousd, covered, prefer)


def _excluded(variant: Variant, question: Question) -> str | None:
    """Why this variant may not answer; cheap tests only."""
    if variant.name in question.held:
        return KEPT
    if not question.takes(variant):
        return NOT_ASKED
    if (reason := barred(variant, question.allowed, question.contract)) is not None:
        return reason
    if (field := question.unfit(variant)) is not None:
        return f"{_UNSAID}{field}"
    if question.checked and says_audio(variant.sampling, question.body.extra, variant.engine):
        return _HEARD
    return None


def barred(variant: Variant, allowed: Allowed, contract: Contract) -> str | None:
    """Why policy or contract keep it from answering, one of BARRED; None: they don't."""
    if variant.tier not in allowed.tiers:
        return _NO_TIER
    if variant.name in allowed.forbidden_variants:
        return _FORBIDDEN
    if _leaves(variant, contract) and (variant.overflow is None or contract.residency not in variant.overflow.for_):
        return _ELSEWHERE
    if variant.quality_lower < contract.quality.min:
        return _QUALITY
    return None


def as_asked(variant: Variant, body: Body) -> Variant:
    """With its price as this request can come to it: an answer that may be audio is reserved for as audio."""
    if variant.price is None or not says_audio(variant.sampling, body.extra, variant.engine):
        return variant
    return msgspec.structs.replace(variant, price=msgspec.structs.replace(variant.price, spoken=True))


def _leaves(variant: Variant, contract: Contract) -> bool:
    return contract.residency is not None and variant.region != contract.residency


def _plan(variant: Variant, question: Question, look: Look) -> tuple[Plan | str, Effects]:
    """One variant's plan after the rules at `route`, or the reason why it can't be one."""
    body = question.body
    variant = as_asked(variant, body)
    cap = min(variant.max_tokens, body.max_tokens or variant.max_tokens)
    passages = RETRIEVAL_TOKENS if question.index is not None else 0
    bound = bound_of(variant, question.messages, body) + passages
    money = _money(question)
    projected = None if variant.price is None else variant.price.most(bound, cap * body.n)
    effects = look(_values(variant, projected, money, question))
    if f"tier:{variant.tier}" in effects.forbid or f"variant:{variant.name}" in effects.forbid:
        return _FORBIDDEN, effects
    degradations: tuple[Degradation, ...] = ()
    dropped = 0
    if projected is not None and projected > money and effects.degrade:
        if "window" in effects.degrade:
            dropped = _shrink(variant, question, cap, money)
            if dropped:
                bound = bound_of(variant, windowed(question.messages, dropped), body) + passages
                degradations = ("window",)
        if "retrieval" in effects.degrade and passages and variant.price is not None:
            while passages > LEAST_RETRIEVAL and variant.price.most(bound, cap * body.n) > money:
                passages, bound = passages // 2, bound - passages + passages // 2
                degradations = (*(step for step in degradations if step != "retrieval"), "retrieval")
        if "tier" in effects.degrade and variant.price is not None and variant.price.most(bound, cap * body.n) > money:
            degradations = (*degradations, "tier")
    if bound + cap > variant.context and not question.fits_context(variant):
        return "context", effects
    if variant.price is not None:
        cap = min(cap, variant.price.tokens_for(money, bound) // body.n)
        if cap < min(LEAST_OUTPUT, body.max_tokens or LEAST_OUTPUT):
            return "cost", effects
    plan = Plan(
        path="direct" if question.index is None else "rag",
        variant=variant,
        max_tokens=cap,
        choices=body.n,
        prompt_bound=bound,
        estimate_nanousd=None if variant.price is None else variant.price.most(bound, cap * body.n),
        degradations=degradations,
        dropped_turns=dropped,
        index=question.index,
        retrieval_tokens=passages,
        overflow=variant.overflow if _leaves(variant, question.contract) else None,
    )
    return plan, effects


def bound_of(variant: Variant, messages: Sequence[Message], body: Body) -> int:
    """Tokens that the variant's prompt can't exceed. The caller has refused what can't be bounded."""
    bound = prompt_bound(messages, body.extra, variant.images)
    assert bound is not None, "what nobody can bound is refused before routing"
    return bound + (text_bytes(variant.system) if variant.system else 0)


def _shrink(variant: Variant, question: Question, cap: int, money: int) -> int:
    """How many of the oldest turns go so that the plan fits its money; as many as may go, if none does."""
    price, body = variant.price, question.body
    assert price is not None
    rest = bound_of(variant, (), body) + (RETRIEVAL_TOKENS if question.index is not None else 0)
    messages, images = question.messages, variant.images
    fewest = least_dropped(messages, lambda bound: price.most(bound + rest, cap * body.n) <= money, images)
    if fewest is not None:
        return fewest
    possible = least_dropped(messages, lambda bound: price.most(bound + rest, LEAST_OUTPUT * body.n) <= money, images)
    return possible or 0


def _money(question: Question) -> int:
    """Nano-dollars that this request may cost: its cap, or what the tightest budget has left."""
    cap = question.contract.cost.max_per_request_nanousd
    return cap if question.left_nanousd is None else min(cap, question.left_nanousd)


def _values(variant: Variant, projected: int | None, money: int, question: Question) -> dict[str, Value | None]:
    left = question.left_nanousd
    return {
        "projected_cost_usd": None if projected is None else projected / NANO,
        "budget_left_usd": None if left is None else left / NANO,
        "budget_usd": money / NANO,
        **question.about(variant),
    }


def _covered(plan: Plan, question: Question) -> bool:
    """Whether the plan keeps its whole window and its whole answer."""
    asked = min(plan.variant.max_tokens, question.body.max_tokens or plan.variant.max_tokens)
    return plan.max_tokens == asked and "tier" not in plan.degradations


def order(
    variant: Variant, estimate_nanousd: int | None, covered: bool, prefer: tuple[str, ...]
) -> tuple[int, bool, int, str, str]:
    """What plans within one place are sorted by: preference, whether money covers it whole, cost, tier, name."""
    names = (f"variant:{variant.name}", f"tier:{variant.tier}")
    place = min((index for index, name in enumerate(prefer) if name in names), default=len(prefer))
    tier = "SML".index(variant.tier)
    estimate = estimate_nanousd if estimate_nanousd is not None else 1 << 62
    return (place, not covered, estimate, str(tier), variant.name)


def _row(variant: Variant, reason: str | None) -> PlanRow:
    return PlanRow(
        variant=variant.id,
        tier=variant.tier,
        path="direct",
        max_tokens=variant.max_tokens,
        estimate_nanousd=None,
        degradations=[],
        outcome=reason,
    )


def row_of(plan: Plan) -> PlanRow:
    """A plan as the record keeps it."""
    return PlanRow(
        variant=plan.variant.id,
        tier=plan.tier,
        path=plan.path,
        max_tokens=plan.max_tokens,
        estimate_nanousd=plan.estimate_nanousd,
        degradations=list(plan.degradations),
    )


def _refusal(left_out: Sequence[PlanRow], question: Question) -> Refusal:
    """The one reason that, removed, would have left a plan: the last test that a variant failed."""
    reasons = {row.outcome for row in left_out} - {NOT_ASKED, _NO_TIER, KEPT, UNNEEDED}
    if "cost" in reasons:
        cap, left = question.contract.cost.max_per_request_nanousd, question.left_nanousd
        if left is not None and left < cap:
            message = f"${usd(left)} is left of the budget, which pays for no answer of {LEAST_OUTPUT} tokens"
            return Refusal(code=Code.BUDGET_EXHAUSTED, message=message)
        message = f"the cap of ${usd(cap)} pays for no answer of {LEAST_OUTPUT} tokens to this prompt"
        return Refusal(code=Code.COST_CAP, message=message, rule="max_per_request")
    if "context" in reasons:
        return Refusal(code=Code.CONTEXT_LENGTH_EXCEEDED, message=_too_long(), param="messages")
    if reasons == {_ELSEWHERE}:
        message = f"no allowed model is in {question.contract.residency}"
        return Refusal(code=Code.RESIDENCY_NOT_ALLOWED, message=message, rule="residency")
    unsaid = sorted(one.removeprefix(_UNSAID) for one in reasons if one is not None and one.startswith(_UNSAID))
    if unsaid and len(unsaid) == len(reasons):
        message = f"no model that may answer takes {unsaid[0]}"
        return Refusal(code=Code.INVALID_REQUEST, message=message, param=unsaid[0].partition(" ")[0])
    if reasons == {_HEARD}:
        message = "what is said on the way out is checked here, and audio can't be"
        return Refusal(code=Code.UNSUPPORTED, message=message, param="modalities")
    named = ", ".join(f"{row.variant}: {row.outcome}" for row in left_out) or "no variant is declared"
    return Refusal(code=Code.NOTHING_ALLOWED, message=f"no plan is left ({named})")


def _too_long() -> str:
    return "the prompt is too long: it exceeds the context length of every model that may answer"
