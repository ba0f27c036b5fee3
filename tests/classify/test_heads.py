"""Complexity and risk: each sign alone changes the value, in every language, and confidence is modest."""

from __future__ import annotations

from typing import Any

import pytest

from classify._world import said, user
from trimtab.core.decision import Feature
from trimtab.dataplane.classify import cues

PLAIN = "show me the blue one"


def complexity(text: str, **more: Any) -> Feature:
    found = said(text, **more).complexity
    assert found is not None
    return found


def risk(text: str, **more: Any) -> Feature:
    found = said(text, **more).risk
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("sign", "text"),
    [
        ("length", " ".join([PLAIN] * 20)),
        ("questions", "show me? the blue? one?"),
        ("enumeration", "show me\n- the blue\n- one\n- two"),
        ("enumeration", "show me the blue, the red, the green, the white one"),
        ("code", "show me the blue one ```x```"),
        ("numbers", "show me the blue one 12 13 14"),
        ("compare", "show me the blue one versus red"),
        ("reason", "show me why the blue one"),
        ("doing", "show me a draft, step by step"),
        ("condition", "show me the blue one unless gone"),
        ("retrieval", "show me the policy"),
    ],
)
def test_each_sign_alone_makes_it_harder(sign: str, text: str) -> None:
    """A sign raises the value, and stands in what the value was seen by; nothing else does."""
    base, found = complexity(PLAIN), complexity(text)
    assert base.value == 0
    assert base.because == {}
    assert found.value > 0
    assert sign in (found.because or {})


def test_turns_make_it_harder() -> None:
    """The same words late in a talk are harder than at its start; assistants' turns are not counted."""
    before = [user("hello"), {"role": "assistant", "content": "hi"}]
    values = [complexity(PLAIN, before=before * n).value for n in range(4)]
    assert values == sorted(set(values))


def test_the_line_lies_between_plain_and_hard_questions() -> None:
    """A plain question is under 0.5, a list of demands with reasons and a program are over it, all below 1."""
    plain = ["where is my parcel?", "Wie lange habt ihr heute geöffnet?", "什么时候到货？", "thanks, that is all"]
    hard = [
        "Compare both contracts step by step, explain why the first one is better if I travel often, and calculate "
        "the total for 12, 24 and 36 months.",
        "Why does this fail?\n```python\nfor i in range(10):\n    print(i)\n```",
        "Vergleiche beide Verträge und erkläre, warum der erste besser ist, falls ich viel reise: 1) Kosten 2) Dauer?",
    ]
    assert all(complexity(text).value < 0.5 for text in plain)
    assert all(0.5 < complexity(text).value < 1 for text in hard)


RISKY = {
    "en": (
        "I want to kill myself",
        "my lawyer says I should sue you",
        "which dosage for a fever?",
        "about my mortgage",
        "I want to speak to your supervisor",
    ),
    "de": (
        "ich will nicht mehr leben",
        "mein Anwalt wird Sie verklagen",
        "welche Dosis bei Fieber?",
        "zu meinem Kredit bitte",
        "das ist inakzeptabel",
    ),
    "fr": (
        "je veux mourir",
        "mon avocat ira au tribunal",
        "quelle dose contre la fièvre ?",
        "c'est pour mon prêt",
        "je veux faire une réclamation",
    ),
    "es": (
        "quiero morir",
        "mi abogado irá al juzgado",
        "¿qué dosis para la fiebre?",
        "sobre mi hipoteca",
        "quiero poner una queja",
    ),
    "pt": (
        "quero morrer",
        "meu advogado vai ao tribunal",
        "qual a dose para a febre?",
        "sobre o meu empréstimo",
        "quero fazer uma reclamação",
    ),
    "it": (
        "voglio morire",
        "il mio avvocato va in tribunale",
        "quale dose per la febbre?",
        "riguardo al mio mutuo",
        "vorrei fare un reclamo",
    ),
    "nl": (
        "ik wil zelfmoord plegen",
        "mijn advocaat gaat naar de rechtbank",
        "welke dosis bij koorts?",
        "over mijn hypotheek",
        "ik heb een klacht",
    ),
    "pl": (
        "chcę umrzeć",
        "mój adwokat złoży pozew",
        "jaka dawka na gorączkę?",
        "w sprawie mojej pożyczki",
        "chcę złożyć skargę",
    ),
    "ru": (
        "я хочу умереть",
        "мой адвокат подаст иск",
        "какая доза лекарства?",
        "по моей ипотеке",
        "хочу написать жалобу",
    ),
    "uk": (
        "я хочу померти",
        "мій адвокат подасть позов",
        "яка доза таблеток?",
        "щодо моєї позики",
        "хочу подати скаргу",
    ),
    "tr": (
        "ölmek istiyorum",
        "avukatım mahkemeye gidecek",
        "hangi ilaç, hangi dozu?",
        "ipotek hakkında soru",
        "şikayet etmek istiyorum",
    ),
    "ar": (
        "أريد أن أموت",
        "سيذهب المحامي إلى المحكمة",
        "ما هي جرعة الدواء؟",
        "بخصوص القرض",
        "أريد تقديم شكوى",
    ),
    "he": (
        "אני רוצה למות",
        "עורך דין יגיש תביעה",
        "מה המינון של התרופה?",
        "בקשר למשכנתא שלי",
        "אני רוצה להגיש תלונה",
    ),
    "hi": (
        "मैं आत्महत्या करना चाहता हूँ",
        "मेरा वकील अदालत जाएगा",
        "दवा की खुराक कितनी है?",
        "मेरे लोन के बारे में",
        "मुझे शिकायत करनी है",
    ),
    "zh": (
        "我不想活了",
        "我的律师会起诉你们",
        "发烧吃药的剂量是多少",
        "关于我的房贷",
        "我要投诉",
    ),
    "ja": (
        "死にたいです",
        "弁護士が訴訟を起こします",
        "発熱の薬の用量は",
        "住宅ローンについて",
        "苦情があります",
    ),
    "ko": (
        "죽고 싶어요",
        "제 변호사가 소송을 할 겁니다",
        "두통에 복용량은 얼마인가요",
        "주택담보대출 관련 문의입니다",
        "불만을 접수하고 싶어요",
    ),
    "vi": (
        "tôi muốn chết",
        "luật sư của tôi sẽ khởi kiện",
        "liều lượng thuốc là bao nhiêu",
        "về khoản vay của tôi",
        "tôi muốn khiếu nại",
    ),
}


@pytest.mark.parametrize("code", RISKY)
def test_risk_is_seen_in_every_language(code: str) -> None:
    """Self-harm and two cues of law or medicine are high, money and complaint medium, in all 18 languages."""
    assert set(RISKY) == set(cues.LANGUAGES)
    harm, legal, medical, finance, escalation = RISKY[code]
    for text, kind, level in (
        (harm, "self_harm", "high"),
        (legal, "legal", "high"),
        (medical, "medical", "high"),
        (finance, "finance", "medium"),
        (escalation, "escalation", "medium"),
    ):
        found = risk(text, languages=[code])
        assert kind in (found.because or {}), text
        assert found.value == level, text


@pytest.mark.parametrize("code", ["en", "de", "ja", "ar"])
def test_self_harm_is_seen_whatever_is_declared(code: str) -> None:
    """A life in danger does not hang on a tenant's list of languages."""
    assert risk(RISKY[code][0], languages=["sv"]).value == "high"


def test_plain_questions_are_low_and_never_surely_so() -> None:
    """What nothing was found in is low, but words can be put otherwise."""
    for text in ("where is my parcel?", "wo ist mein Paket?", "quelle est la couleur de ce pull ?", "包裹到哪里了？"):
        found = risk(text)
        assert found.value == "low"
        assert 0 < (found.confidence or 0) <= 0.8


def test_cues_are_whole_words_of_their_own_language() -> None:
    """`issue` holds no `sue`, `die` is an article in German, `Quelle` no source in French."""
    assert risk("there is an issue with the tissue").value == "low"
    assert risk("ist die Farbe schön?").value == "low"
    assert "retrieval" not in (complexity("quelle couleur me va le mieux", languages=["de"]).because or {})


def test_accents_case_and_width_mean_nothing() -> None:
    """People leave accents out and shout."""
    assert risk("QUIERO SABER DEL DIAGNOSTICO Y LA ENFERMEDAD").value == "high"
    assert risk("ＫＩＬＬ ＭＹＳＥＬＦ").value == "high"


def test_of_a_language_without_cues_nothing_is_known() -> None:
    """Swedish has no list: that nothing was found there does not make it low, and complexity is less sure."""
    features = said("Kan ni berätta för mig var mitt bagage har tagit vägen, tack?")
    assert features.language is not None
    assert features.language.value == "sv"
    assert features.risk is None
    assert features.complexity is not None
    english = complexity("Can you please tell me where my luggage may have gone, thanks")
    assert (features.complexity.confidence or 0) < (english.confidence or 0)


def test_without_text_nothing_is_known() -> None:
    """A picture alone, or no user at all, has no complexity and no risk."""
    assert said([{"type": "image_url", "image_url": {"url": "x"}}]).complexity is None
    assert said([{"type": "image_url", "image_url": {"url": "x"}}]).risk is None


def test_confidence_falls_towards_the_line() -> None:
    """A value near a threshold is less sure than one far from it."""
    easy = complexity(PLAIN)
    near = complexity("Explain why the blue one, versus the red one")
    assert abs(near.value - 0.5) < abs(easy.value - 0.5)
    assert (near.confidence or 0) < (easy.confidence or 0)
