"""Texts that must never leave, found in a stream that is cut anywhere.

Aho-Corasick over folded characters (fold.py). After each character the automaton's state is the longest beginning of a
deny text that the stream ends in; its length is what has to be held back, and all before it can go. So a text is held
only while it may still become part of a deny text, and nothing of a deny text ever leaves. Of a stream that holds one,
all that stands before it leaves (before the longest, where several end at the same character): a function of the
characters alone, however the stream is cut.

Why not a window as long as the longest deny text: it holds back every stream, all the time, for its whole length.
"""

from __future__ import annotations

import re
from collections import deque
from functools import lru_cache
from typing import Final

from trimtab.dataplane.guard.fold import fold, folded

_CONTROLS: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_HEX: Final = frozenset("0123456789abcdefABCDEF")


class Automaton:
    """Immutable; made by `automaton`. States are numbers, 0 is the start."""

    __slots__ = ("begins", "begins_json", "depth", "ends", "fail", "goto")

    def __init__(self, texts: set[str]) -> None:
        self.goto: list[dict[str, int]] = [{}]
        self.depth = [0]
        self.ends = [0]
        """Of each state: the length of the longest deny text that is whole by then."""
        for text in sorted(texts):
            self._add(text)
        self.fail = [0] * len(self.goto)
        self._link()
        self.begins = self._beginning("\x80-\U0010ffff")
        self.begins_json = self._beginning("\x80-\U0010ffff\\\\")

    def step(self, state: int, character: str) -> int:
        goto = self.goto
        while character not in goto[state]:
            if not state:
                return 0
            state = self.fail[state]
        return goto[state][character]

    def may_begin_in(self, text: str, *, json: bool = False) -> bool:
        """Whether a deny text begins in this one, as far as its first two characters tell."""
        return (self.begins_json if json else self.begins).search(text) is not None

    def finds(self, text: str) -> bool:
        """Whether a whole text holds a deny text."""
        stream = DenyStream(self, json=False)
        stream.feed(text)
        return stream.violated

    def _beginning(self, any_form: str) -> re.Pattern[str]:
        """Where nothing has begun, one search finds the next place to look at: the first two characters of a deny text
        (or one, at the end), or of `any_form`, which folding may turn into anything."""
        places = [f"[{any_form}]"]
        for first, state in self.goto[0].items():
            if first.isascii():
                second = "".join(map(_ascii_forms, self.goto[state]))
                after = "" if self.ends[state] else rf"(?=[{second}{any_form}]|\Z)"
                places.append(f"[{_ascii_forms(first)}]{after}")
        return re.compile("|".join(places))

    def _add(self, text: str) -> None:
        state = 0
        for character in text:
            following = self.goto[state].get(character)
            if following is None:
                following = self.goto[state][character] = len(self.goto)
                self.goto.append({})
                self.depth.append(self.depth[state] + 1)
                self.ends.append(0)
            state = following
        self.ends[state] = len(text)

    def _link(self) -> None:
        """Each state's longest proper ending that begins a deny text too; breadth first, so shorter ones are ready."""
        queue = deque(self.goto[0].values())
        while queue:
            state = queue.popleft()
            for character, following in self.goto[state].items():
                self.fail[following] = self.step(self.fail[state], character)
                self.ends[following] = self.ends[following] or self.ends[self.fail[following]]
                queue.append(following)


@lru_cache(maxsize=512)
def automaton(texts: tuple[str, ...]) -> Automaton | None:
    """Compiled once for each list of deny texts; None if all of them are blank."""
    compared = {folded(text) for text in texts} - {""}
    return Automaton(compared) if compared else None


def _ascii_forms(character: str) -> str:
    """What is written in ASCII and folds to this character, inside a regex class."""
    if character == " ":
        return r"\s"
    return re.escape(character + character.upper()) if character.isascii() else ""


class DenyStream:
    """One stream of text. `json`: the stream is JSON, and what its escapes stand for is what is compared.

    `held`: the characters that may still become part of a deny text, each with how many folded ones it counts for.
    """

    __slots__ = ("_automaton", "_folded", "_json", "_partial", "_space", "_state", "held", "violated")

    def __init__(self, automaton: Automaton, *, json: bool) -> None:
        self._automaton = automaton
        self._json = json
        self._state = 0
        self._space = False
        self._folded = 0
        """Folded characters in `held`."""
        self._partial = ""
        """An escape of which the rest is yet to come."""
        self.held: deque[tuple[str, int]] = deque()
        self.violated = False

    @property
    def holds(self) -> bool:
        return bool(self.held or self._partial)

    def feed(self, text: str, last: bool = False) -> str:
        """What may go now, of this text and what was held. `last`: nothing may be held any longer.

        The state outlives the end: should more text come after it, a deny text across that border is still found.
        """
        if self.violated:
            return ""
        if not (self._state or self._partial or self._automaton.may_begin_in(text, json=self._json)):
            return text
        text, self._partial = self._partial + text, ""
        released: list[str] = []
        begins = self._automaton.begins_json if self._json else self._automaton.begins
        position = 0
        while position < len(text):
            if not self._state:
                begin = begins.search(text, position)
                if begin is None:
                    released.append(text[position:])
                    break
                released.append(text[position : begin.start()])
                position = begin.start()
                self._space = False
            raw, meant = self._unit(text, position, last)
            if not raw:
                self._partial = text[position:]
                break
            position += len(raw)
            if self._take(raw, meant, released):
                return "".join(released)
        if last:
            released += [raw for raw, _ in self.held]
            self.held.clear()
            self._folded = 0
        return "".join(released)

    def _unit(self, text: str, position: int, last: bool) -> tuple[str, str]:
        """The next character as written, and what it means; nothing written: an escape that is not whole yet."""
        character = text[position]
        if not self._json or character != "\\":
            return character, character
        escape = text[position : position + 6]
        letter = escape[1:2]
        if letter != "u":
            if letter or last:
                return escape[:2], _CONTROLS.get(letter, letter or "\\")
            return "", ""
        digits = escape[2:]
        if not _HEX.issuperset(digits):
            return "\\u", "u"
        if len(digits) == 4:
            return escape, chr(int(digits, 16))
        return ("\\u", "u") if last else ("", "")

    def _take(self, raw: str, meant: str, released: list[str]) -> bool:
        """Go on by one character, and let go what can't be part of a match any more. True: a deny text is whole."""
        automaton, state, count = self._automaton, self._state, 0
        for character in fold(meant):
            if character == " ":
                if self._space:
                    continue
                self._space = True
            else:
                self._space = False
            state = automaton.step(state, character)
            count += 1
            if automaton.ends[state]:
                self._let_go(automaton.ends[state] - count, released)
                self.violated = True
                return True
        self._state = state
        self.held.append((raw, count))
        self._folded += count
        self._let_go(automaton.depth[state], released)
        return False

    def _let_go(self, needed: int, released: list[str]) -> None:
        """Release what is held but for the last `needed` folded characters."""
        held = self.held
        while held and self._folded - held[0][1] >= needed:
            raw, count = held.popleft()
            self._folded -= count
            released.append(raw)
