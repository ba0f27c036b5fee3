"""Pages that are followed block by block, by the commands that they print."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from support.markdown import Session

DOCS = Path(__file__).parent.parent.parent / "docs"

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]


def test_the_tutorial_works_as_it_is_written(tmp_path: Path) -> None:
    """From `trimtab init` to a spent budget: every command ends and prints as the page says."""
    with Session(tmp_path) as session:
        assert session.follow(DOCS / "tutorial" / "first-hour.md") > 20


@pytest.mark.parametrize("page", ["operate", "run-several-gateways", "send-traces"])
def test_how_tos_that_start_their_own_gateway(session: Session, page: str) -> None:
    """Every command ends and prints as the page says."""
    assert session.follow(DOCS / "how-to" / f"{page}.md")


def test_each_extension_of_the_architecture_page_can_be_written_as_it_says(tmp_path: Path) -> None:
    """On a copy of the source: its files are written, its patches fit, its tests pass, its layers hold."""
    root = DOCS.parent
    for part in ("src", "tests/support", "tests/guard"):
        shutil.copytree(root / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    with Session(
        tmp_path, env={"PYTHONPATH": str(tmp_path / "src"), "PYTEST_ADDOPTS": "-p no:cacheprovider"}
    ) as session:
        assert session.follow(DOCS / "explanation" / "architecture.md") == 2


SERVED = [
    "add-a-model",
    "adopt-from-litellm-or-portkey",
    "answer-from-documents",
    "back-up-and-restore",
    "debug-a-refusal",
    "hold-an-objective",
    "keep-data-in-a-region",
    "point-an-agent-at-it",
    "query-the-lake",
    "declare-a-feature",
    "raise-priority-for-an-event",
    "set-budgets-and-limits",
    "split-traffic",
    "turn-feedback-into-tests",
    "write-a-policy",
]


@pytest.mark.parametrize("page", SERVED)
def test_how_tos_for_a_workspace_that_is_served(served: Session, page: str) -> None:
    """Every command ends and prints as the page says."""
    assert served.follow(DOCS / "how-to" / f"{page}.md") > 3


@pytest.mark.skipif(shutil.which("nginx") is None, reason="needs nginx")
def test_nginx_stands_in_front(served: Session) -> None:
    """With TLS and HTTP/2, as the page configures it."""
    assert served.follow(DOCS / "how-to" / "behind-a-balancer.md") > 3


@pytest.mark.parametrize("page", ["forecast", "policy", "statistics", "when-not-to-use-it"])
def test_explanations_that_show_what_they_say(session: Session, page: str) -> None:
    """Their examples are run, without a gateway."""
    assert session.follow(DOCS / "explanation" / f"{page}.md")
