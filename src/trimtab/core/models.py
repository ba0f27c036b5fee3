"""Models, variants and prices as the workspace declares them: plain values that routing, spend and inference share."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from trimtab.core.document import Document
from trimtab.core.money import Price

Tier = Literal["S", "M", "L"]
Dialect = Literal[
    "openai", "llamacpp", "vllm", "sglang", "azure", "anthropic", "gemini", "vertex", "bedrock", "responses"
]
"""How an endpoint speaks; `dataplane/inference/dialects` knows the differences."""

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


class HealthTerms(Document, frozen=True):
    """When a replica is left alone, and how it comes back."""

    failures: Count = 5
    """Failures in a row after which a replica is ejected. One that can't be reached, or does not take our key, is
    ejected at once; a busy one (429) is not ill."""
    eject_s: Annotated[float, Meta(gt=0, le=600)] = 2.0
    """How long the first time; twice as long each time that its trial request fails, up to 16 s."""
    slow_start_s: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """How long a replica that has come back takes to get its whole share of the requests again."""
    probe: Annotated[str, Meta(pattern=r"^/[!-~]*$", examples=["/health"])] | None = None
    """A path of the endpoint's host that is asked by GET every `probe_s`: anything but 2xx, or no answer in that time,
    twice in a row ejects the replica; 2xx ends its ejection. Unset: only requests tell."""
    probe_s: Annotated[float, Meta(ge=0.5, le=600)] = 5.0
    """Seconds from one probe to the next."""


class OverflowTerms(Document, frozen=True):
    """A pool that is approved for requests which must stay in another region, where nobody there can take them."""

    for_: Annotated[list[str], Meta(min_length=1, examples=[["eu"]])] = msgspec.field(name="for")
    """Residencies whose requests it may get, once every plan within them was tried and did not answer. Its endpoints
    are `https`."""
    tokens_per_day: Annotated[int, Meta(ge=1, le=1 << 50, examples=[500_000])]
    """Of prompts and answers together, in a day (UTC) and over all gateways of a store. Reserved before a request
    leaves; what is used up is not sent."""
    redact: Annotated[list[str], Meta(examples=[["email", "phone", "card", "iban"]])]
    """Checks as of a channel's `checks_in`: what they find becomes a placeholder before the request leaves, on top of
    what the channel redacts, and is put back as the answer comes in."""


class Setting(Document, frozen=True):
    """The same model on engines that are set up otherwise: with speculative decoding, say, or another batch size."""

    endpoint: Annotated[str, Meta(examples=["engine:small-ngram"])] | list[str]
    """Where it runs, as the model's own `endpoint`."""
    slots: Count | None = None
    """Requests that one replica of it takes at once; unset, as the model's."""
    speculative: bool = False
    """It proposes tokens and has the model check them, several in one pass."""
    overhead: Annotated[float, Meta(ge=0, le=100)] = 4.0
    """Tokens proposed in vain for each token of answers, at most; beyond it the model's own endpoints are asked."""
    proposes: Count | None = None
    """Tokens that the engine proposes at once, where it tells only how many are accepted (SGLang)."""
    most_running: Count | None = None
    """While so many requests of the model run, others go to its own endpoints, whatever was measured."""
    tenants: list[str] | None = None
    """Whose requests it may get; unset, everybody's."""

    @property
    def endpoints(self) -> list[str]:
        return [self.endpoint] if isinstance(self.endpoint, str) else self.endpoint


class AwsTerms(Document, frozen=True):
    """How requests to Bedrock are signed (SigV4). Needs the extra `bedrock`."""

    by: Annotated[
        Literal["keys", "profile", "web-identity", "container", "instance"], Meta(examples=["web-identity"])
    ] = "keys"
    """Where the keys come from: `keys`, the references below; `profile`, AWS's own files; `web-identity`, STS for the
    token that a cluster gives its pods (IRSA); `container`, the role of an ECS task or an EKS pod; `instance`, that of
    an EC2 machine. The last two are asked for at 169.254.x.x, where nothing else is ever sent. They are fetched anew
    before they end."""
    region: Annotated[str, Meta(pattern=r"^[a-z0-9-]+$", examples=["eu-central-1"])] | None = None
    """That the signature is for; unset, as the endpoint's name has it."""
    access_key: Annotated[str, Meta(examples=["env:AWS_ACCESS_KEY_ID"])] | None = None
    """With `by: keys`: by reference, `env:NAME` or `file:PATH`."""
    secret_key: Annotated[str, Meta(examples=["env:AWS_SECRET_ACCESS_KEY"])] | None = None
    """The same of the secret key."""
    session_token: Annotated[str, Meta(examples=["env:AWS_SESSION_TOKEN"])] | None = None
    """The same of the session token, for keys that end."""
    profile: Annotated[str, Meta(examples=["bedrock"])] = "default"
    """With `by: profile`: its name in `~/.aws/credentials` or `~/.aws/config`, read every 15 minutes. Programs that
    would print keys are not run."""
    role: Annotated[str, Meta(examples=["arn:aws:iam::123456789012:role/models"])] | None = None
    """With `by: web-identity`: the role; unset, `AWS_ROLE_ARN`."""
    token_file: Annotated[str, Meta(examples=["/var/run/secrets/eks.amazonaws.com/serviceaccount/token"])] | None = None
    """With `by: web-identity`: where the token is; unset, `AWS_WEB_IDENTITY_TOKEN_FILE`."""
    sts: Annotated[str, Meta(examples=["https://sts.eu-central-1.amazonaws.com"])] | None = None
    """With `by: web-identity`: base URL of the token service; unset, AWS's of the region."""
    sts_private: bool = False
    """It is on a private network: a VPC endpoint."""

    @property
    def references(self) -> dict[str, str]:
        """Those that are set, by field."""
        named = {name: getattr(self, name) for name in ("access_key", "secret_key", "session_token")}
        return {name: value for name, value in named.items() if value is not None}


class Model(Document, frozen=True):
    """A model and where it runs."""

    endpoint: Annotated[str, Meta(examples=["engine:small"])] | list[str]
    """`engine:NAME` (embedded) or the base URL of an OpenAI-compatible API, up to and without `/chat/completions`.
    Several are replicas: the one where a request costs the least is asked (what waits there, what of its prompt is not
    held there, what it takes from others), another on a fault."""
    tier: Annotated[Tier, Meta(examples=["S"])]
    """Class of the model by size; policy and channels choose by it."""
    dialect: Dialect = "openai"
    """How the endpoint speaks: `openai` is chat completions, by whoever serves them (Ollama, Mistral, Groq, ...).
    `llamacpp` adds exact usage of streams that are cut, and grammars (`extractive`); `vllm` and `sglang` keep prefixes
    apart by tenant. `azure`, `anthropic`, `gemini`, `vertex`, `bedrock` and `responses` are those providers' own; a
    request with fields that they have no words for is not routed there."""
    api_version: str | None = None
    """Of `dialect: azure`: the `api-version` that requests name. Unset for endpoints under `/openai/v1`."""
    upstream_name: str | None = None
    """The name that the endpoint knows the model by; unset, its name here."""
    api_key: str | list[str] | None = None
    """The bearer token sent to the endpoint, by reference: `env:NAME` or `file:PATH`. A literal secret is refused. Of
    `dialect: vertex` it is the key file of a service account, and what is sent a token that is had for it.
    Several are spread over: each endpoint with each key is a replica of its own, with its own rests and health."""
    aws: AwsTerms | None = None
    """Of `dialect: bedrock`, in place of `api_key`: requests are signed."""
    private: bool = False
    """The endpoint is on a private network or on this machine. Unset, nothing is sent to such an address, whatever a
    name resolves to. Addresses where clouds serve credentials are refused either way."""
    availability: Annotated[float, Meta(gt=0, lt=1, examples=[0.999])] | None = None
    """What its provider promises of the endpoint: the share of the time that it answers. Unset: nothing is promised."""
    fallbacks: list[str] = []
    """Models that answer in this one's place where a caller who named it would get an error, in this order."""
    hedge: bool = False
    """Where there are several replicas: a short request that takes longer to its first token than was foreseen is sent
    to a second one, and whoever begins first answers. At most 5 % of requests and 2 % of the spend."""
    health: HealthTerms = HealthTerms()
    """When a replica is left alone, and how it comes back."""
    metrics: Annotated[str, Meta(pattern=r"^/[!-~]*$", examples=["/metrics"])] | None = None
    """Of `dialect: vllm`, `sglang` and `llamacpp`: a path of the endpoint's host with the engine's Prometheus metrics,
    asked by GET every `health.probe_s`: what others ask of the same engine counts where a replica is chosen. Unset:
    nothing is read. Embedded engines are read always."""
    kv_events: Annotated[str, Meta(examples=["tcp://gpu-7:5557"])] | list[str] | None = None
    """Of `dialect: vllm`: where each endpoint publishes its KV events (`--kv-events-config`), `tcp://HOST:PORT`, one
    for each in the same order. They say what it has dropped of the prompts that it is believed to hold. Needs the extra
    `kv-events`."""
    kv_replay: Annotated[str, Meta(examples=["tcp://gpu-7:5558"])] | list[str] | None = None
    """The same server's `replay_endpoint`, one for each of `kv_events`: it is asked for events that were lost. Unset:
    after a loss nothing is believed of how much is held there, until all of it is cleared."""
    region: str | None = None
    """Where the model runs; a channel's `residency` must equal it."""
    overflow: OverflowTerms | None = None
    """It may also take requests that must stay elsewhere, redacted, where nobody there can."""
    context: Count = 4096
    """Tokens of prompt and answer together that the model takes."""
    slots: Count = 8
    """Requests that one replica takes at once. The model has `slots` x replicas concurrency tokens; who finds none
    waits or goes to the next plan."""
    settings: dict[Slug, Setting] = {}
    """Other settings of its engines, by name. Which of them a request gets, if any, is decided for each tenant and by
    how many requests run: by the time that answers take for each of their tokens, as it was measured."""
    images: Annotated[int, Meta(ge=1, examples=[1600])] | None = None
    """Most tokens that it makes of one image: prompts with images are bounded, paid for and routed by it. Unset: it
    takes none."""
    prefill: bool = False
    """The endpoint continues an assistant message that is begun: it may go on with another's broken answer where the
    contract says `resume: continue`."""
    streams: bool = True
    """The endpoint streams. One that only answers whole is reserved for by max_tokens, since nothing can be counted
    before its answer has ended."""
    overrun_tokens: Annotated[int, Meta(ge=0)] = 0
    """Tokens that the endpoint may produce beyond max_tokens, or before a hang-up reaches it. They are reserved with
    each answer, so that budgets hold whatever it bills."""

    @property
    def api_keys(self) -> list[str]:
        return [] if self.api_key is None else [self.api_key] if isinstance(self.api_key, str) else self.api_key

    @property
    def endpoints(self) -> list[str]:
        return [self.endpoint] if isinstance(self.endpoint, str) else self.endpoint

    @property
    def publishers(self) -> list[str]:
        return [] if self.kv_events is None else [self.kv_events] if isinstance(self.kv_events, str) else self.kv_events

    @property
    def replays(self) -> list[str]:
        return [] if self.kv_replay is None else [self.kv_replay] if isinstance(self.kv_replay, str) else self.kv_replay


def aws_region(host: str) -> str | None:
    """The region in the name of one of Bedrock's own endpoints."""
    found = re.fullmatch(r"bedrock-runtime(?:-fips)?\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?", host)
    return found[1] if found else None


def vertex_location(path: str) -> str | None:
    """The location in the path of one of Vertex AI's endpoints."""
    found = re.fullmatch(r"/v1(?:beta1)?/projects/[^/]+/locations/([a-z0-9-]+)/publishers/[^/]+/?", path)
    return found[1] if found else None


def with_settings(models: Mapping[str, Model]) -> dict[str, Model]:
    """The models, and each of their settings as a model of its own, `MODEL+SETTING`, which nobody can name: no name of
    a document has a plus in it. Each then has replicas, slots and forecasts of its own, and nothing of what the model's
    own endpoints publish."""
    found = dict(models)
    for name, model in models.items():
        for setting, terms in model.settings.items():
            slots = terms.slots or model.slots
            found[setting_model(name, setting)] = msgspec.structs.replace(
                model,
                endpoint=terms.endpoint,
                slots=slots,
                settings={},
                fallbacks=[],
                overflow=None,
                kv_events=None,
                kv_replay=None,
            )
    return found


def setting_model(model: str, setting: str) -> str:
    """What a model's setting is called where models are."""
    return f"{model}+{setting}"


def own_model(model: str) -> str:
    """The model that such a name is a setting of, or is itself."""
    return model.partition("+")[0]


def setting_of(model: str) -> str | None:
    """The setting in such a name; None for a model's own."""
    return model.partition("+")[2] or None


class QualityEstimate(Document, frozen=True):
    """Measured quality of a variant."""

    value: Share
    """The measured share of right answers."""
    lower: Share
    """Its lower confidence bound: what a contract's least quality is compared with."""
    n: Count
    """How many answers it was measured on."""
    source: str
    """Where the measurement can be found."""


class VariantDoc(Document, frozen=True):
    """A model with a prompt, sampling and engine options."""

    model: Annotated[str, Meta(description="the name of a model", examples=["small"])]
    """The model that it runs on."""
    prompt: str | None = None
    """The system prompt: name of a file in prompts/, without `.md`. It goes before the caller's messages."""
    sampling: dict[str, Any] = {}
    """Fields of the upstream request where the caller sends none (temperature, top_p, stop ...)."""
    engine: dict[str, Any] = {}
    """Fields of the upstream request that callers can't change."""
    max_tokens: Count = 512
    """Cap of an answer where the caller names none, and the most that a caller can ask for."""
    passages: Annotated[int, Meta(ge=1, le=8)] = 4
    """How many of the retrieved passages the model is shown, best first. Small models lose their way in many."""
    extractive: bool = False
    """Where passages are shown: answer in one of their sentences, word for word. Needs `dialect: llamacpp`."""
    quality: QualityEstimate | None = None
    """Its measured quality. Unset counts as 0: no channel with a least quality above 0 will use it."""
    note: str = ""
    """For people; nothing reads it."""


def says_audio(*options: Mapping[str, Any]) -> bool:
    """Whether fields of a request ask for an answer that is heard."""
    asked = [one.get("modalities") for one in options]
    return any(isinstance(modalities, list) and "audio" in modalities for modalities in asked)


def says_an_hour(options: Any) -> bool:
    """Whether fields of a request ask the provider's prompt cache to keep what is written for an hour."""
    if isinstance(options, Mapping):
        return options.get("ttl") == "1h" or any(says_an_hour(value) for value in options.values())
    return isinstance(options, list) and any(says_an_hour(value) for value in options)


class Variant(msgspec.Struct, frozen=True, kw_only=True):
    """A variant ready to be routed to; `id` = name@ + 8 hex of its content."""

    id: str
    name: str
    tier: Tier
    model: str
    upstream_model: str
    dialect: Dialect
    region: str | None
    overflow: OverflowTerms | None = None
    context: int
    images: int | None = None
    prefill: bool
    system: str | None
    sampling: dict[str, Any]
    engine: dict[str, Any]
    max_tokens: int
    passages: int = 4
    extractive: bool = False
    streams: bool = True
    quality_lower: float
    price: Price | None
    prompt_hash: str = ""


class Prices(msgspec.Struct, frozen=True):
    """Price of each model by its name here; a model that is absent has no price."""

    id: str
    models: dict[str, Price]
