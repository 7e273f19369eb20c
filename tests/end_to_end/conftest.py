"""The whole of Esteira as a user starts it, on a Valkey of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.media_server import MediaServer
from tests.support.valkey import ValkeyServer, running_valkey


@pytest.fixture(scope="module")
def queue() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def sentry() -> Iterator[MediaServer]:
    """Takes what the SDK sends; every request stays in `requests`."""
    with MediaServer() as server:
        yield server


@pytest.fixture(scope="module")
def running(queue: ValkeyServer, sentry: MediaServer) -> Iterator[Installation]:
    """A started Esteira without the web app; the tests of a module share it, each with a session of its own."""
    dsn = sentry.url("1").replace("http://", "http://key@")
    with new_installation(REDIS_URL=queue.url, SENTRY_DSN=dsn) as installation, start_esteira(installation, "--no-web"):
        yield installation


@pytest.fixture
def media() -> Iterator[MediaServer]:
    with MediaServer() as server:
        yield server
