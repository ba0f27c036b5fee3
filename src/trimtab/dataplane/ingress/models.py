"""What a request's `model` means: routed, or pinned to a tier, a model or a variant."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from trimtab.core.errors import Code, Refusal
from trimtab.core.models import Model, Variant, own_model
from trimtab.core.tenancy import Channel
from trimtab.foundations.config import did_you_mean
from trimtab.foundations.embed import Embedder


class Target(msgspec.Struct, frozen=True):
    """`pin`: the name that the caller pinned, resolved; None: routed. `variants`: names that it leaves. `then`: models
    that stand in where those can't answer. `held`: variants that are kept for experiments' arms, this session's own and
    the one that it names left out."""

    pin: str | None = None
    variants: frozenset[str] | None = None
    then: tuple[str, ...] = ()
    held: frozenset[str] = frozenset()

    def takes(self, variant: Variant) -> bool:
        if variant.name in self.held:
            return False
        return self.variants is None or variant.name in self.variants or own_model(variant.model) in self.then

    def place(self, variant: Variant) -> int:
        """0 for what was asked for, then its stand-ins in their order."""
        if self.variants is None or variant.name in self.variants:
            return 0
        return 1 + self.then.index(own_model(variant.model))


ROUTED = Target()


class Catalogue(msgspec.Struct, frozen=True):
    """What can be named: the release's variants, models and aliases."""

    variants: Mapping[str, Variant]
    models: Mapping[str, Model]
    aliases: Mapping[str, str]


def resolve(model: str | None, catalogue: Catalogue, channel: Channel) -> Target | Refusal:
    """403 for a name that exists and is not the caller's to pin, 404 for one that does not, with a suggestion out of
    those that this channel's callers may send."""
    name = catalogue.aliases.get(model, model) if model is not None else None
    if name is None or name == "auto":
        return ROUTED
    variants = _named(name, catalogue)
    if not variants:
        hint = did_you_mean(str(model), sendable(catalogue, channel))
        message = f"there is no model {_shown(model)}. {hint}".rstrip()
        return Refusal(code=Code.MODEL_NOT_FOUND, message=message, param="model")
    if name not in channel.pin:
        message = f"this channel does not let callers choose {_shown(model)}: send model: auto"
        return Refusal(code=Code.MODEL_NOT_ALLOWED, message=message, param="model")
    return Target(name, variants, _stand_ins(variants, catalogue))


def _stand_ins(variants: frozenset[str], catalogue: Catalogue) -> tuple[str, ...]:
    """Fallbacks of the models behind these variants; one model's in its own order."""
    models = {catalogue.variants[name].model: None for name in sorted(variants)}
    found = {one: None for name in models for one in catalogue.models[name].fallbacks if one not in models}
    return tuple(found)


def resolve_embedder(model: str | None, dimensions: int | None, embedder: Embedder) -> Target | Refusal:
    """There is one embedder. Another's name is refused, an alias too: vectors of two models can't be compared, so who
    names one must get that one."""
    if model not in (None, "auto", embedder.name):
        message = f"there is no embedding model {_shown(model)}: send {embedder.name}, or auto"
        return Refusal(code=Code.MODEL_NOT_FOUND, message=message, param="model")
    if dimensions not in (None, embedder.dim):
        message = f"dimensions takes {embedder.dim}, which is the model's own size"
        return Refusal(code=Code.INVALID_REQUEST, message=message, param="dimensions")
    return Target(embedder.name, frozenset())


def sendable(catalogue: Catalogue, channel: Channel) -> list[str]:
    """Every name that this channel's callers may send as `model`; `auto` first."""
    aliases = [name for name, target in catalogue.aliases.items() if target == "auto" or target in channel.pin]
    return ["auto", *(name for name in channel.pin if _named(name, catalogue)), *aliases]


def _named(name: str, catalogue: Catalogue) -> frozenset[str]:
    """Names of the variants behind a tier, a model or a variant; empty for nothing."""
    if name in catalogue.variants:
        return frozenset({name})
    every = catalogue.variants.values()
    if name.startswith("tier:"):
        return frozenset(variant.name for variant in every if variant.tier == name[5:])
    return frozenset(variant.name for variant in every if variant.model == name)


def _shown(model: str | None) -> str:
    return repr((model or "")[:128])
