"""The documents of a workspace as they are read: one value each, with every problem of every file."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from trimtab.core.document import Document
from trimtab.core.events import Event
from trimtab.core.experiments import Experiment
from trimtab.core.features import NO_FEATURES, FeaturesDocument
from trimtab.core.models import Count, Model, ModelName, Slug, VariantDoc, VariantName
from trimtab.core.objectives import NO_SLO, SloDocument
from trimtab.core.telemetry import NO_TELEMETRY, Telemetry
from trimtab.core.tenancy import Tenant
from trimtab.dataplane.policy import PolicyDocument
from trimtab.foundations.config import DocumentError, Problem, Reader, did_you_mean, read_text

MEMORY: Final = "memory"


class Server(Document, frozen=True):
    """Where the gateway listens, and what it takes."""

    host: Annotated[str, Meta(min_length=1, description="an address to listen on", examples=["127.0.0.1"])] = (
        "127.0.0.1"
    )
    """The address to listen on. Anything but loopback needs `demo: false`."""
    port: Annotated[int, Meta(ge=0, le=65535, examples=[7070])] = 7070
    """The port of the public API; `trimtab serve --port` goes before it. 0 takes a free one."""
    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30, examples=[8388608])] = 8 * 1024 * 1024
    """The largest request body; a larger one gets 413 `body_too_large`."""
    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Gateway processes. More than 1 need a shared store (`storage.url`): limits and budgets then hold across them."""
    metrics: bool = True
    """Whether /metrics is served: to this machine only or, with `metrics_key`, to whoever sends that key."""
    metrics_key: str | None = None
    """`env:NAME` or `file:PATH` of the key that /metrics takes, as `Authorization: Bearer KEY`."""


class Speculation(Document, frozen=True):
    """Speculative decoding of an embedded engine: tokens are proposed, and checked by the model in one pass."""

    by: Literal["ngram", "draft"] = "ngram"
    """What proposes: what the last tokens were followed by before, in the same conversation (`ngram`), or a small model
    (`draft`). llama.cpp's ways that remember other conversations are not offered: by its time an answer would tell one
    tenant what another was told."""
    match: Annotated[int, Meta(ge=1, le=1024)] = 3
    """With `by: ngram`: tokens that must agree. Fewer propose more often, and more in vain."""
    tokens: Annotated[int, Meta(ge=1, le=256)] = 6
    """Tokens proposed at once, at most."""
    model: Annotated[str, Meta(min_length=1, description="bundled, or the path of a GGUF file")] | None = None
    """With `by: draft`: the small model's weights, of the same vocabulary."""


class Engine(Document, frozen=True):
    """An embedded engine: llama.cpp in a child process."""

    model: Annotated[str, Meta(min_length=1, description="bundled, or the path of a GGUF file")] = "bundled"
    """The weights: `bundled` (SmolLM2-135M-Instruct), or a GGUF file, relative to the workspace."""
    slots: Annotated[int, Meta(ge=1, le=256)] = 4
    """Requests that the engine decodes at once."""
    context: Annotated[int, Meta(ge=128, le=1 << 20)] = 2048
    """Tokens of prompt and answer, of each slot."""
    threads: Count | None = None
    """Threads that compute. Unset, the engines share the cores of this machine equally."""
    pass_tokens: Annotated[int, Meta(ge=8, le=8192)] | None = None
    """Tokens of prompts that one pass takes in, at most: fewer let those who write go on sooner, more take a prompt in
    faster. Unset, llama.cpp's own 512."""
    speculation: Speculation | None = None
    """Speculative decoding; unset, there is none. A model's `settings` decide when requests get such an engine."""


class Storage(Document, frozen=True):
    """Where fast state lives: limits and budgets."""

    url: Annotated[str, Meta(min_length=1, description="memory, or the URL of a Valkey or Redis server")] = MEMORY
    """`memory` (the gateway process, money durable in var/money), or a Valkey or Redis server:
    `redis://HOST:PORT/DB`, `rediss://` (TLS) or `unix://PATH`. `valkey://` and `valkeys://` mean the first two. Needs
    the extra `shared`."""
    password: str | None = None
    """`env:NAME` or `file:PATH` of the server's password. A user name may stand in the URL, a password may not."""
    on_loss: Literal["refuse", "leases"] = "refuse"
    """While a shared store can't be reached: `refuse` answers 503 `store_lost` to whoever has a limit or a budget;
    `leases` first spends what this gateway holds of it."""
    stale_s: Annotated[int, Meta(ge=1, le=3600, description="seconds")] = 60
    """With `leases`: how long a gateway goes on without the store."""

    @property
    def is_shared(self) -> bool:
        """Whether counters are kept outside of the gateway process."""
        return self.url != MEMORY


class RecordTerms(Document, frozen=True):
    """How the records in var/records are kept."""

    sign_key: str | None = None
    """`env:NAME` or `file:PATH` of an Ed25519 private key in PEM (`openssl genpkey -algorithm ed25519`). Each closed
    segment is then signed with it, and `trimtab report --verify` finds whatever was changed by somebody without it.
    Needs the extra `records`."""
    retention_days: Annotated[int, Meta(ge=2, le=36_500, description="days", examples=[90])] | None = None
    """Rows older than this are deleted, whole segments at a time; their signed roots stay. Budgets by month need 33 or
    more. Unset, rows are kept for ever."""


class Lake(Document, frozen=True):
    """Where records are kept as Delta tables, and for how long."""

    url: Annotated[str, Meta(min_length=1, description="a folder, or the URL of object storage")] = "var/lake"
    """A folder, relative to the workspace, or object storage: `s3://BUCKET/PATH`, `gs://`, `az://`. Needs the extra
    `lake`."""
    options: dict[str, str] = {}
    """What opens object storage, by delta-rs' names, e.g. `AWS_REGION`. What is secret stands here as `env:NAME` or
    `file:PATH`."""
    source: Slug = "gateway"
    """What this workspace is called in the column `source`. Workspaces that write one lake have different ones."""
    follow_s: Annotated[int, Meta(ge=1, le=86_400, description="seconds")] | None = None
    """While `trimtab serve` runs, what is new is taken in every so many seconds, and the lake compacted once a day.
    Unset, `trimtab lake ingest` alone does that. Changes need a restart."""
    keep_days: Count | None = None
    """Days whose rows are kept, today's included, by `trimtab lake compact`. Unset, all are."""
    history_h: Annotated[int, Meta(ge=1, le=87_600, description="hours")] = 168
    """Hours for which earlier versions can still be read: a reader that takes longer fails."""

    @property
    def is_local(self) -> bool:
        """Whether it is a folder."""
        return "://" not in self.url


class Settings(Document, frozen=True):
    """trimtab.yaml: how the processes run."""

    server: Server = Server()
    """Where the gateway listens, and what it takes. Changes need a restart."""
    engines: dict[Slug, Engine] = {}
    """Embedded llama.cpp engines by name, each a child process. Changes need a restart."""
    storage: Storage = Storage()
    """Where fast state lives. Changes need a restart."""
    records: RecordTerms = RecordTerms()
    """How records are kept. Changes need a restart."""
    telemetry: Telemetry = NO_TELEMETRY
    """Traces: where they go, which of them, and what upstreams are told. Changes need a restart."""
    lake: Lake = Lake()
    """Where records are kept as Delta tables, and for how long."""
    memory_limit_mib: Annotated[int, Meta(ge=64, examples=[2048])] | None = None
    """Memory that the gateway process may take. From 70 % of it on caches, idle connections and keep-alive are given up
    in turn, at 95 % new requests are refused. Unset, the container's limit alone counts. Changes need a restart."""
    demo: bool = False
    """Accept `tt-demo-NAME` keys, and those from loopback only. Never on a public address."""


class ModelsDocument(Document, frozen=True):
    """models.yaml: endpoints, the variants built on them, and names that callers may send instead."""

    models: Annotated[dict[ModelName, Model], Meta(min_length=1)]
    """Endpoints by the name that variants, prices and callers use."""
    variants: Annotated[dict[VariantName, VariantDoc], Meta(min_length=1)]
    """What answers, by name: a model with a prompt and a way of decoding."""
    aliases: dict[ModelName, str] = {}
    """Names that callers may send as `model`, and what they stand for: `auto` (routed), a model, a variant or
    `tier:S`."""


class PriceDocument(Document, frozen=True):
    """US dollars per million tokens: written out, or taken from the genai-prices package at load."""

    input_usd_per_mtok: Decimal | None = None
    """Price of a million tokens of prompt."""
    output_usd_per_mtok: Decimal | None = None
    """Price of a million tokens of answer."""
    cached_usd_per_mtok: Decimal | None = None
    """Price of a million tokens that the provider read from its prompt cache; unset, as input."""
    written_usd_per_mtok: Decimal | None = None
    """Price of a million tokens written to the provider's prompt cache; unset, as input."""
    written_1h_usd_per_mtok: Decimal | None = None
    """Price of a million tokens that are kept there for an hour; unset, the dearest that input costs."""
    audio_in_usd_per_mtok: Decimal | None = None
    """Price of a million tokens of audio in the prompt; unset, the dearest that input costs."""
    audio_cached_usd_per_mtok: Decimal | None = None
    """Price of a million tokens of audio that the provider read from its prompt cache; unset, as audio in."""
    reasoning_usd_per_mtok: Decimal | None = None
    """Price of a million tokens of reasoning; unset, as output."""
    audio_out_usd_per_mtok: Decimal | None = None
    """Price of a million tokens of audio in the answer; unset, the dearest that output costs."""
    source: Literal["genai-prices"] | None = msgspec.field(name="from", default=None)
    """Take the price from the genai-prices package at load, in place of those above."""
    provider: str | None = None
    """With `from`: the provider's id in genai-prices."""
    model: str | None = None
    """With `from`: the model's id in genai-prices."""


EventsDocument = list[Event]
ExperimentsDocument = dict[Slug, Experiment]
PricesDocument = dict[ModelName, PriceDocument]
TemplatesDocument = dict[
    Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]*$", description="a-z, 0-9, dashes")],
    Annotated[str, Meta(min_length=1, description="the text of the template")],
]

SETTINGS, MODELS, PRICES, POLICY = "trimtab.yaml", "models.yaml", "prices.yaml", "policy.yaml"
EVENTS, EXPERIMENTS, SLO, FEATURES = "events.yaml", "experiments.yaml", "slo.yaml", "features.yaml"
"""Documents that a workspace need not have."""
PATTERNS = ("*.yaml", "tenants/*.yaml", "templates/*.yaml", "prompts/*.md", "corpora/*/**/*.md", "var/index/*/current")
"""What a change of makes a new configuration; for `foundations.config.fingerprint`."""
TYPES: Mapping[str, Any] = {
    "trimtab": Settings,
    "models": ModelsDocument,
    "prices": PricesDocument,
    "policy": PolicyDocument,
    "events": EventsDocument,
    "experiments": ExperimentsDocument,
    "slo": SloDocument,
    "features": FeaturesDocument,
    "tenant": Tenant,
    "templates": TemplatesDocument,
}
"""Document types by the name of their JSON Schema."""


class Documents(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a workspace says. Tenants and templates are keyed by the file's stem."""

    folder: FilePath
    settings: Settings
    models: ModelsDocument
    prices: dict[str, PriceDocument]
    policy: PolicyDocument
    events: list[Event]
    experiments: dict[str, Experiment]
    slo: SloDocument
    features: FeaturesDocument
    tenants: dict[str, Tenant]
    prompts: dict[str, str]
    templates: dict[str, dict[str, str]]


def read(folder: FilePath, instead: Mapping[str, str] | None = None) -> tuple[Documents | None, list[Problem]]:
    """All documents, or None with every problem that kept one from being read. `instead`: texts that stand for those
    of these files, so that a change can be looked at before it is made."""
    texts = _Texts(folder, instead or {})
    if not (folder / SETTINGS).is_file():
        return None, [no_workspace(folder)]
    problems: list[Problem] = [*_strays(folder)]
    values: dict[str, Any] = {}
    for key, file, type_ in (
        ("settings", SETTINGS, Settings),
        ("models", MODELS, ModelsDocument),
        ("prices", PRICES, PricesDocument),
        ("policy", POLICY, PolicyDocument),
    ):
        values[key] = _one(texts, file, Reader(type_), problems)
    values["events"] = _one(texts, EVENTS, Reader(EventsDocument), problems) if texts.has(EVENTS) else []
    experiments = Reader(ExperimentsDocument)
    values["experiments"] = _one(texts, EXPERIMENTS, experiments, problems) if texts.has(EXPERIMENTS) else {}
    values["slo"] = _one(texts, SLO, Reader(SloDocument), problems) if texts.has(SLO) else NO_SLO
    features = Reader(FeaturesDocument)
    values["features"] = _one(texts, FEATURES, features, problems) if texts.has(FEATURES) else NO_FEATURES
    values["tenants"] = _each(texts, "tenants", Reader(Tenant), problems)
    values["templates"] = _each(texts, "templates", Reader(TemplatesDocument), problems)
    values["prompts"] = _prompts(folder, problems)
    if not values["tenants"] and not problems:
        hint = "Write tenants/NAME.yaml; `trimtab init DIR` shows how."
        problems.append(Problem(file="tenants", message="no tenant is declared", hint=hint))
    if problems:
        return None, problems
    return Documents(folder=folder, **values), problems


def no_workspace(folder: FilePath) -> Problem:
    """What to do about a folder that is no workspace: the nearest one that there is, or how to make one."""
    there = folder.is_dir()
    message = f"no workspace here: it has no {SETTINGS}" if there else "no workspace here: there is no such folder"
    new = "DIR" if there and any(folder.iterdir()) else folder
    beside = sorted(path.parent for path in folder.parent.glob(f"*/{SETTINGS}"))
    other = "Name another: --workspace DIR, or TRIMTAB_WORKSPACE"
    if beside:
        other = f"There is one: --workspace {beside[0]}"
    return Problem(file=str(folder), message=message, hint=f"{other}. Make one: trimtab init {new}")


class _Texts(NamedTuple):
    folder: FilePath
    instead: Mapping[str, str]

    def has(self, file: str) -> bool:
        """Also a link that leads nowhere: what was meant to apply is then told."""
        path = self.folder / file
        return file in self.instead or path.exists() or path.is_symlink()

    def read(self, file: str) -> str:
        """Raises DocumentError."""
        return text_of(self.folder, file, self.instead)


def text_of(folder: FilePath, file: str, instead: Mapping[str, str]) -> str:
    """The document's text, or what stands for it. Raises DocumentError."""
    return instead[file] if file in instead else read_text(folder / file, file)


def _one(texts: _Texts, file: str, reader: Reader[Any], problems: list[Problem]) -> Any:
    try:
        value, found = reader.read(texts.read(file), file)
    except DocumentError as error:
        problems.append(error.problem)
        return None
    problems.extend(found)
    return value


def _each(texts: _Texts, part: str, reader: Reader[Any], problems: list[Problem]) -> dict[str, Any]:
    files = sorted((texts.folder / part).glob("*.yaml"))
    return {path.stem: _one(texts, f"{part}/{path.name}", reader, problems) for path in files}


def _prompts(folder: FilePath, problems: list[Problem]) -> dict[str, str]:
    prompts = {}
    for path in sorted((folder / "prompts").glob("*.md")):
        try:
            prompts[path.stem] = read_text(path, f"prompts/{path.name}").strip()
        except DocumentError as error:
            problems.append(error.problem)
    return prompts


def _strays(folder: FilePath) -> list[Problem]:
    """Files that nothing reads, though they look as if: a document that never applies must not look applied."""
    problems = []
    known = [SETTINGS, MODELS, PRICES, POLICY, EVENTS, EXPERIMENTS, SLO, FEATURES]
    for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
        if path.name not in known:
            problems.append(_stray(path.name, did_you_mean(path.name, known)))
    for part, suffix in (("tenants", ".yaml"), ("templates", ".yaml"), ("prompts", ".md")):
        for path in sorted((folder / part).glob("[!.]*")):
            if path.suffix != suffix or not path.is_file():
                problems.append(_stray(f"{part}/{path.name}", f"Name it {part}/{path.stem}{suffix}, or move it away."))
    return problems


def _stray(file: str, hint: str) -> Problem:
    return Problem(file=file, message="nothing reads this file", hint=hint)


def file_of(part: str, stem: str) -> str:
    """The file's name in messages: `tenants/NAME.yaml`."""
    return f"{part}/{stem}.yaml"
