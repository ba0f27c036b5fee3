"""The back-ends that the conformance suite runs against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.valkey import ValkeyServer


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    with ValkeyServer(tmp_path_factory.mktemp("valkey")) as server:
        yield server
