"""How hard a question is, in [0,1], by what can be counted in it.

complexity = 1 - prod(1 - w_i x_i), each x_i in [0,1]: any one sign can make a question hard, none can make it easier,
and several weak ones add up without ever passing 1. The weights say how much the sign alone, at its fullest, may
say; 0.5, where the shipped policy draws its line, takes one strong sign (code, a long text, a list of demands) or two
to three weak ones (a comparison with reasons, several questions with conditions).

| sign | full (x = 1) at | w |
|---|---|---|
| length | 200 words, logarithmic from 8 (a character of an unspaced script is half a word) | 0.55 |
| turns | 8 user turns before this one | 0.2 |
| questions | 3 more than one | 0.4 |
| enumeration | 4 items of a list, or 6 commas in a row of clauses | 0.35 |
| code | a fence, or 4 lines or signs of code | 0.55 |
| numbers | 4 more than one | 0.25 |
| compare, reason, doing | 2 cues; one cue is 0.7 | 0.35, 0.35, 0.3 |
| condition | 3 cues; one is a third | 0.25 |
| retrieval | 2 cues; one cue is 0.7 | 0.25 |

Why not a trained head: there is no set of questions labelled by difficulty whose licence allows it; what a wrong value
costs is a cache not asked or a tier too high, and a sum that can be read is one that can be argued with.

Confidence: 0.5 where the value stands on a line (0.5), to 0.9 far from it; times 0.8 where the language has no cue
lists, so that four of the signs could not be looked for. It orders, it is no measured probability.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import filterfalse
from math import log
from typing import Final

from trimtab.core.decision import Feature
from trimtab.dataplane.classify.cues import Cue
from trimtab.dataplane.classify.text import Turn

LINE: Final = 0.5
_WEIGHTS: Final[Mapping[str, float]] = {
    "length": 0.55,
    "turns": 0.2,
    "questions": 0.4,
    "enumeration": 0.35,
    "code": 0.55,
    "numbers": 0.25,
    "compare": 0.35,
    "reason": 0.35,
    "doing": 0.3,
    "condition": 0.25,
    "retrieval": 0.25,
}
_ONE_CUE = 0.7
_FEW_WORDS, _MANY_WORDS = 8, 200
_question = re.compile("[?？؟]+")
_item = re.compile(r"^[ \t]*(?:[-*•·]|\(?\d{1,2}[.)]|[a-zA-Z][.)])[ \t]+\S", re.MULTILINE)
_COMMAS = frozenset(",،、，;；")
_QUESTION, _DIGITS, _OF_CODE = frozenset("?？؟"), frozenset("0123456789"), frozenset("`{};=()<$>")
_code = re.compile(
    r"```|^[ \t]*(?:def|class|import|from|return|function|const|let|var|public|SELECT|INSERT|#include)\b.*$|"
    r"[{};][ \t]*$|=>|==|!=|\(\)|</?\w{1,20}>|\b\w{1,40}\.\w{1,40}\(|^[ \t]*(?:\$|>>>)\s",
    re.MULTILINE,
)
_WORDS = (
    *("def", "class", "import", "from", "return", "function"),
    *("const", "let", "var", "public", "SELECT", "INSERT", "#"),
)
"""What a first line of code may begin with."""
_number = re.compile(r"\d+(?:[.,:]\d+)*")
_unspaced = re.compile("[\u0e00-\u0e7f\u3040-\u30ff\u3400-\u9fff]")


def judge(turn: Turn, cues: Mapping[Cue, frozenset[str]], *, covered: bool) -> Feature:
    """`covered`: the text's language has cue lists."""
    signs = {name: value for name, value in _signs(turn, cues).items() if value > 0}
    easy = 1.0
    for name, value in signs.items():
        easy *= 1 - _WEIGHTS[name] * min(1.0, value)
    value = round(1 - easy, 4)
    confidence = (0.5 + 0.4 * min(1.0, abs(value - LINE) / 0.3)) * (1.0 if covered else 0.8)
    return Feature(value, round(confidence, 4), {name: round(min(1.0, sign), 3) for name, sign in signs.items()})


def _signs(turn: Turn, cues: Mapping[Cue, frozenset[str]]) -> dict[str, float]:
    text = turn.text
    # which characters there are says which patterns can be left out: each takes 5 to 20 us a KB to find nothing
    there = set(text)
    is_ascii, lines = text.isascii(), "\n" in there
    looks_coded = lines or not there.isdisjoint(_OF_CODE) or text.startswith(_WORDS)
    code = len(_code.findall(text)) if looks_coded else 0
    parts = text.split()
    if is_ascii:
        said: float = len(parts)
    else:
        said = len(_unspaced.findall(text)) / 2 + len(_unspaced.sub(" ", text).split())
    items = len(_item.findall(text)) if lines else int(_item.match(text) is not None)
    commas = sum(map(text.count, _COMMAS & there))
    # a number has no blanks in it, so it stands in a part that is not all letters
    figured = "" if is_ascii and there.isdisjoint(_DIGITS) else " ".join(filterfalse(str.isalpha, parts))
    numbers = len(set(_number.findall(figured)))
    questions = len(_question.findall(text)) if not there.isdisjoint(_QUESTION) else 0
    return {
        "length": log(max(said, _FEW_WORDS) / _FEW_WORDS) / log(_MANY_WORDS / _FEW_WORDS),
        "turns": (turn.turns - 1) / 8,
        "questions": (questions - 1) / 3,
        "enumeration": max(items / 4, (commas - 1) / 6),
        "code": 1.0 if "```" in text else (code - 1) / 3 if code > 1 else 0.0,
        "numbers": (numbers - 1) / 4,
        "condition": len(cues.get("condition", ())) / 3,
        **{name: _some(len(cues.get(name, ()))) for name in _CUED},
    }


_CUED: Final[tuple[Cue, ...]] = ("compare", "reason", "doing", "retrieval")


def _some(count: int) -> float:
    return 0.0 if not count else _ONE_CUE if count == 1 else 1.0
