"""trimtab features: figures of past requests, as of any instant, for training and for policy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import busy, counted, emit, json_option, memory_option, table, unknown, workspace_option
from trimtab.cli._group import Group
from trimtab.core.clock import instant_text, span_s

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trimtab.controlplane.features import Drift
    from trimtab.controlplane.registry import Workspace
    from trimtab.core.features import Feature
    from trimtab.surfaces.features import Published


@click.group(cls=Group, default="show", short_help="Figures of past requests: publish, look up, join.")
def features() -> None:
    """Figures of past requests by tenant, channel, market, variant or tier, which features.yaml declares. Without
    COMMAND: show."""


@features.command(short_help="What is declared, and what gateways were last told.")
@click.argument("name", required=False)
@workspace_option
@json_option
def show(name: str | None, workspace: Path, as_json: bool) -> None:
    """Show declared features and how many values are published, or every published value of NAME."""
    with busy(f"Reading the features of {workspace}"):
        from trimtab.controlplane.registry import load
        from trimtab.core.clock import SystemClock

        document = load(workspace).snapshot.release.features
        published = _published(workspace)
        now_ns = SystemClock().wall_ns()
    declared = _picked(document.features, name)
    as_of_ns = published.as_of_ns if published else None
    values = {one: _values(published, one, feature.definition) for one, feature in declared.items()}
    if as_json:
        shown = {one: {"declared": feature, "values": values[one]} for one, feature in declared.items()}
        stale = as_of_ns is None or now_ns - as_of_ns > document.stale_ns
        emit({"as_of": _time(as_of_ns), "stale": stale, "features": shown})
        return
    if name is not None:
        lines = [[key, f"{value:.6g}"] for key, value in sorted(values[name].items())]
        table([declared[name].of.upper(), "VALUE"], lines or [["-", "-"]])
    else:
        rows = [
            [one, _words(feature), feature.of, feature.window, str(len(values[one]))]
            for one, feature in declared.items()
        ]
        table(["FEATURE", "VALUE", "OF", "WINDOW", "KEYS"], rows or [["-"] * 5])
    click.echo(_age(as_of_ns, now_ns, document.stale_ns))


@features.command(short_help="Every value as of an instant.")
@click.argument("name", required=False)
@workspace_option
@click.option("--time", "told", metavar="TIME", help="As of when: 2027-01-31T00:00:00Z, or 2h ago as 2h. Unset, now.")
@memory_option
@json_option
def at(name: str | None, workspace: Path, told: str | None, memory: int, as_json: bool) -> None:
    """Show every value of NAME, or of all features, as of TIME: from requests that had ended before, none that ended
    later. Rows that the lake lacks are taken in first."""
    with busy("Asking the lake"):
        from trimtab.controlplane.features import of_all_keys
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces.features import settled

        loaded = _load(workspace)
        declared = _picked(loaded.snapshot.release.features.features, name)
        clock = SystemClock()
        lake, newest_ns, _ = settled(loaded, clock)
        t_ns = newest_ns if told is None else min(newest_ns, _past(told, clock.wall_ns()))
        found = {one: of_all_keys(lake, feature, t_ns, memory) for one, feature in declared.items()}
    if as_json:
        shown = {one: {each.key: {"value": each.value, "n": each.n} for each in known} for one, known in found.items()}
        emit({"as_of": _time(t_ns), "features": shown})
        return
    rows = [[one, each.key, f"{each.value:.6g}", str(each.n)] for one, known in found.items() for each in known]
    table(["FEATURE", "KEY", "VALUE", "ROWS"], rows or [["-"] * 4])
    click.echo(f"as of {_time(t_ns)}")


@features.command(short_help="Publish the values that gateways use.")
@workspace_option
@json_option
def materialise(workspace: Path, as_json: bool) -> None:
    """Take rows in, reckon every feature, append the values to the table beside the lake, and hand them to gateways.
    `trimtab serve` does so by itself, each `every` of features.yaml.

    Exit code 1: rows were damaged and left out; stderr names them.
    """
    with busy(f"Reckoning the features of {workspace}"):
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces import features as kept

        done = kept.materialise(_load(workspace), SystemClock())
    if as_json:
        emit({"as_of": _time(done.as_of_ns), "values": done.values, "left_out": done.left_out, "damaged": done.damaged})
    else:
        for name, count in done.values.items():
            left = done.left_out.get(name)
            click.echo(f"{name}: {counted(count, 'value')}{f', {left} left out' if left else ''}")
        click.echo(f"as of {_time(done.as_of_ns)}")
        for problem in done.damaged:
            click.echo(f"left out, damaged: {problem}", err=True)
    if done.damaged:
        sys.exit(1)


@features.command(short_help="Add to rows of a file what features were then.")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="Where it goes.")
@workspace_option
@click.option("--seen", is_flag=True, help="What the decision of each row's record saw, not what the lake says.")
@memory_option
@json_option
def join(file: Path, out: Path, workspace: Path, seen: bool, memory: int, as_json: bool) -> None:
    """Write the rows of FILE (CSV or Parquet, by its name) with a column for each feature: its value as of the row's
    `time`, for its `tenant`, `channel`, `market`, `variant` or `tier`; or as of the arrival of its `record`. Unknown
    values are empty. So a model learns from what could be known at the time, and nothing later."""
    from trimtab.core.errors import TrimtabError

    if not file.exists():
        raise TrimtabError(f"there is no file {file}")
    if file.suffix != out.suffix:
        raise click.UsageError(f"{file} and {out} are of different forms: give --out one that ends in {file.suffix}")
    with busy(f"Joining {file}"):
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces import joining

        done = joining.join(_load(workspace), file, out, seen=seen, memory_mib=memory, clock=SystemClock())
    if as_json:
        emit({"out": str(out), "rows": done.rows, "unknown": done.unknown, "too_old": done.too_old})
        return
    for name, count in done.unknown.items():
        old = done.too_old.get(name)
        why = f", {old} because the lake no longer keeps what it reaches back to" if old else ""
        click.echo(f"{name}: unknown in {counted(count, 'row')}{why}")
    click.echo(f"{counted(done.rows, 'row')} written to {out}")


@features.command(short_help="Whether what features rest on has changed.")
@workspace_option
@click.option(
    "--since", default="24h", show_default=True, metavar="SPAN", help="The stretch that is looked at, to now."
)
@click.option("--against", default="7d", show_default=True, metavar="SPAN", help="What it is compared with, before it.")
@click.option(
    "--margin",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1, max_open=True),
    help="The difference of distribution functions that counts as drift.",
)
@click.option(
    "--error",
    default=0.05,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Probability that any of the verdicts is false, at most.",
)
@memory_option
@json_option
def drift(workspace: Path, since: str, against: str, margin: float, error: float, memory: int, as_json: bool) -> None:
    """Compare what features are reckoned from, and what the classifier says of language, intent, complexity and risk,
    between two stretches of time. DRIFT and NO_DRIFT are certified, for independent requests; counts have no
    distribution and are left out.

    Exit code 1: something has drifted.
    """
    spans = {}
    for option, told in (("--since", since), ("--against", against)):
        spans[option] = span_s(told) or 0
        if not spans[option]:
            raise click.BadParameter(f"{told!r} is no span: write 24h or 7d", param_hint=option)
    with busy("Asking the lake"):
        from trimtab.controlplane.features import Stretch
        from trimtab.controlplane.features import drift as compare
        from trimtab.core.clock import NS_PER_S, SystemClock
        from trimtab.surfaces.features import settled

        loaded = _load(workspace)
        lake, now_ns, _ = settled(loaded, SystemClock())
        middle_ns = now_ns - spans["--since"] * NS_PER_S
        now, then = Stretch(middle_ns, now_ns), Stretch(middle_ns - spans["--against"] * NS_PER_S, middle_ns)
        declared = loaded.snapshot.release.features.features
        found = compare(lake, declared, now, then, margin=margin, error=error, memory_mib=memory)
    drifted = any(one.verdict == "DRIFT" for one in found)
    if as_json:
        emit({"drift": drifted, "margin": margin, "error": error, "features": found})
    else:
        table(["FEATURE", "BEFORE", "NOW", "DIFFERENCE", "LEAST", "MOST", "MOVED MOST", "VERDICT"], _lines(found))
        click.echo(f"all verdicts together are false with probability {error:g} at most, if requests are independent")
    if drifted:
        sys.exit(1)


def _lines(found: list[Drift]) -> list[list[str]]:
    lines = []
    for one in found:
        told = one.certificate
        estimate = "-" if told.estimate is None else f"{told.estimate:.3f}"
        moved = "-" if one.moved is None else f"{one.moved[0]}: {one.moved[1]:.1%} to {one.moved[2]:.1%}"
        counts = [str(count) for count in one.rows]
        lines.append([one.name, *counts, estimate, f"{told.lower:.3f}", f"{told.upper:.3f}", moved, one.verdict])
    return lines


def _load(workspace: Path) -> Workspace:
    """Raises ConfigError."""
    from trimtab.controlplane.registry import load

    return load(workspace)


def _published(workspace: Path) -> Published | None:
    """None: nothing is. Raises FeaturesError, NewerVersionError."""
    from trimtab.surfaces.features import read

    try:
        return read(workspace)
    except FileNotFoundError:
        return None


def _picked(declared: Mapping[str, Feature], name: str | None) -> dict[str, Feature]:
    if name is None:
        return dict(declared)
    if name not in declared:
        raise unknown(name, declared, "feature", "NAME")
    return {name: declared[name]}


def _values(published: Published | None, name: str, definition: str) -> dict[str, float]:
    """None of one that was declared otherwise."""
    found = published.features.get(name) if published is not None else None
    return found.values if found is not None and found.definition == definition else {}


def _words(feature: Feature) -> str:
    """`p95 tokens.completion`."""
    return f"{feature.value} {feature.column or ', '.join(feature.holds)}".rstrip()


def _age(as_of_ns: int | None, now_ns: int, stale_ns: int) -> str:
    if as_of_ns is None:
        return "nothing is published yet: trimtab features materialise"
    age_s = (now_ns - as_of_ns) // 10**9
    stale = ", too old: rules read defaults" if now_ns - as_of_ns > stale_ns else ""
    return f"as of {_time(as_of_ns)}, {age_s} s ago{stale}"


def _past(told: str, now_ns: int) -> int:
    """A time, or a span before now. Raises click.BadParameter."""
    from trimtab.cli._common import moment
    from trimtab.core.clock import instant_ns

    if (span := span_s(told)) is not None:
        return now_ns - span * 10**9
    return instant_ns(moment(told, "--time"))


def _time(ns: int | None) -> str | None:
    return None if ns is None else instant_text(ns)
