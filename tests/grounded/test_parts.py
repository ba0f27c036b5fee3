"""Sentences, numbers and languages, each by itself."""

from __future__ import annotations

import pytest

from trimtab.dataplane.guard.grounded.language import guessed, in_language
from trimtab.dataplane.guard.grounded.lexicon import LABELS, LANGUAGES, lexicon
from trimtab.dataplane.guard.grounded.numerals import han, parsed
from trimtab.dataplane.guard.grounded.reading import read_sentence
from trimtab.dataplane.guard.grounded.sentences import sentences

SENTENCES = {
    "two": ("It is open. Come in!", ["It is open.", "Come in!"]),
    "abbreviation": ("Ask Dr. Weiss. He knows.", ["Ask Dr. Weiss.", "He knows."]),
    "ordinal": ("Bis zum 31. März. Danach nicht.", ["Bis zum 31. März.", "Danach nicht."]),
    "decimal": ("It costs 4.99. Pay now.", ["It costs 4.99.", "Pay now."]),
    "list": ("- One thing\n- Another thing", ["One thing", "Another thing"]),
    "Chinese": ("可以退货。不能换货！", ["可以退货。", "不能换货！"]),
    "Arabic": ("هل يمكن؟ نعم.", ["هل يمكن؟", "نعم."]),
    "quoted": ('He said "no." She left.', ['He said "no."', "She left."]),
    "nothing": (" \n ", []),
}


@pytest.mark.parametrize("name", SENTENCES)
def test_sentences(name: str) -> None:
    """Cut where a reader would, the text unchanged."""
    text, expected = SENTENCES[name]
    assert list(sentences(text)) == expected


@pytest.mark.parametrize(
    ("written", "value"),
    [("1.200", 1200), ("1,200", 1200), ("1 200", 1200), ("1.200,50", 1200.5), ("1,200.50", 1200.5), ("39.50", 39.5),
     ("4,9", 4.9), ("0.125", 0.125), ("٢١", 21), ("1'000", 1000), ("1.234.567", 1234567)],
)  # fmt: skip
def test_written_numbers(written: str, value: float) -> None:
    """Thousands and decimals, whichever sign parts them."""
    assert parsed(written) == value


def test_numbers_in_characters() -> None:
    """By place, or digit by digit."""
    assert (han("二十一"), han("十"), han("三百"), han("二〇二六")) == (21, 10, 300, 2026)


@pytest.mark.parametrize(
    ("language", "text", "values"),
    [
        ("en", "twenty-one days", [21]),
        ("en", "2-year warranty", [2]),
        ("de", "einundzwanzig Tage", [21]),
        ("fr", "vingt et un jours", [21]),
        ("fr", "soixante-quinze euros", [75]),
        ("es", "treinta y cinco días", [35]),
        ("pt", "vinte e um dias", [21]),
        ("en", "from 9 am to 5 pm", [540, 1020]),
        ("de", "7 bis 21 Uhr", [420, 1260]),
        ("zh", "二十一天", [21]),
    ],
)
def test_numbers_in_words(language: str, text: str, values: list[float]) -> None:
    """The same value as in digits."""
    known = lexicon(language)
    assert known is not None
    assert [number.value for number in read_sentence(text, known).numbers] == values


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_lexicon_is_whole(language: str) -> None:
    """Each has cues of every kind that decides, and none of its sections is misspelt."""
    known = lexicon(language)
    assert known is not None
    sections = set(known._sections)
    assert sections >= {
        "neg",
        "without",
        "only",
        "must",
        "can",
        "before",
        "after",
        "atleast",
        "atmost",
        "wh",
        "yes",
        "no",
    }
    rest = sections - LABELS
    assert rest <= {
        "rewrite", "clause", "yes", "no", "wh", "quantity", "duration", "amount", "price", "generic",
        "stop", "articles", "number", "tens",
        "units",
        "compounds", "half", "join", "range", "months", "qualifiers", "clock", "suffixes", "prefixes", "irregular",
        "antonyms", "unspaced", "concord", "grant", "negprefix", "since",
    }  # fmt: skip


def test_languages_told_apart() -> None:
    """By function words and by script; what says nothing contradicts nothing."""
    said = {
        "en": "You can return it within the month.",
        "de": "Sie können es innerhalb des Monats zurückgeben.",
        "fr": "Vous pouvez le retourner dans le mois.",
        "es": "Puede devolverlo en el plazo de un mes.",
        "pt": "Pode devolver o artigo no prazo de um mês.",
        "ar": "يمكنك إعادته خلال شهر.",
        "he": "אפשר להחזיר אותו בתוך חודש.",
        "ja": "一か月以内に返品できます。",
        "zh": "可以在一个月内退货。",
    }
    for language, text in said.items():
        assert guessed(text) == language
        assert in_language(text, language)
        assert in_language("30", language)
        for other in said.keys() - {language, "zh"}:
            assert not in_language(text, other), (text, other)
    assert in_language("De verzending kost vijf euro en duurt drie dagen, zegt de winkel.", "nl")
    assert not in_language("Delivery costs five euros and takes three days, says the shop.", "nl")
