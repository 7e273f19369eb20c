"""The dashboard of a running web app, and a person's browser in front of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import missing
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.system import RunningSystem
from tests.support.web_server import WebServer, web_server


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    if not CHROMIUM.exists():
        missing("chromium")
    with web_server(system, dashboard="true") as running:
        yield running


@pytest.fixture
def someone(server: WebServer) -> Iterator[Browser]:
    """A browser; when the test ends it must have complained of nothing and asked nobody else."""
    with browser(server) as opened:
        yield opened
        assert opened.complaints == []
        assert opened.hosts == {f"127.0.0.1:{server.port}"}
