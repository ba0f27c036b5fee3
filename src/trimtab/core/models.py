"""Models, variants and prices as the workspace declares them: plain values that routing, spend and inference share."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trimtab.core.document import Document
from trimtab.core.money import Price

Tier = Literal["S", "M", "L"]

# Values of documents, with the bounds that the loader and the JSON Schema check.
Slug = Annotated[str, Meta(pattern=r"^[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?$", description="a-z, 0-9 and dashes")]
"""Names of tenants and channels: they stand in headers, file names and metric labels."""
ModelName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@-]{0,127}$", description="letters, digits and . _ : / -")
]
VariantName = Annotated[
    str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="letters, digits, dots and dashes")
]
Count = Annotated[int, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]


class Model(Document, frozen=True):
    """A model and where it runs. `endpoint`: `engine:NAME` (embedded) or an http(s) base URL; several are replicas."""

    endpoint: Annotated[str, Meta(examples=["engine:small"])] | list[str]
    tier: Annotated[Tier, Meta(examples=["S"])]
    dialect: Literal["openai", "llamacpp"] = "openai"
    upstream_name: str | None = None
    """The name that the endpoint knows the model by; default: its name here."""
    api_key: str | None = None
    """`env:NAME` or `file:PATH`; a literal secret is refused."""
    region: str | None = None
    context: Count = 4096
    """Tokens of prompt and answer together."""
    slots: Count = 8
    """Requests that one replica takes at once: the tier's concurrency tokens."""
    prefill: bool = False
    overrun_tokens: Annotated[int, Meta(ge=0)] = 0
    """Tokens that the endpoint may produce beyond max_tokens, as its provider states."""

    @property
    def endpoints(self) -> list[str]:
        return [self.endpoint] if isinstance(self.endpoint, str) else self.endpoint


class QualityEstimate(Document, frozen=True):
    """Measured quality: `lower` is the bound that plans are compared by; unknown is 0."""

    value: Share
    lower: Share
    n: Count
    source: str


class VariantDoc(Document, frozen=True):
    """A model with a prompt, sampling and engine options."""

    model: Annotated[str, Meta(description="the name of a model", examples=["small"])]
    prompt: str | None = None
    """Name of a file in prompts/, without .md."""
    sampling: dict[str, Any] = {}
    engine: dict[str, Any] = {}
    max_tokens: Count = 512
    """Cap of an answer where the caller names none, and the most that a caller can ask for."""
    passages: Annotated[int, Meta(ge=1, le=8)] = 4
    """How many of the passages retrieved the model is shown, best first. Small models lose their way in many."""
    extractive: bool = False
    """Where passages are shown: answer in one of their sentences, word for word; the engine permits nothing else."""
    quality: QualityEstimate | None = None
    note: str = ""


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant ready to be routed to; `id` = name@ + 8 hex of its content."""

    id: str
    name: str
    tier: Tier
    model: str
    upstream_model: str
    dialect: Literal["openai", "llamacpp"]
    region: str | None
    context: int
    prefill: bool
    system: str | None
    sampling: dict[str, Any]
    engine: dict[str, Any]
    max_tokens: int
    passages: int = 4
    extractive: bool = False
    quality_lower: float
    price: Price | None
    prompt_hash: str = ""


class Prices(msgspec.Struct, frozen=True):
    """Price of each model by its name here; a model that is absent has no price."""

    id: str
    models: dict[str, Price]
