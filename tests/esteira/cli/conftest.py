"""A site with a catalogue and a Redis for the commands, and nobody who works on what they hand over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.cli_forkserver import Zygote, zygote
from tests.support.esteira import Site, site
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="session")
def esteira() -> Iterator[Zygote]:
    with zygote() as made:
        yield made


@pytest.fixture
def place(valkey: ValkeyServer, esteira: Zygote) -> Iterator[Site]:
    with site(esteira, REDIS_URL=valkey.url) as made:
        assert made.run("migrate").code == 0
        yield made
