"""An upstream that answers at once, inside this process: a `Dialer` whose every answer is a short stream."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters._answer import Http1Answer

_CHOICE: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_SAID: Final = "It takes three to five working days."


class Scripted:
    """Says a sentence that the request's grammar permits, word by word, else always the same one."""

    async def send(
        self, origin: Origin, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Http1Answer:
        return streamed(permitted(msgspec.json.decode(body), _SAID), prompt_tokens=100)

    async def close(self) -> None: ...


class _Whole:
    """The far end of an answer that has come."""

    def resume(self) -> None: ...

    def abort(self) -> None: ...


def permitted(asked: dict[str, Any], otherwise: str) -> str:
    """The first sentence that a request's grammar permits."""
    found = _CHOICE.search(asked.get("grammar") or "")
    return otherwise if found is None else msgspec.json.decode(f'"{found[1]}"', type=str)


def streamed(text: str, *, prompt_tokens: int) -> Http1Answer:
    """A whole answer that says this text, a word an event, and counts words as tokens."""
    answer = Http1Answer(_Whole(), 200, {"content-type": "text/event-stream"})
    answer.add(_events(text, prompt_tokens))
    answer.end()
    return answer


def _events(text: str, prompt: int) -> bytes:
    words = text.split(" ")
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant"}, None)]
    deltas += [({"content": word if number == 0 else f" {word}"}, None) for number, word in enumerate(words)]
    deltas.append(({}, "stop"))
    base = {"id": "e", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    events: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas
    ]
    usage = {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}
    events.append({**base, "choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in events) + b"data: [DONE]\n\n"


__all__ = ["Scripted", "permitted", "streamed"]
