"""Fixtures: a server whose answers the tests choose, and a folder for the spool."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fake_server import FakeServer, Handler, Server


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server that accepts everything, until a test says otherwise."""
    handler = type("OwnHandler", (Handler,), {})
    http = Server(("127.0.0.1", 0), handler)
    handler.fake = FakeServer(http.server_address[1])
    handler.fake.answer(202)
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield handler.fake
    http.shutdown()
    http.server_close()
    thread.join(5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "spool"
