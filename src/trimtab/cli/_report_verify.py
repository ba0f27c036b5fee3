"""trimtab report --verify: every row, the chain between them, and what was signed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trimtab.cli._common import counted, emit

if TYPE_CHECKING:
    from trimtab.controlplane.records import Report
    from trimtab.foundations.signature import PublicKey


def verify(workspace: Path, folder: Path, public_keys: Sequence[Path], as_json: bool) -> None:
    """Ends the command with 1 where anything is damaged."""
    from trimtab.controlplane import records

    found = records.verify(folder, _keys(workspace, public_keys))
    if as_json:
        emit(found)
    else:
        for problem in found.problems:
            click.echo(f"damaged: {problem}")
        click.echo(f"{found.rows:,} rows in {found.segments:,} segments, {found.missing:,} lost by a refusing disk")
        for line in _signatures(found):
            click.echo(line)
        click.echo("ok" if not found.problems else f"not ok: {counted(len(found.problems), 'problem')}")
    if found.problems:
        sys.exit(1)


def _keys(workspace: Path, files: Sequence[Path]) -> list[PublicKey]:
    """Those given, else the workspace's own. Raises ConfigError, click.BadParameter."""
    from trimtab.controlplane.registry import own_public_key
    from trimtab.foundations.signature import KeyFormatError, PublicKey

    if not files:
        own = own_public_key(workspace)
        return [own] if own is not None else []
    keys = []
    for file in files:
        try:
            keys.append(PublicKey.of_pem(file.read_text()))
        except (OSError, UnicodeDecodeError, KeyFormatError) as error:
            raise click.BadParameter(f"{file} {error}", param_hint="--public-key") from None
    return keys


def _signatures(found: Report) -> Iterator[str]:
    proof = found.proof
    if not proof.signed:
        yield "not signed: set records.sign_key, and a forged chain is found as well"
    else:
        late = f", {proof.late:,} of them by a later start" if proof.late else ""
        waiting = f"; {proof.open:,} not closed yet, and so not signed" if proof.open else ""
        checked = "" if proof.checked else "; no key to check them with: give --public-key"
        yield f"{proof.signed:,} signed{late}{waiting}{checked}"
    if proof.retired:
        yield f"{proof.retired:,} deleted by retention: their rows are vouched for by signatures only"
    for worker, row in sorted(proof.starts.items()):
        yield f"rows of worker {worker} are there from {row:,} on"
    for worker, head in sorted(proof.heads.items()):
        yield f"newest signature of worker {worker}: {head}"
