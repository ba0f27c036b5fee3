"""Rules compiled once, looked at many times: plain CEL conditions over plain values, effects that only restrict.

Because every effect restricts or intersects, the order of rules can't matter and adding a rule can't permit more:
forbid and guards are united, of several `on_full` the least wait counts and reroute only if all allow it, of several
`degrade` what all allow in the default order. `prefer` (order only) goes by priority, then id; `answer` is the one of
the highest priority, then id. What no rule speaks of stays None: unrestricted by policy.

A condition that fails at run time (or gives no bool) counts as hit for what its rule restricts, and its `prefer` is
left out; a rule that only prefers counts as not hit. The trace carries the error.

Cost: one Context a call (a dict for each rule costs ten times as much), holding only what the stage's rules read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec

from trimtab.core.decision import Allowed, At, Degradation, Effects, OnFull, RuleTrace, Value
from trimtab.core.tenancy import Channel
from trimtab.dataplane.policy.document import PolicyDocument, Rule
from trimtab.dataplane.policy.expression import Condition, ConditionError, parse, raised_by_cel
from trimtab.dataplane.policy.library import cel
from trimtab.dataplane.policy.scope import Scope, scope_of
from trimtab.dataplane.policy.variables import CONSTANTS, VARIABLES, Tables, Variable, known_by

if TYPE_CHECKING:
    from cel import Context

DEGRADATIONS: tuple[Degradation, ...] = get_args(Degradation)
"""The default order: shrink the window, compress the retrieval, lower the tier."""


class PolicyError(Exception):
    """The document can't be compiled; `problems` is (position of the rule, message) each."""

    def __init__(self, problems: list[tuple[int, str]]) -> None:
        super().__init__("; ".join(f"rules[{index}]: {message}" for index, message in problems))
        self.problems = problems


class CompiledRule(msgspec.Struct, frozen=True):
    """A rule with its condition, ready to run, and for whom it speaks."""

    rule: Rule
    condition: Condition
    scope: Scope

    @property
    def order(self) -> tuple[int, str]:
        return (-self.rule.priority, self.rule.id)


class _Slot(msgspec.Struct, frozen=True):
    """How one variable gets into the context: from which value, and what stands in for the unknown."""

    name: str
    source: str
    about: bool
    variable: Variable


class Stage(msgspec.Struct, frozen=True):
    """Rules of one `at` in their fixed order, and what any of them reads."""

    rules: tuple[CompiledRule, ...]
    reads: frozenset[str]
    slots: tuple[_Slot, ...]
    constants: tuple[tuple[str, int], ...]
    new_context: Callable[[], Context]
    seen: dict[tuple[Value | None, ...], Effects]
    """What the rules said of values that they read before."""


class Policy:
    """Immutable; made by `compile_policy`."""

    __slots__ = ("_kept", "_scoped", "_scopes", "_stages", "document", "tables")

    def __init__(self, document: PolicyDocument, stages: Mapping[At, Stage], tables: Tables) -> None:
        self.document, self.tables = document, tables
        self._stages = stages
        self._scopes = {
            at: tuple(tables[at][name] for name in sorted({name for one in stage.rules for name in one.scope}))
            for at, stage in stages.items()
        }
        self._scoped: dict[At, dict[tuple[Value | None, ...], Stage]] = {at: {} for at in stages}
        self._kept: dict[At, int] = dict.fromkeys(stages, 0)

    def reads(self, at: At) -> frozenset[str]:
        """Names of the values that `look` uses at this stage: what is costly to know need not be asked otherwise."""
        return self._stages[at].reads

    def rules(self, at: At) -> tuple[CompiledRule, ...]:
        """In the order in which they are looked at: priority downwards, then id."""
        return self._stages[at].rules

    def look(self, at: At, values: Mapping[str, Value | None]) -> Effects:
        """The sum of the rules at `at` that may speak of these values, and the trace of those. A value that is absent
        or None is unknown; `has_NAME` is worked out here."""
        try:
            stage = self._scoped_to(at, values)
            if not stage.rules:
                return _NOTHING
            # what rules say follows from what they read, and most requests of a channel read the same
            key = tuple([values.get(slot.source) for slot in stage.slots])
            known = stage.seen.get(key)
        except TypeError:  # a list
            return self._look(at, self._stages[at], values)
        if known is None:
            self._make_room(at, stage)
            known = stage.seen[key] = self._look(at, stage, values)
        return known

    def _make_room(self, at: At, stage: Stage) -> None:
        """For one more: of the values of one scope so many are kept, and of all scopes together not many more."""
        if self._kept[at] >= MOST_KEPT:
            for one in (self._stages[at], *self._scoped[at].values()):
                one.seen.clear()
            self._kept[at] = 0
        elif len(stage.seen) >= _REMEMBERED:
            self._kept[at] -= len(stage.seen)
            stage.seen.clear()
        self._kept[at] += 1

    @property
    def kept(self) -> int:
        """How many sums of rules are remembered."""
        return sum(self._kept.values())

    def trace(self, at: At, values: Mapping[str, Value | None]) -> tuple[RuleTrace, ...]:
        """What each rule at `at` says of these values, those that speak for others too."""
        return self._look(at, self._stages[at], values).trace

    def _scoped_to(self, at: At, values: Mapping[str, Value | None]) -> Stage:
        """The rules whose scope these values are in. Raises TypeError for a list."""
        scopes = self._scopes[at]
        if not scopes:
            return self._stages[at]
        given = [(values.get(variable.name), variable.unknown) for variable in scopes]
        place = tuple([unknown if value is None else value for value, unknown in given])
        scoped = self._scoped[at]
        stage = scoped.get(place)
        if stage is None:
            if len(scoped) >= _REMEMBERED:
                scoped.clear()
                self._kept[at] = 0
            there = dict(zip([variable.name for variable in scopes], place, strict=True))
            rules = [one for one in self._stages[at].rules if _in_scope(one.scope, there)]
            stage = scoped[place] = _stage(at, rules, self.tables)
        return stage

    def _look(self, at: At, stage: Stage, values: Mapping[str, Value | None]) -> Effects:
        context, seen, unknown = _context(stage, values)
        trace = []
        hits = []
        shown: dict[tuple[str, ...], dict[str, Value]] = {}  # rules that read the same share it
        for compiled in stage.rules:
            hit, error = _run(compiled, context)
            if hit:
                hits.append((compiled.rule, error is not None))
            names = compiled.condition.reads
            read = shown.get(names)
            if read is None:
                read = shown[names] = {name: seen[name] for name in names if name in seen}
                read.update({"has_" + name: False for name in names if name in unknown})
            trace.append(RuleTrace(id=compiled.rule.id, at=at, hit=hit, values=read, error=error))
        return _combine(hits, tuple(trace))

    def __repr__(self) -> str:
        counts = " ".join(f"{at} {len(stage.rules)}" for at, stage in self._stages.items())
        return f"<Policy {counts}>"


_NOTHING = Effects()
_REMEMBERED: Final = 512
"""Scopes of each stage, and values of each scope; then all of them are forgotten."""
MOST_KEPT: Final = 8192
"""Values of all scopes of a stage together: some 2 KB each."""


def _in_scope(scope: Scope, values: Mapping[str, Value | None]) -> bool:
    """What is not known and has nothing that stands for it (None) lets a condition fail, so it is to be looked at."""
    return all(values[name] is None or values[name] in texts for name, texts in scope.items())


def compile_policy(document: PolicyDocument, tables: Tables = VARIABLES) -> Policy:
    """Compile every condition; `tables`: what conditions may read, by stage. Raises PolicyError with each rule that
    can't run (syntax, unknown names, double ids)."""
    problems: list[tuple[int, str]] = []
    compiled: dict[At, list[CompiledRule]] = {at: [] for at in tables}
    seen: set[str] = set()
    for index, rule in enumerate(document.rules):
        if rule.id in seen:
            problems.append((index, f"the id {rule.id!r} is taken by another rule"))
        seen.add(rule.id)
        try:
            condition = parse(rule.when, rule.at, tables)
            compiled[rule.at].append(CompiledRule(rule, condition, scope_of(rule.when, tables[rule.at])))
        except ConditionError as error:
            problems.append((index, str(error)))
    if problems:
        raise PolicyError(problems)
    return Policy(document, {at: _stage(at, rules, tables) for at, rules in compiled.items()}, tables)


def allowed(
    policy: Policy, values: Mapping[str, Value | None], channel: Channel
) -> tuple[Allowed, tuple[RuleTrace, ...]]:
    """The channel's declaration, cut by the rules at `decide`; and the trace of every rule that was looked at."""
    effects = policy.look("decide", values)
    forbid = effects.forbid
    guards = channel.guards
    result = Allowed(
        cache="cache" not in forbid,
        rag="rag" not in forbid,
        tiers=frozenset(tier for tier in channel.tiers if f"tier:{tier}" not in forbid),
        forbidden_variants=frozenset(name[8:] for name in forbid if name.startswith("variant:")),
        guards_in=tuple(guards.checks_in),
        # A rule at decide speaks after the way in is screened: what it adds watches the way out.
        guards_out=(*guards.checks_out, *sorted(effects.guards.difference(guards.checks_out))),
        prefer=effects.prefer,
        degrade=DEGRADATIONS if effects.degrade is None else effects.degrade,
        answer=effects.answer,
    )
    return result, effects.trace


def _stage(at: At, rules: list[CompiledRule], tables: Tables) -> Stage:
    table = tables[at]
    names = {name for compiled in rules for name in compiled.condition.reads}
    constants = {name for compiled in rules for name in compiled.condition.constants}
    slots = []
    for name in sorted(names):
        about = known_by(name, table)
        slots.append(_Slot(name, about or name, about is not None, table[name]))
    return Stage(
        rules=tuple(sorted(rules, key=lambda compiled: compiled.order)),
        reads=frozenset(slot.source for slot in slots),
        slots=tuple(slots),
        constants=tuple((name, CONSTANTS[name]) for name in sorted(constants)),
        new_context=cel().Context,
        seen={},
    )


def _context(stage: Stage, values: Mapping[str, Value | None]) -> tuple[Context, dict[str, Value], set[str]]:
    """The CEL context, the values in it, and which of them stand in for something unknown.

    What has no stand-in and is absent stays out: the condition that reads it then fails, and says so.
    """
    context = stage.new_context()
    seen: dict[str, Value] = {}
    unknown: set[str] = set()
    for slot in stage.slots:
        given = values.get(slot.source)
        value: Value | None
        if slot.about:
            value = given is not None
        elif given is None:
            value = slot.variable.unknown
            if value is None:
                continue
            unknown.add(slot.name)
        else:
            value = _coerced(slot.variable, given)
        context.add_variable(slot.name, value)
        seen[slot.name] = value
    for name, constant in stage.constants:
        context.add_variable(name, constant)
    return context, seen, unknown


def _coerced(variable: Variable, given: Value) -> Value:
    """As declared; what can't be is handed on as it is, so that the condition fails rather than the request."""
    try:
        return variable.coerce(given)
    except (TypeError, ValueError, KeyError, OverflowError):
        return given


def _run(compiled: CompiledRule, context: Context) -> tuple[bool, str | None]:
    """Whether the rule hits, and the error that decided so if its condition failed."""
    error: str
    try:
        result = compiled.condition.program.execute(context)
    except BaseException as raised:
        if not raised_by_cel(raised):
            raise
        error = f"{type(raised).__name__}: {str(raised)[:200]}"
    else:
        if result is True or result is False:
            return result, None
        error = f"the condition gave {type(result).__name__}, not a bool"
    return compiled.rule.then.restricts, error


def _combine(hits: list[tuple[Rule, bool]], trace: tuple[RuleTrace, ...]) -> Effects:
    """`hits` in the order of rules, each with whether its condition failed."""
    if not hits:
        return Effects(trace=trace)
    forbid: set[str] = set()
    guards: set[str] = set()
    prefer: dict[str, None] = {}
    degrade: set[Degradation] | None = None
    on_full: OnFull | None = None
    answer: str | None = None
    for rule, failed in hits:
        then = rule.then
        forbid.update(then.forbid)
        guards.update(then.guards)
        if not failed:
            prefer.update(dict.fromkeys(then.prefer))
        if then.degrade is not None:
            degrade = set(then.degrade) if degrade is None else degrade.intersection(then.degrade)
        if then.on_full is not None:
            wait, reroute = then.on_full.wait_ms, then.on_full.reroute
            on_full = (
                OnFull(min(wait, on_full.wait_ms), reroute and on_full.reroute) if on_full else OnFull(wait, reroute)
            )
        answer = answer or then.answer
    return Effects(
        forbid=frozenset(forbid),
        prefer=tuple(prefer),
        guards=frozenset(guards),
        degrade=None if degrade is None else tuple(step for step in DEGRADATIONS if step in degrade),
        on_full=on_full,
        answer=answer,
        trace=trace,
    )


def values_of(at: At, given: Mapping[str, Any], tables: Tables = VARIABLES) -> dict[str, Value | None]:
    """A test's `given` as values: levels of risk by name. Raises ValueError naming what doesn't fit the table."""
    table = tables[at]
    values: dict[str, Value | None] = {}
    for name, value in given.items():
        variable = table.get(name)
        if variable is None or known_by(name, table):
            raise ValueError(f"{name} is no variable that can be given at {at}")
        if value is None and variable.unknown is None:
            raise ValueError(f"{name} is always known, so it can't be null")
        if value is not None and not fits(variable, value):
            raise ValueError(f"{name} is a {variable.type}, got {value!r}")
        values[name] = value
    return values


def fits(variable: Variable, value: Any) -> bool:
    """Whether a value of a document has the variable's type; whole numbers are doubles too, levels go by name."""
    if variable.type == "bool" or isinstance(value, bool):
        return variable.type == "bool" and isinstance(value, bool)
    if variable.type == "int":
        return isinstance(value, int) or (variable.name == "risk" and value in CONSTANTS)
    if variable.type == "double":
        return isinstance(value, (int, float))
    return isinstance(value, str if variable.type == "string" else list)
