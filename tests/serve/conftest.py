"""One serving example for each module that asks for it; its tests leave it as they found it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.live import Live, live, patient_example


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    workspace = tmp_path_factory.mktemp("example") / "workspace"
    patient_example(workspace)
    with live(workspace) as running:
        yield running
