"""One call through the gateway by OpenAI's client, without retries of its own: what somebody's program sees of it."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import openai

from benchmarks.faults.provider import ANSWER

PROMPT = "Explain in sixty words why a gateway earns its keep on bad days."


@dataclass(frozen=True)
class Saw:
    """`how`: whole, error, truncated (a part that passes for the whole) or hang."""

    how: str
    took_s: float
    model: str | None = None
    usage: bool = False
    message: str = ""


async def call(client: openai.AsyncOpenAI, model: str, *, stream: bool, channel: str, limit_s: float) -> Saw:
    """Never raises."""
    since = time.monotonic()
    try:
        async with asyncio.timeout(limit_s):
            text, told, usage = await _ask(client, model, stream, channel)
    except TimeoutError:
        return Saw("hang", time.monotonic() - since)
    except openai.APIError as error:
        return Saw("error", time.monotonic() - since, message=error.message)
    how = "whole" if " ".join(text.split()) == ANSWER else "truncated"
    return Saw(how, time.monotonic() - since, told, usage)


async def _ask(client: openai.AsyncOpenAI, model: str, stream: bool, channel: str) -> tuple[str, str | None, bool]:
    asked: dict[str, Any] = {
        "model": model,
        "messages": [{"role": "user", "content": PROMPT}],
        "extra_headers": {"trimtab-channel": channel},
    }
    if not stream:
        whole = await client.chat.completions.create(**asked)
        return whole.choices[0].message.content or "", whole.model, whole.usage is not None
    text, told, usage = "", None, False
    async for chunk in await client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    ):
        told, usage = chunk.model or told, usage or chunk.usage is not None
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    return text, told, usage
