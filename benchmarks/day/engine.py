"""A model server in this process: takes what a grammar leaves, word by word, at the speed of the embedded engine."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

from trimtab.dataplane.inference import Origin
from trimtab.dataplane.inference.adapters._answer import Http1Answer
from trimtab.surfaces.doctor.scripted import permitted, streamed

PROMPT_MS, TOKEN_MS = 1.6, 16.0
"""A prompt token, and an answer's: the embedded 135M model on two shared cores."""
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
        said = permitted(asked, _UNSURE)
        prompt = sum(len(str(message.get("content") or "")) for message in asked["messages"]) // 4
        if self._paced:
            await asyncio.sleep((prompt * PROMPT_MS + len(said.split(" ")) * TOKEN_MS) / 1000)
        return streamed(said, prompt_tokens=prompt)

    async def close(self) -> None: ...
