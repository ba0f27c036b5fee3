"""Channels: targets that contradict each other, caps that pay for nothing, names that stand for nothing."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

from trimtab.controlplane.registry.checks.models import sendable, tiers
from trimtab.controlplane.registry.checks.view import Candidate, Found, View, absent, error, warning
from trimtab.controlplane.registry.providers import promised_down, together
from trimtab.core.money import nanousd, usd
from trimtab.core.tenancy import Channel, LatencyTargets, Override, TighterLatency
from trimtab.dataplane.guard import CHECKS_IN, CHECKS_OUT, is_blank
from trimtab.foundations import signature
from trimtab.foundations.config import Path

ROUTES = ("/v1/chat/completions", "/v1/messages", "/v1/responses", "/v1/embeddings")
"""HTTP routes that a channel may declare targets for."""
LEAST_ANSWER_TOKENS = 16
_ALL_TIERS = ["S", "M", "L"]


def latency(view: View) -> Found:
    """First token before the end, the end before the deadline; also where a route or persona changes one of them."""
    for file, _, name, channel in view.channels():
        path: Path = ("channels", name, "targets", "latency")
        own = channel.targets.latency
        yield from _ordered(file, path, own.ttft_ms, own.e2e_ms, own.deadline_ms)
        for part in ("routes", "personas"):
            overrides: dict[str, Override] = getattr(channel, part)
            for key, override in overrides.items():
                yield from _overridden(file, ("channels", name, part, key, "latency"), own, override.latency)


def _overridden(file: str, path: Path, own: LatencyTargets, change: TighterLatency) -> Found:
    deadline = change.deadline_ms if change.deadline_ms is not None else own.deadline_ms
    yield from _ordered(file, path, change.ttft_ms or own.ttft_ms, change.e2e_ms or own.e2e_ms, deadline)


def _ordered(file: str, path: Path, ttft_ms: float, e2e_ms: float, deadline_ms: float | None) -> Found:
    if ttft_ms > e2e_ms:
        message = f"the first token at {ttft_ms:g} ms comes after the end at {e2e_ms:g} ms"
        yield error(file, (*path, "ttft_ms"), message, f"Write e.g. ttft_ms: {e2e_ms / 4:g}")
    if deadline_ms is not None and deadline_ms < e2e_ms:
        message = f"the deadline of {deadline_ms:g} ms ends requests before their target of {e2e_ms:g} ms"
        yield error(file, (*path, "deadline_ms"), message, f"Write e.g. deadline_ms: {e2e_ms * 3:g}")


def channel_tiers(view: View) -> Found:
    """A channel needs a variant to answer it; a tier that it names needs one too."""
    present = set(tiers(view))
    for file, _, name, channel in view.channels():
        path: Path = ("channels", name, "tiers")
        if not present & set(channel.tiers):
            hint = f"Tiers with variants: {', '.join(sorted(present)) or 'none'}."
            yield error(file, path, "no variant is of these tiers, so nothing could answer", hint)
        elif channel.tiers != _ALL_TIERS:
            for tier in channel.tiers:
                if tier not in present:
                    yield error(file, path, f"no variant is of tier {tier}", "Add one to models.yaml, or leave it out.")


def pins(view: View) -> Found:
    """What callers may pin exists, and is of a tier that the channel uses."""
    declared = view.documents.models
    tier_of = {candidate.name: candidate.model.tier for candidate in view.candidates}
    tier_of |= {name: model.tier for name, model in declared.models.items()}
    for file, _, name, channel in view.channels():
        for index, pin in enumerate(channel.pin):
            path: Path = ("channels", name, "pin", index)
            if pin == "auto" or not sendable(pin, view):
                known = [*declared.models, *declared.variants, *(f"tier:{tier}" for tier in tiers(view))]
                yield absent(file, path, "model, variant or tier", pin, known)
            elif tier_of.get(pin, pin.removeprefix("tier:")) not in channel.tiers:
                yield error(file, path, f"{pin} is of a tier that the channel does not use", "Add the tier to tiers.")


def baseline(view: View) -> Found:
    """The variant that savings are counted against exists, and has a price to count with."""
    variants = view.documents.models.variants
    for file, _, name, channel in view.channels():
        path: Path = ("channels", name, "baseline")
        if channel.baseline is None:
            continue
        if channel.baseline not in variants:
            yield absent(file, path, "variant", channel.baseline, variants)
        elif variants[channel.baseline].model not in view.prices:
            message = f"{channel.baseline} runs on {variants[channel.baseline].model}, which has no price"
            yield warning(file, path, message, "Add it to prices.yaml, or no saving can be counted.")


def availability(view: View) -> Found:
    """A channel that must answer more often than its providers promise to."""
    for file, _, name, channel in view.channels():
        wanted = channel.targets.availability
        if wanted is None:
            continue
        down = promised_down(candidate.model for candidate in view.within(channel.tiers))
        promised = 1.0 - together(down.values())
        if promised >= wanted:
            continue
        path: Path = ("channels", name, "targets", "availability")
        who = (
            f"{next(iter(down))} alone can answer, and promises" if len(down) == 1 else "its providers together promise"
        )
        message = f"{who} {promised:.4%}, less than {wanted:.4%}".replace("0.0000%", "nothing")
        hint = "Let the channel use a model of another provider, and write each one's availability in models.yaml."
        yield warning(file, path, message, hint)


def routes_and_personas(view: View) -> Found:
    """Targets of a route that is not served, or of a persona that the tenant lacks, never apply."""
    for file, tenant, name, channel in view.channels():
        for route in channel.routes:
            if route not in ROUTES:
                yield absent(file, ("channels", name, "routes", route), "route", route, ROUTES)
        for persona in channel.personas:
            if persona not in tenant.personas:
                yield absent(file, ("channels", name, "personas", persona), "persona", persona, tenant.personas)
        for index, language in enumerate(channel.languages):
            if tenant.languages and language not in tenant.languages:
                path: Path = ("channels", name, "languages", index)
                yield absent(file, path, "language of the tenant", language, tenant.languages)


def residency(view: View) -> Found:
    """A residency that no allowed variant's model is in refuses every request."""
    for file, tenant, name, channel in view.channels():
        wanted = channel.residency or tenant.residency
        candidates = view.within(channel.tiers)
        if wanted is None or not candidates or any(candidate.model.region == wanted for candidate in candidates):
            continue
        path: Path = ("channels", name, "residency") if channel.residency else ("residency",)
        regions = sorted({candidate.model.region for candidate in candidates if candidate.model.region})
        hint = f"Regions of the channel's models: {', '.join(regions) or 'none is declared'}."
        yield error(file, path, f"no model that {name} may use is in {wanted}", hint)


def quality(view: View) -> Found:
    """A least quality that no allowed variant is known to reach refuses every request."""
    for file, _, name, channel in view.channels():
        best = max((_lower(candidate) for candidate in view.within(channel.tiers)), default=0.0)
        wanted: list[tuple[Path, float]] = [(("targets", "quality", "min"), channel.targets.quality.min)]
        for part in ("routes", "personas"):
            overrides: dict[str, Override] = getattr(channel, part)
            wanted += [
                ((part, key, "quality", "min"), one.quality.min) for key, one in overrides.items() if one.quality
            ]
        for path, least in wanted:
            if least > best:
                message = f"no variant is known to reach {least:g}; the best lower bound is {best:g}"
                hint = "Measure the variants and state their quality in models.yaml, or write min: 0 until then."
                yield error(file, ("channels", name, *path), message, hint)


def _lower(candidate: Candidate) -> float:
    return candidate.document.quality.lower if candidate.document.quality else 0.0


def caps(view: View) -> Found:
    """A cap that doesn't pay for 16 tokens of any allowed variant refuses every request."""
    for file, _, name, channel in view.channels():
        least = _least_nanousd(view, channel)
        if least is None:
            continue
        for path, cap in _caps(channel):
            if nanousd(cap) < least:
                message = f"{cap} USD does not pay for {LEAST_ANSWER_TOKENS} tokens of any variant it may use"
                yield error(file, ("channels", name, *path), message, f"The cheapest takes {usd(least)} USD.")


def _caps(channel: Channel) -> Iterator[tuple[Path, Decimal]]:
    yield ("cost", "max_per_request_usd"), channel.cost.max_per_request_usd
    for part in ("routes", "personas"):
        overrides: dict[str, Override] = getattr(channel, part)
        for key, override in overrides.items():
            if override.max_per_request_usd is not None:
                yield (part, key, "max_per_request_usd"), override.max_per_request_usd


def _least_nanousd(view: View, channel: Channel) -> int | None:
    """Of 16 output tokens, on the cheapest allowed variant; None if one of them has no price."""
    costs = []
    for candidate in view.within(channel.tiers):
        price = view.prices.get(candidate.document.model)
        if price is None:
            return None
        costs.append(price.most(0, LEAST_ANSWER_TOKENS))
    return min(costs, default=None)


def unpriced(view: View) -> Found:
    """Without a price nothing can be reserved: with a budget that is an error, with a cap alone it is worth a word."""
    for file, tenant, name, channel in view.channels():
        missing = {one.document.model for one in view.within(channel.tiers, arms=True)} - view.prices.keys()
        budgets = tenant.budgets or channel.cost.budgets or any(key.budgets for key in tenant.keys)
        for model in sorted(missing):
            hint = f'Write in prices.yaml: {model}: {{input_usd_per_mtok: "0.15", output_usd_per_mtok: "0.60"}}'
            if budgets:
                message = f"the model {model} has no price, so the budget can't be kept with it"
                yield error(file, ("channels", name), message, hint)
            else:
                message = f"the model {model} has no price, so max_per_request_usd can't be kept with it"
                yield warning(file, ("channels", name, "cost", "max_per_request_usd"), message, hint)


def guards(view: View) -> Found:
    """Checks that exist, and texts that never leave beside the check that looks for them."""
    for file, _, name, channel in view.channels():
        for part, known in (("checks_in", CHECKS_IN), ("checks_out", CHECKS_OUT)):
            for index, check in enumerate(getattr(channel.guards, part)):
                if check not in known:
                    yield absent(file, ("channels", name, "guards", part, index), "check", check, known)
        path: Path = ("channels", name, "guards", "deny")
        if channel.guards.deny and "deny" not in channel.guards.checks_out:
            yield error(
                file, path, "is read by the check deny, which checks_out does not list", "Add deny to checks_out."
            )
        for index, text in enumerate(channel.guards.deny):
            if is_blank(text):
                yield error(file, (*path, index), "is blank, and stands for no text", "Delete the line.")


def corpora(view: View) -> Found:
    """A corpus that is declared has documents, and a channel with one holds its answers back until they are checked."""
    folder = view.documents.folder / "corpora"
    known = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    for file, _, name, channel in view.channels():
        if channel.corpus is None:
            continue
        path: Path = ("channels", name, "corpus")
        if channel.corpus not in known:
            yield absent(file, path, "folder in corpora/", channel.corpus, known)
        elif next((folder / channel.corpus).rglob("*.md"), None) is None:
            yield error(
                file, path, f"corpora/{channel.corpus} has no documents (*.md)", "Write some, or delete the line."
            )
        if channel.emit != "answer":
            hint = "Write emit: answer: nothing leaves before it has been compared with the passages."
            yield error(file, ("channels", name, "emit"), "a channel with a corpus must hold its answers back", hint)


def resume(view: View) -> Found:
    """A broken stream is gone on with by somebody who can."""
    models = view.documents.models.models
    for file, _, name, channel in view.channels():
        if channel.resume == "continue" and not any(
            model.prefill and model.tier in channel.tiers for model in models.values()
        ):
            hint = "Write prefill: true at one whose endpoint continues an assistant message, or resume: hold."
            message = "no model of the channel's tiers can go on with a broken answer"
            yield error(file, ("channels", name, "resume"), message, hint)


def images(view: View) -> Found:
    """Who may send images is answered by somebody who takes them."""
    models = view.documents.models.models
    for file, _, name, channel in view.channels():
        if channel.guards.images == "allow" and not any(
            model.images is not None and model.tier in channel.tiers for model in models.values()
        ):
            hint = "Write images: N, the most tokens of one image, at a model that takes some, or images: refuse."
            message = "no model of the channel's tiers takes images"
            yield error(file, ("channels", name, "guards", "images"), message, hint)


def capture(view: View) -> Found:
    """What is kept can be encrypted, and something redacts it first."""
    for file, _, name, channel in view.channels():
        path: Path = ("channels", name, "capture")
        if channel.capture == "none":
            continue
        if not signature.is_installed():
            hint = "Install it: pip install 'trimtab[records]', or write capture: none."
            yield error(file, path, "what encrypts texts is not installed", hint)
        if not channel.guards.checks_in:
            hint = "Write guards.checks_in: [email, phone, card, iban], or capture: none."
            yield error(file, path, "keeps redacted texts, and the channel redacts nothing", hint)


def not_yet(view: View) -> Found:
    """What is not built yet must not look applied."""
    for file, _, name, channel in view.channels():
        if channel.emit == "sentence":
            hint = "Write emit: answer (nothing leaves unverified) or emit: token."
            yield error(file, ("channels", name, "emit"), "sentence is not supported yet", hint)


CHECKS = (
    latency,
    availability,
    resume,
    images,
    channel_tiers,
    pins,
    baseline,
    routes_and_personas,
    residency,
    quality,
    caps,
    unpriced,
    guards,
    corpora,
    capture,
    not_yet,
)
