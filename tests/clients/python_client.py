"""OpenAI's two Python clients, spoken to in one way, and what they see as plain values.

A case is a coroutine over a `Chat`; `driven` makes of it what a stage plays. The synchronous client blocks this loop,
which is nobody else's: the servers have their own.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import openai

from clients.stage import Case, Side, plain

KINDS = ("sync", "async")
TIMEOUT_S = 10.0


class Chat:
    """One client. Every method gives what the client gives, awaited where it is the asynchronous one."""

    def __init__(self, kind: str, side: Side, **options: Any) -> None:
        made = {"sync": openai.OpenAI, "async": openai.AsyncOpenAI}[kind]
        options = {"api_key": side.key, "max_retries": 0, "timeout": TIMEOUT_S, **options}
        self.side = side
        self.client: Any = made(base_url=side.url, **options)

    async def create(self, **fields: Any) -> Any:
        return await settled(self.client.chat.completions.create(**request(fields)))

    async def parse(self, **fields: Any) -> Any:
        return await settled(self.client.chat.completions.parse(**request(fields)))

    async def raw(self, **fields: Any) -> Any:
        """The answer's head with the answer."""
        return await settled(self.client.chat.completions.with_raw_response.create(**request(fields)))

    async def model(self, name: str) -> Any:
        return await settled(self.client.models.retrieve(name))

    async def whole(self, **fields: Any) -> dict[str, Any]:
        """A whole answer as the client has typed it."""
        return seen(await self.create(**fields))

    async def streamed(self, **fields: Any) -> dict[str, Any]:
        """A stream, chunk by chunk, and how it ended."""
        return await drained(await self.create(stream=True, **fields))

    async def events(self, **fields: Any) -> list[dict[str, Any]]:
        """The stream helper's events; the last is its final completion."""
        manager = self.client.chat.completions.stream(**request(fields))
        stream = await manager.__aenter__() if hasattr(manager, "__aenter__") else manager.__enter__()
        found = []
        try:
            async for event in each(stream):
                found.append(told_event(event))
            final = await settled(stream.get_final_completion())
            found.append(seen(final))
        finally:
            await settled(stream.close())
        return found

    async def close(self) -> None:
        await settled(self.client.close())


Script = Callable[[Chat], Awaitable[Any]]


def driven(kind: str, case: Script, **options: Any) -> Case:
    """The case with this client, made for the side that it is played to."""

    def play(side: Side) -> Any:
        async def main() -> Any:
            chat = Chat(kind, side, **options)
            try:
                return await case(chat)
            finally:
                await chat.close()

        return asyncio.run(main())

    return play


def request(fields: dict[str, Any]) -> dict[str, Any]:
    """A request's fields, with model and messages unless they are given; None takes one out."""
    made = {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}], **fields}
    return {name: value for name, value in made.items() if value is not None}


async def settled(value: Any) -> Any:
    """The value, or what it will be."""
    return await value if inspect.isawaitable(value) else value


async def each(stream: Any) -> AsyncIterator[Any]:
    """The items of either kind of iterator."""
    if hasattr(stream, "__aiter__"):
        async for item in stream:
            yield item
    else:
        for item in stream:
            yield item


def seen(completion: Any) -> dict[str, Any]:
    """A typed answer or chunk as plain values, fields that the types don't know included."""
    return {"is": type(completion).__name__.partition("[")[0], **plain(completion.model_dump(warnings=False))}


def told_event(event: Any) -> dict[str, Any]:
    """An event of the stream helper; of a chunk's event the chunk alone, its snapshot is told at the end."""
    if event.type == "chunk":
        return {"type": "chunk", "chunk": seen(event.chunk)}
    return dict(event.model_dump(warnings=False))


async def drained(stream: Any) -> dict[str, Any]:
    """The chunks of a stream; that they share one id; the error that ended it, None if it just ended."""
    chunks, ids, error = [], set(), None
    try:
        async for chunk in each(stream):
            ids.add(chunk.id)
            chunks.append(seen(chunk))
    except Exception as raised:
        error = told(raised)
    return {"is": type(stream).__name__, "chunks": chunks, "ids": len(ids), "error": error}


def told(error: Exception) -> dict[str, Any]:
    """What an error tells a program: its class, status, OpenAI's four fields, and that it names the request."""
    body = getattr(error, "body", None)
    said = body.get("message") if isinstance(body, dict) else getattr(error, "message", str(error))
    return {
        "class": type(error).__name__,
        "status": getattr(error, "status_code", None),
        "message": said,
        **{name: getattr(error, name, None) for name in ("code", "param", "type")},
        "request_id": isinstance(getattr(error, "request_id", None), str),
    }


async def told_of(work: Awaitable[Any]) -> dict[str, Any]:
    """The error that this raises."""
    try:
        found = await work
    except Exception as raised:
        return told(raised)
    return {"class": None, "answer": repr(found)}


def text(chunks: list[dict[str, Any]], index: int = 0) -> list[str | None]:
    """The texts of one choice, chunk by chunk."""
    choices = [choice for chunk in chunks for choice in chunk["choices"] if choice["index"] == index]
    return [choice["delta"]["content"] for choice in choices]
