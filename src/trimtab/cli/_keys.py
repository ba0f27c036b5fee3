"""trimtab keys: API keys in the tenants' documents."""

from __future__ import annotations

import re
from pathlib import Path

import click

from trimtab.cli._common import busy, emit, json_option, table, unknown, workspace_option
from trimtab.cli._group import Group


@click.group(cls=Group, default="list", short_help="Create, list and revoke API keys.")
def keys() -> None:
    """Create, list and revoke API keys. A running gateway takes changes within a second. Without COMMAND: list."""


@keys.command(short_help="Create a key; it is shown once.")
@click.option("--tenant", required=True, help="The tenant that pays.")
@click.option("--name", required=True, help="What the key is for, as it appears in lists.")
@click.option("--channel", help="The channel of requests that name none.")
@click.option("--persona", help="The persona of the key's requests.")
@click.option("--market", help="The market of the key's requests.")
@click.option("--expires", help="When it ends: days (90d), or a time like 2027-01-31T00:00:00Z.")
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
        expires_at=_end(expires) if expires else None,
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


def _end(text: str) -> str:
    """`90d` from now, or the time as given (the document's own check says what is wrong with it)."""
    days = re.fullmatch(r"(\d{1,5})d", text)
    if days is None:
        return text
    from datetime import UTC, datetime, timedelta

    from trimtab.core.clock import SystemClock

    now = datetime.fromtimestamp(SystemClock().wall_ns() // 1_000_000_000, UTC)
    return (now + timedelta(days=int(days.group(1)))).strftime("%Y-%m-%dT%H:%M:%SZ")
