"""What `measure` found, as plain values: figures of this machine, for people and for models that are fitted on them."""

from __future__ import annotations

import msgspec

from trimtab.controlplane.records.report import rank
from trimtab.foundations.podmodel import Pod
from trimtab.surfaces.doctor.passes import Seen


class Prefill(msgspec.Struct, frozen=True, kw_only=True):
    """One prompt: so many tokens read, of which `cached` were known; to the first token, in ms, as a caller sees it."""

    tokens: int
    cached: int
    first_token_ms: float
    read_ms: float
    """The engine's own time for the tokens that it had to read."""


class Decode(msgspec.Struct, frozen=True, kw_only=True):
    """`streams` answers at once: tokens a second of each, and of all together, once their prompts are read."""

    streams: int
    tokens_per_s: float
    total_tokens_per_s: float


class HeldOut(msgspec.Struct, frozen=True, kw_only=True):
    """How wrong the model is on so many measurements that it was not fitted on: the relative error of one figure."""

    figure: str
    points: int
    median: float
    p90: float


class Fitted(msgspec.Struct, frozen=True, kw_only=True):
    """The iteration model, fitted on so many measured passes (spans of them count as one)."""

    pod: Pod
    passes: int
    enough: bool
    """A gateway would foresee requests with it: passes that are far from the others count little."""
    held_out: list[HeldOut]


class EngineFigures(msgspec.Struct, frozen=True, kw_only=True):
    """One embedded engine, alone on this machine."""

    engine: str
    model: str
    threads: int | None
    prefills: list[Prefill]
    decodes: list[Decode]
    passes: list[Seen]
    fitted: Fitted

    @property
    def prompt_tokens_per_s(self) -> float:
        """Of the cold prompts, all tokens over all time."""
        cold = [one for one in self.prefills if one.cached * 2 < one.tokens]
        read_ms = sum(one.read_ms for one in cold)
        return sum(one.tokens - one.cached for one in cold) / read_ms * 1000 if read_ms else 0.0

    @property
    def warm_first_token_ms(self) -> float | None:
        """Median of the prompts whose prefix was known."""
        return rank(sorted(one.first_token_ms for one in self.prefills if one.cached * 2 >= one.tokens), 0.5)

    @property
    def tokens_per_s(self) -> float:
        """Of one answer alone."""
        return self.decodes[0].tokens_per_s if self.decodes else 0.0

    @property
    def most_tokens_per_s(self) -> float:
        """Of all answers together, at the number that gives most."""
        return max((one.total_tokens_per_s for one in self.decodes), default=0.0)


class PlaneFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The gateway's own work for a request of a channel: ms of processor time, over a scripted upstream that answers at
    once. Embedding the question is in it, parsing HTTP is not. `path` is what became of the requests."""

    channel: str
    path: str
    requests: int
    cpu_ms: float


class JournalFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Records on the workspace's disk. `sync_ms`: median and 95th percentile of writing 4 KiB durably."""

    records_per_s: float
    sync_ms: float
    sync_p95_ms: float


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. `embed_ms`: median and 95th percentile of one query. `notes`: what could not be measured, and why."""

    cores: int
    gateway_runs: bool
    """It shared the machine with what was measured: figures are lower than they could be."""
    engines: list[EngineFigures]
    embed_ms: float | None
    embed_p95_ms: float | None
    planes: list[PlaneFigures]
    journal: JournalFigures | None
    took_s: float
    notes: list[str]
    kept: list[str] = []
    """Models whose forecasts begin with what was measured, at the next start of the gateway."""


__all__ = ["Decode", "EngineFigures", "Fitted", "HeldOut", "JournalFigures", "Measured", "PlaneFigures", "Prefill"]
