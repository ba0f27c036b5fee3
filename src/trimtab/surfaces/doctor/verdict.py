"""Figures of the machine against what channels declare: which targets it can keep, and how many requests it carries.

    first token = the gateway's own work + the prompt's tokens / prompt tokens a second, none of them known before
    the end     = first token + (the answer's tokens - 1) / tokens a second
    requests/s  = 1 / (prompt tokens / prompt tokens a second + answer tokens / tokens a second of all together)

One request at a time on a quiet machine: what queues, and what shares the cores, comes on top. So "is not" is certain,
and "is" is for a machine with little to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from trimtab.controlplane.records.report import rank
from trimtab.controlplane.registry import Workspace
from trimtab.core.record import Record
from trimtab.surfaces.doctor.measured import EngineFigures, Measured

PROMPT_TOKENS: Final = 150
ANSWER_TOKENS: Final = 40
"""A question with passages, and a short answer: where there are no records to take them from."""
_ENOUGH: Final = 20


class Usual(msgspec.Struct, frozen=True):
    """Tokens of a usual request of a channel; `rows` it is the median of, 0: an assumption."""

    prompt: int = PROMPT_TOKENS
    answer: int = ANSWER_TOKENS
    rows: int = 0


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """One declared latency of a channel on one tier's embedded engine, in ms."""

    channel: str
    tier: str
    engine: str
    term: str
    declared_ms: float
    reached_ms: float

    @property
    def reachable(self) -> bool:
        return self.reached_ms <= self.declared_ms


class Capacity(msgspec.Struct, frozen=True, kw_only=True):
    """What one engine carries, of requests with so many tokens."""

    tier: str
    engine: str
    prompt_tokens: int
    answer_tokens: int
    requests_per_s: float


def usual_of(rows: Iterable[Record]) -> dict[str, Usual]:
    """By `tenant/channel`: the medians of what models were asked, where there are 20 or more."""
    found: dict[str, list[tuple[int, int]]] = {}
    for row in rows:
        if row.attempts and row.tokens.prompt and row.tokens.completion and row.channel:
            found.setdefault(f"{row.tenant}/{row.channel}", []).append((row.tokens.prompt, row.tokens.completion))
    usual = {}
    for channel, pairs in found.items():
        prompt, answer = (rank(sorted(float(pair[part]) for pair in pairs), 0.5) for part in (0, 1))
        if len(pairs) >= _ENOUGH and prompt is not None and answer is not None:
            usual[channel] = Usual(int(prompt), int(answer), len(pairs))
    return usual


def capacities(workspace: Workspace, measured: Measured, usual: Usual) -> list[Capacity]:
    """Of each tier that an embedded engine serves."""
    found = []
    for tier, figures in _tiers(workspace, measured):
        seconds = usual.prompt / figures.prompt_tokens_per_s + usual.answer / figures.most_tokens_per_s
        found.append(
            Capacity(
                tier=tier,
                engine=figures.engine,
                prompt_tokens=usual.prompt,
                answer_tokens=usual.answer,
                requests_per_s=1 / seconds,
            )
        )
    return found


def verdicts(workspace: Workspace, measured: Measured, usual: Mapping[str, Usual]) -> list[Verdict]:
    """Each declared latency of each channel on each embedded tier that it may use."""
    own = {one.channel: one.cpu_ms for one in measured.planes}
    found = []
    for tenant, entry in workspace.snapshot.tenancy.tenants.items():
        for name, channel in entry.channels.items():
            full = f"{tenant}/{name}"
            tokens = usual.get(full, Usual())
            latency = channel.targets.latency
            for tier, figures in _tiers(workspace, measured):
                if tier not in channel.tiers:
                    continue
                each_ms = 1000 / figures.tokens_per_s
                first_ms = own.get(full, 0.0) + tokens.prompt / figures.prompt_tokens_per_s * 1000
                reached = {
                    "ttft_ms": (latency.ttft_ms, first_ms),
                    "itl_ms": (latency.itl_ms, each_ms),
                    "e2e_ms": (latency.e2e_ms, first_ms + (tokens.answer - 1) * each_ms),
                }
                found += [
                    Verdict(
                        channel=full, tier=tier, engine=figures.engine, term=term, declared_ms=declared, reached_ms=ms
                    )
                    for term, (declared, ms) in reached.items()
                ]
    return found


def _tiers(workspace: Workspace, measured: Measured) -> list[tuple[str, EngineFigures]]:
    """Tiers by the engine that serves them, where its figures are whole."""
    engines = {f"engine:{one.engine}": one for one in measured.engines if one.tokens_per_s and one.prompt_tokens_per_s}
    return [
        (model.tier, engines[endpoint])
        for model in workspace.snapshot.release.models.values()
        for endpoint in model.endpoints
        if endpoint in engines
    ]


__all__ = ["Capacity", "Usual", "Verdict", "capacities", "usual_of", "verdicts"]
