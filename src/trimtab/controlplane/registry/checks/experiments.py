"""Experiments: their channels, their shares, and variants that can do what is said of them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from trimtab.controlplane.registry.checks.events import no_channel
from trimtab.controlplane.registry.checks.models import tiers
from trimtab.controlplane.registry.checks.view import Candidate, Found, View, absent, error, warning
from trimtab.controlplane.registry.documents import EXPERIMENTS
from trimtab.controlplane.registry.timelines import channels_of
from trimtab.core.experiments import CONTROL, Experiment
from trimtab.core.tenancy import Channel, Tenant
from trimtab.foundations.config import Path


def places(view: View) -> Found:
    """Channels are there, and each is split by one experiment at most; shadows go beside."""
    tenants = {tenant.id: tenant for tenant in view.documents.tenants.values()}
    split: dict[tuple[str, str], str] = {}
    for name, experiment in view.documents.experiments.items():
        for index, target in enumerate(experiment.channels):
            path: Path = (name, "channels", index)
            found = channels_of(target, tenants)
            if not found:
                yield from no_channel(EXPERIMENTS, tenants, path, target)
            for place in found if experiment.kind != "shadow" else ():
                first = split.setdefault(place, name)
                if first != name:
                    message = f"{'/'.join(place)} is split by {first} already"
                    yield error(EXPERIMENTS, path, message, "Give both arms to one experiment, or let one end.")


def arms(view: View) -> Found:
    """As many arms as the kind has, none of them control, and no more than all sessions."""
    for name, experiment in view.documents.experiments.items():
        if experiment.kind != "ab" and len(experiment.arms) > 1:
            message = f"a {experiment.kind} has one arm, not {len(experiment.arms)}"
            yield error(EXPERIMENTS, (name, "arms"), message, "Write kind: ab, or an experiment for each.")
        if CONTROL in experiment.arms:
            message = "is the name of the rest"
            yield error(EXPERIMENTS, (name, "arms", CONTROL), message, "Name the arm by what is new in it.")
        if sum(Fraction(str(arm.share)) for arm in experiment.arms.values()) > 1:
            message = "the shares are more than 1 together"
            yield error(EXPERIMENTS, (name, "arms"), message, "What they leave of 1 is the control group.")


def names(view: View) -> Found:
    """Variants are there. What arms stand in for answers everybody, so it is no arm."""
    variants = view.documents.models.variants
    for name, experiment in view.documents.experiments.items():
        for arm, document in experiment.arms.items():
            if document.variant not in variants:
                yield absent(EXPERIMENTS, (name, "arms", arm, "variant"), "variant", document.variant, variants)
        known = [*variants, *(f"tier:{tier}" for tier in tiers(view))]
        if experiment.of not in known:
            yield absent(EXPERIMENTS, (name, "of"), "variant or tier", experiment.of, known)
        elif experiment.of in view.held:
            message = f"{experiment.of} is an arm, so that it answers nobody else"
            yield error(EXPERIMENTS, (name, "of"), message, "Declare the same under another name in models.yaml.")


def left(view: View) -> Found:
    """Every channel keeps a variant that is no arm."""
    for _, tenant, channel, terms in view.channels():
        kept = {candidate.name for candidate in view.within(terms.tiers, arms=True)}
        if not kept or view.within(terms.tiers):
            continue
        name, arm = next(
            (name, arm)
            for name, experiment in view.documents.experiments.items()
            for arm, document in experiment.arms.items()
            if document.variant in kept
        )
        message = f"leaves {tenant.id}/{channel} without a variant: an arm answers nobody else"
        hint = "Declare the same under another name in models.yaml."
        yield error(EXPERIMENTS, (name, "arms", arm, "variant"), message, hint)


def idle(view: View) -> Found:
    """An experiment never widens what a channel allows: an arm that its terms rule out is worth a word."""
    candidates = {candidate.name: candidate for candidate in view.candidates}
    for name, experiment, tenant, channel, terms in _channels(view):
        if experiment.of not in candidates and experiment.of.removeprefix("tier:") not in tiers(view):
            continue  # said already
        stood_for = (one.name for one in view.within(terms.tiers))
        if not any(experiment.of in (one, f"tier:{candidates[one].model.tier}") for one in stood_for):
            message = f"{experiment.of} does not answer {tenant.id}/{channel}, so nothing is replaced there"
            yield warning(EXPERIMENTS, (name, "of"), message, "Name what answers there, or leave the channel out.")
        for arm, document in experiment.arms.items():
            candidate = candidates.get(document.variant)
            reason = _never(experiment, candidate, tenant, terms) if candidate is not None else None
            if reason is not None:
                message = f"never answers {tenant.id}/{channel}: {reason}"
                hint = (
                    "An experiment never widens what a channel allows: name another variant, or leave the channel out."
                )
                yield warning(EXPERIMENTS, (name, "arms", arm, "variant"), message, hint)


def _never(experiment: Experiment, candidate: Candidate, tenant: Tenant, channel: Channel) -> str | None:
    residency = channel.residency or tenant.residency
    if candidate.model.tier not in channel.tiers:
        return f"the channel has no tier {candidate.model.tier}"
    if residency is not None and candidate.model.region != residency:
        return f"it is not in {residency}"
    quality = candidate.document.quality
    if experiment.kind != "shadow" and channel.targets.quality.min > (quality.lower if quality else 0.0):
        return f"it is not known to reach the quality {channel.targets.quality.min:g}"
    return None


def _channels(view: View) -> Iterator[tuple[str, Experiment, Tenant, str, Channel]]:
    tenants = {tenant.id: tenant for tenant in view.documents.tenants.values()}
    for name, experiment in view.documents.experiments.items():
        found = {place: None for target in experiment.channels for place in channels_of(target, tenants)}
        for tenant, channel in found:
            yield name, experiment, tenants[tenant], channel, tenants[tenant].channels[channel]


CHECKS = (places, arms, names, left, idle)
