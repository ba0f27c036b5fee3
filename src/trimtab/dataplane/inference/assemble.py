"""A whole answer out of a stream's chunks, so that upstreams need to be asked in one way only; and the way back.

Merging follows OpenAI's own clients: texts are joined, lists of parts with an `index` are merged by it, other lists are
joined, anything else is replaced. So fields that we have never heard of survive.
"""

from __future__ import annotations

from typing import Any

from trimtab.core.request import Chunk, Text

_REPLACED = frozenset({"role", "type", "id", "name"})
"""Texts that are said whole, not in pieces."""
_OWN = frozenset({"message", "logprobs", "index", "finish_reason"})


class Assembler:
    """Add chunks in order, then take the completion. Nothing of a chunk is kept but its texts and plain values."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, list[str]] = {}
        """Contents that wait to be joined, by choice."""

    def add(self, event: Chunk | Text) -> None:
        if isinstance(event, Text):
            texts = self._texts.get(event.index)
            if texts is not None:
                texts.append(event.content)
                return
            event = event.chunk()
        self._join()
        self._add(event.data)

    def _join(self) -> None:
        for index, texts in self._texts.items():
            if texts:
                message = self._choices[index]["message"]
                message["content"] = (message.get("content") or "") + "".join(texts)
                texts.clear()

    def _add(self, chunk: dict[str, Any]) -> None:
        for name, value in chunk.items():
            if name not in ("choices", "object") and value is not None:
                self._top[name] = value
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            whole = self._choices.setdefault(
                index, {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
            )
            self._texts.setdefault(index, [])
            for name, value in choice.items():
                if name == "delta":
                    _merge(whole["message"], value or {})
                elif name == "logprobs" and value is not None:
                    _merge(whole.setdefault("logprobs", {}), value)
                elif value is not None:
                    whole[name] = value

    def completion(self) -> dict[str, Any]:
        """An OpenAI `chat.completion`; choices by index."""
        self._join()
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            for call in choice["message"].get("tool_calls") or ():
                call.pop("index", None)
            choice.setdefault("logprobs", None)
        return {**self._top, "object": "chat.completion", "choices": choices}


def pieces(completion: dict[str, Any]) -> list[Chunk]:
    """A whole answer as a stream: each choice's message as one delta, then its finish. What stands beside the choices
    comes with the first."""
    chunks = []
    beside = {name: value for name, value in completion.items() if name not in ("choices", "object", "usage")}
    for choice in completion["choices"]:
        delta = dict(choice["message"])
        calls = delta.get("tool_calls")
        if calls:
            delta["tool_calls"] = [{"index": index, **call} for index, call in enumerate(calls)]
        first: dict[str, Any] = {"index": choice["index"], "delta": delta, "finish_reason": None}
        if choice.get("logprobs"):
            first["logprobs"] = choice["logprobs"]
        chunks.append(Chunk({**beside, "choices": [first]}))
        beside = {}
        others = {name: value for name, value in choice.items() if name not in _OWN}
        last = {**others, "index": choice["index"], "delta": {}, "finish_reason": choice.get("finish_reason")}
        chunks.append(Chunk({"choices": [last]}))
    return chunks


def _merge(whole: dict[str, Any], delta: dict[str, Any]) -> None:
    for name, value in delta.items():
        old = whole.get(name)
        if value is None:
            whole.setdefault(name, None)
        elif old is None:
            whole[name] = _copied(value)
        elif isinstance(old, str) and isinstance(value, str):
            whole[name] = value if name in _REPLACED else old + value
        elif isinstance(old, dict) and isinstance(value, dict):
            _merge(old, value)
        elif isinstance(old, list) and isinstance(value, list):
            _merge_list(old, value)
        else:
            whole[name] = value


def _merge_list(whole: list[Any], delta: list[Any]) -> None:
    for part in delta:
        index = part.get("index") if isinstance(part, dict) else None
        known = None if index is None else next((one for one in whole if one.get("index") == index), None)
        if known is None:
            whole.append(_copied(part))
        else:
            _merge(known, part)


def _copied(value: Any) -> Any:
    """Chunks belong to whoever made them: what is merged into must be ours."""
    if isinstance(value, dict):
        return {name: _copied(part) for name, part in value.items()}
    if isinstance(value, list):
        whole: list[Any] = []
        _merge_list(whole, value)
        return whole
    return value
