"""A language told by its function words, where they settle it: most of what is written, in a twentieth of the time.

Words that are frequent in one language and in no other of these. A text of Latin letters alone in which three different
ones of one language stand, and none of another, is in that language: none of the 18,000 sentences of SIB-200 and xSID
in 23 languages is told wrong, 2,500 are told, and what is as long as a paragraph nearly always (two words would do for
4,400, and would take 90 sentences for the language of a title in them). The model of 176 languages would say the same
and take 20 to 80 us of the event loop. Everything else, mixed texts and near twins above all, is the model's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SETTLES: Final = 3
"""Different words of one language, beside none of any other."""

_WORDS: Final[Mapping[str, str]] = {
    "en": "the of and that this these those with from have has your which what when where how why would could should "
    "they their there because about please does did been were while into than then whether before after my you are it "
    "not can will",
    "de": "und der das nicht ist ich ein eine einen einem einer mit auf für dem den wie auch sich werden wird sind "
    "haben habe kann können bitte meine mein wenn aber oder nach über zum zur vom ihr ihre wurde",
    "fr": "les des est une dans pour qui sur avec vous nous je pas mais cette ces ont sont être mon ma mes votre vos "
    "comment quand où leur aux du était puis-je",
    "es": "los y muy pero hay también hasta desde cuando donde cómo qué quiero puedo tengo usted está están fue "
    "sido ser más mis sus nuestro esto ese dónde cuándo",
    "pt": "não uma você são também muito isso até minha então pela pelo foram está eu meus às em num numa dos qual "
    "posso tenho quero preciso onde",
    "it": "il gli della delle degli che è sono nel nella dei più anche questo questa quando essere stato stata "
    "posso vorrei perché come dove dal dalla alla",
    "nl": "het een niet zijn wordt worden deze hij zij heeft hebben geen kunnen mijn naar voor werd dit ik bij uit hoe "
    "wanneer waar",
    "pl": "się jest nie jak który która które przez został są dla czy oraz lub być mam moje mój może gdzie kiedy "
    "proszę",
    "tr": "bir ve için olarak daha çok olan bu ile ne nasıl nerede değil olduğu tarafından var mı mi kadar sonra benim",
}


def _told() -> dict[str, str]:
    """Which language a word tells: none where two lists have it."""
    owners: dict[str, set[str]] = {}
    for code, said in _WORDS.items():
        for word in said.split():
            owners.setdefault(word, set()).add(code)
    return {word: codes.pop() for word, codes in owners.items() if len(codes) == 1}


_BEYOND_LATIN = "\u0250"
_TELLS: Final = _told()
_KNOWN: Final = frozenset(_TELLS)


def settled(text: str) -> tuple[str, int] | None:
    """The language (ISO 639-1) and how many of its words were seen; None where they don't settle it."""
    seen = _KNOWN.intersection(text.lower().split())
    if len(seen) < SETTLES or not (text.isascii() or max(text) < _BEYOND_LATIN):
        return None
    codes = {_TELLS[word] for word in seen}
    return (codes.pop(), len(seen)) if len(codes) == 1 else None
