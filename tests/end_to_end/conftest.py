"""A whole Esteira as a user starts it, with a Valkey for each test module."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.media_server import MediaServer
from tests.support.valkey import ValkeyServer, running_valkey


@pytest.fixture(scope="module")
def module_valkey() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def sentry() -> Iterator[MediaServer]:
    """A server for the events of the Sentry SDK; it keeps every request in `requests`."""
    with MediaServer() as server:
        yield server


@pytest.fixture(scope="module")
def running(module_valkey: ValkeyServer, sentry: MediaServer) -> Iterator[Installation]:
    """A running Esteira without the web app. The tests of a module share it, so each uses a session of its own."""
    dsn = sentry.url("1").replace("http://", "http://key@")
    with (
        new_installation(REDIS_URL=module_valkey.url, SENTRY_DSN=dsn) as installation,
        start_esteira(installation, "--no-web"),
    ):
        yield installation


@pytest.fixture
def media() -> Iterator[MediaServer]:
    with MediaServer() as server:
        yield server
