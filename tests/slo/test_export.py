"""What other tools are given: rules and boards that ask for nothing that is not there, OpenSLO that comes back."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from click.testing import CliRunner
from ruamel.yaml import YAML

from support.slo import latency, spend
from support.workspaces import Sandbox
from trimtab.cli import cli
from trimtab.controlplane.metrics import FAMILIES, Family
from trimtab.controlplane.registry import load
from trimtab.controlplane.slo import Objective, objectives
from trimtab.controlplane.slo.grafana import dashboard
from trimtab.controlplane.slo.openslo import read, written
from trimtab.controlplane.slo.prometheus import rules
from trimtab.core.errors import Code

SLO: Final = """\
link: https://runbooks.example.com/slo
objectives:
  - {channels: ["*"], objective: availability, target: 0.999}
  - {channels: [commerce/*], objective: latency, window: 7d}
  - {channels: [commerce/*], objective: guard, target: 0.98}
  - {channels: [support/chat], objective: latency, target: 0.9, e2e_ms: 2500, route: /v1/messages}
  - {channels: [hr/assistant], objective: cost, target: 0.99, window: month, tz: Asia/Kolkata}
  - {channels: [hr/assistant], objective: quality, target: 0.8, window: 1d}
  - {channels: [hr/assistant], objective: spend, usd: "12.5"}
"""
METRICS: Final[dict[str, Family]] = {
    f"{family.name}{suffix}": family
    for family in FAMILIES
    for suffix in (("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",))
}
FUNCTIONS: Final = {
    "sum", "max", "rate", "increase", "deriv", "time", "vector", "or", "and", "by", "histogram_quantile",
}  # fmt: skip
CLOSED: Final = {
    "code": {"none", *(code.wire for code in Code)},
    "term": {"latency", "quality", "cost"},
    "result": {"kept", "missed", "good", "bad"},
    "scope": {"tenant", "channel", "key"},
    "period": {"day", "month"},
    "outcome": {"success", "dropped", "ignored"},
}


def all_of(tmp_path: Path) -> list[Objective]:
    workspace = load(Sandbox(tmp_path).write("slo.yaml", SLO).folder)
    return objectives(workspace.snapshot.tenancy, workspace.slo)


def check_expression(expr: str, recorded: set[str]) -> None:
    """Known metrics and functions, labels that the metric has, values of closed lists, brackets that close."""
    for opening, closing in ("()", "{}", "[]"):
        assert expr.count(opening) == expr.count(closing), expr
    for name, inner in re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^}]*)\}", expr):
        assert name in METRICS or name in recorded, name
        labels = {"slo"} if name in recorded else {label.name for label in METRICS[name].labels} | {"le"}
        pairs = re.findall(r'([a-z_]+)(=~|=)"([^"]*)"(?:,|$)', inner)
        assert ",".join(f'{label}{how}"{value}"' for label, how, value in pairs) == inner, inner
        for label, how, value in pairs:
            assert label in labels, (name, label)
            if label in CLOSED:
                assert set(value.split("|") if how == "=~" else [value]) <= CLOSED[label], value
    assert all(re.fullmatch(r"\d+[mhd]", span) for span in re.findall(r"\[([^\]]*)\]", expr)), expr
    bare = re.sub(r'\{[^}]*\}|\[[^\]]*\]|"[^"]*"|\bby \([^)]*\)', " ", expr)
    for word in re.findall(r"[a-zA-Z_:][a-zA-Z0-9_:]*", bare):
        assert word in FUNCTIONS or word in METRICS or word in recorded, (word, expr)


def check_rules(text: str) -> list[dict[str, Any]]:
    """As promtool would: groups with unique names, of rules with exactly the fields that a rule has."""
    document = YAML(typ="safe", pure=True).load(text)
    assert set(document) == {"groups"}
    names = [group["name"] for group in document["groups"]]
    assert len(set(names)) == len(names)
    made = [rule for group in document["groups"] for rule in group["rules"]]
    assert all(set(group) == {"name", "rules"} for group in document["groups"])
    recorded = {rule["record"] for rule in made if "record" in rule}
    for rule in made:
        fields = {"record", "expr", "labels"} if "record" in rule else {"alert", "expr", "labels", "annotations"}
        assert set(rule) == fields, rule
        assert re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*", rule.get("record") or rule["alert"])
        assert all(
            isinstance(value, str) for part in ("labels", "annotations") for value in rule.get(part, {}).values()
        )
        check_expression(rule["expr"], recorded)
    series = [(rule["record"], rule["labels"]["slo"]) for rule in made if "record" in rule]
    assert len(set(map(str, series))) == len(series)
    return made


def test_rules_ask_for_metrics_that_exist(tmp_path: Path) -> None:
    """Every expression by the families of /metrics, of every objective; what others don't tell has its own counter."""
    text = rules(all_of(tmp_path), "https://runbooks.example.com/slo")
    made = check_rules(text)
    assert {rule["labels"]["slo"] for rule in made} == {one.id for one in all_of(tmp_path / "again")}
    own = [rule["expr"] for rule in made if rule["labels"]["slo"] == "support/chat/latency@/v1/messages"]
    assert 'trimtab_objective_events_total{objective="support/chat/latency@/v1/messages",result="bad"}' in own[0]
    alerts = {(rule["alert"], rule["labels"]["severity"]) for rule in made if "alert" in rule}
    assert ("TrimtabBudgetBurns", "page") in alerts
    assert ("TrimtabSpendForecast", "ticket") in alerts
    assert all(rule["annotations"]["link"] for rule in made if "alert" in rule)


def test_factors_are_the_workbooks(tmp_path: Path) -> None:
    """14.4, 6, 3 and 1 for 30 days, and never a share above what is possible."""

    def factors(objective: Objective) -> list[str]:
        found = [rule["expr"] for rule in check_rules(rules([objective])) if rule.get("alert") == "TrimtabBudgetBurns"]
        return [re.findall(r"> ([\d.]+)", expr)[0] for expr in found]

    assert factors(latency(0.99)) == ["14.4", "6", "3", "1"]
    assert factors(latency(0.9)) == ["5.5", "5.5", "3", "1"]
    assert factors(latency(0.99, "7d")) == ["3.36", "1.4"]
    assert factors(latency(0.99, "1d")) == []


def test_the_board_shows_what_is_recorded(tmp_path: Path) -> None:
    """Panels with numbers and places of their own, on series that the rules record or the gateway has."""
    found = all_of(tmp_path)
    recorded = {rule["record"] for rule in check_rules(rules(found)) if "record" in rule}
    board = msgspec.json.decode(dashboard(found, "https://runbooks.example.com/slo"))
    panels = board["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    for panel in panels:
        for target in panel["targets"]:
            check_expression(target["expr"], recorded)
    assert dashboard(found) == dashboard(found)
    assert "spend" not in dashboard([latency()]).decode().lower().replace("us dollars", "")
    assert msgspec.json.decode(dashboard([spend(5)]))["panels"][0]["title"] == "Spend budget left"


def test_openslo_comes_back_as_it_went(tmp_path: Path) -> None:
    """Every objective but money: what is written is read as entries that make the same objectives."""
    found = [one for one in all_of(tmp_path / "a") if not one.is_money]
    imported = read(written(found))
    assert (imported.count, imported.refused) == (len(found), [])
    workspace = load(Sandbox(tmp_path / "b").write("slo.yaml", imported.text).folder)
    again = [one for one in objectives(workspace.snapshot.tenancy, workspace.slo) if not one.is_money]
    plain = [msgspec.structs.replace(one, declared=True) for one in again]
    assert sorted(plain, key=lambda one: one.id) == sorted(
        (msgspec.structs.replace(one, declared=True) for one in found), key=lambda one: one.id
    )


FOREIGN: Final = """\
apiVersion: openslo/v1
kind: SLO
metadata: {name: NAME}
spec:
  service: commerce.checkout-bot
  indicator: {spec: {ratioMetric: {counter: true, good: {}, total: {}}}}
  timeWindow: [{duration: 4w, isRolling: true}]
  budgetingMethod: Occurrences
  objectives: [{targetPercent: 99.5}]
"""


def test_a_foreign_slo_is_taken_with_a_word_on_what_was_assumed() -> None:
    """Service, window and target in percent; its ratio becomes availability."""
    found = read(FOREIGN)
    assert YAML(typ="safe", pure=True).load(found.text) == {
        "objectives": [
            {"channels": ["commerce/checkout-bot"], "objective": "availability", "target": 0.995, "window": "28d"}
        ]
    }
    assert "# its own ratio is replaced by ours" in found.text


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ("openslo/v1", "openslo/v2alpha", "apiVersion is not"),
        ("Occurrences", "Timeslices", "not slices of time"),
        ("ratioMetric", "thresholdMetric", "says nothing that records have"),
        ("duration: 4w", "duration: 1Y", "a window of 1Y"),
        ("[{targetPercent: 99.5}]", "[{target: 0.9}, {target: 0.99}]", "several"),
        ("targetPercent: 99.5", "op: lte", "has no target"),
        ("99.5", "12", "Expected `float` > 0.5"),
        ("[{duration: 4w, isRolling: true}]", "[]", "has no timeWindow"),
    ],
)
def test_what_cant_be_taken_is_said(old: str, new: str, why: str) -> None:
    """By name, with the reason; nothing is guessed."""
    ((name, said),) = read(FOREIGN.replace(old, new)).refused
    assert name == "NAME"
    assert why in said


def test_export_and_import_by_command(tmp_path: Path) -> None:
    """Three files, what was left out on stderr; the import is checked against the workspace and written nowhere."""
    folder = str(Sandbox(tmp_path).write("slo.yaml", SLO).folder)
    files = {name: str(tmp_path / name) for name in ("prometheus", "grafana", "openslo")}
    options = [word for name, file in files.items() for word in (f"--{name}", file)]
    done = CliRunner().invoke(cli, ["slo", "export", *options, "--workspace", folder])
    assert done.exit_code == 0, done.output
    assert "left out: commerce/spend/day: OpenSLO has no word for money" in done.stderr
    check_rules(Path(files["prometheus"]).read_text())
    taken = CliRunner().invoke(cli, ["slo", "import", files["openslo"], "--workspace", folder])
    assert taken.exit_code == 0, taken.output
    assert taken.stdout.startswith("objectives:\n")
    foreign = tmp_path / "foreign.yaml"
    foreign.write_text(FOREIGN.replace("commerce.", "comerce."))
    refused = CliRunner().invoke(cli, ["slo", "import", str(foreign), "--workspace", folder])
    assert refused.exit_code == 1
    assert "there is no tenant 'comerce'" in refused.stderr
