"""The way out: each text of an answer is a guarded stream of its own, so nothing forbidden leaves however it is cut.

A guarded stream is one text field of one choice's delta (`content`, `reasoning_content`, `refusal`, any other), or one
tool call's arguments. What a model says of addresses and numbers becomes `<EMAIL>`, `<PHONE>`, `<CARD>`, `<IBAN>` where
the channel asks for it; then it is restored, and then searched, since what the client would read is what counts. Text
that may still become one of these is held, all other goes at once; the choice's finish lets go what is still held, in
the same chunk.

`logprobs` tell tokens one by one, the forbidden ones too. A choice's entries wait until none of its text is held and
then go with the chunk that lets the last of it go; so they are complete and in order, but may come later than their
text. Where something was redacted, those of that stretch don't go at all.

Other strings (unknown fields, nested ones too) are searched and restored each by itself: a text that an unknown field
spreads over several chunks is not joined.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

from trimtab.core.request import Chunk, Text
from trimtab.core.rows import GuardRow
from trimtab.dataplane.guard.addresses import is_json
from trimtab.dataplane.guard.checks import CHECKS_IN, CHECKS_OUT, known
from trimtab.dataplane.guard.delta import ChoiceState, GuardedStream, Name, part_of, tool_calls
from trimtab.dataplane.guard.deny import Automaton, DenyStream, automaton
from trimtab.dataplane.guard.detect import may_hold
from trimtab.dataplane.guard.redact import RedactStream
from trimtab.dataplane.guard.restore import Forms, RestoreStream, forms
from trimtab.dataplane.guard.walk import rewrite

_ENVELOPE: Final = frozenset(
    {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
)
_CONTENT: Final = ("content",)
_CHOICE: Final = frozenset({"index", "delta", "finish_reason", "logprobs"})
_WHOLE_CHOICE: Final = frozenset({"index", "message", "finish_reason", "logprobs"})


def _choice_of(event: Chunk | Text) -> int | None:
    return event.index if isinstance(event, Text) else None


class OutScreen:
    """One request's answer on its way out. See the module.

    The chunk in which a deny text becomes whole still gives what stood before it; `violation` is set by then, and
    nothing comes after.
    """

    __slots__ = (
        "_checks",
        "_choices",
        "_deny",
        "_detected",
        "_detectors",
        "_envelope",
        "_forms",
        "_regions",
        "_restored",
        "_values",
        "passes",
        "violation",
    )

    def __init__(
        self,
        checks: Sequence[str],
        deny: Sequence[str],
        values: tuple[tuple[str, str], ...],
        restore: bool,
        regions: Sequence[str] = (),
    ) -> None:
        """`regions`: as of `screen_in`. Raises ValueError for an unknown check."""
        self._checks = known(checks, CHECKS_OUT)
        self._detectors = tuple(check for check in self._checks if check in CHECKS_IN)
        self._regions = regions
        self._detected: Counter[str] = Counter()
        """Of strings that are looked at by themselves."""
        self._deny: Automaton | None = automaton(tuple(deny)) if "deny" in self._checks else None
        self._values = values if restore else ()
        self._forms: dict[bool, Forms] = {}
        self._restored = 0
        self._choices: dict[int, ChoiceState] = {}
        self._envelope: dict[str, Any] = {}
        self.passes = self._deny is None and not self._values and not self._detectors
        """Nothing can be found or restored: chunks need not come here at all."""
        self.violation: str | None = None
        """The check that found what must not leave."""

    def feed(self, chunk: Chunk | Text) -> Chunk | Text | None:
        """The event as it may leave now; None if nothing of it may. One that loses nothing is the same object."""
        if self.passes:
            return chunk
        if self._stopped():
            return None
        if isinstance(chunk, Text):
            state = self._choices.setdefault(chunk.index, ChoiceState())
            if not state.logprobs:
                said = self._text(state, _CONTENT, chunk.content, False)
                if said is chunk.content:
                    return chunk
                return Text(chunk.index, said, chunk.top, chunk.logprobs) if said else None
            chunk = chunk.chunk()
        data = self._others(chunk.data, _ENVELOPE)
        self._envelope = data
        kept: list[dict[str, Any]] = []
        changed = False
        for choice in chunk.choices:
            if self._stopped():
                changed = True
                break
            clean, empty = self._choice(choice)
            changed = changed or clean is not choice
            # with usage the chunk is sent anyway, and one without choices would mean the end
            if not empty or chunk.usage is not None:
                kept.append(clean)
        if not changed:
            return chunk if data is chunk.data else Chunk(data, chunk.usage)
        return Chunk({**data, "choices": kept}, chunk.usage) if kept else None

    def feed_all(self, events: Sequence[Chunk | Text]) -> list[Chunk | Text]:
        """`feed` for events that came together. Texts of one choice are told in one look, where that settles it."""
        if len(events) == 1:  # as they come from a model at work
            alone = self.feed(events[0])
            return [] if alone is None else [alone]
        kept: list[Chunk | Text] = []
        for index, run in groupby(events, key=_choice_of):
            some = list(run)
            if index is not None and len(some) > 1 and self._idle(index, some):
                kept += some
            else:
                kept += [out for event in some if (out := self.feed(event)) is not None]
        return kept

    def _idle(self, index: int, texts: Sequence[Chunk | Text]) -> bool:
        """Whether nothing of the choice is held, and nothing begins in these texts. With detectors, more is held than
        one look tells."""
        state = self._choices.get(index)
        if self._detectors or self._stopped() or (state is not None and not state.idle):
            return False
        text = "".join([one.content for one in texts if isinstance(one, Text)])
        if self._values and self._forms_of(json=False).mark.search(text) is not None:
            return False
        return self._deny is None or not self._deny.may_begin_in(text)

    def clears(self, completion: dict[str, Any]) -> bool:
        """Whether a whole answer may leave as it is, told in one look at each of its texts. False where that does not
        settle it: it is to be fed in pieces then."""
        if not completion.keys() <= _ENVELOPE:
            return False
        for choice in completion["choices"]:
            if choice.get("logprobs") or not choice.keys() <= _WHOLE_CHOICE:
                return False
            for field, value in choice["message"].items():
                if field != "role" and value is not None and not (isinstance(value, str) and self._silent(value)):
                    return False
        return True

    def _silent(self, text: str) -> bool:
        """Surely nothing to be found or restored."""
        if self._detectors and may_hold(text, self._detectors):
            return False
        if self._values and self._forms_of(json=False).mark.search(text) is not None:
            return False
        return self._deny is None or not self._deny.finds(text)

    def finish(self) -> list[Chunk]:
        """What is still held where a stream ended without a finish reason."""
        chunks: list[Chunk] = []
        for index, state in self._choices.items():
            if self._stopped():
                break
            choice: dict[str, Any] = {
                "index": index,
                "delta": self._rest(state, {}),
                "finish_reason": None,
            }
            logprobs = self._ready_logprobs(state)
            if logprobs is not None:
                choice["logprobs"] = logprobs
            if choice["delta"] or logprobs is not None:
                chunks.append(Chunk({**self._envelope, "choices": [choice]}))
        return chunks

    def rows(self) -> list[GuardRow]:
        """One for each check, and one for what was restored."""
        streams = [stream for state in self._choices.values() for stream in state.streams.values()]
        detected = sum((one.redact.hits for one in streams if one.redact is not None), self._detected)
        rows = []
        for check in self._checks:
            if check in CHECKS_IN:
                hits, action = detected[check], "redacted"
            else:
                hits, action = int(self.violation == check), "blocked"
            rows.append(GuardRow(stage="out", check=check, hits=hits, action=action if hits else "none"))
        if self._values:
            hits = self._restored + sum(one.restore.hits for one in streams if one.restore is not None)
            rows.append(GuardRow(stage="out", check="restore", hits=hits, action="restored" if hits else "none"))
        return rows

    def _stopped(self) -> bool:
        return self.violation is not None

    def _choice(self, choice: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """The choice as it may leave, and whether the screen took all that it said."""
        state = self._choices.setdefault(choice.get("index", 0), ChoiceState())
        choice = self._others(choice, _CHOICE)
        delta = choice.get("delta") or {}
        finish = choice.get("finish_reason")
        clean = self._delta(state, delta, last=bool(finish))
        logprobs = choice.get("logprobs")
        if logprobs:
            state.logprobs.append(logprobs)
        ready = self._ready_logprobs(state) if state.logprobs else logprobs
        violated = self._stopped()
        if clean is delta and ready is logprobs and not violated:
            return choice, False
        choice = {**choice, "delta": clean}
        if ready is not logprobs:
            choice["logprobs"] = ready
        if violated:
            choice["finish_reason"] = finish = None
        said = any(clean.values()) or finish or ready or any(choice[name] for name in choice.keys() - _CHOICE)
        return choice, not said

    def _delta(self, state: ChoiceState, delta: dict[str, Any], last: bool) -> dict[str, Any]:
        """The delta as it may leave: the same object, or a copy without what became empty."""
        changed: dict[str, Any] = {}

        def text(name: Name, value: str) -> str:
            return self._text(state, name, value, last)

        for field, value in delta.items():
            new: Any = value
            if isinstance(value, str):
                if field != "role":
                    new = text((field,), value)
            elif field == "tool_calls" and isinstance(value, list):
                new = tool_calls(value, text)
            elif field == "function_call" and isinstance(value, dict):
                new = part_of((field,), value, "arguments", text)
            elif isinstance(value, (dict, list)):
                new = rewrite(value, self._whole)
            if new is not value:
                changed[field] = new
        clean = delta
        if changed:
            clean = {field: value for field, value in (delta | changed).items() if value or field not in changed}
        return self._rest(state, clean) if last else clean

    def _rest(self, state: ChoiceState, delta: dict[str, Any]) -> dict[str, Any]:
        """`delta` and all that is still held: of streams that it feeds nothing is."""
        for name in state.streams:
            text = self._text(state, name, "", True)
            if not text:
                continue
            if len(name) == 1:
                delta = {**delta, str(name[0]): text}
            elif name[0] == "function_call":
                delta = {**delta, "function_call": {**(delta.get("function_call") or {}), "arguments": text}}
            else:
                index, part, field = name
                call = {"index": index, part: {field: text}}
                delta = {**delta, "tool_calls": [*(delta.get("tool_calls") or ()), call]}
        return delta

    def _text(self, state: ChoiceState, name: Name, value: str, last: bool) -> str:
        """Feed one guarded stream; the same object if all of it may go."""
        if self._stopped():
            return ""
        stream = state.streams.get(name)
        if stream is None:
            stream = state.streams[name] = self._stream(json=name[-1] == "arguments")
        out = stream.feed(value, last)
        if stream.deny is not None and stream.deny.violated:
            self.violation = "deny"
        return value if out == value else out

    def _stream(self, json: bool) -> GuardedStream:
        return GuardedStream(
            RedactStream(self._detectors, self._regions, json=json) if self._detectors else None,
            RestoreStream(self._forms_of(json)) if self._values else None,
            DenyStream(self._deny, json=json) if self._deny is not None else None,
        )

    def _forms_of(self, json: bool) -> Forms:
        made = self._forms.get(json)
        if made is None:
            made = self._forms[json] = forms(self._values, json=json)
        return made

    def _ready_logprobs(self, state: ChoiceState) -> dict[str, Any] | None:
        return None if self._stopped() else state.ready_logprobs()

    def _others(self, fields: dict[str, Any], screened: frozenset[str]) -> dict[str, Any]:
        """`fields` with the strings of those that nobody else screens looked at one by one."""
        if fields.keys() <= screened:
            return fields
        rest = {name: value for name, value in fields.items() if name not in screened}
        clean = rewrite(rest, self._whole)
        return fields if clean is rest else {**fields, **clean}

    def _whole(self, text: str) -> str:
        """A string that is looked at by itself."""
        if self._detectors:
            redacting = RedactStream(self._detectors, self._regions, json=is_json(text))
            redacted = redacting.feed(text, last=True)
            self._detected.update(redacting.hits)
            text = text if redacted == text else redacted
        if self._values:
            stream = RestoreStream(self._forms_of(json=False))
            restored = stream.feed(text, last=True)
            self._restored += stream.hits
            text = text if restored == text else restored
        if self._deny is not None and self._deny.finds(text):
            self.violation = "deny"
            return ""
        return text
