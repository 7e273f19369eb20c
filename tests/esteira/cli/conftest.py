"""An installation with a catalogue and a Redis for the commands, and nobody who works on what they hand over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli_forkserver import CliForkserver, cli_forkserver
from tests.support.esteira import Installation, new_installation
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="session")
def esteira() -> Iterator[CliForkserver]:
    with cli_forkserver() as made:
        yield made


@pytest.fixture
def installation(valkey: ValkeyServer, esteira: CliForkserver) -> Iterator[Installation]:
    with new_installation(esteira, REDIS_URL=valkey.url) as made:
        assert made.run("migrate").code == 0
        yield made
