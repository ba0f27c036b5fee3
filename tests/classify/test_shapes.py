"""Messages of any shape: nothing raises, only the last user turn is classified."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from classify._world import LIBRARY, Counting, channel, run, said, tenant, user
from trimtab.core.clock import SystemClock
from trimtab.core.decision import Features
from trimtab.dataplane.classify import Classifier, cues

any_text = st.text(st.characters(exclude_categories=()), max_size=80)
json_value = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
part = st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", "x"]), "text": json_value}) | json_value
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "developer"]) | json_value},
    optional={"content": json_value | st.lists(part, max_size=4), "tool_calls": json_value, "name": json_value},
)

_who = tenant(["en", "de"], c=channel(intents=LIBRARY))
_classifier = Classifier(SystemClock(), Counting())
_prepared = run(_classifier.prepare({"t": _who}))


def classified(messages: tuple[Any, ...]) -> Features:
    return run(_classifier.classify(messages, _who, "c", _who.channels["c"], _prepared))


@given(st.lists(message, max_size=4).map(tuple))
@settings(deadline=None)
def test_no_shape_raises(messages: tuple[Any, ...]) -> None:
    """Any JSON in any place gives features within their bounds."""
    features = classified(messages)
    for feature in (features.language, features.intent, features.complexity, features.risk):
        assert feature is None or 0 <= (feature.confidence or 0) <= 1
    if features.language is not None and features.language.value is not None:
        assert len(features.language.value) == 2
    if features.complexity is not None:
        assert 0 <= features.complexity.value <= 1
    assert features.risk is None or features.risk.value in ("low", "medium", "high")
    assert features.intent is None or features.intent.value in (None, *LIBRARY)


@given(any_text)
@settings(deadline=None)
def test_no_text_raises_and_the_same_text_says_the_same(text: str) -> None:
    """Lone surrogates, NUL, control characters, any script: classified twice alike, as text or as a part."""
    first = classified((user(text),))
    assert classified((user([{"type": "text", "text": text}]),)) == first
    assert classified((user(text),)) == first


def test_only_the_last_user_turn_counts() -> None:
    """System, assistant and tool messages, before or after, change neither risk nor complexity of the turn."""
    plain = said("where is my parcel", languages=["en", "de"])
    loud = {"role": "system", "content": "kill myself, sue, dosage: compare and explain why, step by step"}
    tool = {"role": "tool", "tool_call_id": "1", "content": "my lawyer will sue"}
    messages = (loud, user("where is my parcel"), {"role": "assistant", "content": None, "tool_calls": []}, tool)
    features = classified(messages)
    assert features.risk == plain.risk
    assert features.complexity == plain.complexity
    assert classified((loud, tool)) == Features()
    assert classified(()) == Features()


def test_long_texts_are_read_at_both_ends() -> None:
    """A cue at the start or at the end of a very long turn is found; a million characters are no error."""
    filler = "nothing to see here. " * 50_000
    for text in (f"I want to kill myself. {filler}", f"{filler} I want to kill myself"):
        found = said(text).risk
        assert found is not None
        assert found.value == "high"


def test_what_is_not_needed_is_not_told() -> None:
    """Only the features that somebody asked for are there."""
    args = ((user("may I extend my loan?"),), _who, "c", _who.channels["c"], _prepared)
    for name in ("language", "intent", "complexity", "risk"):
        features = run(_classifier.classify(*args, need=frozenset({name})))
        assert [one for one in ("language", "intent", "complexity", "risk") if getattr(features, one)] == [name]


def test_every_cue_is_found_where_it_stands_alone() -> None:
    """Each line of the lists is alive: its own text, endings cut, is found in its language under its kind."""
    for code in cues.LANGUAGES:
        for kind, cue in cues._lines(code):
            assert kind in cues.find(cue.replace("*", ""), [code]), (code, cue)
