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
        answer = Http1Answer(_Whole(), 200, {"content-type": "text/event-stream"})
        answer.add(_events(_sentence(msgspec.json.decode(body))))
        answer.end()
        return answer

    async def close(self) -> None: ...


class _Whole:
    """The far end of an answer that has come."""

    def resume(self) -> None: ...

    def abort(self) -> None: ...


def _sentence(asked: dict[str, Any]) -> str:
    found = _CHOICE.search(asked.get("grammar") or "")
    return _SAID if found is None else msgspec.json.decode(f'"{found[1]}"', type=str)


def _events(text: str) -> bytes:
    words = text.split(" ")
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant"}, None)]
    deltas += [({"content": word if number == 0 else f" {word}"}, None) for number, word in enumerate(words)]
    deltas.append(({}, "stop"))
    base = {"id": "e", "object": "chat.completion.chunk", "created": 1, "model": "scripted"}
    events: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas
    ]
    usage = {"prompt_tokens": 100, "completion_tokens": len(words), "total_tokens": 100 + len(words)}
    events.append({**base, "choices": [], "usage": usage})
    return b"".join(b"data: %b\n\n" % msgspec.json.encode(event) for event in events) + b"data: [DONE]\n\n"


__all__ = ["Scripted"]
