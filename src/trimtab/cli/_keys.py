"""trimtab keys: API keys in the tenants' documents."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trimtab.cli._common import (
    busy,
    emit,
    json_option,
    moment,
    table,
    taken_up,
    tell_taken_up,
    unknown,
    workspace_option,
)
from trimtab.cli._group import Group
from trimtab.core.clock import span_s


@click.group(cls=Group, default="list", short_help="Create, list, rotate and revoke API keys.")
def keys() -> None:
    """Create, list, rotate and revoke API keys. A running gateway takes changes up within a second. Without COMMAND:
    list."""


@keys.command(short_help="Create a key; it is shown once.")
@click.option("--tenant", required=True, help="The tenant that pays.")
@click.option("--name", required=True, help="What the key is for, as it appears in lists.")
@click.option("--channel", help="The channel of requests that name none.")
@click.option("--persona", help="The persona of the key's requests.")
@click.option("--market", help="The market of the key's requests.")
@click.option("--expires", help="When it ends: a span from now (90d), or a time like 2027-01-31T00:00:00Z.")
@click.option("--test", "is_test", is_flag=True, help="A tt_test_ key, so that nobody takes it for a live one.")
@workspace_option
@json_option
def create(
    tenant: str,
    name: str,
    channel: str | None,
    persona: str | None,
    market: str | None,
    expires: str | None,
    is_test: bool,
    workspace: Path,
    as_json: bool,
) -> None:
    """Create a key. It is shown once: only its SHA-256 and last four characters are kept."""
    from trimtab.controlplane.registry import NewKey, create_key

    order = NewKey(
        tenant=tenant,
        name=name,
        kind="test" if is_test else "live",
        default_channel=channel,
        persona=persona,
        market=market,
        expires_at=moment(expires, "--expires") if expires else None,
    )
    text, key = create_key(workspace, order)
    if as_json:
        emit({"key": text, "id": key.id, "tenant": tenant, "name": key.name, "expires_at": key.expires_at})
        return
    click.echo(text)
    click.echo(f"{key.id} for {tenant}: keep the key now, it can't be shown again.", err=True)


@keys.command("list", short_help="List keys, without their secrets.")
@click.option("--tenant", help="Of this tenant only.")
@workspace_option
@json_option
def list_(tenant: str | None, workspace: Path, as_json: bool) -> None:
    """List the keys of all tenants, or of one."""
    known = [path.stem for path in (workspace / "tenants").glob("*.yaml")]
    if tenant is not None and tenant not in known:
        raise unknown(tenant, known, "tenant", "--tenant")
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.registry import list_keys

        rows = [row for row in list_keys(workspace) if tenant in (None, row.tenant)]
    if as_json:
        shown = [{"tenant": row.tenant, "status": row.status, **_public(row.key)} for row in rows]
        emit({"keys": shown})
        return
    head = ("ID", "TENANT", "NAME", "ENDS IN", "CHANNEL", "STATUS", "EXPIRES")
    lines = [
        (
            row.key.id,
            row.tenant,
            row.key.name,
            row.key.last4,
            row.key.default_channel or "-",
            row.status,
            row.key.expires_at or "-",
        )
        for row in rows
    ]
    table(head, lines)


@keys.command(short_help="Make a key that takes another's place; both serve for a while.")
@click.argument("key_id")
@click.option("--grace", default="24h", show_default=True, help="How long the old key serves on: 90s, 30m, 24h, 7d.")
@click.option("--expires", help="When the new key ends, as for create. Unset, it lives as long as the old one was to.")
@click.option("--test", "is_test", is_flag=True, help="A tt_test_ key, so that nobody takes it for a live one.")
@workspace_option
@json_option
def rotate(key_id: str, grace: str, expires: str | None, is_test: bool, workspace: Path, as_json: bool) -> None:
    """Make a key that takes the place of KEY_ID, and show it once; the old one ends after --grace.

    The new key has the same tenant, name, channel, persona, market, limits and budgets. Until the old one's
    `expires_at` both serve, and draw on the same limits and budgets; after it the old one is refused with
    `expired_api_key`. A running gateway takes it up at once.
    """
    grace_s = span_s(grace)
    if grace_s is None:
        raise click.BadParameter(f"{grace!r} is no span: write 90s, 30m, 24h or 7d", param_hint="--grace")
    ends = moment(expires, "--expires") if expires else None
    with busy(f"Changing {workspace}"):
        from trimtab.controlplane.registry import rotate_key

        done = rotate_key(workspace, key_id, grace_s, kind="test" if is_test else "live", expires_at=ends)
        found = taken_up(workspace)
    if as_json:
        emit(
            {
                "key": done.text,
                "id": done.new.id,
                "tenant": done.tenant,
                "name": done.new.name,
                "expires_at": done.new.expires_at,
                "replaces": done.old.id,
                "old_expires_at": done.old.expires_at,
                "account": done.new.account,
                "live": found.live,
                "problem": found.problem,
            }
        )
        sys.exit(1 if found.problem else 0)
    click.echo(done.text)
    until = f", and ends at {done.new.expires_at}" if done.new.expires_at else ""
    click.echo(f"{done.new.id} for {done.tenant}{until}: keep the key now, it can't be shown again.", err=True)
    click.echo(f"{done.old.id} serves until {done.old.expires_at}.", err=True)
    tell_taken_up(found, err=True)


@keys.command(short_help="Revoke a key for good.")
@click.argument("key_id")
@workspace_option
@json_option
def revoke(key_id: str, workspace: Path, as_json: bool) -> None:
    """Revoke the key with KEY_ID (key_ and 16 digits, as `keys list` shows it). There is no way back."""
    from trimtab.controlplane.registry import revoke_key

    file, key = revoke_key(workspace, key_id)
    if as_json:
        emit({"id": key.id, "file": file, "revoked_at": key.revoked_at})
    else:
        click.echo(f"{key.id} ({key.name}) is revoked as of {key.revoked_at}")


def _public(key: object) -> dict[str, object]:
    """A key's fields but for its hash, which helps nobody who reads a list."""
    import msgspec

    fields: dict[str, object] = msgspec.to_builtins(key)
    fields.pop("sha256")
    return fields
