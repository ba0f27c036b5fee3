"""Each feature alone: the right answer is supported, and one change flips the verdict."""

from __future__ import annotations

import pytest

from trimtab.dataplane.guard.grounded import Evidence, check

RETURNS = "Unworn shoes can be returned within 30 days of delivery. Sale items are not refunded."
SHIPPING = "Standard delivery takes 3 to 5 working days and costs £4.99. Delivery is free for orders over £50."


def verdict(question: str, answer: str, *texts: str, language: str = "en", title: str = "") -> tuple[bool, set[str]]:
    """Whether it is supported, and the reasons why not."""
    given = [Evidence(text, f"doc{number}.md", language, title) for number, text in enumerate(texts)]
    found = check(question, answer, given, language=language)
    assert found.supported == (not found.reasons)
    assert found.score == min(found.parts.values())
    return found.supported, set(found.reasons)


FLIPS: dict[str, tuple[str, str, str, str, str, str]] = {
    # language, evidence, question, right, wrong, reason
    "number": ("en", RETURNS, "How long can shoes be returned?", "Shoes can be returned within 30 days.",
               "Shoes can be returned within 45 days.", "number 45 not in evidence"),
    "number word": ("en", RETURNS, "How long can shoes be returned?", "Shoes can be returned within thirty days.",
                    "Shoes can be returned within thirteen days.", "number 13 not in evidence"),
    "unit": ("en", RETURNS, "How long can shoes be returned?", "Shoes can be returned within 30 days.",
             "Shoes can be returned within 30 weeks.", "number 30 not in evidence"),
    "money": ("en", SHIPPING, "How much does standard delivery cost?", "Standard delivery costs 4.99 pounds.",
              "Standard delivery costs $4.99.", "number 4.99 not in evidence"),
    "range": ("en", SHIPPING, "How long does standard delivery take?", "Standard delivery takes 3-5 working days.",
              "Standard delivery takes 5 working days.", "number 5 not in evidence"),
    "comparison": ("en", SHIPPING, "When is delivery free?", "Delivery is free for orders over £50.",
                   "Delivery is free for orders under £50.", "condition"),
    "negation": ("en", RETURNS, "Are sale items refunded?", "Sale items are not refunded.",
                 "Sale items are refunded.", "negation"),
    "contraction": ("en", RETURNS, "Are sale items refunded?", "Sale items aren't refunded.",
                    "Sale items are refunded.", "negation"),
    "yes and no": ("en", RETURNS, "Are sale items refunded?", "No, sale items are not refunded.",
                   "Yes, sale items are not refunded.", "negation"),
    "bare no": ("en", RETURNS, "Are sale items refunded?", "No.", "Yes.", "negation"),
    "modality": ("en", "You must show the receipt.", "What must I show?", "You must show the receipt.",
                 "You may show the receipt.", "modality"),
    "quantifier": ("en", "Some kiosks sell tickets.", "Who sells tickets?", "Some kiosks sell tickets.",
                   "All kiosks sell tickets.", "condition"),
    "entity": ("en", "We ship with Fastline from Berlin.", "Who do you ship with?", "We ship with "
    "Fastline from Berlin.",
               "We ship with Slowline from Berlin.", "entity"),
    "address": ("en", "Write to <EMAIL_1> for help.", "Where do I write for help?", "Write to <EMAIL_1> for help.",
                "Write to <EMAIL_2> for help.", "entity"),
    "two clauses": ("en", "Adults pay 15 euros, students pay 8 euros.", "How much do students pay?",
                    "Students pay 8 euros.", "Students pay 15 euros.", "number"),
    "two clauses without a comma": ("en", "Adults pay 15 euros and students 8 euros.", "How much do students pay?",
                                    "Students pay 8 euros.", "Students pay 15 euros.", "number"),
    "exception": ("en", "Repairs are free unless the seal is broken.", "When are repairs free?",
                  "Repairs are free unless the seal is broken.", "Repairs are free.", "condition"),
    "a clause of common words": ("en", "We listen to members and help where we can.", "Who do you listen to?",
                                 "We listen to members and help where we can.",
                                 "We listen to members and help where we can not.", "negation"),
    "half": ("en", "Children pay half of the price.", "How much do children pay?", "Children pay half of the price.",
             "Children pay a quarter of the price.", "unsupported"),
    "off topic": ("en", SHIPPING, "How long does standard delivery take?",
                  "Standard delivery takes 3 to 5 working days.",
                  "Delivery is free for orders over £50.", "off topic"),
    "language": ("de", "Der Versand kostet 5 Euro und dauert drei Tage.", "Was kostet der Versand?",
                 "Der Versand kostet 5 Euro.", "The delivery of the parcel costs you 5 euros.", "language"),
    "date": ("de", "Der Antrag ist bis zum 31. März zu stellen.", "Bis wann ist der Antrag zu stellen?",
             "Der Antrag ist bis zum 31. März zu stellen.", "Der Antrag ist bis zum 31. Mai zu stellen.",
             "number 31 not in evidence"),
    "thousands": ("de", "Die Gebühr beträgt 1.200 €.", "Wie hoch ist die Gebühr?", "Die Gebühr beträgt 1200 Euro.",
                  "Die Gebühr beträgt 1,2 Euro.", "number 1.2 not in evidence"),
    "time": ("de", "Das Bad öffnet um 9 Uhr.", "Wann öffnet das Bad?", "Das Bad öffnet um 9:00 Uhr.",
             "Das Bad öffnet um 9:30 Uhr.", "number 570 not in evidence"),
    "double negation": ("de", "Reduzierte Ware wird nie nicht erstattet.", "Wird reduzierte Ware erstattet?",
                        "Reduzierte Ware wird nie nicht erstattet.", "Reduzierte Ware wird nicht erstattet.",
                        "negation"),
    "French negation": ("fr", "Les billets ne sont pas remboursés.", "Les billets sont-ils remboursés ?",
                        "Non, les billets ne sont pas remboursés.", "Oui, les billets sont remboursés.", "negation"),
    "French modality": ("fr", "Vous devez garder le reçu.", "Que faut-il garder ?", "Vous devez garder le reçu.",
                        "Vous pouvez garder le reçu.", "modality"),
    "Spanish condition": ("es", "El pago se hace antes del envío.", "¿Cuándo se hace el pago?",
                          "El pago se hace antes del envío.", "El pago se hace después del envío.", "condition"),
    "Portuguese only": ("pt", "Apenas os sócios entram na sala.", "Quem entra na sala?",
                        "Apenas os sócios entram na sala.", "Os sócios entram na sala.", "condition"),
    "Arabic number": ("ar", "مدة الضمان 24 شهرا.", "ما مدة الضمان؟", "مدة الضمان ٢٤ شهرا.", "مدة الضمان ٣٦ شهرا.",
                      "number 36 not in evidence"),
    "Hebrew negation": ("he", "פריטים במבצע לא מוחזרים.", "האם פריטים במבצע מוחזרים?", "לא, פריטים במבצע לא מוחזרים.",
                        "כן, פריטים במבצע מוחזרים.", "negation"),
    "Japanese negation": ("ja", "返品は送料無料ではありません。", "返品は送料無料ですか?",
                          "返品は送料無料ではありません。", "返品は送料無料です。", "negation"),
    "Chinese number": ("zh", "保修期为两年。", "保修期是多久?", "保修期为2年。", "保修期为3年。",
                       "number 3 not in evidence"),
}  # fmt: skip


@pytest.mark.parametrize("name", FLIPS)
def test_one_change_flips_the_verdict(name: str) -> None:
    """The right answer is supported; the one that differs in this alone is not, and the reason says so."""
    language, text, question, right, wrong, reason = FLIPS[name]
    assert verdict(question, right, text, language=language) == (True, set())
    supported, reasons = verdict(question, wrong, text, language=language)
    assert not supported
    assert reason in reasons


REFUSED = {
    "the issue's own": ("Can I get a refund on a sale item?", "Yes, you can definitely get a refund."),
    "a condition dropped from a yes": ("Is delivery free?", "Yes, delivery is free."),
    "an echo of the question": ("When is delivery free?", "When is delivery free?"),
    "the question as a statement": ("How long does standard delivery take?", "Standard delivery takes long."),
    "a word of its own": (
        "How long does standard delivery take?",
        "Standard overnight delivery takes 3 to 5 days.",
    ),
    "the heading alone": ("How long does standard delivery take?", "Delivery"),
    "nothing": ("How long does standard delivery take?", ""),
    "signs": ("How long does standard delivery take?", "... --- !!!"),
    "one wrong sentence of two": (
        "How long does standard delivery take?",
        "Standard delivery takes 3 to 5 working days. It costs £9.99.",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_never_supported(name: str) -> None:
    """Answers of a small model that sound right, and are not what the text says."""
    question, answer = REFUSED[name]
    assert not verdict(question, answer, SHIPPING, RETURNS)[0]


def test_a_yes_behind_an_announcement_counts() -> None:
    """ "The answer is: yes, ..." says yes, and a yes in the middle is never passed over."""
    question = "Are sale items refunded?"
    assert verdict(question, 'The answer to the question is: "No, sale items are not refunded."', RETURNS)[0]
    assert not verdict(question, 'The answer to the question is: "Yes, sale items are not refunded."', RETURNS)[0]
    assert not verdict(question, "The answer is yes, sale items are not refunded.", RETURNS)[0]
    assert not verdict(question, "Sale items are not refunded. Yes.", RETURNS)[0]


@pytest.mark.parametrize("piece", [" ", "\n ", "111 ", "a", ".", "a@", "a-", "1.", '."', "not shoes, "])
def test_hostile_texts_take_no_longer_than_their_length(piece: str) -> None:
    """No pattern goes over a long text again and again (the time limit of the suite would show it)."""
    for language in ("en", "zh"):
        verdict("How many?", piece * 10000, SHIPPING, language=language)


def test_of_two_passages_the_one_that_is_asked_for_decides() -> None:
    """A sentence that is true of something else does not answer, though it shares words with the question."""
    general = "Items can be returned within 30 days."
    special = "Sale items can not be returned."
    question = "Can sale items be returned?"
    assert not verdict(question, "Items can be returned within 30 days.", general, special)[0]
    assert verdict(question, "Sale items can not be returned.", general, special)[0]


@pytest.mark.parametrize(
    ("language", "question", "days", "euros"),
    [
        (
            "en",
            "How much does express delivery cost?",
            "Express delivery takes 2 days.",
            "Express delivery is 12 euros.",
        ),
        (
            "de",
            "Wie viel kostet die Expresslieferung?",
            "Die Expresslieferung dauert 2 Tage.",
            "Die Expresslieferung kostet 9 €.",
        ),
        (
            "fr",
            "Combien coûte la livraison express ?",
            "La livraison express prend 2 jours.",
            "Livraison express : 9 €.",
        ),
        ("es", "¿Cuánto cuesta el envío urgente?", "El envío urgente tarda 2 días.", "El envío urgente: 9 euros."),
        ("pt", "Quanto custa o envio expresso?", "O envio expresso demora 2 dias.", "O envio expresso: 9 euros."),
        ("ar", "كم تكلفة الشحن السريع؟", "الشحن السريع يستغرق 2 أيام.", "الشحن السريع 9 يورو."),
    ],
)
def test_who_asks_for_a_price_is_not_told_a_time(language: str, question: str, days: str, euros: str) -> None:
    """The number that is asked for is one of money."""
    for said, fits in ((days, False), (euros, True)):
        passage = [Evidence(said, "a", language)]
        assert check(question, said, passage, language=language).supported is fits, said


def test_headings_count_as_what_the_passage_says() -> None:
    """A passage under a heading may leave its subject to the heading."""
    said = ("How long does the warranty of kettles last?", "The warranty of kettles lasts 2 years.")
    assert verdict(*said, "The warranty lasts 2 years.", title="Warranty > Kettles")[0]
    assert not verdict(*said, "The warranty lasts 2 years.", title="Warranty > Toasters")[0]


def test_a_passage_in_another_language_supports_only_what_can_be_compared() -> None:
    """What is said in German can't be seen in an English passage; it is refused rather than believed."""
    passage = [Evidence("Delivery costs 5 euros.", "a.md", "en")]
    assert not check("Was kostet der Versand?", "Der Versand kostet 5 Euro.", passage, language="de").supported


def test_a_language_without_cues_is_believed_word_for_word() -> None:
    """Dutch has no lexicon: a sentence of the passage is supported, one in other words is not."""
    passage = [Evidence("De verzending kost 5 euro.", "a.md", "nl")]
    question = "Wat kost de verzending?"
    assert check(question, "De verzending kost 5 euro.", passage, language="nl").supported
    assert not check(question, "5 euro kost de verzending.", passage, language="nl").supported


def test_reasons_hold_no_text_of_the_callers() -> None:
    """Codes, and numbers: an answer's own words never reach a record by this way."""
    found = check("Who?", "Secretname hid 77 Otherwords.", [Evidence("We sell tea.", "a.md", "en")], language="en")
    text = " ".join(found.reasons)
    assert "ecretname" not in text
    assert "therwords" not in text


def test_the_same_is_said_every_time() -> None:
    """The verdict depends on nothing but its inputs."""
    given = [Evidence(SHIPPING, "a.md", "en"), Evidence(RETURNS, "b.md", "en")]
    said = ("How much does standard delivery cost?", "Standard delivery costs £4.99.")
    first, *others = [check(*said, given, language="en") for _ in range(3)]
    assert all(one == first for one in others)
