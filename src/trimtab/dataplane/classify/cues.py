"""Words and phrases that say what a text is about, per language, from `data/cues/LANG.txt`.

A line is `kind: cue, cue*, two words`; a trailing `*` takes any ending, `#` begins a comment. Words are compared whole
(folded, without accents), so that `sue` is not found in `issue`; where a script does not part words (Chinese,
Japanese) a cue is found anywhere, and in Arabic and Hebrew also behind the particles that are written on to it.

Which languages are looked at: those the text may be in, and those declared. A word may mean another thing next door
(`die`), so not all at once, except for self-harm, whose cues are chosen so that they are never innocent elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from importlib import resources
from typing import Final, Literal

import msgspec

from trimtab.dataplane.classify.fold import bare, marked, unspaced, words

Cue = Literal[
    "legal", "medical", "finance", "self_harm", "escalation", "compare", "reason", "condition", "retrieval", "doing"
]
_joints = re.compile("['’-]")  # what parts words in a text parts them in a cue
LANGUAGES: Final = (
    *("ar", "de", "en", "es", "fr", "he", "hi", "it", "ja"),
    *("ko", "nl", "pl", "pt", "ru", "tr", "uk", "vi", "zh"),
)
"""Languages with cues: of any other, nothing follows from finding none."""
_ANYWHERE = frozenset({"ja", "zh"})
_MARKED = frozenset({"vi"})  # tones make words
_PARTICLES: Final[Mapping[str, tuple[str, ...]]] = {
    "ar": ("وال", "بال", "لل", "ال", "و", "ب", "ل", "ف"),
    "he": ("וה", "שה", "בה", "לה", "ה", "ב", "ל", "ו", "ש", "מ", "כ"),
}

_DANGER: Final = "danger"
_DANGER_MARKED: Final = "danger, marked"
_LONGEST: Final = 48  # characters of a word that is looked at: no cue is longer, and what is remembered stays small
_REMEMBERED: Final = 16_384  # words of one choice of languages
_APART = frozenset({*_ANYWHERE, *_MARKED, *_PARTICLES})  # read in ways of their own
_PLAIN = tuple(code for code in LANGUAGES if code not in _ANYWHERE and code not in _PARTICLES)  # may be ASCII


class Table(msgspec.Struct, frozen=True):
    """Cues of one language, by the first of their words."""

    whole: dict[str, list[tuple[Cue, tuple[str, ...]]]]
    beginnings: dict[str, list[tuple[Cue, tuple[str, ...]]]]
    anywhere: dict[str, list[tuple[Cue, str]]]
    """By their first character, where words are not parted."""
    lengths: tuple[int, ...]
    """Of the keys of `beginnings`."""


def find(text: str, languages: Iterable[str]) -> Mapping[Cue, frozenset[str]]:
    """Cues in the text by kind. `languages` without a table are passed over."""
    folded = marked(text)
    plain = words(bare(folded))
    toned = plain if folded.isascii() else words(folded)
    runs = unspaced(folded)
    found: dict[Cue, set[str]] = {}
    asked = frozenset(languages)
    codes = LANGUAGES if toned is not plain else _PLAIN
    for code in codes if runs else ():
        if code in _ANYWHERE:
            _note(found, _in_runs(runs, _table(code)), code in asked)
    if toned is plain:
        alike = tuple(code for code in codes if code in asked)
        _note(found, _in_words(plain, (*alike, _DANGER, _DANGER_MARKED)), True)
    else:
        alike = tuple(code for code in codes if code in asked and code not in _APART)
        _note(found, _in_words(plain, (*alike, _DANGER)), True)
        for code in codes:
            if code in _MARKED or code in _PARTICLES:
                _note(found, _in_words(toned if code in _MARKED else plain, (code,)), code in asked)
    return {kind: frozenset(cues) for kind, cues in found.items()}


def _note(found: dict[Cue, set[str]], hits: Iterable[tuple[Cue, str]], asked: bool) -> None:
    for kind, cue in hits:
        if asked or kind == "self_harm":
            found.setdefault(kind, set()).add(cue)


def _in_words(said: list[str], codes: tuple[str, ...]) -> Iterator[tuple[Cue, str]]:
    """Of several languages in one look at each word: nearly every word begins no cue of any."""
    known = _known(codes)
    there = set(said)
    telling = there - known.idle
    if not telling:
        return
    run = f" {' '.join(said)} "
    for word in telling:
        for kind, cue, needle in known.begun(word):
            if needle is None or needle in run:
                yield kind, cue


class _Known:
    """What words of these languages begin, once looked up: texts repeat words, and most begin nothing."""

    def __init__(self, codes: tuple[str, ...]) -> None:
        self._codes = codes
        self._begun: dict[str, tuple[tuple[Cue, str, str | None], ...]] = {}
        self.idle: set[str] = set()
        """Words that begin no cue."""

    def begun(self, word: str) -> tuple[tuple[Cue, str, str | None], ...]:
        """Cues that may begin at this word, each with what must stand in the text for it, blanks around words."""
        found = self._begun.get(word)
        if found is not None:
            return found
        if len(word) > _LONGEST:  # as if it ended there, so that no text fills the memory
            return tuple(cue for cue in self.begun(word[:_LONGEST]) if cue[2] is None)
        found = tuple(cue for code in self._codes for cue in _of(word, code))
        if len(self._begun) + len(self.idle) >= _REMEMBERED:  # what a language uses is soon seen again
            self._begun.clear()
            self.idle.clear()
        if found:
            self._begun[word] = found
        else:
            self.idle.add(word)
        return found


@lru_cache(maxsize=64)
def _known(codes: tuple[str, ...]) -> _Known:
    return _Known(codes)


def _of(word: str, code: str) -> Iterator[tuple[Cue, str, str | None]]:
    table = _danger(code) if code in (_DANGER, _DANGER_MARKED) else _table(code)
    particles = _PARTICLES.get(code, ())
    forms = [word, *(word[len(one) :] for one in particles if word.startswith(one) and len(word) > len(one) + 1)]
    for form in forms:
        candidates = list(table.whole.get(form, ()))
        for length in table.lengths:
            if length <= len(form):
                candidates += table.beginnings.get(form[:length], ())
        for kind, rest in candidates:
            yield kind, " ".join((form, *rest)), _needle(word, rest) if rest else None


def _needle(word: str, rest: tuple[str, ...]) -> str:
    """The words of a cue as they stand in a text; the last may be a beginning."""
    whole = f" {word} {' '.join(rest)}"
    return whole[:-1] if whole.endswith("*") else whole + " "


def _in_runs(runs: list[str], table: Table) -> Iterator[tuple[Cue, str]]:
    for run in runs:
        for place, character in enumerate(run):
            for kind, cue in table.anywhere.get(character, ()):
                if run.startswith(cue, place):
                    yield kind, cue


@lru_cache(maxsize=len(LANGUAGES))
def _table(code: str) -> Table:
    return _built(_lines(code), code)


@lru_cache(maxsize=2)
def _danger(which: str) -> Table:
    """Self-harm in all languages whose words are read alike, or in those whose accents make words."""
    alike = [code for code in LANGUAGES if code not in _APART] if which == _DANGER else sorted(_MARKED)
    cues = (line for code in alike for line in _lines(code) if line[0] == "self_harm")
    return _built(cues, "" if which == _DANGER else alike[0])


def _built(lines: Iterable[tuple[Cue, str]], code: str) -> Table:
    table = Table({}, {}, {}, ())
    lengths = set()
    for kind, cue in lines:
        folded = marked(cue) if code in _MARKED or code in _ANYWHERE else bare(marked(cue))
        if code in _ANYWHERE:
            table.anywhere.setdefault(folded[0], []).append((kind, folded))
            continue
        first, *rest = _joints.sub(" ", folded).split()
        if any(part.endswith("*") for part in rest[:-1]):
            raise ValueError(f"cue {cue!r}: of several words the first and the last alone may be beginnings")
        if first.endswith("*"):
            table.beginnings.setdefault(first[:-1], []).append((kind, tuple(rest)))
            lengths.add(len(first) - 1)
        else:
            table.whole.setdefault(first, []).append((kind, tuple(rest)))
    return msgspec.structs.replace(table, lengths=tuple(sorted(lengths)))


def _lines(code: str) -> Iterator[tuple[Cue, str]]:
    text = resources.files(__package__).joinpath("data", "cues", f"{code}.txt").read_text("utf-8")
    for number, line in enumerate(text.splitlines(), 1):
        name, _, cues = line.partition("#")[0].partition(":")
        if not name.strip():
            continue
        try:
            kind = msgspec.convert(name.strip(), Cue)
        except msgspec.ValidationError:
            raise ValueError(f"cues/{code}.txt:{number}: there is no kind of cue named {name.strip()!r}") from None
        yield from ((kind, cue.strip()) for cue in cues.split(",") if cue.strip())
