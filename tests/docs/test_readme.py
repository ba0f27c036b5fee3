"""The README is followed as it is written, on the example as `make run` serves it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.markdown import Session

README = Path(__file__).parent.parent.parent / "README.md"

pytestmark = [pytest.mark.engine, pytest.mark.timeout(240)]


def test_the_readme_works_as_it_is_written(session: Session) -> None:
    """Every command ends and prints as the page says. Targets are patient here: behaviour is tested, not this
    machine's speed."""
    for document in (session.folder / "workspace" / "tenants").glob("*.yaml"):
        document.write_text(re.sub(r"(ttft_ms|e2e_ms): \d{4}", r"\1: 30000", document.read_text()))
    session.serve()
    assert session.follow(README) > 10
