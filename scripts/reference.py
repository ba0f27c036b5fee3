"""Write docs/reference from the code; `--check` fails where a file differs, so that it can't fall behind."""

from __future__ import annotations

import sys
from pathlib import Path

import _documents
import _wire
import click

from trimtab.cli import COMMANDS, cli
from trimtab.controlplane.metrics import AT_SCRAPE, FROM_RECORDS, METRICS_PREFACE
from trimtab.core.errors import Code
from trimtab.dataplane.policy import reference as policy
from trimtab.surfaces.kept.archive import VERSION as ARCHIVE
from trimtab.surfaces.kept.layouts import KINDS, LAYOUT, OLDEST

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
MADE = "---\nmode: reference\n---\n\n<!-- Made by scripts/reference.py; don't edit. -->\n\n"


def errors() -> str:
    """Every code, with cause and fix; its anchor is what an error body's `doc` points to."""
    lines = ["# Error codes", "", "Error bodies have OpenAI's shape; `code` is one of these, and so is a record's.", ""]
    for code in Code:
        spec = code.value
        again = "the same request may succeed later" if spec.retryable else "retrying can't help"
        lines += [f"## {code.wire}", "", f"HTTP {spec.status}, `{spec.type}`; {again}.", ""]
        lines += [f"- Cause: {spec.cause}", f"- Fix: {spec.fix}", ""]
    return "\n".join(lines)


def commands() -> str:
    """Every command's own help."""
    lines = ["# Command line", ""]
    root = click.Context(cli, info_name="trimtab", max_content_width=100)
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        context = click.Context(command, info_name=name, parent=root, max_content_width=100)
        lines += [f"## trimtab {name}", "", "```", command.get_help(context), "```", ""]
        if isinstance(command, click.Group):
            for sub in command.list_commands(context):
                one = command.get_command(context, sub)
                assert one is not None
                inner = click.Context(one, info_name=sub, parent=context, max_content_width=100)
                lines += [f"### trimtab {name} {sub}", "", "```", one.get_help(inner), "```", ""]
    return "\n".join(lines)


def metrics() -> str:
    """Every metric of /metrics."""
    lines = ["# Metrics", "", *METRICS_PREFACE.splitlines(), ""]
    for title, families in (("Counted from records", FROM_RECORDS), ("Read at the scrape", AT_SCRAPE)):
        lines += [f"## {title}", ""]
        for family in families:
            lines += [f"### {family.name}", "", f"{family.kind}, in {family.unit}. {family.help}", ""]
            lines += [f"- `{label.name}`: {label.values}" for label in family.labels]
            if family.bounds:
                lines.append(f"- buckets: {', '.join(map(str, family.bounds))}, +Inf")
            lines += [""] if family.labels or family.bounds else []
    return "\n".join(lines)


def files() -> str:
    """Every kind of file that a workspace keeps, with its version."""
    lines = [
        "# Files and versions",
        "",
        "What a workspace keeps, which version of each this Trimtab writes, and what it",
    ]
    lines += [
        "does with a newer one, which it never writes over or behind. `trimtab migrate` takes files between layouts."
    ]
    lines += ["", "| file | holds | version | where it stands | a newer one |", "|---|---|---|---|---|"]
    for kind in KINDS:
        version = "-" if kind.version is None else kind.version
        lines.append(f"| `{kind.file}` | {kind.holds} | {version} | {kind.where} | {kind.newer} |")
    lines += [
        f"| a backup | all of this | {ARCHIVE} | `version` of its manifest, with the layout | it is refused |",
        "",
    ]
    layouts = range(OLDEST, LAYOUT + 1)
    lines += [f"| layout | {' | '.join(map(str, layouts))} |", "|---|" + "---|" * len(layouts)]
    for kind in KINDS:
        if kind.step is not None:
            lines.append(f"| `{kind.file}` | {' | '.join(str(kind.step.versions[one]) for one in layouts)} |")
    lines.append(f"| all others | {' | '.join('as above' for _ in layouts)} |")
    return "\n".join([*lines, ""])


PAGES = {
    "files.md": files,
    "metrics.md": metrics,
    "errors.md": errors,
    "commands.md": commands,
    "configuration.md": _documents.configuration,
    "example.md": _documents.example,
    "records.md": _documents.records,
    "headers.md": _wire.wire,
    "policy.md": lambda: "# Policy\n\n" + policy(),
}


def main() -> None:
    check = "--check" in sys.argv[1:]
    stale = []
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        text = MADE + make().rstrip() + "\n"
        path = FOLDER / name
        if not path.exists() or path.read_text() != text:
            stale.append(name)
            if not check:
                path.write_text(text)
    if check and stale:
        sys.exit(f"docs/reference is behind the code: {', '.join(stale)}. Run: python scripts/reference.py")
    print("docs/reference: " + ("up to date" if not stale else f"wrote {', '.join(stale)}"))


if __name__ == "__main__":
    main()
