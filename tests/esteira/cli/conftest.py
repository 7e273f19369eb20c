"""An installation with a database and a Redis for the commands, and no workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli_forkserver import CliForkserver, cli_forkserver
from tests.support.esteira import Installation, new_installation
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="session")
def forkserver() -> Iterator[CliForkserver]:
    with cli_forkserver() as server:
        yield server


@pytest.fixture
def installation(valkey: ValkeyServer, forkserver: CliForkserver) -> Iterator[Installation]:
    with new_installation(forkserver, REDIS_URL=valkey.url) as installation:
        assert installation.run("migrate").code == 0
        yield installation
