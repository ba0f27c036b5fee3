"""What is answered to a mistyped command, option, word, name or header: the one that was meant."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import click
import msgspec
import pytest
from click.testing import CliRunner
from msgspec import inspect as mi

from support.slips import Slip, report, told_apart
from support.workspaces import Sandbox
from trimtab.cli import COMMANDS, cli
from trimtab.controlplane.evaluate import BY
from trimtab.controlplane.records.report import DIMENSIONS
from trimtab.controlplane.registry.documents import TYPES
from trimtab.core.clock import SystemClock
from trimtab.core.decision import At
from trimtab.core.ids import ClockIds
from trimtab.dataplane.ingress import HEADERS, TermError, asked_in_body, asked_in_headers
from trimtab.dataplane.policy import CONSTANTS, VARIABLES
from trimtab.dataplane.policy.expression import ConditionError, parse
from trimtab.foundations.config import Reader
from trimtab.surfaces.trying import STAGES

CHOICE: Callable[[Sequence[str]], str] = ClockIds(SystemClock(), seed=11).random.choice


def said(*arguments: str) -> tuple[int, str]:
    """Exit code, and the last line of stderr: what to read first."""
    done = CliRunner().invoke(cli, arguments)
    assert done.stdout == "", (arguments, done.stdout)
    return done.exit_code, done.stderr.splitlines()[-1]


def commands() -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command and subcommand with the words that lead to it."""
    root = click.Context(cli, info_name="trimtab")
    for name in COMMANDS:
        command = cli.get_command(root, name)
        assert command is not None
        yield (name,), command
        if isinstance(command, click.Group):
            yield from (((name, sub), one) for sub, one in command.commands.items())


def options(command: click.Command) -> list[str]:
    """Long options, with --help."""
    ctx = click.Context(command, info_name="x", help_option_names=["-h", "--help"])
    return [option for param in command.get_params(ctx) for option in param.opts if option.startswith("--")]


def hold(asked: Sequence[tuple[Slip, str]], meant: Callable[[Slip], str]) -> None:
    """At least 95 of 100 answers end with the suggestion of what was meant."""
    wrong = [(slip, answer) for slip, answer in asked if not answer.endswith(f"Did you mean {meant(slip)}?")]
    assert len(wrong) <= 0.05 * len(asked), report(len(asked), wrong)


def test_commands_and_subcommands() -> None:
    """Usage errors, exit code 2, the right name last."""
    asked = []
    for words in ((), *(path for path, command in commands() if isinstance(command, click.Group))):
        known = [path[-1] for path, _ in commands() if path[:-1] == words]
        for slip in told_apart(known, CHOICE, known):
            code, last = said(*words, slip.typed)
            assert code == 2
            asked.append((slip, last))
    assert len(asked) > 700
    hold(asked, lambda slip: slip.meant)


def test_options_of_every_command() -> None:
    """All long options, each beside its siblings; also written with one dash, or with a value."""
    asked = []
    for path, command in commands():
        if isinstance(command, click.Group):
            continue
        known = [option[2:] for option in options(command)]
        for slip in told_apart(known, CHOICE, known):
            if slip.typed.startswith("-"):
                continue
            code, last = said(*path, f"--{slip.typed}")
            assert code == 2
            asked.append((slip, last))
    assert len(asked) > 3000
    hold(asked, lambda slip: f"--{slip.meant}")
    assert said("check", "-json")[1] == "trimtab: there is no option -json. Did you mean --json?"
    assert said("check", "--workspase=w")[1].endswith("Did you mean --workspace?")


@pytest.mark.parametrize(
    ("words", "known"),
    [
        (("try",), STAGES),
        (("report", "--by"), DIMENSIONS),
        (("eval", "--by"), BY),
    ],
)
def test_words_that_a_command_takes(words: tuple[str, ...], known: Sequence[str], tmp_path: Path) -> None:
    """Stages of `try`, dimensions of `report`, groups of `eval`."""
    folder = str(Sandbox(tmp_path).folder)
    asked = []
    for slip in told_apart(known, CHOICE, known):
        code, last = said(*words, slip.typed, "--workspace", folder)
        assert code == 2
        asked.append((slip, last))
    hold(asked, lambda slip: slip.meant)


def test_options_before_the_command_are_told_where_they_go() -> None:
    """Not `no such option`: it is one, of the command."""
    for words in (("--workspace", "w", "check"), ("budget", "--workspace", "w", "show")):
        code, last = said(*words)
        assert code == 2
        assert "Write options last" in last


def test_values_of_closed_sets() -> None:
    """`on_miss: rerout`: the field's message lists the words and names the nearest."""
    found: dict[tuple[str, ...], None] = {}

    def walk(type_: mi.Type, seen: set[type]) -> None:
        inner: Any = type_
        while isinstance(inner, mi.Metadata):
            inner = inner.type
        if isinstance(inner, mi.LiteralType):
            found[tuple(str(value) for value in inner.values)] = None
        for part in (
            *getattr(inner, "types", ()),
            getattr(inner, "item_type", None),
            getattr(inner, "value_type", None),
        ):
            if part is not None:
                walk(part, seen)
        if isinstance(inner, mi.StructType) and inner.cls not in seen:
            seen.add(inner.cls)
            for field in inner.fields:
                walk(field.type, seen)

    for type_ in TYPES.values():
        walk(mi.type_info(type_), set())
    asked = []
    for values in found:
        words = [value for value in values if len(value) > 1]  # S, M, L: any letter is a typo of all three
        reader = Reader(msgspec.defstruct("Document", [("field", Literal[values])]))
        for slip in told_apart(words, CHOICE, values):
            _, (problem,) = reader.read(f"field: '{slip.typed}'", "x.yaml")
            asked.append((slip, problem.message))
    wrong = [one for one in asked if f"(did you mean {one[0].meant}?)" not in one[1]]
    assert len(found) > 10
    assert len(wrong) <= 0.05 * len(asked), report(len(asked), wrong)


def test_variables_of_conditions() -> None:
    """`latency_e2e_m < 800.0`: the variable of that stage."""
    asked = []
    for at in get_args(At):
        known = [*VARIABLES[at], *CONSTANTS]
        for slip in told_apart(known, CHOICE, known):
            if not slip.typed.isidentifier() or CHOICE("ynnn") == "n":  # the stages share most of their variables
                continue
            try:
                parse(f"{slip.typed} == {slip.typed}", at)
            except ConditionError as error:
                asked.append((slip, str(error)))
            else:
                raise AssertionError(slip)
    assert len(asked) > 1000
    wrong = [one for one in asked if not _said_or_elsewhere(*one)]
    assert len(wrong) <= 0.05 * len(asked), report(len(asked), wrong)


def _said_or_elsewhere(slip: Slip, answer: str) -> bool:
    """A typo that is a variable of another stage is told so."""
    return answer.endswith(f"Did you mean {slip.meant}?") or f"{slip.typed} is known at" in answer


def test_contract_headers_also_with_a_slip_in_their_prefix() -> None:
    """A term that would never apply is refused, whatever letter is wrong."""
    asked = []
    known = [header for header in HEADERS if header.startswith("trimtab-")]
    for slip in told_apart(known, CHOICE, HEADERS):
        try:
            asked_in_headers({slip.typed: "5"})
        except TermError as error:
            asked.append((slip, str(error)))
        else:
            asked.append((slip, "nothing is said"))
    wrong = [(slip, answer) for slip, answer in asked if slip.meant.removeprefix("trimtab-") not in answer]
    assert len(wrong) <= 0.05 * len(asked), report(len(asked), wrong)
    with pytest.raises(TermError, match="Did you mean trimtab-latency-ms"):
        asked_in_headers({"trimtab_latency_ms": "5"})
    with pytest.raises(TermError, match="Did you mean latency-ms"):
        asked_in_body({"latensy_ms": 5}, None)
    for common in ("te", "traceparent", "transfer-encoding", "trailer", "x-database", "table", "trip-id", "x-tab"):
        assert asked_in_headers({common: "5"}) == asked_in_headers({})


REFERENCES = {
    "model of a variant": ("models.yaml", "model: small", "model: smal", "small"),
    "prompt": ("models.yaml", "prompt: brief", "prompt: breif", "brief"),
    "engine": ("models.yaml", "engine:medium", "engine:mediun", "medium"),
    "tier of a rule": ("policy.yaml", "tier:S", "tier:Z", "tier:S|M|L"),
    "template of a rule": ("policy.yaml", "template:", "template:x", "template"),
    "corpus": ("tenants/commerce.yaml", "corpus: shop", "corpus: shpo", "shop"),
}


@pytest.mark.parametrize("name", list(REFERENCES))
def test_references_between_documents(name: str, tmp_path: Path) -> None:
    """Names of what another document declares."""
    file, old, new, meant = REFERENCES[name]
    problems = [str(one) for one in Sandbox(tmp_path).replace(file, old, new).problems()]
    assert any(one.startswith(f"{file}:") and meant in one for one in problems), problems


def test_arguments_that_name_things(tmp_path: Path) -> None:
    """Tenants, channels, budgets, corpora and questions of the workspace."""
    folder = ("--workspace", str(Sandbox(tmp_path).folder))
    for words, meant in (
        (("keys", "list", "--tenant", "comerce"), "commerce"),
        (("report", "--tenant", "comerce"), "commerce"),
        (("budget", "show", "comerse"), "commerce"),
        (("index", "build", "shpo"), "shop"),
        (("chat", "x", "--channel", "commerce/checkout-bto"), "commerce/checkout-bot"),
        (("eval", "--key", "comerce=x"), "commerce"),
    ):
        code, last = said(*words, *folder)
        assert (code, last.endswith(f"Did you mean {meant}?")) == (2, True), last
    code, last = said("keys", "create", "--tenant", "comerce", "--name", "x", *folder)
    assert (code, last) == (1, "trimtab: there is no tenant 'comerce'. Did you mean commerce?")
