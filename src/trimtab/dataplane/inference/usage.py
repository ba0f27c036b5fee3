"""Usage as upstreams tell it, in one shape: a reducer that replaces field by field and never adds.

Shapes seen: in a chunk with choices, in one with empty choices, in every chunk (cumulative), twice, never, `null`,
with cached tokens inside `prompt_tokens_details` (OpenAI), beside it (DeepSeek), under `x_groq` (Groq); with reasoning
beside the completion where it should be part of it (xAI); and llama.cpp's `timings`, which count per choice where its
`usage` counts one choice only. Missing is unknown, not 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trimtab.core.money import Usage


class UsageReducer:
    """What one attempt has used, as far as its upstream has told."""

    __slots__ = (
        *("_choices", "_dialect", "_predicted", "_total", "audio_cached", "audio_in", "audio_out", "cached"),
        *("completion", "drafts", "prompt", "raw", "reasoning", "written", "written_1h"),
    )

    def __init__(self, dialect: str, choices: int) -> None:
        self._dialect, self._choices = dialect, choices
        self.raw: dict[str, Any] = {}
        """The upstream's own object, last value of each field: details that we don't count reach the caller."""
        self._predicted: dict[int, int] = {}
        self.prompt: int | None = None
        self.cached: int | None = None
        self.written: int | None = None
        self.written_1h: int | None = None
        self.audio_in: int | None = None
        self.audio_cached: int | None = None
        self.completion: int | None = None
        self.reasoning: int | None = None
        self.audio_out: int | None = None
        self._total: int | None = None
        self.drafts: tuple[int, int] | None = None
        """Tokens that llama.cpp proposed for the answer, and accepted."""

    def take(self, chunk: dict[str, Any]) -> bool:
        """Read, and take out, what a chunk says of usage; whether it said anything."""
        usage = chunk.pop("usage", None)
        if usage is None and "x_groq" in chunk:
            groq = chunk["x_groq"]
            usage = groq.get("usage") if isinstance(groq, dict) else None
        if isinstance(usage, dict):
            self._usage(usage)
        if self._dialect == "llamacpp":
            timings = chunk.pop("timings", None)
            if isinstance(timings, dict):
                self._timings(timings, chunk)
        return isinstance(usage, dict)

    def _usage(self, usage: dict[str, Any]) -> None:
        self.raw.update(usage)
        prompt_details, said = _part(usage, "prompt_tokens_details"), _part(usage, "completion_tokens_details")
        self.prompt = _count(usage.get("prompt_tokens"), self.prompt)
        self.cached = _count(prompt_details.get("cached_tokens"), self.cached)
        self.cached = _count(usage.get("prompt_cache_hit_tokens"), self.cached)
        self.written = _count(prompt_details.get("cache_write_tokens"), self.written)
        self.written_1h = _count(prompt_details.get("cache_write_1h_tokens"), self.written_1h)
        self.audio_in = _count(prompt_details.get("audio_tokens"), self.audio_in)
        held = _part(prompt_details, "cached_tokens_details")
        self.audio_cached = _count(held.get("audio_tokens"), self.audio_cached)
        self.completion = _count(usage.get("completion_tokens"), self.completion)
        self._total = _count(usage.get("total_tokens"), self._total)
        self.reasoning = _count(said.get("reasoning_tokens"), self.reasoning)
        self.audio_out = _count(said.get("audio_tokens"), self.audio_out)
        self.reasoning = _count(usage.get("reasoning_tokens"), self.reasoning)

    def _timings(self, timings: dict[str, Any], chunk: dict[str, Any]) -> None:
        cached, fresh = _count(timings.get("cache_n"), None), _count(timings.get("prompt_n"), None)
        if fresh is not None:
            self.cached = cached
            self.prompt = fresh + (cached or 0)
        drafted = _count(timings.get("draft_n"), None)
        if drafted is not None:
            self.drafts = drafted, _count(timings.get("draft_n_accepted"), 0) or 0
        predicted = _count(timings.get("predicted_n"), None)
        if predicted is not None:
            choices = chunk.get("choices") or [{}]
            index = choices[0].get("index", 0)
            if chunk.get("choices") or len(self._predicted) < 2:
                self._predicted[index] = predicted

    @property
    def is_known(self) -> bool:
        """Whether the upstream has told prompt and completion, so that nothing need be counted here."""
        return self.prompt is not None and (self.completion is not None or bool(self._predicted))

    def result(self) -> Usage:
        """As told; None for what was not. Where parts are more than their whole, the whole was told without them, so
        that it is raised: what was used is never less than what was named."""
        completion = self.completion
        if self._predicted and (completion is None or self._choices > 1):
            completion = max(sum(self._predicted.values()), completion or 0)
        if completion is not None and self._beside(completion):
            completion += self.reasoning or 0
        written = self.written_1h if self.written is None else _whole(self.written, self.written_1h)
        cached, audio_in = _whole(self.cached, self.audio_cached), _whole(self.audio_in, self.audio_cached)
        return Usage(
            prompt=_whole(self.prompt, (cached or 0) + (written or 0), audio_in),
            cached=cached,
            written=written,
            written_1h=self.written_1h,
            audio_in=audio_in,
            audio_cached=self.audio_cached,
            completion=_whole(completion, (self.reasoning or 0) + (self.audio_out or 0)),
            reasoning=self.reasoning,
            audio_out=self.audio_out,
        )

    def _beside(self, completion: int) -> bool:
        """Whether reasoning was told beside the completion: the total says so, or it could not be part of it."""
        if not self.reasoning or self.prompt is None:
            return False
        return self.reasoning > completion or self._total == self.prompt + completion + self.reasoning


def wire(usage: Usage, raw: Mapping[str, Any]) -> dict[str, Any]:
    """OpenAI's usage object: the upstream's own with our totals; unknown details are left out."""
    prompt, completion = usage.prompt or 0, usage.completion or 0
    totals = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    if raw:
        return {**raw, **totals}
    body: dict[str, Any] = dict(totals)
    details = {
        "cached_tokens": usage.cached,
        "cache_write_tokens": usage.written,
        "cache_write_1h_tokens": usage.written_1h,
        "audio_tokens": usage.audio_in,
    }
    for name, parts in (
        ("prompt_tokens_details", details),
        ("completion_tokens_details", {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_out}),
    ):
        if known := {part: value for part, value in parts.items() if value is not None}:
            body[name] = known
    return body


def _part(usage: dict[str, Any], name: str) -> dict[str, Any]:
    part = usage.get(name)
    return part if isinstance(part, dict) else {}


def _whole(whole: int | None, *parts: int | None) -> int | None:
    return None if whole is None else max(whole, *(part or 0 for part in parts))


def _count(value: Any, known: int | None) -> int | None:
    """A count that makes sense replaces what was known; anything else changes nothing."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0 or value > 1 << 40:
        return known
    return int(value)
