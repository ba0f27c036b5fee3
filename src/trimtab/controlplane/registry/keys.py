"""Keys: made, listed, rotated and revoked in the tenants' documents. The key itself is shown once and kept nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from trimtab.controlplane.registry.audit import Told
from trimtab.controlplane.registry.checks import key_problems
from trimtab.controlplane.registry.documents import SETTINGS, file_of, no_workspace
from trimtab.controlplane.registry.edit import EditError, change, locked
from trimtab.core.clock import NS_PER_S, Clock, SystemClock, instant_ns, instant_text
from trimtab.core.errors import ConfigError
from trimtab.core.keys import hash_key, key_id, make
from trimtab.core.tenancy import Key, Tenant
from trimtab.foundations.config import (
    DocumentError,
    Reader,
    append_item,
    did_you_mean,
    put_field,
    read_text,
    set_field,
)

Status = Literal["active", "expired", "revoked"]


class NewKey(msgspec.Struct, frozen=True, kw_only=True):
    """What a key is made with."""

    tenant: str
    name: str
    kind: Literal["live", "test"] = "live"
    default_channel: str | None = None
    persona: str | None = None
    market: str | None = None
    expires_at: str | None = None


class Rotation(msgspec.Struct, frozen=True, kw_only=True):
    """A key and the one that takes its place. `text` is the new key's, which can't be had again."""

    tenant: str
    text: str
    new: Key
    old: Key


class KeyRow(msgspec.Struct, frozen=True, kw_only=True):
    """A key as it is listed."""

    tenant: str
    key: Key
    status: Status


def create(folder: Path, order: NewKey, clock: Clock | None = None) -> tuple[str, Key]:
    """Make a key and write its hash. Gives the key's text, which can't be had again, and what is kept of it.

    Raises ConfigError (the order names what the tenant lacks, or the document is broken), EditError.
    """
    clock = clock or SystemClock()
    file = _file(folder, order.tenant)
    text = make(order.kind)
    sha256 = hash_key(text)
    given = msgspec.structs.asdict(order)
    fields = {"id": key_id(sha256), "name": order.name, "sha256": sha256, "last4": text[-4:]}
    fields |= {name: given[name] for name in ("default_channel", "persona", "market") if given[name] is not None}
    fields |= {"created_at": stamp(clock)} | ({"expires_at": order.expires_at} if order.expires_at else {})
    try:
        key = msgspec.convert(fields, Key)
    except msgspec.ValidationError as error:
        raise EditError(f"the key can't be made: {error}") from None

    def edit(document: str, tenant: Tenant) -> str:
        problems = [str(problem) for problem in key_problems(file, tenant, ("keys", len(tenant.keys)), key)]
        if problems:
            raise ConfigError(problems)
        return append_item(document, ("keys",), fields)

    def verify(before: Tenant, after: Tenant) -> bool:
        return after == msgspec.structs.replace(before, keys=[*before.keys, key])

    with locked(folder):
        change(folder, file, Reader(Tenant), edit, verify, action="keys.create", subject=key.id, clock=clock)
    return text, key


def revoke(folder: Path, wanted: str, clock: Clock | None = None) -> tuple[str, Key]:
    """Revoke the key of this id as of now. Gives its tenant's file and the key; revoking again changes nothing.

    Works while other documents are broken: a leaked key can't wait for them. Raises ConfigError, EditError.
    """
    clock = clock or SystemClock()
    if not (folder / SETTINGS).is_file():
        raise ConfigError([str(no_workspace(folder))])
    with locked(folder):
        file, index, key = _find(folder, wanted)
        if key.revoked_at is not None:
            return file, key
        now = stamp(clock)

        def edit(document: str, tenant: Tenant) -> str:
            return set_field(document, ("keys", index, "revoked_at"), now)

        def verify(before: Tenant, after: Tenant) -> bool:
            rest = list(before.keys)
            rest[index] = msgspec.structs.replace(rest[index], revoked_at=now)
            return after == msgspec.structs.replace(before, keys=rest)

        after = change(folder, file, Reader(Tenant), edit, verify, action="keys.revoke", subject=key.id, clock=clock)
    return file, after.keys[index]


def rotate(
    folder: Path,
    wanted: str,
    grace_s: int,
    *,
    kind: Literal["live", "test"] = "live",
    expires_at: str | None = None,
    clock: Clock | None = None,
) -> Rotation:
    """Make a key that takes the place of the one with this id, which ends `grace_s` seconds from now, or when it was to
    end anyway; until then both serve.

    The new key has the old one's name, channel, persona, market, limits and budgets, and lives as long as the old one
    was to. Both count on one account, or rotating would double the money: the new key names the first of its line
    (`lineage`), and what counts goes by `Key.account`, whatever key was used; records name that one. The first's id and
    not the former's, so that it is known without looking others up and holds when ended keys are deleted. A copy of
    limits and budgets, and not a pointer to the old key's, for the same reason; `check` refuses copies that differ.

    Works while other documents are broken, as `revoke` does. Raises ConfigError, EditError.
    """
    clock = clock or SystemClock()
    if not (folder / SETTINGS).is_file():
        raise ConfigError([str(no_workspace(folder))])
    text = make(kind)
    sha256 = hash_key(text)
    with locked(folder):
        file, index, old = _find(folder, wanted)
        term = _rotatable(old, dict(tenants(folder, wanted))[file], clock)
        ends = _stamp(clock, grace_s)
        if old.expires_at is not None and instant_ns(old.expires_at) < instant_ns(ends):
            ends = old.expires_at
        fields = {name: value for name, value in msgspec.to_builtins(old).items() if name in _INHERITED}
        fields = {"id": key_id(sha256), "name": old.name, "sha256": sha256, "last4": text[-4:], **fields}
        fields |= {"created_at": stamp(clock), "lineage": old.account}
        if expires_at := expires_at or _as_long(term, clock):
            fields["expires_at"] = expires_at
        new = msgspec.convert(fields, Key)
        ended = msgspec.structs.replace(old, expires_at=ends)

        def edit(document: str, tenant: Tenant) -> str:
            path = ("keys", len(tenant.keys))
            if problems := [str(problem) for problem in key_problems(file, tenant, path, new)]:
                raise ConfigError(problems)
            if ended != old:
                document = put_field(document, ("keys", index, "expires_at"), ends)
            return append_item(document, ("keys",), fields)

        def verify(before: Tenant, after: Tenant) -> bool:
            keys = list(before.keys)
            keys[index] = ended
            return after == msgspec.structs.replace(before, keys=[*keys, new])

        told = Told(was={"key": old.id}, now={"key": new.id, "old_expires_at": ends})
        after = change(
            folder, file, Reader(Tenant), edit, verify, action="keys.rotate", subject=old.id, clock=clock, told=told
        )
    return Rotation(tenant=after.id, text=text, new=new, old=ended)


_INHERITED = ("default_channel", "persona", "market", "limits", "budgets")


def _rotatable(key: Key, tenant: Tenant, clock: Clock) -> Key:
    """The key whose length of life the next one is to have: this one, or where it was replaced before, so that its end
    is that of a grace, the one that replaced it. Raises EditError for a key that has ended, or that has been replaced
    by one that lives."""
    now = datetime.fromtimestamp(clock.wall_ns() / 1e9, UTC)
    status = _status(key, now)
    if status != "active":
        raise EditError(f"{key.id} is {status}: make another by trimtab keys create --tenant {tenant.id}")
    later = [other for other in tenant.keys[tenant.keys.index(key) + 1 :] if other.account == key.account]
    for other in later:
        if _status(other, now) == "active":
            raise EditError(f"{key.id} was replaced by {other.id}: rotate that one")
    return later[-1] if later else key


def _as_long(key: Key, clock: Clock) -> str | None:
    """When a key made now ends that lives as long as this one was to; None: for good."""
    if key.expires_at is None:
        return None
    if not key.created_at:
        raise EditError(f"{key.id} ends at {key.expires_at}: say when the new key ends, by --expires")
    return _stamp(clock, (instant_ns(key.expires_at) - instant_ns(key.created_at)) // NS_PER_S)


def listed(folder: Path, clock: Clock | None = None) -> list[KeyRow]:
    """Every key of every tenant. Raises ConfigError for tenants that can't be read."""
    now = datetime.fromtimestamp((clock or SystemClock()).wall_ns() / 1e9, UTC)
    found = []
    for _, tenant in tenants(folder, ""):
        found += [KeyRow(tenant=tenant.id, key=key, status=_status(key, now)) for key in tenant.keys]
    return found


def stamp(clock: Clock) -> str:
    """Now, in whole seconds, as documents write it."""
    return _stamp(clock, 0)


def _stamp(clock: Clock, after_s: int) -> str:
    return instant_text(clock.wall_ns() + after_s * NS_PER_S)


def _status(key: Key, now: datetime) -> Status:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.expires_at and datetime.fromisoformat(key.expires_at) <= now else "active"


def _file(folder: Path, tenant: str) -> str:
    if not (folder / SETTINGS).is_file():
        raise ConfigError([str(no_workspace(folder))])
    known = [path.stem for path in (folder / "tenants").glob("*.yaml")]
    if tenant not in known:
        raise EditError(f"there is no tenant {tenant!r}. {did_you_mean(tenant, known)}".rstrip())
    return file_of("tenants", tenant)


def _find(folder: Path, wanted: str) -> tuple[str, int, Key]:
    for file, tenant in tenants(folder, wanted):
        for index, key in enumerate(tenant.keys):
            if key.id == wanted:
                return file, index, key
    raise EditError(f"no tenant has a key {wanted!r}; `trimtab keys list` shows their ids (key_ and 16 digits)")


def tenants(folder: Path, mentioning: str) -> list[tuple[str, Tenant]]:
    """(file, tenant) of each document whose text mentions something; the others are not even parsed. Raises
    ConfigError."""
    reader = Reader(Tenant)
    found = []
    for path in sorted((folder / "tenants").glob("*.yaml")):
        file = f"tenants/{path.name}"
        try:
            text = read_text(path, file)
            if mentioning not in text:
                continue
            tenant, problems = reader.read(text, file)
        except DocumentError as error:
            raise ConfigError([str(error.problem)]) from None
        if tenant is None:
            raise ConfigError([str(problem) for problem in problems])
        found.append((file, tenant))
    return found
