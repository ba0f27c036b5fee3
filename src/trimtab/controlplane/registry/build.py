"""Checked documents to the immutable snapshot, each part named by its content."""

from __future__ import annotations

from typing import Any

import msgspec

from trimtab.controlplane.registry.documents import Documents
from trimtab.controlplane.registry.timelines import channels_of, timelines
from trimtab.core.canonical import digest
from trimtab.core.experiments import Experiments, Split
from trimtab.core.models import Model, Prices, Variant, VariantDoc, says_an_hour, with_settings
from trimtab.core.money import LoosePrice, Price
from trimtab.core.tenancy import Key, KeyEntry, Tenancy, Tenant
from trimtab.dataplane.policy import PolicyDocument, compile_policy, tables_with
from trimtab.dataplane.snapshot import Release, Snapshot


def snapshot(documents: Documents, prices: dict[str, Price]) -> Snapshot:
    """The whole configuration. The documents must have passed `check`; raises PolicyError if the policy can't run."""
    return Snapshot(tenancy=tenancy(documents), release=release(documents, prices), prices=_prices(prices))


def tenancy(documents: Documents) -> Tenancy:
    """Tenants by id, keys by hash, events and experiments; `ten_` + 12 hex of all, and of `demo`."""
    tenants = {tenant.id: _accounts(tenant) for tenant in documents.tenants.values()}
    keys = {key.sha256: KeyEntry(tenant, key) for tenant in tenants.values() for key in tenant.keys}
    demo, events = documents.settings.demo, tuple(documents.events)
    found = experiments(documents, tenants)
    content: list[Any] = [tenants, demo, *([events] if events else [])]
    if documents.experiments:  # the order of arms counts, which that of a map's keys does not in a digest
        content.append([[name, one, list(one.arms)] for name, one in documents.experiments.items()])
    return Tenancy("ten_" + digest(content), tenants, keys, demo, events, timelines(events, tenants), found)


def experiments(documents: Documents, tenants: dict[str, Tenant]) -> Experiments:
    """What each channel's requests look up, and the variants that are kept for arms."""
    splits: dict[tuple[str, str], tuple[Split, ...]] = {}
    for name, experiment in documents.experiments.items():
        split = Split.declared(name, experiment)
        places = {place: None for target in experiment.channels for place in channels_of(target, tenants)}
        for place in places:
            splits[place] = (*splits.get(place, ()), split)
    held = frozenset(arm.variant for experiment in documents.experiments.values() for arm in experiment.arms.values())
    return Experiments(splits, held)


def _accounts(tenant: Tenant) -> Tenant:
    """The tenant with one list of budgets and one of limits for all keys of a lineage, in place of equal ones: what
    counts them works out the terms of an account once for each value that it is shown."""
    heads: dict[str, Key] = {}
    keys = []
    for key in tenant.keys:
        head = heads.setdefault(key.account, key)
        keys.append(msgspec.structs.replace(key, limits=head.limits, budgets=head.budgets))
    return tenant if len(heads) == len(keys) else msgspec.structs.replace(tenant, keys=keys)


def release(documents: Documents, prices: dict[str, Price]) -> Release:
    """Variants with their prompts, models, aliases, policy, templates and features; `rel_` + 12 hex of them, without
    prices."""
    declared = documents.models
    variants = {
        name: variant(name, document, declared.models[document.model], documents.prompts, prices.get(document.model))
        for name, document in declared.variants.items()
    }
    templates, features = _by_name(documents.templates), documents.features.features
    content = [
        declared.models,
        {name: one.id for name, one in variants.items()},
        {name: one.quality for name, one in declared.variants.items()},
        declared.aliases,
        _rules(documents.policy),
        templates,
        *([{name: [one.definition, one.default] for name, one in features.items()}] if features else []),
    ]
    return Release(
        id="rel_" + digest(content),
        variants=variants,
        models=with_settings(declared.models),
        aliases=declared.aliases,
        policy=compile_policy(documents.policy, tables_with(features)),
        templates=templates,
        features=documents.features,
    )


def variant(name: str, document: VariantDoc, model: Model, prompts: dict[str, str], price: Price | None) -> Variant:
    """`id` = name@ + 8 hex of what shapes its answers: model, prompt, sampling, engine options, cap."""
    system = prompts[document.prompt] if document.prompt else None
    upstream = model.upstream_name or document.model
    shape = [document.model, upstream, system, document.sampling, document.engine, document.max_tokens]
    shape += [document.passages, document.extractive]
    return Variant(
        id=f"{name}@{digest(shape, 8)}",
        name=name,
        tier=model.tier,
        model=document.model,
        upstream_model=upstream,
        dialect=model.dialect,
        region=model.region,
        overflow=model.overflow,
        context=model.context,
        images=model.images,
        prefill=model.prefill,
        system=system,
        sampling=document.sampling,
        engine=document.engine,
        max_tokens=document.max_tokens,
        passages=document.passages,
        extractive=document.extractive,
        streams=model.streams,
        quality_lower=document.quality.lower if document.quality else 0.0,
        price=_loose(price, model, document),
        prompt_hash=digest(system) if system else "",
    )


def _loose(price: Price | None, model: Model, document: VariantDoc) -> Price | None:
    """As its requests can come to it: with what is written for an hour, and with the endpoint's overrun."""
    if price is not None and says_an_hour([document.sampling, document.engine]):
        price = msgspec.structs.replace(price, hourly=True)
    if price is None or not model.overrun_tokens:
        return price
    return LoosePrice(**msgspec.structs.asdict(price), overrun_tokens=model.overrun_tokens)


def _prices(prices: dict[str, Price]) -> Prices:
    return Prices("prc_" + digest(prices), prices)


def _rules(policy: PolicyDocument) -> list[Any]:
    """What decides, without words and tests, in an order that the file's does not change."""
    return sorted([rule.id, rule.at, rule.when, rule.priority, rule.then] for rule in policy.rules)


def _by_name(templates: dict[str, dict[str, str]]) -> dict[str, dict[str, str]]:
    """From language files to template name -> language -> text."""
    names = sorted({name for texts in templates.values() for name in texts})
    return {
        name: {language: texts[name].strip() for language, texts in templates.items() if name in texts}
        for name in names
    }
