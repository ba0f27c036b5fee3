"""Which language a turn is in."""

from __future__ import annotations

import pytest

from classify._world import said, user
from trimtab.core.decision import Feature

SENTENCES = {
    "en": "Could you please tell me where my luggage has gone?",
    "de": "Könnten Sie mir bitte sagen, wo mein Gepäck geblieben ist?",
    "fr": "Pourriez-vous me dire où sont passés mes bagages ?",
    "es": "¿Podría decirme dónde se ha quedado mi equipaje?",
    "it": "Potrebbe dirmi dove sono finiti i miei bagagli?",
    "pt": "Poderia me dizer para onde foi a minha bagagem?",
    "nl": "Kunt u mij vertellen waar mijn bagage gebleven is?",
    "pl": "Czy może mi pan powiedzieć, gdzie jest mój bagaż?",
    "ru": "Не могли бы вы сказать, куда пропал мой багаж?",
    "uk": "Чи не могли б ви сказати, куди подівся мій багаж?",
    "tr": "Bagajımın nereye gittiğini söyleyebilir misiniz?",
    "ar": "هل يمكنك أن تخبرني أين ذهبت حقائبي؟",
    "he": "תוכל בבקשה לומר לי לאן נעלמה המזוודה שלי?",
    "hi": "क्या आप मुझे बता सकते हैं कि मेरा सामान कहाँ गया?",
    "zh": "请问您能告诉我我的行李去哪儿了吗？",
    "ja": "私の荷物がどこへ行ったか教えていただけますか？",
    "ko": "제 짐이 어디로 갔는지 알려 주시겠어요?",
    "vi": "Bạn có thể cho tôi biết hành lý của tôi ở đâu không?",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_a_sentence_is_recognised(code: str) -> None:
    """A plain sentence in each of the 18 languages is named, surely, whatever the tenant declares."""
    for languages in ((), ("en",), ("sv", "da")):
        found = said(SENTENCES[code], languages=languages).language
        assert found is not None
        assert found.value == code
        assert found.confidence is not None
        assert found.confidence > 0.6


@pytest.mark.parametrize(
    ("text", "languages", "value"), [("ja", ["de"], "de"), ("hi", ["en"], "en"), ("ok", ["pl"], "pl")]
)
def test_short_texts_lean_on_what_is_declared(text: str, languages: list[str], value: str) -> None:
    """Two letters fit many languages: the declared one is likelier, and the same text without it is less so."""
    found = said(text, languages=languages).language
    assert found is not None
    assert found.value == value
    alone = said(text).language
    assert alone is None or alone.value != value or (alone.confidence or 0) < (found.confidence or 0)


def test_function_words_settle_a_declared_language() -> None:
    """Three of one language and none of another need no model; a title in another language settles nothing."""
    told = said("Can you tell me how my order is returned and what that costs?", languages=["en-GB", "de"]).language
    assert told is not None
    assert (told.value, told.because.get("function_words")) == ("en", 7)
    for text, languages in [
        ("Ich suche das Lied The House of the Rising Sun, wie it was and will be", ["en", "de"]),
        ("ابحث عن فيلم The Art of the Deal and Steel", ["en", "ar"]),
        ("Can you tell me how my order is returned and what that costs?", ["de"]),
    ]:
        asked = said(text, languages=languages).language
        assert asked is not None
        assert "function_words" not in asked.because


def test_the_prior_gives_way_to_evidence() -> None:
    """A clear word of another language is not taken for a declared one."""
    found = said("muchas gracias", languages=["en", "de"]).language
    assert found is not None
    assert found.value == "es"


@pytest.mark.parametrize(
    "text", ["", "   ", "12345", "!!! ???", "https://example.com/a", "<EMAIL_1>", "😀", "`x == 1`"]
)
def test_nothing_is_said_of_what_has_no_language(text: str) -> None:
    """Numbers, signs, addresses, code and placeholders are no language, declared or not."""
    assert said(text, languages=["de"]).language is None


def test_earlier_turns_carry_their_language() -> None:
    """A number after German turns is German, less surely than they were; an assistant's words carry nothing."""
    before = [user(SENTENCES["de"]), {"role": "assistant", "content": SENTENCES["fr"]}]
    found = said("12345", before=before).language
    assert found is not None
    assert found.value == "de"
    assert found.because == {"letters": 0, "candidates": 0, "earlier_turns": True}
    assert (found.confidence or 0) < (said(SENTENCES["de"]).language or Feature(None)).confidence  # type: ignore[operator]
    assert said("12345", before=before[1:]).language is None
    short = said("ok", before=before).language
    assert short is not None
    assert short.value == "de"


def test_a_long_turn_is_not_carried() -> None:
    """Who changes the language is followed at once."""
    found = said(SENTENCES["it"], before=[user(SENTENCES["de"])] * 5).language
    assert found is not None
    assert found.value == "it"


def test_a_channel_overrides_its_tenant() -> None:
    """The channel's languages are the prior where it declares some."""
    from classify._world import channel, run, tenant
    from trimtab.core.clock import SystemClock
    from trimtab.dataplane.classify import Classifier

    who = tenant(["en"], c=channel(languages=["de"]), d=channel())
    classifier = Classifier(SystemClock(), None)
    prepared = run(classifier.prepare({"t": who}))
    values = [classifier.quick((user("ja"),), who, name, who.channels[name], prepared).language for name in ("c", "d")]
    assert [value and value.value for value in values] == ["de", "en"]


def test_chinese_and_japanese_are_told_by_kana() -> None:
    """Chinese of some length is never taken for Japanese, nor the other way round."""
    for code in ("zh", "ja"):
        found = said(SENTENCES[code] * 2, languages=["ja", "zh"]).language
        assert found is not None
        assert found.value == code
