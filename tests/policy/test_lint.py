"""The linter: wrong, doubtful and untested rules are found without traffic."""

from __future__ import annotations

import pytest

from trimtab.dataplane.policy import VARIABLES, Names, PolicyDocument, lint, reference, run_tests
from trimtab.dataplane.policy.cells import MAX_CELLS, cells
from trimtab.foundations.config import Problem, Reader

NAMES = Names(variants=frozenset({"small-brief"}), tiers=frozenset("SM"), templates=frozenset({"refusal", "handover"}))
TESTED = "tests: [{name: a, given: %s, hit: true}, {name: b, given: %s, hit: false}]"


def _document(text: str) -> PolicyDocument:
    document, problems = Reader(PolicyDocument).read(text, "policy.yaml")
    assert document is not None, [str(problem) for problem in problems]
    return document


def _lint(*rules: str) -> list[Problem]:
    return lint(_document("rules:\n" + "".join(f"  - {rule}\n" for rule in rules)), NAMES)


def _one(rule: str) -> Problem:
    found = [problem for problem in _lint(rule) if "has no test" not in problem.message]
    assert len(found) == 1, [str(problem) for problem in found]
    return found[0]


@pytest.mark.parametrize(
    ("rule", "severity", "words"),
    [
        ("{id: r, at: decide, when: complexty > 0.5, then: {forbid: [cache]}}", "error", "Did you mean complexity?"),
        ("{id: r, at: decide, when: complexity + n > 1.0, then: {forbid: [cache]}}", "error", "fails with"),
        ("{id: r, at: decide, when: n, then: {forbid: [cache]}}", "error", "gave int, not a bool"),
        ("{id: r, at: decide, when: tenant == 'a' || n, then: {forbid: [cache]}}", "error", "fails with"),
        ("{id: r, at: decide, when: complexity > 1.0, then: {forbid: [cache]}}", "warning", "never hits"),
        ("{id: r, at: decide, when: n < 1, then: {forbid: [cache]}}", "warning", "never hits"),
        ("{id: r, at: decide, when: quality_min >= 0.0, then: {forbid: [cache]}}", "warning", "always hits"),
        ("{id: r, at: decide, when: has_risk || !has_risk, then: {forbid: [cache]}}", "warning", "always hits"),
        ("{id: r, at: decide, when: stream, then: {}}", "error", "takes nothing away"),
        ("{id: r, at: decide, when: stream, then: {forbid: ['variant:smal-brief']}}", "error", "mean small-brief?"),
        ("{id: r, at: decide, when: stream, then: {answer: 'template:refusl'}}", "error", "mean refusal?"),
        ("{id: r, at: decide, when: stream, then: {prefer: ['tier:L']}}", "warning", "no variant is of tier L"),
        (
            "{id: r, at: decide, when: stream, then: {on_full: {wait_ms: 1, reroute: true}}}",
            "error",
            "has no effect at decide. It can be used at: admit.",
        ),
        ("{id: r, at: route, when: stream, then: {forbid: [cache]}}", "error", "asked before routing"),
    ],
)
def test_a_fault_of_a_rule_is_found(rule: str, severity: str, words: str) -> None:
    """Each fault is one finding, an error where the rule can't mean anything, a warning where it may."""
    problem = _one(rule)
    assert problem.severity == severity
    assert words in str(problem)


@pytest.mark.parametrize(
    "when",
    [
        "complexity > 0.5 || risk >= medium",
        "projected_cost_usd > budget_usd * 0.8",
        "0.3 < complexity && complexity < 0.300001",
        "turns in [7, 9] && language.startsWith('de')",
        "prompt_tokens > 4000 && market == 'uk' && priority == 'batch'",
        "latency_ttft_ms == latency_e2e_ms",
        "budget_left_usd <= -0.0 && has_budget_left_usd",
        "[1, 2].exists(v, v == n)",
    ],
)
def test_rules_that_mean_something_are_left_alone(when: str) -> None:
    """Conditions that can hit and can miss are not suspected, however narrow."""
    rule = f'{{id: r, at: route, when: "{when}", then: {{forbid: [rag]}}}}'
    assert [str(one) for one in _lint(rule) if "has no test" not in one.message] == []


def test_a_rule_without_both_tests_is_a_warning() -> None:
    """A rule wants one test in which it hits and one in which it does not; `true` wants the first alone."""
    rule = "{id: r, at: decide, when: stream, then: {forbid: [cache]}, %s}"
    both = TESTED % ("{stream: true}", "{stream: false}")
    assert _lint(rule % both) == []
    (missing,) = _lint(rule % "tests: [{name: a, given: {stream: true}, hit: true}]")
    assert missing.severity == "warning"
    assert "has no test in which it does not hit" in missing.message
    always = "{id: r, at: decide, when: true, then: {forbid: [cache]}, tests: [{name: a, given: {}, hit: true}]}"
    assert _lint(always) == []


@pytest.mark.parametrize(
    ("given", "hit", "words"),
    [
        ("{latency_e2e_ms: 900}", "true", "the rule does not hit with latency_e2e_ms=900.0"),
        ("{}", "true", "which is always known"),
        ("{latency_e2e_ms: fast}", "true", "is a double, got 'fast'"),
        ("{latency_e2e_ms: 1, nothing: 1}", "true", "nothing is no variable"),
        ("{latency_e2e_ms: 1, has_risk: true}", "true", "has_risk is no variable that can be given"),
        ("{latency_e2e_ms: null}", "true", "can't be null"),
    ],
)
def test_a_rule_that_breaks_its_own_test_is_an_error(given: str, hit: str, words: str) -> None:
    """The finding names the test, its place, and the values that decided."""
    rule = "{id: r, at: decide, when: latency_e2e_ms < 800.0, then: {forbid: [cache]}, "
    rule += "tests: [{name: x, given: %s, hit: %s}]}"
    found = [problem for problem in _lint(rule % (given, hit)) if problem.severity == "error"]
    assert [problem.path for problem in found] == [("rules", 0, "tests", 0)]
    assert words in found[0].message


def test_two_answers_at_one_priority_are_told() -> None:
    """Which of two answers wins must be meant: equal priority is a warning that names a case and the winner."""
    rules = (
        "{id: a, at: guard_out, when: guard_score < 0.5, then: {answer: 'template:refusal'}, priority: %d}",
        "{id: b, at: guard_out, when: guard_violation, then: {answer: 'template:handover'}}",
    )
    same = [one for one in _lint(rules[0] % 0, rules[1]) if "answers like" in one.message]
    assert len(same) == 1
    assert "guard_violation=True" in same[0].message
    assert "a wins by its id" in same[0].hint
    assert not [one for one in _lint(rules[0] % 1, rules[1]) if "answers like" in one.message]
    apart = rules[1].replace("guard_violation", "guard_score > 0.9")
    assert not [one for one in _lint(rules[0] % 0, apart) if "answers like" in one.message]


def test_double_ids_are_an_error() -> None:
    """Traces name rules by id, so an id is one rule's."""
    rule = "{id: r, at: decide, when: stream, then: {forbid: [cache]}}"
    assert [one.path for one in _lint(rule, rule) if one.severity == "error"] == [("rules", 1, "id")]


def test_cells_stand_below_at_and_above_each_threshold() -> None:
    """Every literal is met from both sides, inside the variable's range, and the unknown is among the cells."""
    found = cells(["complexity > 0.5 && n in [2]"], ["complexity", "n", "has_complexity"], VARIABLES["decide"])
    complexity = found.pools["complexity"]
    assert complexity[0] is None
    assert {0.0, 0.5, 1.0} < set(complexity)
    assert any(0.4 < value < 0.5 for value in complexity if value is not None)  # type: ignore[operator]
    assert found.pools["n"] == (1, 2, 3)
    assert len(list(found)) == found.total


def test_large_spaces_are_sampled_and_small_ones_are_whole() -> None:
    """The work of linting a rule is bounded, whatever it reads."""
    names = [name for name in VARIABLES["guard_out"] if not name.startswith("has_")]
    large = cells(["n > 1"], names, VARIABLES["guard_out"])
    assert not large.whole
    drawn = [tuple(cell.values()) for cell in large]
    assert len(drawn) == len(set(drawn)) == MAX_CELLS


def test_a_sample_is_no_proof_against_a_passing_test() -> None:
    """Where cells are sampled, a test that hits shows that the rule can hit."""
    parts = ["n == 7", "turns == 9", "prompt_tokens == 3", "priority == 'batch'", "market == 'x'", "persona == 'y'"]
    parts += ["intent == 'a'", "language == 'de'", "route == '/x'", "tenant == 'b'"]
    given = "{n: 7, turns: 9, prompt_tokens: 3, priority: batch, market: x, persona: y, intent: a, "
    given += "language: de, route: /x, tenant: b}"
    rule = f'{{id: r, at: decide, when: "{" && ".join(parts)}", then: {{forbid: [cache]}}'
    assert any("never hits in a sample" in one.message for one in _lint(rule + "}"))
    tested = rule + f", tests: [{{name: a, given: {given}, hit: true}}]}}"
    assert not any("never hits" in one.message for one in _lint(tested))


def test_outcomes_are_told_one_by_one() -> None:
    """`policy test` gets every test with its rule, passed or not."""
    document = _document(
        "rules:\n  - {id: r, at: decide, when: stream, then: {forbid: [cache]}, "
        "tests: [{name: a, given: {stream: true}, hit: true}, {name: b, given: {stream: true}, hit: false}]}\n"
    )
    assert [(one.rule, one.test, one.passed) for one in run_tests(document)] == [("r", "a", True), ("r", "b", False)]


def test_the_reference_names_every_variable() -> None:
    """Documentation is made from the table itself, so it can't lack one."""
    text = reference()
    for table in VARIABLES.values():
        for variable in table.values():
            assert f"| `{variable.name}` | {variable.type} |" in text
