"""Resume: what has come of a stream, so that another model can go on with it where it broke (`resume: continue`).

The next model is sent the answer so far as an assistant message that is begun (a prefill), and writes the rest. Only
plain text can be gone on with: a tool's call, a thought or a second choice can't. A model that does not heed the
prefill begins anew; where its first words are those of the answer so far they are not doubled: the stream is broken
off instead, since what it says may differ further on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from trimtab.core.decision import Plan
from trimtab.core.request import Chunk, Message, Text
from trimtab.dataplane.inference import AttemptFailed, failed

SEAM = 24
"""Characters in which a continuation may not repeat the answer's beginning."""


class Resuming:
    """One request's answer so far, and the seam of what goes on with it."""

    def __init__(self) -> None:
        self._said: list[str] = []
        self._possible = True
        self.before = ""
        """What had come when the attempt that answers now began; empty for the first."""
        self._held: list[Chunk | Text] = []
        self._seam = ""

    @property
    def text(self) -> str:
        """All that has come."""
        return "".join(self._said)

    def may(self, plan: Plan) -> bool:
        """Whether the plan's model could go on."""
        return self._possible and plan.variant.prefill and plan.choices == 1 and any(self._said)

    def messages(self, sent: tuple[Message, ...]) -> tuple[Message, ...]:
        """The conversation with the answer as far as it has come; as it is if nothing has."""
        text = self.before = self.text
        self._held, self._seam = [], ""
        return (*sent, {"role": "assistant", "content": text}) if text else sent

    def take(self, events: list[Chunk | Text]) -> list[Chunk | Text]:
        """Note what has come; what of it may be passed on now. Raises AttemptFailed where a continuation begins as the
        answer did."""
        for event in events:
            self._note(event)
        if not self.before:
            return events
        events = [event for event in events if isinstance(event, Text) or not _is_opening(event)]
        if len(self._seam) >= SEAM:
            return events
        self._held += events
        self._seam = self.text[len(self.before) :]
        ended = any(isinstance(one, Chunk) and any(c.get("finish_reason") for c in one.choices) for one in events)
        told = min(SEAM, len(self.before))
        if self.before.startswith(self._seam[:told]) and self._seam:
            if len(self._seam) >= told and told >= SEAM // 2:
                raise AttemptFailed(failed("began anew", "the model that was to go on began anew", harm="none"))
            if not ended and len(self._seam) < told:
                return []  # not told yet
        held, self._held = self._held, []
        self._seam = self._seam.ljust(SEAM)
        return held

    def _note(self, event: Chunk | Text) -> None:
        if isinstance(event, Text):
            self._possible = self._possible and not event.index
            self._said.append(event.content)
            return
        for choice in event.choices:
            delta: dict[str, Any] = choice.get("delta") or {}
            content = delta.get("content")
            if isinstance(content, str):
                self._said.append(content)
            others = [name for name in delta if name not in ("role", "content") and delta[name]]
            if others or choice.get("index"):
                self._possible = False


def _is_opening(chunk: Chunk) -> bool:
    """The chunk that says who speaks, which the caller has had."""
    deltas: Sequence[dict[str, Any]] = [choice.get("delta") or {} for choice in chunk.choices]
    if any(choice.get("finish_reason") for choice in chunk.choices):
        return False
    return bool(deltas) and all("role" in delta and not delta.get("content") for delta in deltas)
