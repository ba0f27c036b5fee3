"""Documents to passages: what is embedded, found, quoted and cited.

A document is Markdown. It is cut at its headings, and a long section between its paragraphs, so that a passage says one
thing and keeps the headings above it: "30 days" alone answers nothing, under "Returns > Shoes" it does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Final

import msgspec

MOST_CHARS: Final = 900
"""Of a passage's own text, about 200 tokens; a single longer paragraph is cut between sentences."""
_heading = re.compile(r"^(#{1,6})\s+(.+?)\s*#*\s*$", re.MULTILINE)
_sentence_end = re.compile(r"(?<=[.!?。！？؟])\s*")
_language = re.compile(r"[a-z]{2,3}")


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """One passage. `source`: `file.md#heading`, what an answer cites; `language`: None where nothing says it."""

    id: str
    source: str
    title: str
    """The headings above it, outermost first: `Returns > Shoes`."""
    text: str
    language: str | None = None

    @property
    def whole(self) -> str:
        """What is embedded and shown to a model: headings and text."""
        return f"{self.title}\n{self.text}" if self.title else self.text


def language_of(file: str) -> str | None:
    """`de` of `returns.de.md` and of `de/returns.md`; None where the name says nothing."""
    path = PurePosixPath(file)
    stems = path.name.split(".")
    for candidate in (stems[-2] if len(stems) > 2 else "", *path.parts[:-1]):
        if _language.fullmatch(candidate):
            return candidate
    return None


def passages_of(file: str, text: str) -> list[Passage]:
    """The passages of one document, in order. `file`: its path within the corpus."""
    found = []
    language = language_of(file)
    for number, (titles, part) in enumerate(_parts(text)):
        anchor = _slug(titles[-1]) if titles else ""
        source = f"{file}#{anchor}" if anchor else file
        found.append(
            Passage(id=f"{file}:{number}", source=source, title=" > ".join(titles), text=part, language=language)
        )
    return found


def _parts(text: str) -> Iterator[tuple[list[str], str]]:
    """(headings, text) of each passage."""
    titles: list[tuple[int, str]] = []
    at = 0
    for match in [*_heading.finditer(text), None]:
        end = match.start() if match else len(text)
        for piece in _pieces(text[at:end].strip()):
            yield [title for _, title in titles], piece
        if match:
            level = len(match[1])
            titles = [(depth, title) for depth, title in titles if depth < level] + [(level, match[2])]
            at = match.end()


def _pieces(section: str) -> Iterator[str]:
    """A section in pieces of at most MOST_CHARS, cut between paragraphs, else between sentences, else anywhere."""
    piece = ""
    for paragraph in re.split(r"\n\s*\n", section):
        for unit in _units(paragraph.strip()):
            if piece and len(piece) + len(unit) + 1 > MOST_CHARS:
                yield piece
                piece = ""
            piece = f"{piece}\n{unit}" if piece else unit
    if piece:
        yield piece


def _units(paragraph: str) -> Iterator[str]:
    if len(paragraph) <= MOST_CHARS:
        if paragraph:
            yield paragraph
        return
    unit = ""
    for sentence in _sentence_end.split(paragraph):
        while len(sentence) > MOST_CHARS:
            sentence, rest = sentence[:MOST_CHARS], sentence[MOST_CHARS:]
            yield from filter(None, (unit, sentence))
            unit, sentence = "", rest
        if unit and len(unit) + len(sentence) + 1 > MOST_CHARS:
            yield unit
            unit = ""
        unit = f"{unit} {sentence}".strip()
    if unit:
        yield unit


def _slug(title: str) -> str:
    return re.sub(r"[^\w]+", "-", title.casefold()).strip("-")
