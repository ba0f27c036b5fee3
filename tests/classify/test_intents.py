"""Intents from a few examples: other words, other languages, none of them, and what it costs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from classify._world import GARDEN, LIBRARY, Counting, channel, nano, run, tenant, user
from trimtab.core.clock import SystemClock
from trimtab.core.decision import Feature, Features
from trimtab.core.tenancy import Tenant
from trimtab.dataplane.classify import Classifier, Prepared
from trimtab.foundations.embed import Embedder, KeptVectors

HELD_OUT = [
    ("could I have the novel for two more weeks?", "renew"),
    ("please extend the due date of my books", "renew"),
    ("until what time may I come in today?", "hours"),
    ("do you open on Saturday morning?", "hours"),
    ("someone stole my membership card", "card"),
    ("the reader says that my card is invalid", "card"),
    ("we need a place to learn together, the five of us", "room"),
    ("may I reserve the small meeting room on Friday", "room"),
]
FOREIGN = [
    ("kann ich das Buch noch eine Woche behalten?", "renew"),
    ("wann macht ihr am Samstag zu?", "hours"),
    ("he perdido mi carné de la biblioteca", "card"),
    ("je voudrais réserver une salle d'étude", "room"),
    ("図書館カードをなくしました", "card"),
    ("你们星期天几点关门", "hours"),
    ("можно продлить срок возврата книг", "renew"),
    ("هل يمكنني حجز غرفة دراسة", "room"),
]
ELSEWHERE = [
    "how many moons does Jupiter have",
    "write me a limerick about a frog",
    "my bicycle has a flat tyre",
    "was kostet ein Kilo Mehl",
    "qui a gagné le tour de France",
    "what is the square root of 144",
]


async def asked(text: str, embedder: Embedder | None, intents: dict[str, list[str]]) -> Feature:
    classifier = Classifier(SystemClock(), embedder)
    who = tenant(["en"], c=channel(intents=intents))
    prepared = await classifier.prepare({"t": who})
    features = await classifier.classify((user(text),), who, "c", who.channels["c"], prepared)
    assert features.intent is not None
    return features.intent


def test_three_examples_are_enough() -> None:
    """Questions in other words are told by three examples an intent, nearly all of them."""

    async def main() -> None:
        found = [(await asked(text, nano(), LIBRARY)).value == want for text, want in HELD_OUT]
        assert sum(found) >= len(found) - 1
        assert (await asked("die Rosen müssen zurückgeschnitten werden, wann?", nano(), GARDEN)).value == "prune"
        assert (await asked("was tun gegen Läuse an Blättern", nano(), GARDEN)).value == "pest"

    run(main())


def test_examples_in_english_answer_for_other_languages() -> None:
    """The nearest intent of a question in another language is the right one, mostly, and half are in scope."""

    async def main() -> None:
        found = [(await asked(text, nano(), LIBRARY), want) for text, want in FOREIGN]
        assert sum((one.because or {})["nearest"] == want for one, want in found) >= len(found) - 1
        assert sum(one.value == want for one, want in found) >= len(found) // 2

    run(main())


def test_what_belongs_to_no_intent_has_none() -> None:
    """Questions about other things are out of scope, with a confidence and the score behind it."""

    async def main() -> None:
        found = [await asked(text, nano(), LIBRARY) for text in ELSEWHERE]
        assert sum(one.value is None for one in found) >= len(found) - 1
        for one in found:
            score = (one.because or {})["out_of_scope"]
            assert (one.value is None) == (score > 0.5)
            if one.value is None:
                assert one.confidence == score

    run(main())


def test_confidence_is_higher_where_it_is_right() -> None:
    """Right answers in scope are surer, on average, than what is taken for an intent out of scope."""

    async def main() -> None:
        inside = [await asked(text, nano(), LIBRARY) for text, _ in HELD_OUT]
        outside = [await asked(text, nano(), LIBRARY) for text in ELSEWHERE]
        assert all(0 <= (one.because or {})["out_of_scope"] < 1 for one in (*inside, *outside))
        least = sum((one.because or {})["out_of_scope"] for one in inside) / len(inside)
        most = sum((one.because or {})["out_of_scope"] for one in outside) / len(outside)
        assert most > least + 0.4

    run(main())


def test_the_spelling_settles_what_it_can() -> None:
    """A question that is spelled like an example costs no embedding; one in other words costs one; no more."""

    async def main() -> None:
        embedder = Counting()
        classifier = Classifier(SystemClock(), embedder)
        who = tenant(c=channel(intents=LIBRARY), plain=channel())
        prepared = await classifier.prepare({"t": who})
        embedder.asked.clear()
        here = who.channels["c"]
        features = await classifier.classify((user("Can I  EXTEND my loan"),), who, "c", here, prepared)
        assert features.intent is not None
        assert features.intent.value == "renew"
        assert (features.intent.because or {})["by"] == "spelling"
        assert features.intent == classifier.quick((user("Can I  EXTEND my loan"),), who, "c", here, prepared).intent
        assert embedder.asked == []
        features = await classifier.classify((user("two more weeks please"),), who, "c", here, prepared)
        assert embedder.asked == ["two more weeks please"]
        assert (features.intent or Feature(None)).because is not None
        assert classifier.quick((user("two more weeks please"),), who, "c", here, prepared).intent is None
        await classifier.classify((user("two more years please"),), who, "c", here, prepared, need=frozenset({"risk"}))
        await classifier.classify((user("two more years please"),), who, "plain", who.channels["plain"], prepared)
        await classifier.classify((user(""),), who, "c", here, prepared)
        assert embedder.asked == ["two more weeks please"]

    run(main())


def test_reloading_embeds_only_what_is_new() -> None:
    """An unchanged configuration costs nothing, and keeps its models; one new example costs one text."""

    async def main() -> None:
        embedder = Counting()
        classifier = Classifier(SystemClock(), embedder)
        first = await classifier.prepare({"t": tenant(c=channel(intents=LIBRARY))})
        embedder.asked.clear()
        again = await classifier.prepare({"t": tenant(c=channel(intents=LIBRARY), d=channel(intents=LIBRARY))})
        assert embedder.asked == []
        assert again.models["t", "c"] is first.models["t", "c"] is again.models["t", "d"]
        more = {**LIBRARY, "hours": [*LIBRARY["hours"], "opening times please"]}
        changed = await classifier.prepare({"t": tenant(c=channel(intents=more))})
        assert embedder.asked == ["opening times please"]
        assert changed.models["t", "c"] is not first.models["t", "c"]
        assert (await classifier.prepare({"t": tenant()})).models == {}

    run(main())


def test_without_an_embedder_intents_go_by_spelling() -> None:
    """No embedder is no error: the same question is answered by its spelling, and says so."""

    async def main() -> None:
        found = await asked("can I extend my loan of the books", None, LIBRARY)
        assert found.value == "renew"
        assert (found.because or {})["by"] == "spelling"
        assert (await asked("木星有多少个卫星", None, LIBRARY)).value is None

    run(main())


def test_after_a_restart_examples_are_not_embedded_again(tmp_path: Path) -> None:
    """Only those that are new; all of them where the file is damaged, of another embedder, or can't be written. What is
    told of a question is the same."""

    async def main() -> None:
        who = tenant(c=channel(intents=LIBRARY))
        later = tenant(c=channel(intents={**LIBRARY, "parking": ["where to park"]}))
        path = tmp_path / "index" / "labels.npz"
        here, question = who.channels["c"], (user("may I keep it two more weeks"),)

        async def start(declared: Tenant, name: str = "hash") -> tuple[list[str], Features]:
            embedder = Counting()
            classifier = Classifier(SystemClock(), embedder, KeptVectors(path, name))
            prepared = await classifier.prepare({"t": declared})
            embedded = embedder.asked.copy()
            return embedded, await classifier.classify(question, declared, "c", here, prepared)

        first, told = await start(who)
        assert set(first) > {text for said in LIBRARY.values() for text in said}
        assert await start(who) == ([], told)
        assert (await start(later))[0] == ["where to park"]
        assert (await start(later))[0] == []
        assert (await start(who, "another"))[0] == first
        path.write_bytes(path.read_bytes()[:-100])
        assert await start(who) == (first, told)
        assert await start(who) == ([], told)
        shutil.rmtree(path.parent)
        path.parent.write_text("no folder")
        assert await start(who) == (first, told)

    run(main())


def test_a_broken_embedder_costs_certainty_only() -> None:
    """At load and in a request alike: the failure is told, the request is classified."""

    async def main() -> None:
        embedder = Counting()
        classifier = Classifier(SystemClock(), embedder)
        who = tenant(c=channel(intents=LIBRARY))
        prepared = await classifier.prepare({"t": who})
        embedder.broken = True
        here = who.channels["c"]
        features = await classifier.classify((user("two more weeks please"),), who, "c", here, prepared)
        assert (features.intent or Feature(None)).because is not None
        assert ((features.intent or Feature(None)).because or {})["by"] == "spelling"
        broken = await Classifier(SystemClock(), embedder).prepare({"t": who})
        assert broken.problem == "no embeddings: no engine"
        assert not broken.models["t", "c"].has_meaning

    run(main())


@pytest.mark.parametrize(
    "intents",
    [
        {"one": ["hello"]},
        {"one": ["hello", "good morning"]},
        {"one": ["hello"], "two": ["bye"]},
        {"one": ["hello", "hello", "hello"], "two": ["hello"]},
        {"one": [""], "two": ["\x00"], "three": []},
        {"one": ["你好"], "two": ["x" * 5000, "😀"]},
    ],
)
def test_any_declaration_gives_a_model(intents: dict[str, list[str]]) -> None:
    """One example, doubles, empty texts, very long ones: an answer within bounds, never an error."""

    async def main() -> None:
        for text in ("hello", "something else entirely", "你好", ""):
            classifier = Classifier(SystemClock(), Counting())
            who = tenant(c=channel(intents=intents))
            prepared = await classifier.prepare({"t": who})
            features = await classifier.classify((user(text),), who, "c", who.channels["c"], prepared)
            assert (features.intent is None) == (not text)
            if features.intent is not None:
                assert features.intent.value in (None, *intents)
                assert 0 <= (features.intent.confidence or 0) <= 1

    run(main())


def test_without_any_example_there_is_no_feature() -> None:
    """A channel whose intents have no examples declares none."""

    async def main() -> None:
        classifier = Classifier(SystemClock(), Counting())
        who = tenant(c=channel(intents={"one": []}))
        prepared = await classifier.prepare({"t": who})
        assert prepared == Prepared({})
        features = await classifier.classify((user("hello"),), who, "c", who.channels["c"], prepared)
        assert features.intent is None

    run(main())


def test_an_example_of_its_own_is_told_and_nobody_is_surer_than_examples_allow() -> None:
    """Every example is put where it was declared; confidence stays below (n + 1/2)/(n + 1) of n examples."""

    async def main() -> None:
        most = 12.5 / 13
        for name, texts in LIBRARY.items():
            for text in texts:
                found = await asked(text, nano(), LIBRARY)
                assert found.value == name
                assert (found.confidence or 0) <= most

    run(main())
