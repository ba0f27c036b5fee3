"""Texts that stand in for an answer, in a language of the user."""

from __future__ import annotations

from collections.abc import Sequence


def template_text(templates: dict[str, dict[str, str]], name: str, languages: Sequence[str]) -> str:
    """The template in the first of `languages` that it exists in (`de-AT` also by `de`), else in English, else in any.

    `templates`: name to language to text. Raises KeyError for an unknown name.
    """
    texts = templates[name]
    for language in (*languages, "en"):
        text = texts.get(language) or texts.get(language.split("-")[0].lower())
        if text is not None:
            return text
    return texts[min(texts)]
