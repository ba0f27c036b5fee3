"""A model server in this process: takes what a grammar leaves, word by word, at the speed of the embedded engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from typing import Any

from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters._answer import Http1Answer

PROMPT_MS, TOKEN_MS = 1.6, 16.0
"""A prompt token, and an answer's: the embedded 135M model on two shared cores."""
_CHOICE = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNSURE = "I do not know."


class Engine:
    """A `Dialer`. `paced`: answers take the time they would; else none."""

    def __init__(self, *, paced: bool) -> None:
        self._paced = paced
        self.requests = 0

    async def send(
        self, origin: Origin, method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> Http1Answer:
        self.requests += 1
        asked = json.loads(body)
        said = _said(asked)
        prompt = sum(len(str(message.get("content") or "")) for message in asked["messages"]) // 4
        if self._paced:
            await asyncio.sleep((prompt * PROMPT_MS + len(said) * TOKEN_MS) / 1000)
        answer = Http1Answer(_Whole(), 200, {"content-type": "text/event-stream"})
        answer.add(_events(said, prompt))
        answer.end()
        return answer

    async def close(self) -> None: ...


class _Whole:
    """The far end of an answer that has come."""

    def resume(self) -> None: ...

    def abort(self) -> None: ...


def _said(asked: dict[str, Any]) -> list[str]:
    """The first sentence that the grammar permits, in pieces; without one, that it does not know."""
    found = _CHOICE.search(asked.get("grammar") or "")
    text = json.loads(f'"{found[1]}"') if found else _UNSURE
    words = text.split(" ")
    return [word if number == 0 else " " + word for number, word in enumerate(words)]


def _events(said: Sequence[str], prompt: int) -> bytes:
    base = {"id": "e", "object": "chat.completion.chunk", "created": 1, "model": "engine"}
    deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant"}, None)]
    deltas += [({"content": piece}, None) for piece in said]
    deltas.append(({}, "stop"))
    events: list[dict[str, Any]] = [
        {**base, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]} for delta, finish in deltas
    ]
    counted = {"prompt_tokens": prompt, "completion_tokens": len(said), "total_tokens": prompt + len(said)}
    events.append({**base, "choices": [], "usage": counted})
    lines = [f"data: {json.dumps(event)}\n\n" for event in events]
    return "".join([*lines, "data: [DONE]\n\n"]).encode()
