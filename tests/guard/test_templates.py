"""The language of templates."""

from __future__ import annotations

import pytest

from trimtab.dataplane.guard import template_text

TEXTS = {"refusal": {"en": "no", "de": "nein"}, "sorry": {"fr": "pardon", "it": "scusa"}}


@pytest.mark.parametrize(
    ("name", "languages", "text"),
    [
        ("refusal", ["fr", "de", "en"], "nein"),
        ("refusal", ["de-AT"], "nein"),
        ("refusal", ["fr"], "no"),
        ("refusal", [], "no"),
        ("sorry", ["de"], "pardon"),
        ("sorry", ["it"], "scusa"),
    ],
)
def test_the_first_language_that_exists(name: str, languages: list[str], text: str) -> None:
    """The first language that there is a text in, then English, then the first of any."""
    assert template_text(TEXTS, name, languages) == text


def test_an_unknown_template() -> None:
    """There is no answer without a text."""
    with pytest.raises(KeyError):
        template_text(TEXTS, "hello", ["en"])
