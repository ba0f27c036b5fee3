"""Looking at rules: which hit, what they sum up to, and what the trace says."""

from __future__ import annotations

import pytest

from trimtab.core.decision import Allowed, Feature, Features, OnFull
from trimtab.core.tenancy import CacheTerms, Channel, ChannelCost, GuardTerms, LatencyTargets, QualityTargets, Targets
from trimtab.dataplane.policy import (
    VARIABLES,
    OnFullTerms,
    Policy,
    PolicyDocument,
    PolicyError,
    Rule,
    Then,
    allowed,
    compile_policy,
    feature_values,
)


def _policy(*rules: Rule) -> Policy:
    return compile_policy(PolicyDocument(rules=list(rules)))


def _rule(name: str, when: str, at: str = "decide", priority: int = 0, **then: object) -> Rule:
    return Rule(id=name, at=at, when=when, priority=priority, then=Then(**then))  # type: ignore[arg-type]


def _channel(**fields: object) -> Channel:
    latency = LatencyTargets(ttft_ms=800, itl_ms=80, e2e_ms=4000)
    return Channel(
        targets=Targets(latency=latency, quality=QualityTargets(min=0)),
        cost=ChannelCost(max_per_request_usd=1),  # type: ignore[arg-type]
        **fields,  # type: ignore[arg-type]
    )


def test_the_trace_names_every_rule_with_what_it_read() -> None:
    """Hit or not, each rule of the stage is in the trace, with the values that it reads and no others."""
    policy = _policy(
        _rule("slow", "latency_e2e_ms > 5000.0", forbid=["rag"]),
        _rule("hard", "complexity > 0.5", forbid=["cache"]),
        _rule("elsewhere", "tier_free <= 0", at="admit", on_full=OnFullTerms(wait_ms=1, reroute=True)),
    )
    effects = policy.look("decide", {"latency_e2e_ms": 900, "complexity": 0.7, "tenant": "a"})
    assert effects.forbid == {"cache"}
    assert [(one.id, one.hit, one.values, one.error) for one in effects.trace] == [
        ("hard", True, {"complexity": 0.7}, None),
        ("slow", False, {"latency_e2e_ms": 900.0}, None),
    ]
    assert policy.reads("decide") == {"complexity", "latency_e2e_ms"}
    assert repr(policy) == "<Policy decide 2 route 0 admit 1 guard_out 0>"


def test_what_is_looked_up_is_what_would_be_worked_out() -> None:
    """The same values give the same sum; one other value gives its own, also after more than are remembered."""
    policy = _policy(_rule("hard", "complexity > 0.5", forbid=["cache"]))
    assert policy.look("decide", {"complexity": 0.7}) is policy.look("decide", {"complexity": 0.7, "tenant": "b"})
    for number in range(1500):
        value = number / 1500
        effects = policy.look("decide", {"complexity": value})
        assert effects.forbid == ({"cache"} if value > 0.5 else frozenset())
        assert effects.trace[0].values == {"complexity": value}
    assert policy.look("decide", {"complexity": 0.2}).forbid == frozenset()


@pytest.mark.parametrize("known", [{}, {"complexity": None, "risk": None}])
def test_the_unknown_counts_as_the_worst_case(known: dict[str, None]) -> None:
    """Absent or None: complexity 1.0, risk high, has_NAME false; and the trace says that it was unknown."""
    policy = _policy(_rule("r", "complexity >= 1.0 && risk >= high && !has_complexity && !has_risk", forbid=["cache"]))
    (trace,) = policy.look("decide", known).trace
    assert trace.hit
    assert trace.values == {"complexity": 1.0, "has_complexity": False, "risk": 2, "has_risk": False}


def test_a_stand_in_is_marked_in_the_trace_even_if_the_rule_does_not_ask() -> None:
    """A rule that reads an unknown value without asking has_NAME leaves a trace from which that can be told."""
    policy = _policy(_rule("r", "complexity > 0.5", forbid=["cache"]))
    assert policy.look("decide", {}).trace[0].values == {"complexity": 1.0, "has_complexity": False}
    assert policy.look("decide", {"complexity": 1.0}).trace[0].values == {"complexity": 1.0}


@pytest.mark.parametrize(
    ("when", "values"),
    [
        ("latency_e2e_ms > 1.0", {}),
        ("latency_e2e_ms > 1.0", {"latency_e2e_ms": float("nan")}),
        ("latency_e2e_ms > 1.0", {"latency_e2e_ms": "fast"}),
        ("n / 0 == 1", {"n": 1}),
        ("n", {"n": 1}),
        ("tenant.matches('(')", {"tenant": "a"}),
    ],
)
def test_a_failing_condition_restricts(when: str, values: dict[str, object]) -> None:
    """A rule that can't be evaluated counts as hit for what it takes away; its preference is left out; it is said."""
    policy = _policy(_rule("r", when, forbid=["cache"], prefer=["tier:S"]))
    effects = policy.look("decide", values)  # type: ignore[arg-type]
    assert effects.forbid == {"cache"}
    assert effects.prefer == ()
    assert effects.trace[0].hit
    assert effects.trace[0].error


def test_a_failing_preference_does_not_hit() -> None:
    """A rule that only prefers takes nothing away, so a failure of its condition changes nothing."""
    effects = _policy(_rule("r", "n / 0 == 1", prefer=["tier:S"])).look("decide", {"n": 1})
    assert effects.prefer == ()
    assert not effects.trace[0].hit
    assert effects.trace[0].error


def test_effects_add_up_as_declared() -> None:
    """Unions, the least wait, reroute and degrade where all allow it, the first answer, preferences in order."""
    decide = _policy(
        _rule("b", "true", priority=1, forbid=["cache"], prefer=["tier:M"], guards=["x"], degrade=["tier", "window"]),
        _rule("a", "true", priority=1, forbid=["rag"], prefer=["tier:S"], guards=["y"], degrade=["retrieval", "tier"]),
        _rule("z", "true", priority=9, prefer=["tier:L"], answer="template:first"),
        _rule("c", "true", priority=1, prefer=["tier:M"], answer="template:second"),
        _rule("off", "false", forbid=["tier:L"], degrade=[], answer="template:never"),
    ).look("decide", {})
    assert decide.forbid == {"cache", "rag"}
    assert decide.guards == {"x", "y"}
    assert decide.prefer == ("tier:L", "tier:S", "tier:M")
    assert decide.degrade == ("tier",)
    assert decide.answer == "template:first"

    admit = _policy(
        _rule("a", "true", at="admit", on_full=OnFullTerms(wait_ms=500, reroute=True)),
        _rule("b", "true", at="admit", on_full=OnFullTerms(wait_ms=900, reroute=False)),
    ).look("admit", {})
    assert admit.on_full == OnFull(500, False)


def test_without_a_rule_nothing_is_restricted() -> None:
    """What no rule speaks of is None, which is not the same as an empty list."""
    effects = _policy().look("route", {})
    assert effects.degrade is None
    assert effects.on_full is None
    assert _policy(_rule("r", "true", at="route", degrade=[])).look("route", {}).degrade == ()


def test_a_channel_is_cut_by_the_rules() -> None:
    """The channel's declaration is the start; rules take tiers, variants, cache and retrieval, and add guards."""
    policy = _policy(
        _rule(
            "r",
            "true",
            forbid=["tier:L", "tier:S", "variant:m-fast", "cache"],
            guards=["pii", "deny"],
            degrade=["tier"],
        )
    )
    channel = _channel(tiers=["S", "M"], guards=GuardTerms(checks_out=["deny"]))
    result, trace = allowed(policy, {}, channel)
    assert result == Allowed(
        cache=False,
        rag=True,
        tiers=frozenset("M"),
        forbidden_variants=frozenset({"m-fast"}),
        guards_in=("email",),
        guards_out=("deny", "pii"),
        prefer=(),
        degrade=("tier",),
    )
    assert [one.id for one in trace] == ["r"]
    free, _ = allowed(_policy(), {}, channel)
    assert free.degrade == ("window", "retrieval", "tier")


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("latncy_e2e_ms < 1.0", "Did you mean latency_e2e_ms?"),
        ("tier_free <= 0", "is known at admit only"),
        ("latency_e2e_ms <", "is not CEL: column 17"),
        ("features.complexity > 0.5", "there is no variable features"),
        ("(" * 900 + "true" + ")" * 900, "is not CEL"),
        ("!" * 1999 + "n", None),
        ("true" + " || true" * 300, "longer than 2000"),
    ],
)
def test_conditions_that_can_not_run_are_refused_at_load(when: str, words: str | None) -> None:
    """Syntax, names and sizes are settled when the policy is compiled, and the message says what to change."""
    if words is None:
        _policy(_rule("r", when, forbid=["cache"]))
        return
    with pytest.raises(PolicyError) as caught:
        _policy(_rule("ok", "true", forbid=["rag"]), _rule("r", when, forbid=["cache"]))
    ((index, message),) = caught.value.problems
    assert index == 1
    assert words in message


def test_bound_names_are_not_variables() -> None:
    """A name that a macro binds is the condition's own, whatever it is called."""
    effects = _policy(_rule("r", "[1, 2].exists(v, v == n)", forbid=["cache"])).look("decide", {"n": 2})
    assert effects.trace[0].hit
    assert effects.trace[0].values == {"n": 2}


def test_values_come_as_the_table_says() -> None:
    """A whole number is a double where one is declared, so that arithmetic with literals works; risk goes by name."""
    policy = _policy(_rule("r", "latency_e2e_ms * 2.0 > 10.0 && risk == medium", forbid=["cache"]))
    assert policy.look("decide", {"latency_e2e_ms": 6, "risk": "medium"}).trace[0].hit


def test_features_become_values() -> None:
    """What the classifier told is handed on; what it did not tell is left out, so that it counts as unknown."""
    features = Features(complexity=Feature(0.2, 0.9), risk=Feature("low", 0.8), language=Feature(None, 0.1))
    assert feature_values(features) == {"complexity": 0.2, "risk": "low"}


def test_every_stage_sees_the_request() -> None:
    """What decide knows, the later stages know too, under the same names."""
    for table in VARIABLES.values():
        assert VARIABLES["decide"].keys() <= table.keys()
    assert CacheTerms().unclassified == "deny"
