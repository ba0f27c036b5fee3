"""A workspace that is ready to serve, made once; each page works on a copy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.live import indexed_example
from support.markdown import Session


@pytest.fixture(scope="session")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its indexes built, and with deadlines that the busiest machine keeps."""
    workspace = tmp_path_factory.mktemp("ready") / "workspace"
    indexed_example(workspace)
    for tenant in (workspace / "tenants").glob("*.yaml"):
        tenant.write_text(tenant.read_text().replace("percentile:", "deadline_ms: 60000, percentile:"))
    return workspace


@pytest.fixture
def session(ready: Path, tmp_path: Path) -> Iterator[Session]:
    """A folder with the example in `workspace`, which nobody serves yet."""
    shutil.copytree(ready, tmp_path / "workspace")
    with Session(tmp_path) as session:
        yield session


@pytest.fixture
def served(session: Session) -> Session:
    """The same, served on the port that pages call 7070."""
    session.serve()
    return session
