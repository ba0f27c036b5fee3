"""What is wrong, doubtful or untested in a policy, found without traffic: for `check`, `policy lint`, `policy test`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import combinations, islice

import msgspec

from trimtab.core.decision import At
from trimtab.dataplane.policy.cells import Cell, Cells, cells
from trimtab.dataplane.policy.document import PolicyDocument, Rule, RuleTest
from trimtab.dataplane.policy.engine import Policy, compile_policy, values_of
from trimtab.dataplane.policy.expression import Condition, ConditionError, parse
from trimtab.dataplane.policy.variables import VARIABLES, Tables, known_by
from trimtab.dataplane.policy.variables import tables as variable_tables
from trimtab.foundations.config import Path, Problem, did_you_mean

EFFECTS: dict[At, frozenset[str]] = {
    "decide": frozenset({"forbid", "prefer", "guards", "degrade", "answer"}),
    "route": frozenset({"forbid", "prefer", "degrade", "answer"}),
    "admit": frozenset({"on_full"}),
    "guard_out": frozenset({"answer"}),
}
"""Which effects a stage can carry out. Any other would look applied and never be."""
_MAX_PAIRS = 500


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What effects may name. `guards` None: not known here, so not checked."""

    variants: frozenset[str]
    tiers: frozenset[str]
    templates: frozenset[str]
    guards: frozenset[str] | None = None


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One of a document's own tests, run."""

    rule: str
    test: str
    path: Path
    passed: bool
    message: str = ""


def lint(
    document: PolicyDocument, names: Names, file: str = "policy.yaml", tables: Tables = VARIABLES
) -> list[Problem]:
    """Every finding, errors and warnings; lines are not filled in. `tables`: what conditions may read, by stage."""
    problems: list[Problem] = []
    conditions: dict[int, Condition] = {}
    seen: dict[str, int] = {}
    for index, rule in enumerate(document.rules):
        if rule.id in seen:
            message = f"the id {rule.id} is taken by rules[{seen[rule.id]}]"
            problems.append(_error(file, ("rules", index, "id"), message, "Give one of the two another id."))
        seen.setdefault(rule.id, index)
        problems += _effects(rule, index, names, file)
        try:
            conditions[index] = parse(rule.when, rule.at, tables)
        except ConditionError as error:
            problems.append(_error(file, ("rules", index, "when"), str(error)))
            continue
        problems += _fires(rule, conditions[index], index, file, tables)
        problems += _untested(rule, index, file)
    problems += _overlaps(document, conditions, file, tables)
    for outcome in run_tests(document, tables):
        if not outcome.passed:
            message = f'the test "{outcome.test}" fails: {outcome.message}'
            problems.append(_error(file, outcome.path, message, "Mend the test, or the condition."))
    return problems


def run_tests(document: PolicyDocument, tables: Tables = VARIABLES) -> list[Outcome]:
    """Every test of every rule, each against its own rule alone. Rules that don't compile have no outcomes."""
    outcomes = []
    for index, rule in enumerate(document.rules):
        try:
            condition = parse(rule.when, rule.at, tables)
        except ConditionError:
            continue
        policy = compile_policy(PolicyDocument(rules=[rule]), tables)
        for position, test in enumerate(rule.tests):
            message = _fails(policy, rule, condition, test)
            path: Path = ("rules", index, "tests", position)
            outcomes.append(Outcome(rule=rule.id, test=test.name, path=path, passed=not message, message=message))
    return outcomes


def describe(cell: Cell) -> str:
    """`complexity=0.5, risk unknown`."""
    return ", ".join(f"{name} unknown" if value is None else f"{name}={value!r}" for name, value in cell.items())


def _fails(policy: Policy, rule: Rule, condition: Condition, test: RuleTest) -> str:
    """Why the test fails; blank if it holds."""
    try:
        values = values_of(rule.at, test.given, policy.tables)
    except ValueError as error:
        return str(error)
    table = policy.tables[rule.at]
    for name in condition.reads:
        if not known_by(name, table) and table[name].unknown is None and name not in values:
            return f"it does not give {name}, which the condition reads and which is always known"
    trace = policy.trace(rule.at, values)[0]
    if trace.error:
        return f"the condition failed: {trace.error}"
    if trace.hit != test.hit:
        return f"the rule {'hits' if trace.hit else 'does not hit'} with {describe(trace.values)}"
    return ""


def _error(file: str, path: Path, message: str, hint: str = "") -> Problem:
    return Problem(file=file, path=path, message=message, hint=hint)


def _warning(file: str, path: Path, message: str, hint: str = "") -> Problem:
    return Problem(file=file, path=path, message=message, hint=hint, severity="warning")


# Effects.


def _effects(rule: Rule, index: int, names: Names, file: str) -> Iterator[Problem]:
    then, path = rule.then, ("rules", index, "then")
    used = {name for name in then.__struct_fields__ if getattr(then, name) not in ([], None)}
    if not used and then.degrade is None:
        yield _error(file, path, "takes nothing away", "Write e.g. then: {forbid: [cache]}")
    for name in sorted(used - EFFECTS[rule.at]):
        stages = ", ".join(at for at, effects in EFFECTS.items() if name in effects)
        yield _error(file, (*path, name), f"has no effect at {rule.at}", f"It can be used at: {stages}.")
    if rule.at == "route" and "cache" in then.forbid:
        yield _error(file, (*path, "forbid"), "the cache was asked before routing", "Forbid it at: decide.")
    for key, entries in (("forbid", then.forbid), ("prefer", then.prefer)):
        for entry in entries:
            yield from _named(entry, (*path, key), names, file)
    if then.answer:
        yield from _named(then.answer, (*path, "answer"), names, file)
    if names.guards is not None:
        for guard in sorted(set(then.guards) - names.guards):
            hint = did_you_mean(guard, names.guards)
            yield _error(file, (*path, "guards"), f"there is no guard check {guard}", hint)


def _named(entry: str, path: Path, names: Names, file: str) -> Iterator[Problem]:
    kind, _, name = entry.partition(":")
    if kind == "variant" and name not in names.variants:
        yield _error(file, path, f"there is no variant {name}", did_you_mean(name, names.variants))
    if kind == "template" and name not in names.templates:
        yield _error(file, path, f"there is no template {name}", did_you_mean(name, names.templates))
    if kind == "tier" and name not in names.tiers:
        hint = f"Tiers with variants: {', '.join(sorted(names.tiers)) or 'none'}."
        yield _warning(file, path, f"no variant is of tier {name}, so naming it changes nothing", hint)


# Conditions.


def _fires(rule: Rule, condition: Condition, index: int, file: str, tables: Tables) -> Iterator[Problem]:
    """Runs the rule on every cell: it must give a bool on each, hit on some, and not on all."""
    path = ("rules", index, "when")
    space = cells([rule.when], condition.reads, tables[rule.at])
    policy = compile_policy(PolicyDocument(rules=[rule]), tables)
    hits = misses = 0
    for cell in space:
        trace = policy.trace(rule.at, cell)[0]
        if trace.error:
            message = f"fails with {describe(cell) or 'any values'}: {trace.error}"
            yield _error(file, path, message, "Compare values of one type, numbers with a decimal point.")
            return
        hits, misses = hits + trace.hit, misses + (not trace.hit)
    if not space.whole:
        # A sample proves nothing by itself, a test that holds does.
        hits, misses = hits + _shown(policy, rule, condition, True), misses + _shown(policy, rule, condition, False)
    if not hits:
        hint = "Remove the rule, or mend its condition." if space.whole else "If it can, write a test that hits."
        yield _warning(file, path, f"never hits{_extent(space)}", hint)
    elif not misses and rule.when.strip() != "true":
        yield _warning(file, path, f"always hits{_extent(space)}", "If that is meant, write when: true")


def _shown(policy: Policy, rule: Rule, condition: Condition, hit: bool) -> bool:
    return any(test.hit is hit and not _fails(policy, rule, condition, test) for test in rule.tests)


def _extent(space: Cells) -> str:
    if space.whole:
        return f": tried below, at and above each threshold ({space.total} cases)"
    return f" in a sample of the {space.total} cases"


def _untested(rule: Rule, index: int, file: str) -> Iterator[Problem]:
    missing = [text for wanted, text in ((True, "hits"), (False, "does not hit")) if not _has_test(rule, wanted)]
    if missing and not (rule.when.strip() == "true" and missing == ["does not hit"]):
        message = f"has no test in which it {' nor one in which it '.join(missing)}"
        hint = "Write e.g. tests: [{name: ..., given: {VARIABLE: VALUE}, hit: true}]"
        yield _warning(file, ("rules", index), f"{rule.id} {message}", hint)


def _has_test(rule: Rule, wanted: bool) -> bool:
    return any(test.hit is wanted for test in rule.tests)


def _overlaps(
    document: PolicyDocument, conditions: dict[int, Condition], file: str, tables: Tables
) -> Iterator[Problem]:
    """Two answers at equal priority for one request: which wins is decided by the ids, which nobody means."""
    answering = [index for index in conditions if document.rules[index].then.answer]
    pairs = (
        (first, second)
        for first, second in combinations(answering, 2)
        if _rank(document.rules[first]) == _rank(document.rules[second])
        and document.rules[first].then.answer != document.rules[second].then.answer
    )
    for first, second in islice(pairs, _MAX_PAIRS):
        rules = [document.rules[first], document.rules[second]]
        both = _both_hit(rules, [conditions[first], conditions[second]], tables)
        if both is not None:
            winner = min(rule.id for rule in rules)
            message = f"answers like {rules[0].id} at the same priority, with {describe(both) or 'any values'}"
            hint = f"{winner} wins by its id; give one of them a higher priority."
            yield _warning(file, ("rules", second, "then", "answer"), message, hint)


def _rank(rule: Rule) -> tuple[At, int]:
    return rule.at, rule.priority


def _both_hit(rules: list[Rule], conditions: Iterable[Condition], tables: Tables) -> Cell | None:
    at = rules[0].at
    reads = {name for condition in conditions for name in condition.reads}
    policy = compile_policy(PolicyDocument(rules=rules), tables) if rules[0].id != rules[1].id else None
    if policy is None:
        return None
    for cell in cells([rule.when for rule in rules], reads, tables[at]):
        if all(trace.hit for trace in policy.trace(at, cell)):
            return cell
    return None


def reference() -> str:
    """What conditions may read and do, as Markdown; generated for `policy show` and the documentation."""
    lines = [variable_tables(), "", "Effects by stage:", ""]
    lines += [f"- {at}: {', '.join(sorted(effects))}" for at, effects in EFFECTS.items()]
    return "\n".join(lines) + "\n"
