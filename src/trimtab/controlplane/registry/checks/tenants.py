"""Tenants, their keys, limits and budgets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, available_timezones

from trimtab.controlplane.registry.checks.channels import LEAST_ANSWER_TOKENS
from trimtab.controlplane.registry.checks.view import Found, View, absent, error, instant, warning
from trimtab.controlplane.registry.documents import SETTINGS, file_of
from trimtab.core.keys import hash_key, key_id
from trimtab.core.tenancy import Budget, Key, Limits, Tenant
from trimtab.foundations.config import Path, nearest

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:-[A-Za-z0-9]{2,8})*")


_ZERO = "Write what may be spent, or delete the budget."


def tenant_names(view: View) -> Found:
    """A tenant's file is named as it is, so that it is found; and no two are the same."""
    for stem, tenant in view.documents.tenants.items():
        if tenant.id != stem:
            file = file_of("tenants", stem)
            yield error(file, ("id",), f"is {tenant.id!r} in a file named {stem}.yaml", f"Write id: {stem}")


def languages(view: View) -> Found:
    """Languages are ISO 639-1 codes, as the classifier gives them."""
    for stem, tenant in view.documents.tenants.items():
        for index, language in enumerate(tenant.languages):
            if not _LANGUAGE.fullmatch(language):
                hint = "Write the ISO 639-1 code of the language."
                yield error(
                    file_of("tenants", stem), ("languages", index), f"{language!r} is no code like en or de", hint
                )


def key_doubles(view: View) -> Found:
    """A hash or id names one key: doubled, it would be another tenant's."""
    ids: dict[str, str] = {}
    hashes: dict[str, str] = {}
    for file, _, index, key in _keys(view):
        where = f"{file} keys[{index}]"
        for name, value, seen in (("id", key.id, ids), ("sha256", key.sha256, hashes)):
            first = seen.setdefault(value, where)
            if first != where:
                yield error(file, ("keys", index, name), f"is the same as at {first}", "Keep one of the two.")


def keys(view: View) -> Found:
    """A key belongs to a channel, persona and market of its tenant, and its times are in order."""
    for file, tenant, index, key in _keys(view):
        yield from key_problems(file, tenant, ("keys", index), key)


def key_problems(file: str, tenant: Tenant, path: Path, key: Key) -> Found:
    """Of one key, in its own document; also asked before a key is made."""
    if key.id != key_id(key.sha256):
        yield error(file, (*path, "id"), "does not belong to this sha256", f"Write id: {key_id(key.sha256)}")
    for kind, value, known in (
        ("default_channel", key.default_channel, tenant.channels.keys()),
        ("persona", key.persona, tenant.personas),
        ("market", key.market, tenant.markets),
    ):
        if value is not None and value not in known:
            yield absent(file, (*path, kind), kind.removeprefix("default_"), value, known)
    yield from _key_times(file, path, key)


def _key_times(file: str, path: Path, key: Key) -> Found:
    created = instant(key.created_at) if key.created_at else None
    for name in ("created_at", "expires_at", "revoked_at"):
        text = getattr(key, name)
        if text and instant(text) is None:
            yield error(file, (*path, name), f"{text!r} is no date of the calendar", "Write e.g. 2026-11-24T09:00:00Z")
    for name, text in (("expires_at", key.expires_at), ("revoked_at", key.revoked_at)):
        end = instant(text) if text else None
        if created and end and end < created:
            yield error(file, (*path, name), f"is before created_at ({key.created_at})", "One of the two is wrong.")


def lineages(view: View) -> Found:
    """Keys of a lineage are one tenant's, name the first of them, and declare the same limits and budgets."""
    elders = {key.id: key for _, _, _, key in _keys(view)}
    heads: dict[str, tuple[str, Key]] = {}
    for file, _, index, key in _keys(view):
        place, head = heads.setdefault(key.account, (file, key))
        here: Path = ("keys", index)
        elder = elders.get(key.lineage or "")
        if elder is not None and elder.account != elder.id:
            message = f"{elder.id} is of a lineage itself"
            yield error(file, (*here, "lineage"), message, f"Write lineage: {elder.account}")
        elif place != file:
            message = f"{key.account} is the account of a key in {place}"
            yield error(file, (*here, "lineage"), message, "Delete the line: tenants share no account.")
        else:
            for part in ("limits", "budgets"):
                if getattr(key, part) != getattr(head, part):
                    message = f"are not those of {head.id}, with which it shares an account"
                    yield error(file, (*here, part), message, "Write the same for both, or delete the key that ended.")


def demo_keys(view: View) -> Found:
    """Demo keys that are declared but not accepted are easily taken for real ones."""
    if view.documents.settings.demo:
        return
    known = {hash_key(f"tt-demo-{tenant.id}") for tenant in view.documents.tenants.values()}
    for file, _, index, key in _keys(view):
        if key.sha256 in known and key.revoked_at is None:
            message = f"is a demo key, and {SETTINGS} says demo: false, so it is not accepted"
            yield warning(file, ("keys", index), message, "Remove it, or make a real one by: trimtab keys create")


def budgets(view: View) -> Found:
    """Budgets name a real time zone, one amount a period, and grants that still run."""
    for file, tenant in _tenants(view):
        yield from _budgets(view, file, ("budgets",), tenant.budgets)
        for name, channel in tenant.channels.items():
            yield from _budgets(view, file, ("channels", name, "cost", "budgets"), channel.cost.budgets)
        for index, key in enumerate(tenant.keys):
            if key.budgets:
                yield from _budgets(view, file, ("keys", index, "budgets"), key.budgets)


def _budgets(view: View, file: str, path: Path, found: list[Budget]) -> Found:
    seen: set[str] = set()
    for index, budget in enumerate(found):
        here: Path = (*path, index)
        if not _is_zone(budget.tz):
            near = nearest(budget.tz, available_timezones())
            hint = f"Did you mean {near}?" if near else "Write e.g. tz: Europe/Berlin"
            yield error(file, (*here, "tz"), f"there is no time zone {budget.tz!r}", hint)
        if budget.period in seen:
            yield error(file, (*here, "period"), f"a second budget a {budget.period}", "Keep the one that is meant.")
        seen.add(budget.period)
        if budget.usd == 0 and not budget.grants:
            yield warning(file, (*here, "usd"), "is 0: every request that costs anything is refused", _ZERO)
        for position, grant in enumerate(budget.grants):
            until = instant(grant.until)
            if until is None:
                message = f"{grant.until!r} is no date of the calendar"
                yield error(file, (*here, "grants", position, "until"), message, "Write e.g. 2027-01-31T00:00:00Z")
            elif until < datetime.fromtimestamp(view.wall_ns / 1e9, UTC):
                message = f"the grant ended at {grant.until} and no longer applies"
                yield warning(file, (*here, "grants", position), message, "Delete it.")


def _is_zone(name: str) -> bool:
    try:
        ZoneInfo(name)
    except (ValueError, OSError):  # ZoneInfoNotFoundError is a KeyError below
        return False
    except KeyError:
        return False
    return True


def dominated_budgets(view: View) -> Found:
    """A channel's or key's budget above its tenant's for the same period never applies."""
    for file, tenant in _tenants(view):
        for name, channel in tenant.channels.items():
            yield from _dominated(file, ("channels", name, "cost", "budgets"), channel.cost.budgets, tenant)
        for index, key in enumerate(tenant.keys):
            yield from _dominated(file, ("keys", index, "budgets"), key.budgets, tenant)


def _dominated(file: str, path: Path, inner: list[Budget], tenant: Tenant) -> Found:
    for index, budget in enumerate(inner):
        for outer in tenant.budgets:
            if (outer.period, outer.tz) == (budget.period, budget.tz) and budget.usd > outer.usd and not outer.grants:
                message = f"{budget.usd} USD a {budget.period} never applies: the whole tenant has {outer.usd}"
                yield warning(
                    file, (*path, index, "usd"), message, f"Write at most {outer.usd}, or raise the tenant's."
                )


def limits(view: View) -> Found:
    """A rate above the tenant's own never applies."""
    for file, tenant in _tenants(view):
        for name, channel in tenant.channels.items():
            yield from _above(file, ("channels", name, "limits"), channel.limits, tenant.limits)
        for index, key in enumerate(tenant.keys):
            yield from _above(file, ("keys", index, "limits"), key.limits, tenant.limits)


def _above(file: str, path: Path, inner: Limits, outer: Limits) -> Found:
    for kind in ("requests", "tokens"):
        own, all_ = getattr(inner, kind), getattr(outer, kind)
        if own and all_ and own.per_s > all_.per_s and own.burst >= all_.burst:
            message = f"{own.per_s:g} {kind} a second never apply: the whole tenant has {all_.per_s:g}"
            hint = f"Write at most per_s: {all_.per_s:g}, or raise the tenant's."
            yield warning(file, (*path, kind), message, hint)


def bursts(view: View) -> Found:
    """A burst of tokens smaller than any request could be refuses every request, and for good."""
    for file, tenant in _tenants(view):
        least = {name: _least_tokens(view, tenant, name) for name in tenant.channels}
        smallest = min(least.values(), default=0)
        places: list[tuple[Path, Limits, int]] = [(("limits",), tenant.limits, smallest)]
        places += [(("channels", name, "limits"), one.limits, least[name]) for name, one in tenant.channels.items()]
        places += [(("keys", index, "limits"), key.limits, smallest) for index, key in enumerate(tenant.keys)]
        for path, limit, tokens in places:
            if limit.tokens and limit.tokens.burst < tokens:
                message = f"the burst of {limit.tokens.burst} tokens is smaller than any request ({tokens} at least)"
                yield error(file, (*path, "tokens", "burst"), message, f"Write e.g. burst: {tokens * 50}")


def _least_tokens(view: View, tenant: Tenant, channel: str) -> int:
    """16 tokens of answer and the shortest system prompt, at the four bytes that a token seldom exceeds."""
    prompts = view.documents.prompts
    sizes = [
        len(prompts.get(candidate.document.prompt or "", "").encode()) // 4
        for candidate in view.within(tenant.channels[channel].tiers)
    ]
    return min(sizes, default=0) + LEAST_ANSWER_TOKENS


def _tenants(view: View) -> Iterator[tuple[str, Tenant]]:
    for stem, tenant in view.documents.tenants.items():
        yield file_of("tenants", stem), tenant


def _keys(view: View) -> Iterator[tuple[str, Tenant, int, Key]]:
    for file, tenant in _tenants(view):
        for index, key in enumerate(tenant.keys):
            yield file, tenant, index, key


CHECKS = (
    tenant_names,
    languages,
    key_doubles,
    keys,
    lineages,
    demo_keys,
    budgets,
    dominated_budgets,
    limits,
    bursts,
)
