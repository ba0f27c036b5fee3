"""One thread of servers for all tests here; a stage for all that goes well, and new ones for what does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("clients.stage")

from clients.stage import Servers, Stage, opened  # noqa: E402 - its assertions are to show what they compare


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """The loop that upstreams and gateways run on."""
    running = Servers()
    yield running
    running.close()


@pytest.fixture(scope="session")
def _shared(servers: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with opened(servers, tmp_path_factory.mktemp("stage")) as found:
        yield found


@pytest.fixture
def stage(_shared: Stage) -> Iterator[Stage]:
    """Upstream and gateway for a test where all goes well, so that nothing of it is left for the next one."""
    yield _shared
    _shared.settle()


@pytest.fixture
def new_stage(servers: Servers, tmp_path: Path) -> Iterator[Stage]:
    """An upstream and a gateway of its own: no replica rests, no answer is stored, no connection is kept."""
    with opened(servers, tmp_path) as found:
        yield found
