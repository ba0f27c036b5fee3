"""`trimtab erase`: destroys the keys of kept texts, for good."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trimtab.cli._common import counted, emit, json_option, unknown, workspace_option


@click.command(short_help="Make kept texts of a tenant or a data subject unreadable.")
@click.option("--tenant", required=True, help="Whose texts.")
@click.option(
    "--subject",
    metavar="VALUE",
    help="Of this data subject only: what callers send as `user` or as the session, or its 16 hex.",
)
@click.option("--yes", is_flag=True, help="Don't ask.")
@workspace_option
@json_option
def erase(tenant: str, subject: str | None, yes: bool, workspace: Path, as_json: bool) -> None:
    """Destroy the keys that texts of `capture: redacted` are encrypted with: nothing is left that can be read, in no
    copy of this folder but one that has the keys, too. Records hold no text; they and their chain stay as they are.
    Questions that `trimtab golden accept` took from such texts are taken out of golden/, and kept answers of `trimtab
    eval` with them.

    Running gateways forget the keys and all stored answers. A row of the audit log says what was erased.

    Exit code 1: a running gateway could not be told: restart it; or a line of golden/ can't be read: take it out.
    """
    from trimtab.controlplane.evaluate import forget
    from trimtab.controlplane.records.textkeys import TextKeys
    from trimtab.controlplane.registry import SECRET, record_erasure
    from trimtab.core.clock import SystemClock
    from trimtab.surfaces.server.ask import flushed

    known = sorted({path.stem for path in (workspace / "tenants").glob("*.yaml")} | _with_keys(workspace))
    if tenant not in known:
        raise unknown(tenant, known, "tenant", "--tenant")
    secret = (workspace / SECRET).read_bytes()
    keys = TextKeys(workspace, secret)
    subjects = _subjects(secret, tenant, subject)
    what = f"all texts of {tenant}" if subject is None else f"all texts of this data subject of {tenant}"
    if not (yes or as_json):
        click.confirm(f"Make {what} unreadable, for ever?", abort=True)
    whose: list[str | None] = [*subjects] or [None]

    clock, left = SystemClock(), list[str]()

    def destroy() -> dict[str, int]:
        golden = forget(workspace, tenant, subjects, clock)
        left.extend(golden.problems)
        return {"keys": sum([keys.destroy(tenant, one) for one in whose]), "questions": golden.questions}

    waiting = not flushed(workspace)  # what still waits for the disk would be encrypted under a new key
    done = record_erasure(workspace, tenant, subjects, clock, destroy)
    told, problem = _forget(workspace)
    if waiting:
        problem = problem or "texts wait for its disk: erase again once that takes them"
    if as_json:
        emit({"tenant": tenant, "subjects": subjects, **done, "live": told, "problem": problem, "left": left})
    else:
        click.echo(f"{counted(done['keys'], 'key')} destroyed")
        if done["questions"]:
            click.echo(f"{counted(done['questions'], 'question')} taken out of golden/")
        click.echo("The running gateway has forgotten them." if told else "No gateway was told.")
    for line in left:
        click.echo(f"trimtab: left: {line}", err=True)
    if problem is not None:
        click.echo(f"trimtab: erased, but a running gateway may hold keys or answers: {problem}", err=True)
    if problem is not None or left:
        sys.exit(1)


def _subjects(secret: bytes, tenant: str, subject: str | None) -> list[str]:
    """What may stand for this person, as 16 hex; empty: everybody of the tenant."""
    import re

    from trimtab.foundations.derive import pseudonym, tenant_secret

    if subject is None:
        return []
    own = tenant_secret(secret, tenant)
    found = [pseudonym(own, f"{kind}\0{subject}") for kind in ("user", "session")]
    return [*found, subject] if re.fullmatch(r"[0-9a-f]{16}", subject) else found


def _with_keys(workspace: Path) -> set[str]:
    """Tenants that are no longer declared may have texts, too."""
    folder = workspace / "var" / "keys"
    return {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()


def _forget(workspace: Path) -> tuple[bool, str | None]:
    """Whether a gateway was told, and why one may not have been."""
    from trimtab.core.errors import TrimtabError
    from trimtab.surfaces.server.ask import NotRunningError, ask

    try:
        done = ask(workspace, "POST", "/forget")["forgotten"]
    except NotRunningError:
        return False, None
    except TrimtabError as error:
        return False, str(error)
    return True, None if done else "one of several does not answer"
