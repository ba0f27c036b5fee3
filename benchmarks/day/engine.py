"""A model server in this process: takes what a grammar leaves, word by word, at the speed of the embedded engine."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from trimtab.dataplane.inference import Origin

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
    ) -> Answer:
        self.requests += 1
        asked = json.loads(body)
        said = _said(asked)
        prompt = sum(len(str(message.get("content") or "")) for message in asked["messages"]) // 4
        if self._paced:
            await asyncio.sleep((prompt * PROMPT_MS + len(said) * TOKEN_MS) / 1000)
        return Answer(_events(said, prompt))

    async def close(self) -> None: ...


class Answer:
    """All of it at once: what is measured is the gateway, not the stream."""

    status = 200

    def __init__(self, data: bytes) -> None:
        self.headers = {"content-type": "text/event-stream"}
        self._data = data

    @property
    def is_over(self) -> bool:
        return not self._data

    async def read_some(self) -> bytes:
        data, self._data = self._data, b""
        return data

    async def read_all(self, max_bytes: int) -> bytes:
        return await self.read_some()

    def close(self) -> None:
        self._data = b""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if not self._data:
            raise StopAsyncIteration
        return await self.read_some()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


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
