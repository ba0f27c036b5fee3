"""trimtab slo availability: of all that users asked, what they got, and what the fallbacks can carry."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from trimtab.cli._common import busy, emit, json_option, records_of, table, unknown, workspace_option
from trimtab.core.clock import span_s

if TYPE_CHECKING:
    from trimtab.controlplane.registry import Workspace
    from trimtab.controlplane.slo.ahead import Ahead
    from trimtab.controlplane.slo.availability import Availability, Part

_HOUR_NS: Final = 3600 * 10**9
_ARGUMENT: Final = "[TENANT[/CHANNEL]]"
_LOST_TO: Final = {
    "providers": "all providers are down at once",
    "restarts": "no gateway is there, or goes down",
    "ours": "no room, no time, our own faults",
}
_KNOWN_BY: Final = {
    "minutes": "measured",
    "promise": "promised, was not asked",
    "nothing": "promises nothing, was not asked",
}


@click.command(short_help="Of all that users asked, what they got, by cause.")
@click.argument("place", metavar=_ARGUMENT, required=False)
@click.option("--window", default="30d", show_default=True, metavar="SPAN", help="How far back: 12h, 30d.")
@workspace_option
@json_option
def availability(place: str | None, window: str, workspace: Path, as_json: bool) -> None:
    """Count what became of every request: what was answered, what users should have got and did not, by cause, and what
    nobody owed them. Beside it stand what was late, what fallbacks have hidden, and an estimate of what was asked while
    no gateway was there to write it down. Without an argument: of everybody.

    Of a channel also what its fallbacks can carry, from the measured shares of providers, restarts and our own faults.

    Exit code 1: more is bad than the channel's objective of availability allows.
    """
    seconds = span_s(window)
    if not seconds:
        raise click.BadParameter(f"{window!r} is no span: write 12h or 30d", param_hint="--window")
    with busy(f"Reading the records of {workspace}"):
        from trimtab.controlplane.registry import load
        from trimtab.controlplane.registry.providers import answering
        from trimtab.controlplane.slo.ahead import ahead

        loaded = load(workspace)
        tenant, channel = _place(loaded, place)
        damaged: list[str] = []
        found = _counted(loaded, tenant, channel, seconds, damaged)
        carried = None
        if tenant is not None and channel is not None:
            tiers = loaded.snapshot.tenancy.tenants[tenant].channels[channel].tiers
            carried = ahead(found, answering(loaded.snapshot, tiers))
    if as_json:
        emit({"availability": found, "ahead": carried, "damaged": damaged})
    else:
        _show(found)
        if carried is not None:
            _carried(carried)
        for problem in damaged:
            click.echo(f"left out, damaged: {problem}", err=True)
    if found.allowed is not None and found.bad > found.allowed:
        sys.exit(1)


def _counted(
    loaded: Workspace, tenant: str | None, channel: str | None, seconds: int, damaged: list[str]
) -> Availability:
    from trimtab.controlplane import records
    from trimtab.controlplane.registry.providers import provider_behind
    from trimtab.controlplane.slo import objectives
    from trimtab.controlplane.slo.availability import Tally
    from trimtab.core.clock import NS_PER_S, SystemClock

    now_ns, folder = SystemClock().wall_ns(), records_of(loaded.folder)
    since_ns = now_ns - seconds * NS_PER_S
    models = loaded.snapshot.release.models
    tally = Tally(tenant, channel, since_ns, lambda replica: provider_behind(replica, models))
    # an hour more, which tells where gateways stood when the window began
    for row in records.query(
        folder, since_wall_ns=since_ns - _HOUR_NS, on_corrupt=lambda corrupt: damaged.append(str(corrupt))
    ):
        tally.add(row)
    wanted = ("availability", tenant, channel, None)
    declared = objectives(loaded.snapshot.tenancy, loaded.slo)
    target = next((one.target for one in declared if (one.kind, one.tenant, one.channel, one.route) == wanted), None)
    return tally.result(now_ns, target, lambda name: records.find(folder, name, timeout_s=0) is not None)


def _place(loaded: Workspace, place: str | None) -> tuple[str | None, str | None]:
    """Raises click.BadParameter for what is not declared."""
    if place is None:
        return None, None
    tenants = loaded.snapshot.tenancy.tenants
    tenant, slash, channel = place.partition("/")
    if tenant not in tenants:
        raise unknown(tenant, tenants, "tenant", _ARGUMENT)
    if slash and channel not in tenants[tenant].channels:
        raise unknown(channel, tenants[tenant].channels, "channel", _ARGUMENT)
    return tenant, channel or None


def _show(found: Availability) -> None:
    """The table, then what stands beside the sum."""
    whose = "/".join(filter(None, (found.tenant, found.channel))) or "everybody"
    said = f"{whose}: {found.asked:,} asked, {found.answered:,} answered"
    if found.owed:
        proof = found.certificate
        bounds = f"{1 - proof.upper:.4%} to {1 - proof.lower:.4%}, {1 - proof.error:.0%}"
        said += f"; availability {1 - found.bad / found.owed:.4%} ({bounds})"
    click.echo(said)
    if found.target is not None:
        click.echo(f"{100 * found.target:g}% allow {found.allowed:,} bad of {found.owed:,}; there are {found.bad:,}")
    click.echo("")
    rows = [_line("answered", found.answered, found.owed), _line("bad", found.bad, found.owed)]
    rows += [_line(f"  {part.means}{_codes(part)}", part.requests, found.owed) for part in found.parts if part.requests]
    rows.append(_line("not owed", found.asked - found.owed, 0))
    rows += [_line(f"  {part.means}{_codes(part)}", part.requests, 0) for part in found.not_owed if part.requests]
    rows.append(_line("asked", found.asked, 0))
    table(("", "REQUESTS", "OF OWED"), rows)
    click.echo("\nBeside the sum:")
    click.echo(f"  {found.late:,} answers came later than their contract")
    click.echo(f"  {found.rescued:,} answers came although an attempt had failed")
    click.echo(f"  {found.told:,} of the bad ones were told by the template unavailable")
    missing = found.missing
    if missing.restarts:
        click.echo(
            f"  {missing.restarts:,} restarts, {missing.lost:,} of them without a clean stop: nobody was there for at "
            f"most {missing.away_s:,.1f} s, callers waited {missing.waited_s:,.1f} s"
        )
        click.echo(
            f"  an estimated {missing.expected:,.1f} requests ({missing.low:,} to {missing.high:,}, 95%) left no row, "
            f"by the {missing.seen:,} of the minutes around"
        )
    if found.unrecorded:
        click.echo(f"  {found.unrecorded:,} rows of whoever were lost while the disk refused them")
    for one in found.providers:
        click.echo(
            f"  {one.name}: {one.failed:,} of {one.attempts:,} attempts failed; it was out in {one.out:,} of the "
            f"{one.minutes:,} minutes in which it was asked"
        )


def _carried(found: Ahead) -> None:
    wanted = "" if found.target is None else f"; {100 * found.target:g}% are wanted"
    click.echo(f"\nWhat it can carry: {found.carried:.4%}, at least {found.least:.4%}{wanted}")
    table(
        ("LOST TO", "MEASURED", "AT MOST"),
        [(_LOST_TO[term.cause], f"{term.share:.4%}", f"{term.upper:.4%}") for term in found.terms],
    )
    for one in found.providers:
        click.echo(f"  {one.provider} is down {one.share:.4%} of the time ({_KNOWN_BY[one.by]})")
    if found.through is not None:
        click.echo(f"  {found.through:.4%} of the requests did fail by providers, whatever the fallbacks")


def _line(name: str, count: int, whole: int) -> tuple[str, str, str]:
    return name, f"{count:,}", f"{count / whole:.4%}" if whole else "-"


def _codes(part: Part) -> str:
    said = ", ".join(f"{code} {count:,}" for code, count in sorted(part.codes.items()))
    return f" ({said})" if said else ""


__all__ = ["availability"]
