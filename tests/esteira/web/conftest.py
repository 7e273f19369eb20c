"""Fixtures: a running web app with the dashboard, and a browser."""

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
    """A browser. After the test it must have logged no error and contacted no other host."""
    with browser(server) as opened:
        yield opened
        assert opened.complaints == []
        assert opened.hosts == {f"127.0.0.1:{server.port}"}
