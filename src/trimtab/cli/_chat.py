"""trimtab chat: a conversation in the terminal, with what each answer was allowed, took and cost under it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from trimtab.cli._common import busy, emit, json_option, styled, unknown, workspace_option

if TYPE_CHECKING:
    from collections.abc import Callable

    from trimtab.controlplane.records import Explanation
    from trimtab.core.tenancy import Tenancy

_HELP = "/channel NAME changes the channel, /new begins anew, /why explains the last answer, /quit ends (or Ctrl-D)."


@click.command(short_help="Chat with a channel; path, contract, cost and trace under each answer.")
@click.argument("question", required=False)
@workspace_option
@click.option("--channel", help="tenant/channel; default: the first tenant's only or default one.")
@click.option("--key", help="The key to call with (else the tenant's demo key, or TRIMTAB_API_KEY).")
@click.option("--model", default="auto", show_default=True, help="A variant, `tier:S`, or an alias.")
@json_option
def chat(
    question: str | None, workspace: Path, channel: str | None, key: str | None, model: str, as_json: bool
) -> None:
    """Chat with a channel of the workspace's gateway, which is started if it does not run.

    With QUESTION, one question is asked and the command ends; exit code 1 if it was not answered.
    """
    if as_json and question is None:
        raise click.UsageError("--json needs a QUESTION: trimtab chat --json 'How long does delivery take?'")
    with busy(f"Reading {workspace}"):
        from trimtab.controlplane.registry import load
        from trimtab.core.clock import SystemClock
        from trimtab.surfaces import caller

        tenancy = load(workspace, SystemClock()).snapshot.tenancy
    tenant, name = _place(tenancy, channel)
    with caller.gateway(workspace, lambda line: click.echo(line, err=True)) as url:
        talk = _Talk(workspace, tenancy, url, key, model)
        talk.turn_to(tenant, name)
        if as_json:
            _once(talk, str(question))
            return
        if question is not None:
            if not talk.ask(question):
                raise SystemExit(1)
            return
        click.echo(f"{tenant}/{name}. {_HELP}")
        while (line := _read()) is not None:
            if line.startswith("/"):
                if not talk.command(line):
                    return
            elif line:
                talk.ask(line)


def _once(talk: _Talk, question: str) -> None:
    """One question for machines: the text and the account of it, or the gateway's error with exit code 1."""
    text, told, error = talk.answer(question, lambda _: None)
    if error is not None:
        click.echo(f"{error.get('code')}: {error.get('message')}", err=True)
        emit({"ok": False, "error": {"kind": "failed", "problems": [], **error}})
        raise SystemExit(1)
    emit({"ok": True, "answer": text, "trimtab": told})


class _Talk:
    """One conversation."""

    def __init__(self, workspace: Path, tenancy: Tenancy, url: str, key: str | None, model: str) -> None:
        self._workspace, self._tenancy, self._url, self._model = workspace, tenancy, url, model
        self._given = key
        self._turns: list[dict[str, str]] = []
        self._last: str | None = None

    def turn_to(self, tenant: str, channel: str) -> None:
        """Another channel is another conversation."""
        from trimtab.surfaces import caller

        self._tenant, self._channel = tenant, channel
        self._key = caller.key_for(self._tenancy, tenant, {tenant: self._given} if self._given else {})
        self._turns = []

    def command(self, line: str) -> bool:
        """False: the conversation is over."""
        word, _, rest = line.partition(" ")
        if word in ("/quit", "/exit", "/q"):
            return False
        if word == "/new":
            self._turns = []
            click.echo("A new conversation.")
        elif word == "/channel" and rest:
            try:
                tenant, channel = _place(self._tenancy, rest.strip())
            except click.UsageError as error:
                click.echo(error.message)
            else:
                self.turn_to(tenant, channel)
                click.echo(f"{tenant}/{channel}")
        elif word == "/why":
            if self._last is None:
                click.echo("Nothing was asked yet.")
            else:
                self._why(self._last)
        else:
            click.echo(f"There is no {word}: {_HELP}")
        return True

    def ask(self, question: str) -> bool:
        """One turn: the answer as it comes, and the account of it. False: it was refused or broke, and that is said."""
        text, told, error = self.answer(question, lambda text: click.echo(text, nl=False))
        if error is not None:
            click.echo(nl=bool(text))
            click.echo(styled(f"{error.get('code')}: {error.get('message')}", "red"), err=True)
            return False
        click.echo()
        if told is not None:
            self._account(told)
        return True

    def answer(
        self, question: str, heard: Callable[[str], None]
    ) -> tuple[str, dict[str, Any] | None, dict[str, Any] | None]:
        """The text, the account of it, and the error, if that is what it came to."""
        from trimtab.surfaces import caller

        turns = [*self._turns, {"role": "user", "content": question}]
        body = {"model": self._model, "messages": turns}
        said: list[str] = []
        told: dict[str, Any] | None = None
        for event in caller.events(self._url, self._key, body, {"trimtab-channel": self._channel}):
            if "error" in event:
                error: dict[str, Any] = event["error"]
                self._last = (error.get("trimtab") or {}).get("record", self._last)
                return "".join(said), None, error
            for choice in event.get("choices", ()):
                text = choice.get("delta", {}).get("content") or ""
                said.append(text)
                heard(text)
            told = event.get("trimtab") or told
        self._turns = [*turns, {"role": "assistant", "content": "".join(said)}]
        if told is not None:
            self._last = told["record"]
        return "".join(said), told, None

    def _account(self, told: dict[str, Any]) -> None:
        from trimtab.controlplane import records

        row = records.find(self._workspace / "var" / "records", told["record"])
        way = [told["path"], *([f"template {told['template']}"] if told["template"] else [])]
        way += [str(told[name]) for name in ("tier", "variant") if told[name]]
        lines = [" > ".join(way)]
        if row is not None and row.contract is not None:
            latency, kept = row.contract.latency, row.met
            lines.append(
                f"end {row.e2e_ms or 0:,.0f} ms of {latency.e2e_ms:,.0f}{_mark(kept.latency)}, first token "
                f"{'-' if row.ttft_ms is None else f'{row.ttft_ms:,.0f} ms'} of {latency.ttft_ms:,.0f}; "
                f"{told['cost_usd']} USD{_mark(kept.cost)}"
            )
            hit = [rule.id for rule in row.rules if rule.hit]
            if hit:
                lines.append("rules " + ", ".join(hit))
            longest = sorted(row.stages.items(), key=lambda one: -one[1][1])[:4]
            lines.append("time " + ", ".join(f"{name} {took[1]:,.1f} ms" for name, took in longest))
        if told["sources"]:
            lines.append("sources " + ", ".join(dict.fromkeys(one["source"] for one in told["sources"])))
        for line in lines:
            click.echo(styled(f"  {line}", "bright_black"))

    def _why(self, record: str) -> None:
        from rich.console import Console

        from trimtab.controlplane import records
        from trimtab.controlplane.records.render import render

        folder = self._workspace / "var" / "records"
        row = records.look_up(folder, record)
        explanation: Explanation = records.explain(row, records.related(folder, row))
        render(explanation, Console())


def _mark(kept: bool | None) -> str:
    return "" if kept is None else " (kept)" if kept else " (missed)"


def _read() -> str | None:
    try:
        return input("> ").strip()
    except (EOFError, KeyboardInterrupt):
        click.echo()
        return None


def _place(tenancy: Tenancy, wanted: str | None) -> tuple[str, str]:
    """Tenant and channel by `tenant/channel`, `tenant`, or nothing. Raises click.UsageError with what is nearest."""
    tenant, _, channel = (wanted or "").partition("/")
    tenant = tenant or next(iter(tenancy.tenants))
    channels = tenancy.tenants[tenant].channels if tenant in tenancy.tenants else {}
    channel = channel or next(iter(channels), "")
    if channel not in channels:
        known = [f"{name}/{own}" for name, one in tenancy.tenants.items() for own in one.channels]
        raise unknown(str(wanted), known, "channel", "--channel")
    return tenant, channel
