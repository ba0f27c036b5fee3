"""A whole answer out of a stream's chunks, so that upstreams need to be asked in one way only.

Merging follows OpenAI's own clients: texts are joined, lists of parts with an `index` are merged by it, other lists are
joined, anything else is replaced. So fields that we have never heard of survive.
"""

from __future__ import annotations

from typing import Any

_REPLACED = frozenset({"role", "type", "id", "name"})
"""Texts that are said whole, not in pieces."""


class Assembler:
    """Add chunks in order, then take the completion."""

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}

    def add(self, chunk: dict[str, Any]) -> None:
        for name, value in chunk.items():
            if name not in ("choices", "object") and value is not None:
                self._top[name] = value
        for choice in chunk.get("choices") or ():
            index = choice.get("index", 0)
            whole = self._choices.setdefault(
                index, {"index": index, "message": {"role": "assistant", "content": None}, "finish_reason": None}
            )
            for name, value in choice.items():
                if name == "delta":
                    _merge(whole["message"], value or {})
                elif name == "logprobs" and value is not None:
                    _merge(whole.setdefault("logprobs", {}), value)
                elif value is not None:
                    whole[name] = value

    def completion(self) -> dict[str, Any]:
        """An OpenAI `chat.completion`; choices by index."""
        choices = [self._choices[index] for index in sorted(self._choices)]
        for choice in choices:
            for call in choice["message"].get("tool_calls") or ():
                call.pop("index", None)
            choice.setdefault("logprobs", None)
        return {**self._top, "object": "chat.completion", "choices": choices}


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
