"""The clients and the Node server in docs/events.md work as printed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers import live, node_socketio
from tests.support.documents import blocks
from tests.support.events import outcome
from tests.support.node import clients, node_folder
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system) as running:
        yield running


def code(section: str, language: str) -> str:
    [found] = [block.code for block in blocks("events.md", section) if block.language == language]
    return found


def javascript(text: str, folder: Path) -> list[str]:
    """The command that runs JavaScript with the packages of tests/node."""
    (folder / "package.json").write_text('{"type": "module"}')
    (folder / "node_modules").symlink_to(node_folder() / "node_modules")
    (folder / "page.mjs").write_text(text)
    return ["node", str(folder / "page.mjs")]


def python(text: str, folder: Path) -> list[str]:
    (folder / "page.py").write_text(text)
    return [sys.executable, str(folder / "page.py")]


@pytest.mark.parametrize(("language", "command"), [("javascript", javascript), ("python", python)])
def test_documented_clients_receive_events(
    system: RunningSystem,
    server: WebServer,
    tmp_path: Path,
    language: str,
    command: Callable[[str, Path], list[str]],
) -> None:
    publish = live.build(system.settings, HttpClient())
    assert publish
    env = system.env | {"ESTEIRA_URL": f"http://127.0.0.1:{server.port}", "ESTEIRA_TOKEN": TOKEN}
    said = tmp_path / "said"
    with said.open("wb") as out:
        client = subprocess.Popen(command(code("A client", language), tmp_path), env=env, stdout=out, stderr=out)
    try:

        def heard() -> bool:
            assert client.poll() is None, said.read_text()
            publish(outcome(session="shop", name="a.jpg"))
            return "media.done shop m" in said.read_text()

        wait_until(heard, 30)
        publish(outcome(session="shop", kind="media.failed", error={"code": "broken", "message": "cut off"}))
        wait_until(lambda: "media.failed shop m" in said.read_text(), 10)
    finally:
        client.kill()
        client.wait(10)
    lines = said.read_text().splitlines()
    assert len(lines) == len(set(lines))


def test_documented_node_server_forwards_events(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer, tmp_path: Path
) -> None:
    system = make_system(notify_node_socketio="true")
    publish: Callable[[Outcome], None] | None = node_socketio.build(system.settings, HttpClient())
    assert publish
    port = free_port()
    env = system.env | {"REDIS_URL": valkey.url, "PORT": str(port)}
    process = subprocess.Popen(javascript(code("Into a Node server", "javascript"), tmp_path), env=env)
    try:
        with clients(f"http://127.0.0.1:{port}", [{"session": "shop"}, {"session": "other"}]) as listening:
            listening.wait("connect", 2)
            told = outcome(session="shop")
            publish(told)
            listening.wait("event")
            assert (listening.ids(0), listening.ids(1)) == ([told.event_id], [])
    finally:
        process.kill()
        process.wait(10)
