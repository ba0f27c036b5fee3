"""Every check across documents: the example with one fault has exactly that finding."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from support.workspaces import Sandbox
from trimtab.controlplane.registry import examine
from trimtab.controlplane.registry.documents import PriceDocument
from trimtab.controlplane.registry.prices import compile_prices
from trimtab.core.keys import hash_key, key_id

COMMERCE, SUPPORT, HR = "tenants/commerce.yaml", "tenants/support.yaml", "tenants/hr.yaml"
EVENTS, EXPERIMENTS, FEATURES = "events.yaml", "experiments.yaml", "features.yaml"
CALENDAR = """\
- name: sale
  from: 2999-11-27T00:00:00+01:00
  to: 2999-11-28T00:00:00+01:00
  raise:
    checkout-bot: critical
    support/chat: interactive
- name: strike
  from: 2026-01-01T00:00:00Z
  raise:
    hr/assistant: critical
- name: past
  from: 2026-01-01T00:00:00Z
  to: 2026-01-01T12:00:00Z
  raise:
    gone: critical
    gone/too: batch
"""
"""Events without a fault. Of one that has ended nothing is asked: channels come and go."""
SPLITS = """\
shorter:
  kind: canary
  channels: [checkout-bot, support/chat]
  of: small-brief
  arms:
    short: {variant: small-short, share: 0.1}
beside:
  kind: shadow
  channels: [checkout-bot]
  of: tier:S
  arms:
    beside: {variant: small-beside, share: 1}
tones:
  kind: ab
  channels: [hr/assistant]
  of: small-brief
  arms:
    first: {variant: small-short, share: 0.7}
    second: {variant: small-beside, share: 0.3}
"""
"""Experiments without a fault."""
FIGURES = """\
every: 5m
stale: 15m
features:
  cached:
    of: tenant
    value: share
    holds: {path: [cache-exact, cache-semantic]}
    window: 7d
    default: 0
  length:
    of: channel
    value: p95
    column: tokens.completion
    where: {status: 200}
    window: 1h
    default: 0
  asked:
    of: tier
    value: count
    window: 1h
    default: 0
  thumbs:
    of: variant
    value: mean
    column: verdict.score
    rows: verdict
    window: 30d
    default: 1
"""
"""Features without a fault."""
ARMS = """\
  small-short: {model: small, prompt: brief, max_tokens: 64}
  small-beside: {model: small, prompt: brief, max_tokens: 32}
"""
_OTHER = hash_key("another")


class Fault(NamedTuple):
    """In `file`, `old` becomes `new`; then `field` (or the file as a whole) is found at fault with these `words`."""

    file: str
    old: str
    new: str
    field: str
    words: str
    severity: str = "error"
    at: str | None = None
    """The file of the finding, where it is another."""


def far(dialect: str, field: str, words: str) -> Fault:
    """A model of another dialect, with a variant."""
    model = f"  far: {{endpoint: https://h/v1, dialect: {dialect}, tier: L, api_key: env:HOME}}"
    return Fault("models.yaml", "variants:\n", f"{model}\nvariants:\n  far-one: {{model: far}}\n", field, words)


_AT_VERTEX = "endpoint: https://europe-west4-aiplatform.googleapis.com/v1/projects/p/locations/{}/publishers/google"


def cloud(dialect: str, fields: str, field: str, words: str) -> Fault:
    """A model at a cloud, with a variant."""
    at = "" if "endpoint" in fields else "endpoint: https://h/v1, "
    model = f"  far: {{{at}dialect: {dialect}, tier: L, {fields}}}"
    new = f"{model}\nvariants:\n  far-one: {{model: far}}\n"
    return Fault("models.yaml", "variants:\n", new, f"models.far.{field}", words)


def _told(lines: str, field: str, words: str, severity: str = "error") -> Fault:
    """Lines under `telemetry`."""
    return Fault(
        "trimtab.yaml", "demo: true", f"telemetry:\n  {lines}\ndemo: true", f"telemetry.{field}", words, severity
    )


FAULTS = {
    # trimtab.yaml
    "workers": Fault("trimtab.yaml", "workers: 1", "workers: 2", "server.workers", "need a shared store"),
    "unsigned": Fault(
        "trimtab.yaml",
        "demo: true",
        "demo: true\nrecords: {sign_key: file:prompts/brief.md}",
        "records.sign_key",
        "is no unencrypted private key in PEM",
    ),
    "written key": Fault(
        "trimtab.yaml",
        "demo: true",
        "demo: true\nrecords: {sign_key: abc}",
        "records.sign_key",
        "holds a secret itself",
    ),
    "short memory": Fault(
        "trimtab.yaml",
        "demo: true",
        "demo: true\nrecords: {retention_days: 32}",
        "records.retention_days",
        "less than the month of a budget in tenants/commerce.yaml",
    ),
    "feature of nothing": Fault(
        FEATURES, "tokens.completion", "tokens.complete", "features.length.column", "Did you mean tokens.completion?"
    ),
    "feature of a name": Fault(FEATURES, "tokens.completion", "route", "features.length.column", "route is no number"),
    "feature of a verdict": Fault(
        FEATURES, "tokens.completion", "verdict.score", "features.length.column", "Write rows: verdict"
    ),
    "feature of a request": Fault(
        FEATURES, "verdict.score", "e2e_ms", "features.thumbs.column", "rows of kind verdict never have e2e_ms"
    ),
    "feature without column": Fault(
        FEATURES, "    column: tokens.completion\n", "", "features.length", "p95 needs a column"
    ),
    "count of a column": Fault(
        FEATURES, "value: count", "value: count\n    column: e2e_ms", "features.asked.column", "means nothing for count"
    ),
    "share of nothing": Fault(
        FEATURES, "    holds: {path: [cache-exact, cache-semantic]}\n", "", "features.cached", "needs what must hold"
    ),
    "mean of what holds": Fault(
        FEATURES, "value: share", "value: sum\n    column: e2e_ms", "features.cached.holds", "means nothing for sum"
    ),
    "feature that never holds": Fault(
        FEATURES, "status: 200", 'status: "200"', "features.length.where.status", "Write a number"
    ),
    "feature where nothing is": Fault(
        FEATURES, "status: 200", "state: 200", "features.length.where.state", "there is no column state"
    ),
    "half a count": Fault(
        FEATURES,
        "of: tier\n    value: count\n    window: 1h\n    default: 0",
        "of: tier\n    value: count\n    window: 1h\n    default: 0.5",
        "features.asked.default",
        "is no whole number",
    ),
    "feature like a variable": Fault(
        FEATURES, "  cached:", "  complexity:", "features.complexity", "is the name of a variable of policy"
    ),
    "feature beyond the lake": Fault(
        "trimtab.yaml",
        "demo: true",
        "demo: true\nlake: {keep_days: 30}",
        "features.thumbs.window",
        "reaches beyond what the lake keeps: lake.keep_days is 30",
        at=FEATURES,
    ),
    "lake of features": Fault(
        "trimtab.yaml", "demo: true", "demo: true\nlake: {url: s3://b/p}", "lake.url", "is not a folder, and features"
    ),
    "features that age": Fault(FEATURES, "stale: 15m", "stale: 9m", "stale", "less than twice every (5m)"),
    "feature nobody has": Fault(
        "policy.yaml",
        'when: "latency_e2e_ms < 800.0"',
        'when: "feature_cashed < 0.5"',
        "rules[3].when",
        "Did you mean feature_cached?",
    ),
    "no store": Fault("trimtab.yaml", "url: memory", "url: postgres://h", "storage.url", "neither memory nor a URL"),
    "storeless": Fault("trimtab.yaml", "url: memory", "url: redis:///0", "storage.url", "names no host"),
    "socketless": Fault("trimtab.yaml", "url: memory", "url: unix://run/redis", "storage.url", "write unix:///PATH"),
    "store's database": Fault("trimtab.yaml", "url: memory", "url: redis://h/one", "storage.url", "'one' is no number"),
    "store's port": Fault("trimtab.yaml", "url: memory", "url: redis://h:x", "storage.url", "is no URL"),
    "password in URL": Fault(
        "trimtab.yaml", "url: memory", "url: redis://u:p@h", "storage.url", "holds a password. Write password: env:NAME"
    ),
    "password behind URL": Fault(
        "trimtab.yaml", "url: memory", "url: redis://h?password=p", "storage.url", "has password behind"
    ),
    "password as it is": Fault(
        "trimtab.yaml", "url: memory", "url: valkey://h\n  password: p", "storage.password", "holds a secret itself"
    ),
    "password unset": Fault(
        "trimtab.yaml",
        "url: memory",
        "url: rediss://h\n  password: env:TRIMTAB_NOT_SET",
        "storage.password",
        "TRIMTAB_NOT_SET",
        "warning",
    ),
    "password for nothing": Fault(
        "trimtab.yaml",
        "url: memory",
        "url: memory\n  password: env:PATH",
        "storage.password",
        "opens nothing",
        "warning",
    ),
    "leases of nothing": Fault(
        "trimtab.yaml",
        "url: memory",
        "url: memory\n  on_loss: leases",
        "storage.on_loss",
        "means nothing while url: memory",
        "warning",
    ),
    "collector is no URL": _told("otlp: collector", "otlp", "is no http or https URL. Write e.g. otlp:"),
    "collector by gRPC": _told("otlp: http://h:4317", "otlp", "the port of OTLP over gRPC"),
    "collector's password": _told("otlp: http://u:p@h:4318", "otlp", "holds a user or a password"),
    "collector without a host": _told("otlp: http://:4318", "otlp", "names no host"),
    "collector's port": _told("otlp: http://h:x", "otlp", "is no URL"),
    "collector's query": _told("otlp: http://h/?a=b", "otlp", "behind a question mark"),
    "collector's own header": _told(
        "otlp: http://h\n  headers: {host: env:PATH}", "headers.host", "is written by the exporter itself"
    ),
    "collector's key as it is": _told(
        "otlp: https://h\n  headers: {x-api-key: k}",
        "headers.x-api-key",
        "holds a secret itself, or a reference that can't be read. Write x-api-key: env:NAME",
    ),
    "collector's key unset": _told(
        "otlp: https://h\n  headers: {x-api-key: env:TRIMTAB_NOT_SET}",
        "headers.x-api-key",
        "TRIMTAB_NOT_SET",
        "warning",
    ),
    "collector's key for nothing": _told(
        "headers: {x-api-key: env:PATH}", "headers.x-api-key", "goes to nobody", "warning"
    ),
    "collector's key in the clear": _told(
        "otlp: http://h\n  headers: {x-api-key: env:PATH}", "otlp", "unencrypted", "warning"
    ),
    "demo in public": Fault("trimtab.yaml", "host: 127.0.0.1", "host: 0.0.0.0", "demo", "while the server listens on"),
    "metrics key as it is": Fault(
        "trimtab.yaml",
        "workers: 1",
        "workers: 1\n  metrics_key: scraper-1",
        "server.metrics_key",
        "holds a secret itself",
    ),
    "metrics key unset": Fault(
        "trimtab.yaml",
        "workers: 1",
        "workers: 1\n  metrics_key: env:TRIMTAB_NOT_SET",
        "server.metrics_key",
        "TRIMTAB_NOT_SET",
        "warning",
    ),
    "metrics key for nothing": Fault(
        "trimtab.yaml",
        "workers: 1",
        "workers: 1\n  metrics: false\n  metrics_key: env:PATH",
        "server.metrics_key",
        "guards nothing",
        "warning",
    ),
    "engine file": Fault(
        "trimtab.yaml",
        "  small:\n    model: bundled",
        "  small:\n    model: m.gguf",
        "engines.small.model",
        "does not exist here",
        "warning",
    ),
    "idle engine": Fault(
        "trimtab.yaml", "engines:\n", "engines:\n  third: {}\n", "engines.third", "no model uses this engine", "warning"
    ),
    # models.yaml
    "unknown engine": Fault(
        "models.yaml", "engine:small", "engine:smal", "models.small.endpoint", "Did you mean small?"
    ),
    "no URL": Fault("models.yaml", "engine:small", "localhost:8000", "models.small.endpoint", "neither engine:NAME"),
    "credentials in URL": Fault(
        "models.yaml", "engine:small", "https://u:p@h/v1", "models.small.endpoint", "credentials in the URL"
    ),
    "query in URL": Fault("models.yaml", "engine:small", "https://h/v1?a=b", "models.small.endpoint", "a query"),
    "metadata address": Fault(
        "models.yaml", "engine:small", "http://169.254.169.254/v1", "models.small.endpoint", "link-local"
    ),
    "undeclared private address": Fault(
        "models.yaml", "engine:small", "http://10.0.0.7/v1", "models.small.endpoint", "Write private: true"
    ),
    "this machine by name": Fault(
        "models.yaml", "engine:small", "http://localhost:8000/v1", "models.small.endpoint", "private network"
    ),
    "key twice": Fault(
        "models.yaml",
        "endpoint: engine:small",
        'api_key: ["env:A_KEY", "env:A_KEY"]\n    endpoint: https://h/v1',
        "models.small.api_key",
        "env:A_KEY is listed more than once",
    ),
    "overflow in the clear": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "region: us\n    overflow: {for: [eu], tokens_per_day: 9, redact: [email]}\n    endpoint: http://h/v1",
        "models.small.endpoint",
        "is not https",
    ),
    "overflow of an engine": Fault(
        "models.yaml",
        "slots: 4 #",
        "region: us\n    overflow: {for: [eu], tokens_per_day: 9, redact: [email]}\n    slots: 4 #",
        "models.small.endpoint",
        "is not https",
    ),
    "overflow to oneself": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "region: eu\n    overflow: {for: [us, eu], tokens_per_day: 9, redact: [email]}\n    endpoint: https://h/v1",
        "models.small.overflow.for[1]",
        "the model's own region",
    ),
    "overflow to nowhere": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "overflow: {for: [eu], tokens_per_day: 9, redact: [email]}\n    endpoint: https://h/v1",
        "models.small.overflow",
        "says no region",
    ),
    "unknown profile": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "region: us\n    overflow: {for: [eu], tokens_per_day: 9, redact: [email, phne]}\n    endpoint: https://h/v1",
        "models.small.overflow.redact[1]",
        "Did you mean phone?",
    ),
    "unredacted overflow": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "region: us\n    overflow: {for: [eu], tokens_per_day: 9, redact: []}\n    endpoint: https://h/v1",
        "models.small.overflow.redact",
        "redacts nothing",
    ),
    "overflow without a variant": Fault(
        "models.yaml",
        "variants:\n",
        "  far:\n    endpoint: https://h/v1\n    tier: L\n    region: us\n"
        "    overflow: {for: [eu], tokens_per_day: 9, redact: [email]}\nvariants:\n",
        "models.far.overflow",
        "has no variant",
    ),
    "a setting without its engine": Fault(
        "models.yaml",
        "slots: 4 #",
        "settings: {quick: {endpoint: engine:quick}}\n    slots: 4 #",
        "models.small.settings.quick.endpoint",
        "no engine 'quick'",
    ),
    "a setting on the model's own engine": Fault(
        "models.yaml",
        "slots: 4 #",
        "settings: {quick: {endpoint: engine:small}}\n    slots: 4 #",
        "models.small.settings.quick.endpoint",
        "is also the endpoint of small",
    ),
    "a setting that does not speculate": Fault(
        "models.yaml",
        "slots: 4 #",
        "settings: {quick: {endpoint: engine:medium, speculative: true}}\n    slots: 4 #",
        "models.small.settings.quick.speculative",
        "does not, by trimtab.yaml",
    ),
    "a setting for nobody": Fault(
        "models.yaml",
        "slots: 4 #",
        "settings: {quick: {endpoint: http://h/v1, tenants: [comerce]}}\n    slots: 4 #",
        "models.small.settings.quick.tenants[0]",
        "mean commerce?",
    ),
    "a draft without a model": Fault(
        "trimtab.yaml",
        "    slots: 4 #",
        "    speculation: {by: draft}\n    slots: 4 #",
        "engines.small.speculation.by",
        "needs the model that proposes",
    ),
    "a model that proposes nothing": Fault(
        "trimtab.yaml",
        "    slots: 4 #",
        "    speculation: {model: bundled}\n    slots: 4 #",
        "engines.small.speculation.model",
        "needs no model to propose",
    ),
    "its own fallback": Fault(
        "models.yaml", "slots: 4 #", "fallbacks: [small]\n    slots: 4 #", "models.small.fallbacks", "the model itself"
    ),
    "unknown fallback": Fault(
        "models.yaml", "slots: 4 #", "fallbacks: [medum]\n    slots: 4 #", "models.small.fallbacks", "mean medium?"
    ),
    "one provider for four nines": Fault(
        HR,
        "quality: {min: 0}",
        "quality: {min: 0}\n      availability: 0.9999",
        "channels.assistant.targets.availability",
        "this machine alone can answer, and promises nothing, less than 99.9900%",
        "warning",
    ),
    "version of Azure": far("azure", "models.far.dialect", "Write e.g. api_version"),
    "images of an engine": Fault(
        "models.yaml", "    tier: S\n", "    tier: S\n    images: 900\n", "models.small.images", "take no images"
    ),
    "prefill of responses": far("responses, prefill: true", "models.far.prefill", "begin no assistant message"),
    "signatures of others": cloud(
        "openai", "aws: {by: instance, region: eu-west-1}", "aws", "signs requests to bedrock"
    ),
    "signed and by a key": cloud(
        "bedrock", "aws: {by: instance, region: eu-west-1}, api_key: env:HOME", "aws", "in place of api_key"
    ),
    "signed for nowhere": cloud("bedrock", "aws: {by: instance}", "aws", "has no region"),
    "signed with half a key": cloud(
        "bedrock", "aws: {region: r, access_key: env:HOME}", "aws", "needs access_key and secret_key"
    ),
    "keys that are not read": cloud(
        "bedrock",
        "aws: {region: r, by: instance, secret_key: env:HOME}",
        "aws",
        "has keys that are not read by: instance",
    ),
    "a token service unencrypted": cloud(
        "bedrock", "aws: {region: r, by: web-identity, sts: http://sts}", "aws.sts", "is not https"
    ),
    "a secret key itself": cloud(
        "bedrock", "aws: {region: r, access_key: env:HOME, secret_key: hunter2}", "aws.secret_key", "a secret itself"
    ),
    "a project nowhere": cloud("vertex", "api_key: env:HOME", "endpoint", "names no project and location"),
    "a location that another is asked for": cloud(
        "vertex", f"api_key: env:HOME, {_AT_VERTEX.format('us-east4')}", "endpoint", "for the location us-east4"
    ),
    "a location out of the region": cloud(
        "vertex", f"api_key: env:HOME, region: us, {_AT_VERTEX.format('europe-west4')}", "region", "is at europe-west4"
    ),
    "London": cloud(
        "vertex",
        f"api_key: env:HOME, region: eu, {_AT_VERTEX.format('europe-west2')}",
        "region",
        "is at europe-west2, and the model says region: eu",
    ),
    "everywhere": cloud(
        "vertex", f"api_key: env:HOME, region: eu, {_AT_VERTEX.format('global')}", "region", "is at global"
    ),
    "version of others": far("vllm, api_version: '1'", "models.far.api_version", "Delete the line"),
    "provider without a key": Fault(
        "models.yaml",
        "variants:\n",
        "  far: {endpoint: https://h/v1, dialect: anthropic, tier: L}\nvariants:\n  far-one: {model: far}\n",
        "models.far.dialect",
        "anthropic endpoints want an api_key",
        "warning",
    ),
    "bad port": Fault("models.yaml", "engine:small", "http://h:99999/v1", "models.small.endpoint", "is no URL"),
    "replica twice": Fault(
        "models.yaml", "engine:small", "[http://h/v1, http://h/v1]", "models.small.endpoint", "listed more than once"
    ),
    "shared endpoint": Fault(
        "models.yaml", "engine:medium", "engine:small", "models.medium.endpoint", "slots would be counted twice"
    ),
    "dialect": Fault("models.yaml", "dialect: llamacpp", "dialect: openai", "models.small.dialect", "speaks llamacpp"),
    "slots": Fault("models.yaml", "slots: 4 #", "slots: 5 #", "models.small.slots", "Write slots: 4"),
    "context": Fault("models.yaml", "context: 2048", "context: 4096", "models.small.context", "has 2048 a slot"),
    "key of an engine": Fault(
        "models.yaml",
        "    tier: S",
        "    api_key: env:X\n    tier: S",
        "models.small.api_key",
        "gets its key at the start",
    ),
    "literal secret": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "api_key: sk-abcdEFGH12345678abcd\n    endpoint: https://h/v1",
        "models.small.api_key",
        "have this key replaced",
    ),
    "unset secret": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "api_key: env:TRIMTAB_TEST_UNSET\n    endpoint: https://h/v1",
        "models.small.api_key",
        "TRIMTAB_TEST_UNSET is not set",
        "warning",
    ),
    "unencrypted key": Fault(
        "models.yaml",
        "endpoint: engine:small",
        "api_key: env:HOME\n    endpoint: http://far.example/v1",
        "models.small.endpoint",
        "unencrypted",
        "warning",
    ),
    "variant's model": Fault(
        "models.yaml", "model: medium", "model: mediun", "variants.medium-greedy.model", "Did you mean medium?"
    ),
    "variant's prompt": Fault(
        "models.yaml", "prompt: brief", "prompt: breif", "variants.small-brief.prompt", "Did you mean brief?"
    ),
    "answer fills context": Fault(
        "models.yaml", "max_tokens: 128", "max_tokens: 2048", "variants.small-brief.max_tokens", "no room for a prompt"
    ),
    "quality upside down": Fault(
        "models.yaml",
        "    max_tokens: 128",
        "    quality: {value: 0.5, lower: 0.6, n: 9, source: x}\n    max_tokens: 128",
        "variants.small-brief.quality.lower",
        "above the value",
    ),
    "reserved sampling": Fault(
        "models.yaml",
        "temperature: 0}",
        "max_tokens: 9}",
        "variants.medium-greedy.sampling.max_tokens",
        "gateway alone",
    ),
    "alias of nothing": Fault(
        "models.yaml", "gpt-4o: auto", "gpt-4o: small-breif", "aliases.gpt-4o", "Did you mean small-brief?"
    ),
    "alias hides": Fault("models.yaml", "gpt-4o: auto", "small: auto", "aliases.small", "hides a model or variant"),
    "reserved alias": Fault("models.yaml", "gpt-4o: auto", "auto: small", "aliases.auto", "is a reserved name"),
    "one name twice": Fault(
        "models.yaml",
        "  small-brief:\n",
        "  small: {model: small}\n  small-brief:\n",
        "variants.small",
        "name of a model",
    ),
    "idle model": Fault(
        "models.yaml",
        "models:\n",
        "models:\n  other: {endpoint: 'http://127.0.0.1:1/v1', private: true, tier: S}\n",
        "models.other",
        "no variant runs on",
        "warning",
    ),
    # prices.yaml
    "price of nothing": Fault("prices.yaml", "small:\n", "smal:\n", "smal", "Did you mean small?"),
    "half a price": Fault("prices.yaml", '  output_usd_per_mtok: "0.08"\n', "", "small", "a price needs both"),
    "two sources": Fault(
        "prices.yaml", "small:\n", "small:\n  from: genai-prices\n", "small", "either from: genai-prices, or"
    ),
    "stray provider": Fault("prices.yaml", "small:\n", "small:\n  provider: openai\n", "small", "only beside from"),
    "an hour without a price": Fault(
        "models.yaml",
        "  small-brief:\n",
        "  small-kept: {model: small, engine: {cache_control: {type: ephemeral, ttl: 1h}}}\n  small-brief:\n",
        "small",
        "small-kept asks for what is written to the prompt cache to be kept for an hour, which has no price",
        "warning",
        "prices.yaml",
    ),
    "an answer that is heard without a price": Fault(
        "models.yaml",
        "  small-brief:\n",
        "  small-loud: {model: small, sampling: {modalities: [text, audio]}}\n  small-brief:\n",
        "small",
        "small-loud asks for an answer that is heard, which has no price",
        "warning",
        "prices.yaml",
    ),
    "unknown at genai-prices": Fault(
        "prices.yaml",
        'small:\n  input_usd_per_mtok: "0.02"\n  output_usd_per_mtok: "0.08"\n',
        "small: {from: genai-prices, provider: openai, model: no-such-model}\n",
        "small",
        "genai-prices doesn't know it",
    ),
    "no price with a budget": Fault(
        "prices.yaml",
        'small:\n  input_usd_per_mtok: "0.02"\n  output_usd_per_mtok: "0.08"\n',
        "",
        "channels.chat",
        "the budget can't be kept",
        at=SUPPORT,
    ),
    # channels
    "first token last": Fault(
        COMMERCE,
        "ttft_ms: 2000",
        "ttft_ms: 5000",
        "channels.checkout-bot.targets.latency.ttft_ms",
        "comes after the end",
    ),
    "deadline first": Fault(
        COMMERCE,
        "e2e_ms: 2000,",
        "e2e_ms: 2000, deadline_ms: 1900,",
        "channels.checkout-bot.targets.latency.deadline_ms",
        "before their target",
    ),
    "persona's first token": Fault(
        COMMERCE,
        "latency: {ttft_ms: 1600, e2e_ms: 1600}",
        "latency: {ttft_ms: 2000, e2e_ms: 500}",
        "channels.checkout-bot.personas.member.latency.ttft_ms",
        "comes after the end",
    ),
    "tier without variant": Fault(
        COMMERCE, "tiers: [S, M]", "tiers: [S, L]", "channels.checkout-bot.tiers", "no variant is of tier L"
    ),
    "only empty tiers": Fault(HR, "tiers: [S, M]", "tiers: [L]", "channels.assistant.tiers", "nothing could answer"),
    "pin of nothing": Fault(
        SUPPORT, "medium-greedy]", "medium-gredy]", "channels.chat.pin[2]", "Did you mean medium-greedy?"
    ),
    "pin outside": Fault(
        SUPPORT, "tiers: [S, M]", "tiers: [S]", "channels.chat.pin[1]", "a tier that the channel does not use"
    ),
    "baseline of nothing": Fault(
        HR, "baseline: medium-greedy", "baseline: medium", "channels.assistant.baseline", "there is no variant"
    ),
    "route of nothing": Fault(
        HR,
        "    tiers: [S, M]",
        "    routes: {/v1/chat: {quality: {min: 0}}}\n    tiers: [S, M]",
        "channels.assistant.routes./v1/chat",
        "there is no route",
    ),
    "persona of nothing": Fault(
        COMMERCE, "      member:\n", "      memper:\n", "channels.checkout-bot.personas.memper", "Did you mean member?"
    ),
    "language of nothing": Fault(
        HR,
        "    tiers: [S, M]",
        "    languages: [it]\n    tiers: [S, M]",
        "channels.assistant.languages[0]",
        "no language",
    ),
    "residency of nothing": Fault(
        HR, "    tiers: [S, M]", "    residency: eu\n    tiers: [S, M]", "channels.assistant.residency", "no model that"
    ),
    "quality of nobody": Fault(
        HR, "quality: {min: 0}", "quality: {min: 0.5}", "channels.assistant.targets.quality.min", "known to reach 0.5"
    ),
    "cap for nothing": Fault(
        HR,
        'max_per_request_usd: "0.005"',
        'max_per_request_usd: "0.000000001"',
        "channels.assistant.cost.max_per_request_usd",
        "The cheapest takes 0.00000128 USD",
    ),
    "deny without its check": Fault(
        HR,
        "checks_out: [deny, email, phone, card, iban]",
        "checks_out: []",
        "channels.assistant.guards.deny",
        "Add deny to checks_out",
    ),
    "blank deny": Fault(HR, '"salary band"', '" "', "channels.assistant.guards.deny[1]", "is blank"),
    "invisible deny": Fault(HR, '"salary band"', '"\\u200b"', "channels.assistant.guards.deny[1]", "is blank"),
    "unknown check in": Fault(
        HR, "checks_in: [email,", "checks_in: [emial,", "channels.assistant.guards.checks_in[0]", "Did you mean email?"
    ),
    "unknown check out": Fault(
        HR,
        "checks_out: [deny, email",
        "checks_out: [deny, dney, email",
        "channels.assistant.guards.checks_out[1]",
        "mean deny?",
    ),
    "emit not built": Fault(HR, "emit: answer", "emit: sentence", "channels.assistant.emit", "emit: answer"),
    "extractive without grammars": Fault(
        "models.yaml",
        "    dialect: llamacpp\n    tier: S",
        "    dialect: openai\n    tier: S",
        "variants.small-brief.extractive",
        "the dialect of small is openai",
    ),
    # tenants
    "file and id": Fault(HR, "id: hr\n", "id: people\n", "id", "in a file named hr.yaml"),
    "language": Fault(
        HR, "languages: [en, de, fr, es, pt, ar]", "languages: [en, German]", "languages[1]", "is no code like"
    ),
    "time zone": Fault(HR, "tz: Europe/Berlin}\n  - {p", "tz: Europe/Berlon}\n  - {p", "budgets[0].tz", "no time zone"),
    "time zone outside": Fault(HR, "tz: Europe/Berlin}\n  - {p", "tz: ../x}\n  - {p", "budgets[0].tz", "no time zone"),
    "period twice": Fault(HR, "period: month", "period: day", "budgets[1].period", "a second budget a day"),
    "nothing to spend": Fault(HR, 'usd: "5"', 'usd: "0"', "budgets[0].usd", "is refused", "warning"),
    "grant that ended": Fault(
        HR,
        'usd: "5",',
        'usd: "5", grants: [{usd: 1, until: "2020-01-01T00:00:00Z", by: me}],',
        "budgets[0].grants[0]",
        "no longer applies",
        "warning",
    ),
    "grant without a date": Fault(
        HR,
        'usd: "5",',
        'usd: "5", grants: [{usd: 1, until: "2020-02-30T00:00:00Z", by: me}],',
        "budgets[0].grants[0].until",
        "no date of the calendar",
    ),
    "budget above the tenant's": Fault(
        COMMERCE, 'usd: "10"', 'usd: "21"', "channels.checkout-bot.cost.budgets[0].usd", "never applies", "warning"
    ),
    "rate above the tenant's": Fault(
        HR,
        "    tiers: [S, M]",
        "    limits: {requests: {per_s: 9, burst: 99}}\n    tiers: [S, M]",
        "channels.assistant.limits.requests",
        "the whole tenant has 5",
        "warning",
    ),
    "burst below any request": Fault(
        HR, "burst: 40000", "burst: 20", "limits.tokens.burst", "smaller than any request"
    ),
    # keys
    "key of no channel": Fault(
        HR, "default_channel: assistant", "default_channel: asistant", "keys[0].default_channel", "mean assistant?"
    ),
    "key of no market": Fault(COMMERCE, "market: de", "market: at", "keys[0].market", "there is no market 'at'"),
    "key of no persona": Fault(COMMERCE, "market: de", "persona: gest", "keys[0].persona", "Did you mean guest?"),
    "key's id": Fault(HR, "id: key_9", "id: key_8", "keys[0].id", "does not belong to this sha256"),
    "expires before it was made": Fault(
        HR,
        "    last4: o-hr",
        "    last4: o-hr\n    created_at: 2026-02-01T00:00:00Z\n    expires_at: 2026-01-31T23:00:00Z",
        "keys[0].expires_at",
        "is before created_at",
    ),
    "zone with a typo": Fault(
        HR, 'usd: "5", tz: Europe/Berlin', 'usd: "5", tz: Europe/Berln', "budgets[0].tz", "Did you mean Europe/Berlin?"
    ),
    "expires on no day": Fault(
        HR,
        "    last4: o-hr",
        "    last4: o-hr\n    expires_at: 2027-02-29T00:00:00Z",
        "keys[0].expires_at",
        "no date of",
    ),
    # texts and policy
    "secret in a prompt": Fault(
        "prompts/brief.md",
        "Never invent",
        "Use sk-proj-abcdEFGH1234ijkl. Never invent",
        "",
        "looks like an sk- API key",
    ),
    "secret in a template": Fault(
        "templates/en.yaml", "refusal: I'm", "refusal: AKIAABCDEFGH12345678 I'm", "refusal", "looks like an AWS"
    ),
    "template of no language": Fault("templates/fr.yaml", "handover:", "handofer:", "", "lacks handover", "warning"),
    "rule of no variant": Fault(
        "policy.yaml", 'prefer: ["tier:S"]', 'prefer: ["variant:small"]', "rules[3].then.prefer", "no variant small"
    ),
    "rule of no tenant": Fault(
        "policy.yaml",
        'when: "latency_e2e_ms < 800.0"',
        "when: \"latency_e2e_ms < 800.0 && tenant != 'comerce'\"",
        "rules[3].when",
        "Did you mean commerce?",
        "warning",
    ),
    # events.yaml
    "event's channel": Fault(EVENTS, "checkout-bot:", "chekout-bot:", "[0].raise.chekout-bot", "mean checkout-bot?"),
    "event's tenant": Fault(EVENTS, "support/chat:", "suport/chat:", "[0].raise.suport/chat", "Did you mean support?"),
    "tenant's channel": Fault(EVENTS, "hr/assistant:", "hr/asistant:", "[1].raise.hr/asistant", "mean assistant?"),
    "event's class": Fault(EVENTS, "bot: critical", "bot: critcal", "[0].raise.checkout-bot", "did you mean critical?"),
    "event's order": Fault(EVENTS, "2999-11-28T", "2999-11-26T", "[0].to", "is not after from"),
    "event of no time": Fault(EVENTS, "2999-11-28T00:00:00+01", "2999-11-26T23:00:00+00", "[0].to", "is not after"),
    "events of one name": Fault(EVENTS, "name: strike", "name: sale", "[1].name", "Write e.g. name: sale-2"),
    "event's zone": Fault(EVENTS, "00:00:00Z\n  raise", "00:00:00\n  raise", "[1].from", "a time like 2026-11-24T09:"),
    "event's date": Fault(EVENTS, "2999-11-28T", "2999-11-31T", "[0].to", "is no date of the calendar"),
    "event's begin": Fault(
        EVENTS, "2026-01-01T00:00:00Z\n  r", "2026-02-30T00:00:00Z\n  r", "[1].from", "is no date of"
    ),
    "event's key": Fault(EVENTS, "raise:\n    hr", "raize:\n    hr", "[1].raize", "Did you mean raise?"),
    "event's name": Fault(EVENTS, "name: strike", "name: The strike", "[1].name", "a-z, 0-9 and dashes"),
    "no raise": Fault(EVENTS, "raise:\n    hr/assistant: critical", "raise: {}", "[1].raise", "is empty"),
    "raises nothing": Fault(
        EVENTS, "bot: critical", "bot: interactive", "[0].raise.checkout-bot", "nothing", "warning"
    ),
    # experiments.yaml
    "experiment's channel": Fault(
        EXPERIMENTS, "[checkout-bot, s", "[chekout-bot, s", "shorter.channels[0]", "mean checkout-bot?"
    ),
    "experiment's tenant": Fault(
        EXPERIMENTS, "support/chat", "suport/chat", "shorter.channels[1]", "Did you mean support?"
    ),
    "no channels": Fault(EXPERIMENTS, "[hr/assistant]", "[]", "tones.channels", "is empty"),
    "channel split twice": Fault(
        EXPERIMENTS, "[hr/assistant]", "[support/chat]", "tones.channels[0]", "split by shorter already"
    ),
    "experiment's kind": Fault(EXPERIMENTS, "kind: canary", "kind: canry", "shorter.kind", "did you mean canary?"),
    "arms of a canary": Fault(EXPERIMENTS, "kind: ab", "kind: canary", "tones.arms", "a canary has one arm, not 2"),
    "arm named control": Fault(
        EXPERIMENTS, "    short:", "    control:", "shorter.arms.control", "is the name of the rest"
    ),
    "shares above 1": Fault(EXPERIMENTS, "share: 0.7", "share: 0.71", "tones.arms", "more than 1 together"),
    "share above 1": Fault(EXPERIMENTS, "share: 0.7", "share: 70", "tones.arms.first.share", "at most 1"),
    "experiment's of": Fault(
        EXPERIMENTS, "of: small-brief", "of: small-breif", "shorter.of", "Did you mean small-brief?"
    ),
    "of no tier": Fault(EXPERIMENTS, "of: tier:S", "of: tier:X", "beside.of", "there is no variant or tier"),
    "of an arm": Fault(EXPERIMENTS, "of: small-brief", "of: small-beside", "shorter.of", "is an arm"),
    "arm's variant": Fault(
        EXPERIMENTS,
        "variant: small-short,",
        "variant: small-shot,",
        "shorter.arms.short.variant",
        "Did you mean small-short?",
    ),
    "arm of another tier": Fault(
        COMMERCE,
        "tiers: [S, M]",
        "tiers: [M]",
        "shorter.of",
        "does not answer commerce/checkout-bot",
        "warning",
        EXPERIMENTS,
    ),
    "arm of no tier of the channel": Fault(
        COMMERCE, "tiers: [S, M]", "tiers: [M]", "shorter.arms.short.variant", "has no tier S", "warning", EXPERIMENTS
    ),
    "rule breaks its test": Fault(
        "policy.yaml", "tier_free <= 0", "tier_free <= 1", "rules[5].tests[1]", "the rule hits with tier_free=1"
    ),
}


def test_the_example_has_no_findings(tmp_path: Path) -> None:
    """What init writes passes every check without a warning; so does a calendar beside it."""
    sandbox = Sandbox(tmp_path)
    assert sandbox.problems() == []
    assert sandbox.write(EVENTS, CALENDAR).problems() == []
    assert splits(sandbox).problems() == []
    assert sandbox.write(FEATURES, FIGURES).problems() == []


def splits(sandbox: Sandbox) -> Sandbox:
    """With experiments, and variants for their arms."""
    return sandbox.write(EXPERIMENTS, SPLITS).replace("models.yaml", "  medium-greedy:\n", ARMS + "  medium-greedy:\n")


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_found_where_it_is(tmp_path: Path, fault: Fault) -> None:
    """The finding has the file, the line of the field, the severity, and words that help."""
    sandbox = splits(Sandbox(tmp_path).write(EVENTS, CALENDAR).write(FEATURES, FIGURES)).replace(
        fault.file, fault.old, fault.new
    )
    found = [str(problem) for problem in sandbox.problems()]
    file = fault.at or fault.file
    mine = [
        problem
        for problem in sandbox.problems()
        if problem.file == file and fault.words in str(problem) and fault.severity == problem.severity
    ]
    assert mine, found
    assert all(one.hint or "Did you mean" in one.message for one in sandbox.problems()), found
    field = f": {fault.field}: " if fault.field else ": "
    assert any(field in str(problem) for problem in mine), found
    if fault.field:
        last = fault.field.rsplit(".", 1)[-1].split("[")[0] if not fault.field.endswith("/v1/chat") else "/v1/chat"
        line = (sandbox.folder / file).read_text().splitlines()[(mine[0].line or 0) - 1]
        assert last in line or "[" in fault.field or last in ("endpoint", "ttft_ms"), (line, mine[0])


def test_clouds_without_a_fault(tmp_path: Path) -> None:
    """Bedrock by its region's endpoint, and Vertex in a location of the region that residency names."""
    aws = "https://bedrock-runtime.eu-central-1.amazonaws.com"
    at = "https://{0}-aiplatform.googleapis.com/v1/projects/p/locations/{0}/publishers/google"
    models = f"""
  signed: {{endpoint: "{aws}", dialect: bedrock, aws: {{by: instance}}, tier: L}}
  tokens: {{endpoint: "{at.format("europe-west4")}", dialect: vertex, api_key: env:HOME, region: eu, tier: L}}
  itself: {{endpoint: "{at.format("us-east4")}", dialect: vertex, api_key: env:HOME, region: us-east4, tier: L}}
variants:
"""
    added = "".join(f"  of-{name}: {{model: {name}}}\n" for name in ("signed", "tokens", "itself"))
    sandbox = Sandbox(tmp_path).replace("models.yaml", "variants:\n", models + added)
    assert [str(one) for one in sandbox.problems() if "models." in str(one)] == []


def test_what_is_kept_for_arms_is_nobody_elses(tmp_path: Path) -> None:
    """A channel that only arms could answer is an error, wherever the experiment is; an arm that a channel's least
    quality or residency rules out is worth a word."""
    one = (
        "new: {kind: %s, channels: [hr/assistant], of: small-brief, arms: {new: {variant: medium-greedy, share: 0}}}\n"
    )
    sandbox = Sandbox(tmp_path).write(EXPERIMENTS, one % "canary").replace(COMMERCE, "tiers: [S, M]", "tiers: [M]")

    def told() -> list[str]:
        return [str(problem) for problem in sandbox.problems() if problem.file == EXPERIMENTS]

    (left,) = told()
    assert "new.arms.new.variant: leaves commerce/checkout-bot without a variant" in left
    measured = "    max_tokens: 128\n    quality: {value: 0.9, lower: 0.8, n: 100, source: here}\n"
    sandbox.replace(COMMERCE, "tiers: [M]", "tiers: [S]").replace("models.yaml", "    max_tokens: 128\n", measured)
    sandbox.replace(HR, "quality: {min: 0}", "quality: {min: 0.5}")
    (never,) = told()
    assert "never answers hr/assistant: it is not known to reach the quality 0.5" in never
    sandbox.write(EXPERIMENTS, one % "shadow")  # of an answer that nobody gets nothing is asked
    assert told() == []
    sandbox.replace(HR, "id: hr\n", "id: hr\nresidency: eu\n").replace(
        "models.yaml", "    tier: S\n", "    tier: S\n    region: eu\n"
    )
    (never,) = told()
    assert "never answers hr/assistant: it is not in eu" in never


def test_a_key_is_one_key(tmp_path: Path) -> None:
    """The same hash in two tenants is refused: it would be somebody else's key."""
    sandbox = Sandbox(tmp_path)
    hr = (sandbox.folder / HR).read_text()
    sandbox.append(
        SUPPORT, hr[hr.index("  - id: key_") :].replace("default_channel: assistant", "default_channel: chat")
    )
    found = [str(problem) for problem in sandbox.problems()]
    assert any("keys[1].sha256: is the same as at tenants/hr.yaml keys[0]" in line for line in found), found


_SECOND = "  - {id: ID, name: two, sha256: HASH, last4: abcd, lineage: LINEAGE, budgets: [{period: day, usd: 'USD'}]}\n"


def _second(usd: str, lineage: str = "key_947c46964afb790a", of: str = _OTHER) -> str:
    text = _SECOND.replace("ID", key_id(of), 1).replace("HASH", of).replace("USD", usd)
    return text.replace("LINEAGE", lineage)


def test_keys_of_a_lineage_share_one_account(tmp_path: Path) -> None:
    """Equal limits and budgets pass; others are refused, and so is a lineage across tenants or one of another key's."""
    sandbox = Sandbox(tmp_path).append(HR, '    budgets: [{period: day, usd: "2"}]\n' + _second("2"))
    assert sandbox.problems() == []
    sandbox.append(HR, _second("3", of=hash_key("a third")))
    (found,) = sandbox.problems()
    assert "keys[2].budgets: are not those of key_947c46964afb790a, with which it shares an account" in str(found)
    sandbox = Sandbox(tmp_path / "b").append(HR, '    budgets: [{period: day, usd: "2"}]\n' + _second("2"))
    sandbox.append(HR, _second("2", lineage=key_id(_OTHER), of=hash_key("a third")))
    (found,) = sandbox.problems()
    assert str(found).endswith(f"{key_id(_OTHER)} is of a lineage itself. Write lineage: key_947c46964afb790a")
    (found,) = Sandbox(tmp_path / "c").append(SUPPORT, _second("2")).problems()
    assert "keys[1].lineage: key_947c46964afb790a is the account of a key in tenants/hr.yaml" in str(found)


def test_demo_keys_without_demo_are_told(tmp_path: Path) -> None:
    """With demo: false the demo keys are no keys, and each is told; other keys are not."""
    sandbox = Sandbox(tmp_path).replace("trimtab.yaml", "demo: true\n", "demo: false\n")
    sandbox.append(HR, f"  - {{id: {key_id(_OTHER)}, name: real, sha256: {_OTHER}, last4: abcd}}\n")
    found = sandbox.problems()
    assert [(problem.file, problem.severity) for problem in found] == [
        (COMMERCE, "warning"),
        (HR, "warning"),
        (SUPPORT, "warning"),
    ]


def test_a_broken_stream_needs_somebody_who_can_go_on(tmp_path: Path) -> None:
    """`resume: continue` where no model of the channel's tiers takes a prefill would promise what never happens."""
    sandbox = Sandbox(tmp_path).replace(HR, "on_miss: template", "resume: continue")
    assert sandbox.problems() == []
    for slots in ("slots: 4 # never more than the engine has, or requests wait where no bound applies", "slots: 2"):
        sandbox.replace("models.yaml", f"{slots}\n    prefill: true", f"{slots}\n    prefill: false")
    (found,) = sandbox.problems()
    assert (found.severity, found.path) == ("error", ("channels", "assistant", "resume"))
    assert "prefill: true" in found.hint


def test_images_need_somebody_who_takes_them(tmp_path: Path) -> None:
    """`guards.images: allow` where no model of the channel's tiers declares images would let in what nobody answers."""
    sandbox = Sandbox(tmp_path).replace(HR, "    guards:\n", "    guards:\n      images: allow\n")
    (found,) = sandbox.problems()
    assert (found.severity, found.path) == ("error", ("channels", "assistant", "guards", "images"))
    sees = "endpoint: http://127.0.0.1:9/v1, private: true, tier: S, images: 900"
    sandbox.replace("models.yaml", "variants:\n", f"  sees: {{{sees}}}\nvariants:\n  sees-one: {{model: sees}}\n")
    assert [one for one in sandbox.problems() if "images" in str(one.path)] == []


def test_workers_over_a_shared_store_are_well(tmp_path: Path) -> None:
    """With a store that they share, several workers are refused no more."""
    sandbox = Sandbox(tmp_path).replace("trimtab.yaml", "workers: 1", "workers: 3")
    assert sandbox.replace("trimtab.yaml", "url: memory", "url: valkey://127.0.0.1:6379/0").problems() == []


def test_a_shared_store_needs_its_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra the finding says what to install."""
    monkeypatch.setitem(sys.modules, "redis", None)
    (found,) = Sandbox(tmp_path).replace("trimtab.yaml", "url: memory", "url: redis://h").problems()
    assert str(found).startswith("trimtab.yaml:31: storage.url: the client of Valkey and Redis is not installed")
    assert "pip install 'trimtab[shared]'" in str(found)


def test_a_shared_store_takes_no_more_than_it_counts_exactly(tmp_path: Path) -> None:
    """Nine million dollars with all grants, of a tenant, channel or key; in this process there is no such bound."""
    grants = 'grants: [{usd: "2", until: "2999-01-01T00:00:00Z", by: me}]'
    sandbox = Sandbox(tmp_path).replace(HR, 'usd: "80"', f'usd: "8999999", {grants}')
    sandbox.replace(HR, "burst: 20}", "burst: 1000000000}").replace(HR, "per_s: 5,", "per_s: 0.3,")
    assert sandbox.problems() == []
    rate, money = sandbox.replace("trimtab.yaml", "url: memory", "url: redis://h").problems()
    assert {money.severity, rate.severity} == {"error"}
    assert "budgets[1].usd: 9000001 USD with its grants: a shared store counts to $9,000,000 exactly" in str(money)
    assert "limits.requests: takes over 95 years to refill" in str(rate)


def test_templates_that_the_gateway_needs_are_required(tmp_path: Path) -> None:
    """Without the template of a refusal a guard would have nothing to answer with."""
    sandbox = Sandbox(tmp_path)
    for language in ("ar", "de", "en", "es", "fr", "pt"):
        sandbox.replace(f"templates/{language}.yaml", "unavailable:", "unavailble:")
    found = [str(problem) for problem in sandbox.problems()]
    assert any("the template unavailable is missing" in line and "unavailble?" in line for line in found), found


def test_languages_without_templates_are_told(tmp_path: Path) -> None:
    """A tenant's language without a template file is a warning; a file named by no language is an error."""
    sandbox = Sandbox(tmp_path).replace(HR, "languages: [en, de, fr, es, pt, ar]", "languages: [en, it-CH]")
    (warning,) = sandbox.problems()
    assert warning.severity == "warning"
    assert "templates/it.yaml" in str(warning)
    (sandbox.folder / "templates/fr.yaml").rename(sandbox.folder / "templates/francais.yaml")
    assert any("is not named by a language" in str(problem) for problem in sandbox.problems())


def test_prompts_that_nothing_uses_are_told(tmp_path: Path) -> None:
    """A prompt that no variant names is never sent."""
    (found,) = Sandbox(tmp_path).write("prompts/old.md", "Be kind.").problems()
    assert str(found) == "prompts/old.md: no variant uses this prompt. Name it in models.yaml."


def test_a_secret_in_a_prompt_is_named_by_line_and_not_repeated(tmp_path: Path) -> None:
    """The finding has the line, never the value."""
    (found,) = Sandbox(tmp_path).append("prompts/brief.md", "\nsk-proj-abcdEFGH1234ijkl\n").problems()
    assert found.line == 3
    assert "abcdEFGH" not in str(found)


def test_a_channel_without_a_price_or_budget_is_warned(tmp_path: Path) -> None:
    """Without a budget a missing price is a warning: only the cap of a request can't be kept."""
    sandbox = Sandbox(tmp_path)
    text = (sandbox.folder / HR).read_text()
    start, end = text.index("budgets:"), text.index("channels:")
    sandbox.write(HR, text[:start] + text[end:])
    sandbox.replace("prices.yaml", 'small:\n  input_usd_per_mtok: "0.02"\n  output_usd_per_mtok: "0.08"\n', "")
    found = [problem for problem in sandbox.problems() if problem.file == HR]
    assert [problem.severity for problem in found] == ["warning"]
    assert "max_per_request_usd can't be kept" in found[0].message


def test_keys_of_a_lineage_are_loaded_with_one_list_of_budgets(tmp_path: Path) -> None:
    """The same value, not an equal one: what counts money works an account out once for each that it is shown."""
    sandbox = Sandbox(tmp_path).append(HR, '    budgets: [{period: day, usd: "2"}]\n' + _second("2"))
    workspace, _ = examine(sandbox.folder)
    assert workspace is not None
    tenancy = workspace.snapshot.tenancy
    one, other = tenancy.tenants["hr"].keys
    assert one.budgets is other.budgets
    assert one.limits is other.limits
    assert tenancy.keys[other.sha256].key is other


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("azure", "gpt-4o-mini"),
        ("anthropic", "claude-sonnet-4-5"),
        ("google", "gemini-2.5-flash"),
        ("aws", "eu.anthropic.claude-sonnet-4-5-20250929-v1:0"),
        ("openai", "gpt-4o-mini"),
    ],
)
def test_a_model_of_each_provider_has_a_price(provider: str, model: str) -> None:
    """From genai-prices, under the name that its endpoint knows it by; what a prompt cache reads has its own."""
    document = PriceDocument(source="genai-prices", provider=provider, model=model)
    prices, problems = compile_prices({"far": document}, 1_800_000_000 * 10**9)
    assert all(problem.severity == "warning" for problem in problems)
    assert prices["far"].input > 0
    assert prices["far"].cached is not None


def test_what_is_dearer_has_its_own_price() -> None:
    """An hour in the cache, and sound: taken from genai-prices where it has them."""
    at = 1_800_000_000 * 10**9
    claude = PriceDocument(source="genai-prices", provider="aws", model="anthropic.claude-sonnet-4-5-20250929-v1:0")
    gemini = PriceDocument(source="genai-prices", provider="google", model="gemini-2.5-flash")
    prices, _ = compile_prices({"claude": claude, "gemini": gemini}, at)
    assert prices["claude"].written_1h == 2 * prices["claude"].input
    assert prices["gemini"].audio_in is not None
    assert prices["gemini"].audio_in > prices["gemini"].input


def test_two_providers_carry_what_one_does_not(tmp_path: Path) -> None:
    """Each promises 99.9 %: together 99.9999 %, as far as they fail independently. Two models of one do not."""
    sandbox = Sandbox(tmp_path).replace(HR, "quality: {min: 0}", "quality: {min: 0}\n      availability: 0.9999")
    model = "dialect: llamacpp, availability: 0.999, private: true"
    models = f"""
models:
  small: {{endpoint: "https://a.example/v1", tier: S, {model}}}
  medium: {{endpoint: "HOST", tier: M, {model}}}
variants:
"""
    text = (sandbox.folder / "models.yaml").read_text()
    rest = text[text.index("variants:\n") + len("variants:\n") :]
    alone = "a.example alone can answer, and promises 99.9000%"
    for host, words in (("https://a.example/v2", [alone]), ("https://b.example/v1", [])):
        sandbox.write("models.yaml", models.replace("HOST", host) + rest)
        found = [one.message for one in sandbox.problems() if one.path[-1] == "availability"]
        assert [message.partition(", less")[0] for message in found] == words
