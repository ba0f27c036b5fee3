"""Laws for any rules: order means nothing, one more rule permits no more, the unknown is never the better."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

import trimtab.controlplane.registry as registry
from trimtab.core.decision import Effects
from trimtab.dataplane.policy import DEGRADATIONS, OnFullTerms, PolicyDocument, Rule, Then, compile_policy

_FORBID = ["cache", "rag", "tier:S", "tier:M", "tier:L", "variant:a", "variant:b"]
_WHEN = [
    "true",
    "false",
    "complexity > 0.5",
    "risk >= medium || latency_e2e_ms < 800.0",
    "has_risk && risk == low",
    "n / (n - 1) > 1",  # fails for n = 1
    "n",  # no bool
    "latency_ttft_ms > 1.0",  # not given: fails
]

_SCOPED = [
    'tenant == "a"',
    '"a" == tenant && channel == "x" && n > 1',
    'tenant in ["a", "b"] && latency_ttft_ms > 1.0',  # not given: fails where it is looked at
    'tenant == "a" || complexity > 0.5',
    'tenant == "a" && n > 2 || complexity > 0.5',
    'tenant == "a" && n > 1 ? true : n > 2',
    'n > 1 && tenant == "b"',
    'market == "de" && tenant == "b"',
    'market == "" && n > 1',
    'persona == "agent" && (tenant == "a" || n > 1)',
    'tenant == "a" && tenant == "b"',
    'priority in ["batch"] && channel in ["x", "y"]',
    'tenant == r"a"',
    '!(tenant == "a") && channel != "y"',
]

_then = st.builds(
    Then,
    forbid=st.lists(st.sampled_from(_FORBID), max_size=3),
    prefer=st.lists(st.sampled_from(["tier:S", "tier:M", "variant:a"]), max_size=2),
    guards=st.lists(st.sampled_from(["a", "b"]), max_size=2),
    degrade=st.none() | st.lists(st.sampled_from(DEGRADATIONS), max_size=3),
    on_full=st.none() | st.builds(OnFullTerms, wait_ms=st.floats(0, 9000), reroute=st.booleans()),
    answer=st.none() | st.sampled_from(["template:x", "template:y"]),
)
_rules = st.lists(
    st.builds(
        Rule,
        id=st.from_regex("[a-z]{1,3}", fullmatch=True),
        at=st.just("decide"),
        when=st.sampled_from(_WHEN),
        priority=st.integers(-1, 1),
        then=_then,
    ),
    max_size=6,
    unique_by=lambda rule: rule.id,
)
_values = st.fixed_dictionaries(
    {"latency_e2e_ms": st.floats(1, 9000), "n": st.integers(1, 3)},
    optional={"complexity": st.floats(0, 1), "risk": st.sampled_from([0, 1, 2])},
)


def _look(rules: list[Rule], values: dict[str, object]) -> Effects:
    return compile_policy(PolicyDocument(rules=rules)).look("decide", values)  # type: ignore[arg-type]


def _no_looser(tight: Effects, loose: Effects) -> bool:
    """Whether `tight` permits nothing that `loose` does not."""
    degrade = set(DEGRADATIONS if loose.degrade is None else loose.degrade)
    waits = loose.on_full is None or (
        tight.on_full is not None
        and tight.on_full.wait_ms <= loose.on_full.wait_ms
        and (loose.on_full.reroute or not tight.on_full.reroute)
    )
    return (
        tight.forbid >= loose.forbid
        and tight.guards >= loose.guards
        and set(DEGRADATIONS if tight.degrade is None else tight.degrade) <= degrade
        and waits
        and (tight.answer is not None or loose.answer is None)
    )


@settings(max_examples=150, deadline=None)
@given(st.data(), _rules, _values)
def test_the_order_of_rules_means_nothing(data: st.DataObject, rules: list[Rule], values: dict[str, object]) -> None:
    """Any order of the same rules gives equal effects, and the same trace."""
    shuffled = data.draw(st.permutations(rules))
    assert _look(rules, values) == _look(shuffled, values)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.builds(
            Rule,
            id=st.from_regex("[a-z]{1,3}", fullmatch=True),
            at=st.just("decide"),
            when=st.sampled_from([*_SCOPED, *_WHEN]),
            then=_then,
        ),
        max_size=8,
        unique_by=lambda rule: rule.id,
    ),
    st.fixed_dictionaries(
        {"n": st.integers(1, 3)},
        optional={
            "tenant": st.sampled_from(["a", "b", "c"]),
            "channel": st.sampled_from(["x", "y", "z"]),
            "market": st.sampled_from(["de", "fr", "", None]),
            "persona": st.sampled_from(["agent", None]),
            "priority": st.sampled_from(["batch", "standard"]),
            "complexity": st.floats(0, 1),
        },
    ),
)
def test_rules_that_speak_for_others_are_left_out_and_nothing_changes(
    rules: list[Rule], values: dict[str, object]
) -> None:
    """What is decided is what it would be if every rule were looked at; those left out would not have hit."""
    policy = compile_policy(PolicyDocument(rules=rules))
    looked = policy.look("decide", values)  # type: ignore[arg-type]
    every = policy.trace("decide", values)  # type: ignore[arg-type]
    assert [one for one in every if one.hit] == [one for one in looked.trace if one.hit]
    left_out = {one.id for one in every} - {one.id for one in looked.trace}
    speak_for_all = {rule.id for rule in rules if rule.when in _WHEN}
    assert not left_out & speak_for_all
    if values.get("tenant") == "c":
        assert left_out >= {rule.id for rule in rules if rule.when == 'tenant == "a"'}


@settings(max_examples=150, deadline=None)
@given(_rules, _values)
def test_one_more_rule_never_permits_more(rules: list[Rule], values: dict[str, object]) -> None:
    """Every prefix of the rules permits at least what all of them permit, also where conditions fail."""
    effects = [_look(rules[:count], values) for count in range(len(rules) + 1)]
    for looser, tighter in pairwise(effects):
        assert _no_looser(tighter, looser)


@settings(max_examples=150, deadline=None)
@given(_rules, _values)
def test_the_same_rule_twice_is_the_rule_once(rules: list[Rule], values: dict[str, object]) -> None:
    """Effects are idempotent: a copy of every rule under another id changes nothing but the trace."""
    copies = [
        Rule(id=f"copy-{rule.id}", at=rule.at, when=rule.when, priority=rule.priority, then=rule.then) for rule in rules
    ]
    once, twice = _look(rules, values), _look([*rules, *copies], values)
    assert _no_looser(once, twice)
    assert _no_looser(twice, once)
    assert set(once.prefer) == set(twice.prefer)


@settings(max_examples=100, deadline=None)
@given(
    st.floats(0, 1),
    st.integers(0, 2),
    st.booleans(),
    st.floats(1, 5000),
)
def test_shipped_rules_never_take_the_unknown_for_harmless(
    complexity: float, risk: int, unclassified: bool, latency_e2e_ms: float
) -> None:
    """What the shipped policy forbids a request of known features, it forbids the same request of unknown ones, unless
    its channel declared otherwise; and half known is unknown."""
    policy = compile_policy(registry.read_policy(Path(registry.__file__).parent / "example"))
    plain = {"cache_unclassified": False, "latency_e2e_ms": latency_e2e_ms}
    known = policy.look("decide", {**plain, "complexity": complexity, "risk": risk})
    for part in ({}, {"complexity": complexity}, {"risk": risk}):
        unknown = policy.look("decide", {**plain, **part})
        assert _no_looser(unknown, known)
        assert "cache" in unknown.forbid
    declared = policy.look("decide", {**plain, "cache_unclassified": unclassified})
    assert ("cache" in declared.forbid) is not unclassified
