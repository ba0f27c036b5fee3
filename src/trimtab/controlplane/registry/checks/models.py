"""models.yaml and prices.yaml: endpoints that can't be reached, names that hide each other, prices of nothing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from urllib.parse import urlsplit

from trimtab.controlplane.registry.checks.view import Found, View, absent, error, referenced, warning
from trimtab.controlplane.registry.documents import MODELS, PRICES, Engine
from trimtab.core.models import Model, own_model, says_an_hour, says_audio, setting_of, with_settings
from trimtab.dataplane.guard import CHECKS_IN
from trimtab.foundations.addresses import host_port, refusal
from trimtab.foundations.config import Path, did_you_mean
from trimtab.foundations.embed import NANO

# Fields of a request that move caps, slots, tenancy or egress, or that the gateway writes itself.
RESERVED = frozenset(
    {"model", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "tools"}
    | {"n_predict", "ignore_eos", "n_cmpl", "id_slot", "cache_salt", "extra_key", "priority", "kv_transfer_params"}
    | {"user", "metadata", "trimtab", "response_format"}
)


KEYED = frozenset({"azure", "anthropic", "gemini", "vertex", "bedrock", "responses"})
"""Dialects of providers that answer nobody without a key."""
TELLING = frozenset({"vllm", "sglang", "llamacpp"})
"""Dialects of engines whose metrics are read (`dataplane/inference/signals.py`)."""


def endpoints(view: View) -> Found:
    """Every endpoint is a declared engine or a plain http(s) base URL."""
    engines = view.documents.settings.engines
    for name, model in with_settings(view.documents.models.models).items():
        path = _path(name)
        if not model.endpoints:
            yield error(MODELS, (*path, "endpoint"), "names no endpoint", "Write endpoint: engine:NAME, or a base URL.")
        for endpoint in model.endpoints:
            if endpoint.startswith("engine:"):
                yield from _embedded(endpoint.removeprefix("engine:"), path, model, engines)
            else:
                yield from _remote(endpoint, model, (*path, "endpoint"))


def _path(name: str) -> Path:
    """Where a model, or a setting of one, stands in models.yaml."""
    setting = setting_of(name)
    return ("models", own_model(name), *(() if setting is None else ("settings", setting)))


def settings(view: View) -> Found:
    """A setting says of its engines what they are, and is there for tenants that exist."""
    engines, tenants = view.documents.settings.engines, {one.id for one in view.documents.tenants.values()}
    for name, model in view.documents.models.models.items():
        for setting, terms in model.settings.items():
            path: Path = ("models", name, "settings", setting)
            for endpoint in terms.endpoints:
                engine = engines.get(endpoint.removeprefix("engine:")) if endpoint.startswith("engine:") else None
                if engine is not None and (engine.speculation is not None) != terms.speculative:
                    does, hint = ("speculates", "true") if engine.speculation is not None else ("does not", "false")
                    message = f"{endpoint} {does}, by trimtab.yaml"
                    yield error(MODELS, (*path, "speculative"), message, f"Write speculative: {hint}")
            for index, tenant in enumerate(terms.tenants or ()):
                if tenant not in tenants:
                    yield absent(MODELS, (*path, "tenants", index), "tenant", tenant, tenants)


def _embedded(engine_name: str, path: Path, model: Model, engines: dict[str, Engine]) -> Found:
    engine = engines.get(engine_name)
    if engine is None:
        yield absent(MODELS, (*path, "endpoint"), "engine", engine_name, engines)
        return
    if model.dialect != "llamacpp":
        yield error(MODELS, (*path, "dialect"), "an embedded engine speaks llamacpp", "Write dialect: llamacpp")
    if model.slots > engine.slots:
        message = f"{model.slots} slots, but the engine {engine_name} has {engine.slots}: the rest would wait unseen"
        yield error(MODELS, (*path, "slots"), message, f"Write slots: {engine.slots}")
    if model.context > engine.context:
        message = f"{model.context} tokens, but the engine {engine_name} has {engine.context} a slot"
        yield error(MODELS, (*path, "context"), message, f"Write context: {engine.context}")
    if model.api_key:
        yield error(MODELS, (*path, "api_key"), "an embedded engine gets its key at the start", "Delete the line.")
    if model.images is not None:
        hint = "Delete the line, or write the base URL of a server that takes images."
        yield error(MODELS, (*path, "images"), "embedded engines take no images", hint)


def _remote(endpoint: str, model: Model, path: Path) -> Found:
    example = "Write e.g. endpoint: https://api.example.com/v1"
    try:
        url = urlsplit(endpoint)
        host, _ = url.hostname, url.port
    except ValueError:
        yield error(MODELS, path, "is no URL", example)
        return
    if model.api_version is not None and model.dialect != "azure":
        yield error(MODELS, (*path[:2], "api_version"), "is read only beside dialect: azure", "Delete the line.")
    if model.dialect == "azure" and model.api_version is None and "/openai/v1" not in url.path:
        hint = "Write e.g. api_version: 2024-10-21, or the endpoint under /openai/v1."
        yield error(MODELS, (*path[:2], "dialect"), "Azure's deployments want an api-version", hint)
    if model.dialect == "responses" and model.prefill:
        hint = "Delete the line, or write dialect: openai."
        yield error(MODELS, (*path[:2], "prefill"), "responses begin no assistant message", hint)
    if model.dialect in KEYED and not model.api_keys and model.aws is None:
        yield warning(MODELS, (*path[:2], "dialect"), f"{model.dialect} endpoints want an api_key", "Write one.")
    if url.scheme not in ("http", "https") or not host:
        yield error(MODELS, path, "is neither engine:NAME nor an http(s) base URL", example)
    elif url.username or url.password:
        yield error(MODELS, path, "has credentials in the URL", "Write them as api_key: env:NAME")
    elif url.query or url.fragment:
        yield error(MODELS, path, "has a query or fragment, which a base URL can't have", example)
    elif (why := _refused(host, private=model.private)) is not None:
        yield error(MODELS, path, why.partition(". ")[0], why.partition(". ")[2] or example)
    elif url.scheme == "http" and model.api_key and host not in ("localhost", "127.0.0.1", "::1"):
        yield warning(MODELS, path, "sends the api_key unencrypted", "Use https.")


def _refused(host: str, *, private: bool) -> str | None:
    """Why nothing would be sent there, as far as the name itself tells; the rest is told when it is connected to."""
    if host == "metadata.google.internal":
        return f"{host} is where a cloud serves credentials"
    try:
        return refusal("127.0.0.1" if host == "localhost" else host, private=private)
    except ValueError:
        return None


def shared_endpoints(view: View) -> Found:
    """Two models on one endpoint would each count all of its slots as their own."""
    seen: dict[tuple[str, str], str] = {}
    for name, model in with_settings(view.documents.models.models).items():
        for endpoint in model.endpoints:
            place = endpoint.rstrip("/")
            known = (place, "" if place.startswith("engine:") else model.upstream_name or own_model(name))
            other = seen.setdefault(known, name)
            if other != name:
                message = f"{endpoint} is also the endpoint of {other}, so its slots would be counted twice"
                yield error(MODELS, (*_path(name), "endpoint"), message, "Give the two variants one model.")
        for endpoint in sorted({one for one in model.endpoints if model.endpoints.count(one) > 1}):
            message = f"{endpoint} is listed more than once"
            yield error(MODELS, (*_path(name), "endpoint"), message, "List each replica once.")


def api_keys(view: View) -> Found:
    """Secrets stand in documents by reference only, each once."""
    for name, model in view.documents.models.models.items():
        path: Path = ("models", name, "api_key")
        for reference in sorted({one for one in model.api_keys if model.api_keys.count(one) > 1}):
            yield error(MODELS, path, f"{reference} is listed more than once", "List each key once.")
        for reference in model.api_keys:
            yield from referenced(MODELS, path, reference, view.documents.folder)


def signals(view: View) -> Found:
    """What engines tell is read where it is told, and of addresses that may be connected to."""
    for name, model in view.documents.models.models.items():
        path: Path = ("models", name)
        if model.metrics is not None and model.dialect not in TELLING:
            message = f"is read of {', '.join(sorted(TELLING))} alone, and the dialect is {model.dialect}"
            yield error(MODELS, (*path, "metrics"), message, "Delete the line.")
        if model.kv_events is not None and model.dialect != "vllm":
            message = f"is read of vllm alone, and the dialect is {model.dialect}"
            yield error(MODELS, (*path, "kv_events"), message, "Delete the line.")
        elif model.kv_events is not None and find_spec("zmq") is None:
            hint = "Run pip install 'trimtab[kv-events]' where the gateway runs."
            yield warning(MODELS, (*path, "kv_events"), "is read by pyzmq, which is not installed here", hint)
        if model.kv_replay is not None and model.kv_events is None:
            yield error(
                MODELS, (*path, "kv_replay"), "is asked for lost kv_events, of which there are none", "Write both."
            )
        for part, addresses in (("kv_events", model.publishers), ("kv_replay", model.replays)):
            if addresses and len(addresses) != len(model.endpoints):
                message = f"names {len(addresses)} for {len(model.endpoints)} endpoints"
                yield error(MODELS, (*path, part), message, "Write one for each endpoint, in the same order.")
            for address in addresses:
                yield from _publisher(address, model, (*path, part))


def _publisher(address: str, model: Model, path: Path) -> Found:
    try:
        host, _ = host_port(address)
    except ValueError as problem:
        yield error(MODELS, path, str(problem), "Write e.g. tcp://gpu-7:5557")
        return
    why = _refused(host, private=model.private)
    if why is not None:
        yield error(MODELS, path, why.partition(". ")[0], why.partition(". ")[2] or "Name another address.")


def overflow(view: View) -> Found:
    """A pool for other regions' overflow is encrypted, has a region, a profile that exists, and a variant."""
    declared = view.documents.models
    for name, model in declared.models.items():
        if model.overflow is None:
            continue
        path: Path = ("models", name, "overflow")
        for endpoint in model.endpoints:
            if not endpoint.startswith("https://"):
                message = f"{endpoint} is not https, and what leaves its region is sent encrypted only"
                yield error(MODELS, ("models", name, "endpoint"), message, "Write https://..., or delete overflow.")
        if model.region is None:
            message = "the model says no region, so that nobody knows what it takes from where"
            yield error(MODELS, path, message, "Write e.g. region: us beside it.")
        for index, residency in enumerate(model.overflow.for_):
            if residency == model.region:
                message = f"{residency} is the model's own region: it takes these requests anyway"
                yield error(MODELS, (*path, "for", index), message, "Name the residencies of others.")
        if not model.overflow.redact:
            hint = "Write e.g. redact: [email, phone, card, iban]"
            yield error(MODELS, (*path, "redact"), "redacts nothing of what leaves", hint)
        for index, check in enumerate(model.overflow.redact):
            if check not in CHECKS_IN:
                yield absent(MODELS, (*path, "redact", index), "check", check, CHECKS_IN)
        if not any(variant.model == name for variant in declared.variants.values()):
            yield error(MODELS, path, f"{name} has no variant, so it would never answer", "Declare a variant of it.")


def fallbacks(view: View) -> Found:
    """Stand-ins are other declared models that have a variant."""
    declared = view.documents.models
    for name, model in declared.models.items():
        path: Path = ("models", name, "fallbacks")
        for other in model.fallbacks:
            if other == name:
                yield error(MODELS, path, "names the model itself", "Name another model.")
            elif other not in declared.models:
                yield absent(MODELS, path, "model", other, declared.models)
            elif not any(variant.model == other for variant in declared.variants.values()):
                yield error(
                    MODELS, path, f"{other} has no variant, so it would never answer", "Declare a variant of it."
                )


def variants(view: View) -> Found:
    """Models and prompts exist, caps leave room for a prompt, engines can do what is asked of them, and a bound of
    quality is not above its value."""
    declared = view.documents.models
    for name, variant in declared.variants.items():
        path: Path = ("variants", name)
        model = declared.models.get(variant.model)
        if model is None:
            yield absent(MODELS, (*path, "model"), "model", variant.model, declared.models)
        elif variant.max_tokens >= model.context:
            message = f"{variant.max_tokens} tokens of answer leave no room for a prompt in {model.context}"
            yield error(MODELS, (*path, "max_tokens"), message, f"Write e.g. max_tokens: {max(1, model.context // 4)}")
        elif variant.extractive and model.dialect != "llamacpp":
            message = f"needs an engine that takes grammars: the dialect of {variant.model} is {model.dialect}"
            yield error(MODELS, (*path, "extractive"), message, "Delete the line.")
        if variant.prompt is not None and variant.prompt not in view.documents.prompts:
            yield absent(MODELS, (*path, "prompt"), "prompt", variant.prompt, view.documents.prompts)
        if variant.quality and variant.quality.lower > variant.quality.value:
            hint = f"Write e.g. lower: {variant.quality.value:g}"
            yield error(MODELS, (*path, "quality", "lower"), "the lower bound is above the value", hint)
        for part, options in (("sampling", variant.sampling), ("engine", variant.engine)):
            for key in sorted(RESERVED & options.keys()):
                hint = "Write max_tokens beside it." if "tokens" in key or key == "n_predict" else "Delete the line."
                yield error(MODELS, (*path, part, key), "is set by the gateway alone", hint)


def unpriced(view: View) -> Found:
    """A variant that asks for what its model's price has no word for is charged the dearest that applies, and that may
    be less than it costs."""
    for name, variant in view.documents.models.variants.items():
        price, options = view.prices.get(variant.model), (variant.sampling, variant.engine)
        asked = (
            ("an answer that is heard", "audio_out", says_audio(*options)),
            ("what is written to the prompt cache to be kept for an hour", "written_1h", says_an_hour(list(options))),
        )
        for what, kind, is_asked in asked:
            if price is not None and is_asked and getattr(price, kind) is None:
                message = f"{name} asks for {what}, which has no price here: the dearest that applies counts"
                hint = f"Write {kind}_usd_per_mtok, and the others beside it."
                yield warning(PRICES, (variant.model,), message, hint)


def names(view: View) -> Found:
    """Callers may send models, variants, aliases and tier:X as `model`: none may hide another."""
    declared = view.documents.models
    for name in sorted(declared.models.keys() & declared.variants.keys()):
        yield error(MODELS, ("variants", name), "is also the name of a model", "Give the variant another name.")
    for name in [*declared.models, *declared.variants, *declared.aliases]:
        if name == "auto" or name.startswith(("tier:", "engine:")):
            part = next(part for part in ("models", "variants", "aliases") if name in getattr(declared, part))
            yield error(
                MODELS, (part, name), "is a reserved name", "auto, tier:X and engine:X have meanings of their own."
            )
    for name, target in declared.aliases.items():
        if name in declared.models or name in declared.variants:
            yield error(MODELS, ("aliases", name), "hides a model or variant of the same name", "Rename the alias.")
        if not sendable(target, view):
            known = ["auto", *declared.models, *declared.variants, *(f"tier:{tier}" for tier in tiers(view))]
            yield absent(MODELS, ("aliases", name), "model, variant or tier", target, known)


def idle_models(view: View) -> Found:
    """A model that no variant runs on answers nothing."""
    used = {variant.model for variant in view.documents.models.variants.values()}
    for name in view.documents.models.models:
        if name not in used:
            yield warning(MODELS, ("models", name), "no variant runs on this model", "Add a variant, or remove it.")


def prices(view: View) -> Found:
    """A price of a model that is not there never applies. The embedder is there without a declaration."""
    known = [*view.documents.models.models, NANO]
    for name in view.documents.prices:
        if name not in known:
            yield error(PRICES, (name,), "there is no model of this name", did_you_mean(name, known))


def sendable(target: str, view: View) -> bool:
    """Whether `target` means something as a request's `model`, aliases aside."""
    declared = view.documents.models
    if target == "auto" or target in declared.models or target in declared.variants:
        return True
    return target.startswith("tier:") and target.removeprefix("tier:") in tiers(view)


def tiers(view: View) -> Iterable[str]:
    """Tiers that have a variant, sorted."""
    return sorted({candidate.model.tier for candidate in view.candidates})


CHECKS = (
    *(endpoints, settings, shared_endpoints, api_keys, signals, overflow, fallbacks, variants, names, idle_models),
    *(prices, unpriced),
)
