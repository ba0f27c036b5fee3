"""Signals: what an engine tells of itself at `/metrics`, as one value, and the newest of each replica.

Read by hand, and not by prometheus-client's parser: that takes a microsecond a character (4 s for the most that is
taken here), and its import 100 ms, 140 modules and collectors that it registers. What is wanted needs no labels beyond
one: a metric's series are added up or the greatest is taken, so a line is a name, what stands in braces, and a number.
The tests read the same text with that parser.

What an engine does not tell is None, which is not 0. Names are accepted in their new and their old form: vLLM hides a
metric one minor release after it was renamed (vllm-project/vllm docs/usage/metrics.md @ 044a056).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final

import msgspec

from trimtab.core.clock import NS_PER_S

MOST_BYTES: Final = 4 << 20
"""Of an exposition: what is longer is not read."""
STALE_PERIODS: Final = 3
"""After so many periods without a new one the last signals count as none."""
_MOST: Final = float(1 << 53)
"""What is more is no count: a float tells no neighbours apart there."""


class Signals(msgspec.Struct, frozen=True, kw_only=True):
    """Of one engine, all of its ranks together. Counters are since its start."""

    running: int
    """Requests that it works on. vllm:num_requests_running; sglang:num_running_reqs; llamacpp:requests_processing."""
    waiting: int
    """Requests that wait there. vllm:num_requests_waiting; sglang:num_queue_reqs; llamacpp:requests_deferred."""
    kv_used: float | None = None
    """Share of its memory for keys and values that is taken, 0 to 1, of the fullest rank. vllm:kv_cache_usage_perc,
    before gpu_cache_usage_perc; sglang:token_usage; llama.cpp has none."""
    drafts: int | None = None
    """Times that it has guessed ahead. vllm: and llamacpp:spec_decode_num_drafts_total."""
    draft_tokens: int | None = None
    """Tokens that it has guessed. vllm: and llamacpp:spec_decode_num_draft_tokens_total."""
    accepted_tokens: int | None = None
    """Of these, the right ones. vllm: and llamacpp:spec_decode_num_accepted_tokens_total."""
    accept_length: float | None = None
    """Tokens that came of one pass, over the last interval. sglang:spec_accept_length, the mean of its ranks."""
    prefix_hits: int | None = None
    """Tokens of prompts that it had held. vllm:prefix_cache_hits_total, before gpu_prefix_cache_hits_total;
    sglang:cached_tokens_total; llamacpp:prompt_tokens_cached_total."""
    prefix_queries: int | None = None
    """Tokens of prompts, those among them. vllm:prefix_cache_queries_total, before gpu_prefix_cache_queries_total;
    sglang:prompt_tokens_total; llamacpp:prompt_tokens_total, which leaves out what was held, and that."""


Fold = Callable[[Sequence[float]], float]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


class _Field(msgspec.Struct, frozen=True):
    """Names of a metric, the newest first, and what its series make together."""

    names: tuple[str, ...]
    fold: Fold = sum


_SPEC = {
    "drafts": _Field(("spec_decode_num_drafts_total",)),
    "draft_tokens": _Field(("spec_decode_num_draft_tokens_total",)),
    "accepted_tokens": _Field(("spec_decode_num_accepted_tokens_total",)),
}
_DIALECTS: Final[Mapping[str, Mapping[str, _Field]]] = {
    "vllm": {
        "running": _Field(("num_requests_running",)),
        "waiting": _Field(("num_requests_waiting",)),
        "kv_used": _Field(("kv_cache_usage_perc", "gpu_cache_usage_perc"), max),
        **_SPEC,
        "prefix_hits": _Field(("prefix_cache_hits_total", "gpu_prefix_cache_hits_total")),
        "prefix_queries": _Field(("prefix_cache_queries_total", "gpu_prefix_cache_queries_total")),
    },
    "sglang": {
        "running": _Field(("num_running_reqs",)),
        "waiting": _Field(("num_queue_reqs",)),
        "kv_used": _Field(("token_usage",), max),
        "accept_length": _Field(("spec_accept_length",), _mean),
        "prefix_hits": _Field(("cached_tokens_total",)),
        "prefix_queries": _Field(("prompt_tokens_total",)),
    },
    "llamacpp": {
        "running": _Field(("requests_processing",)),
        "waiting": _Field(("requests_deferred",)),
        **_SPEC,
        "prefix_hits": _Field(("prompt_tokens_cached_total",)),
        "prefix_queries": _Field(("prompt_tokens_total",)),
    },
}
TELLING: Final = frozenset(_DIALECTS)
"""Dialects of engines that tell something."""
_FLOATS: Final = frozenset({"kv_used", "accept_length"})


def _pattern(dialect: str) -> re.Pattern[bytes]:
    names = sorted({name for field in _DIALECTS[dialect].values() for name in field.names})
    wanted = "|".join(map(re.escape, names))
    # labels end with the line's last brace: nothing after them has one
    return re.compile(rf"^{dialect}:({wanted})(\{{[^\n]*\}}|(?=[ \t]))([^\n]*)$".encode(), re.MULTILINE)


_PATTERNS: Final = {dialect: _pattern(dialect) for dialect in _DIALECTS}
_ONE_CLASS: Final = re.compile(rb'[{,]\s*priority="[^"]')


def signals_of(dialect: str, exposition: bytes) -> Signals | None:
    """What this text says; None for what is no such engine's, too long, or has a number that is none where one is
    wanted. Never raises, whatever the bytes; 1 ms for 300 KB."""
    pattern = _PATTERNS.get(dialect)
    if pattern is None or len(exposition) > MOST_BYTES:
        return None
    series: dict[str, list[float]] = {}
    for name, labels, rest in pattern.findall(exposition):
        if dialect == "sglang" and _ONE_CLASS.search(labels):
            continue  # of one class of priority: the series without a class has them all
        number = _number(rest)
        if number is None:
            return None
        series.setdefault(name.decode(), []).append(number)
    told = {field: _told(source, series) for field, source in _DIALECTS[dialect].items()}
    if told["running"] is None or told["waiting"] is None:
        return None
    if dialect == "llamacpp" and told["prefix_queries"] is not None:
        told["prefix_queries"] += told["prefix_hits"] or 0
    if (told.get("kv_used") or 0) > 1 or any((value or 0) > _MOST for value in told.values()):
        return None
    fields = {field: value if value is None or field in _FLOATS else round(value) for field, value in told.items()}
    return msgspec.convert(fields, Signals)


def _number(rest: bytes) -> float | None:
    """The value of a sample, which a time may follow; None for what is none, or below 0."""
    words = rest.split()
    if not 1 <= len(words) <= 2:
        return None
    try:
        number = float(words[0])
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 and b"_" not in words[0] else None


def _told(field: _Field, series: Mapping[str, Sequence[float]]) -> float | None:
    return next((field.fold(series[name]) for name in field.names if name in series), None)


def wasted(before: Signals | None, now: Signals, proposes: int | None) -> float | None:
    """Tokens that the engine proposed in vain for each one that it wrote, of what it checked since `before`: a pass
    writes what it accepted, and one more. An engine that tells only how many came of a pass (SGLang) must be known to
    propose so many (`proposes`). None: it did not tell, or has not proposed."""
    if now.draft_tokens is not None and now.accepted_tokens is not None and now.drafts is not None:
        if before is None or before.drafts is None or before.draft_tokens is None or before.accepted_tokens is None:
            return None
        passes, proposed = now.drafts - before.drafts, now.draft_tokens - before.draft_tokens
        accepted = now.accepted_tokens - before.accepted_tokens
        if passes <= 0 or not 0 <= accepted <= proposed:  # nothing, or it was started again meanwhile
            return None
        return (proposed - accepted) / (accepted + passes)
    if now.accept_length is None or proposes is None or now.accept_length < 1:
        return None
    return max(0.0, proposes - (now.accept_length - 1)) / now.accept_length


class Heard(msgspec.Struct, frozen=True):
    """Signals and when they came; from `until_ns` on they count as none."""

    signals: Signals
    at_ns: int
    until_ns: int


class Board:
    """The newest signals of each replica, by its id."""

    def __init__(self) -> None:
        self._heard: dict[str, Heard] = {}

    def put(self, replica: str, signals: Signals, now_ns: int, period_s: float) -> Heard:
        """It has told this now, and is asked every `period_s`."""
        until_ns = now_ns + int(STALE_PERIODS * period_s * NS_PER_S)
        heard = self._heard[replica] = Heard(signals, now_ns, until_ns)
        return heard

    def keep(self, replicas: Collection[str]) -> None:
        """Only of these."""
        self._heard = {one: heard for one, heard in self._heard.items() if one in replicas}

    def last(self, replica: str) -> Heard | None:
        """However old."""
        return self._heard.get(replica)

    def fresh(self, replica: str, now_ns: int) -> Signals | None:
        """As long as they count."""
        heard = self._heard.get(replica)
        return heard.signals if heard is not None and now_ns < heard.until_ns else None
