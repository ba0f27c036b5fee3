"""slo.yaml: objectives that stand for something and can be told, and receivers that can be reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from zoneinfo import ZoneInfo

from trimtab.controlplane.registry.checks.events import no_channel
from trimtab.controlplane.registry.checks.view import Found, View, error, warning
from trimtab.controlplane.registry.documents import SLO
from trimtab.core.objectives import ObjectiveDoc, Receiver, declared_target, stands_for
from trimtab.core.tenancy import Channel
from trimtab.foundations.config import Path, SecretError, is_reference, resolve_secret

MOST_DAYS: Final = 90
_FIELDS: Final = {
    "latency": ("target", "ttft_ms", "e2e_ms", "false_pages_per_year"),
    "availability": ("target", "false_pages_per_year"),
    "quality": ("target", "false_pages_per_year"),
    "guard": ("target", "false_pages_per_year"),
    "cost": ("target", "usd", "false_pages_per_year"),
    "spend": ("usd",),
}
"""What an entry may say, by its kind."""
_NEEDED: Final = {
    "webhook": ("url",),
    "slack": ("url",),
    "pagerduty": ("key",),
    "email": ("url", "sender", "to"),
}
_SCHEMES: Final = {"email": ("smtp://", "smtps://")}


def places(view: View) -> Found:
    """Globs stand for channels."""
    for index, entry in enumerate(view.documents.slo.objectives):
        for number, glob in enumerate(entry.channels):
            yield from _place(view, ("objectives", index, "channels", number), glob)
    for name, receiver in view.documents.slo.receivers.items():
        for number, glob in enumerate(receiver.channels):
            if glob != "*/*":
                yield from _place(view, ("receivers", name, "channels", number), glob)


def terms(view: View) -> Found:
    """An entry says what its kind can use, and nothing else."""
    for index, entry in enumerate(view.documents.slo.objectives):
        path: Path = ("objectives", index)
        wanted = _FIELDS[entry.objective]
        for field in ("target", "ttft_ms", "e2e_ms", "usd", "false_pages_per_year"):
            if getattr(entry, field) is not None and field not in wanted:
                message = f"means nothing for {entry.objective}"
                yield error(SLO, (*path, field), message, f"Delete it; {entry.objective} takes {', '.join(wanted)}.")
        if entry.objective == "spend" and entry.usd is None and not entry.off:
            yield error(SLO, (*path, "usd"), "is missing", 'Write e.g. usd: "25"')
        yield from _window(entry, path)


def targets(view: View) -> Found:
    """A target is written here or declared by the channel."""
    for index, entry in enumerate(view.documents.slo.objectives):
        if entry.off or entry.target is not None or entry.objective == "spend":
            continue
        for name, channel in _channels(view, entry):
            if declared_target(channel, entry.objective) is None:
                message = f"is missing: {name} declares none"
                yield error(SLO, ("objectives", index, "target"), message, "Write e.g. target: 0.99")
                break


def receivers(view: View) -> Found:
    """A receiver has what its kind needs, in a form that can be sent to; secrets stand here by reference."""
    for name, receiver in view.documents.slo.receivers.items():
        path: Path = ("receivers", name)
        for field in _NEEDED[receiver.kind]:
            if not getattr(receiver, field):
                yield error(SLO, (*path, field), "is missing", f"A receiver of kind {receiver.kind} needs it.")
        if receiver.key is not None and not is_reference(receiver.key):
            hint = "Write key: env:NAME or key: file:PATH, and choose another one: this one was seen."
            yield error(SLO, (*path, "key"), "holds a secret itself", hint)
        schemes = _SCHEMES.get(receiver.kind, ("https://", "http://"))
        if receiver.url is not None and not is_reference(receiver.url) and not receiver.url.startswith(schemes):
            hint = f"Write {schemes[0]}..., or env:NAME of it."
            yield error(SLO, (*path, "url"), f"is no address for {receiver.kind}", hint)
        yield from _readable(view, receiver, path)


def _readable(view: View, receiver: Receiver, path: Path) -> Found:
    for field in ("url", "key"):
        told = getattr(receiver, field)
        if told is not None and is_reference(told):
            try:
                resolve_secret(told, view.documents.folder)
            except SecretError as problem:
                yield warning(SLO, (*path, field), str(problem), "trimtab slo watch needs it.")


def _window(entry: ObjectiveDoc, path: Path) -> Found:
    window = entry.window or "30d"
    rolls = window not in ("day", "month")
    if rolls and not 1 <= int(window[:-1]) <= MOST_DAYS:
        yield error(SLO, (*path, "window"), f"{window} is more than {MOST_DAYS} days", "Write e.g. window: 30d")
    if entry.tz is None:
        return
    if rolls:
        message = f"means nothing for a window that rolls ({window})"
        yield error(SLO, (*path, "tz"), message, "Delete it, or write window: month.")
    try:
        ZoneInfo(entry.tz)
    except (ValueError, OSError, LookupError):
        yield error(SLO, (*path, "tz"), f"there is no time zone {entry.tz!r}", "Write e.g. tz: Europe/Berlin")


def _place(view: View, path: Path, glob: str) -> Found:
    tenants = {tenant.id: tenant for tenant in view.documents.tenants.values()}
    if any(stands_for(glob, tenant.id, channel) for _, tenant, channel, _ in view.channels()):
        return
    if "*" in glob or "?" in glob:
        yield error(SLO, path, f"no channel is like {glob!r}", "Write TENANT/CHANNEL, or CHANNEL; * is anything.")
    else:
        yield from no_channel(SLO, tenants, path, glob)


def _channels(view: View, entry: ObjectiveDoc) -> Iterator[tuple[str, Channel]]:
    for _, tenant, name, channel in view.channels():
        if any(stands_for(glob, tenant.id, name) for glob in entry.channels):
            yield f"{tenant.id}/{name}", channel


CHECKS = (places, terms, targets, receivers)
