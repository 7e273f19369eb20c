"""The samples of deploy/proxies: nginx and Caddy run in front of a web app, Traefik's files are read."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.conftest import missing
from tests.support.socket_activation import ActivatedWeb, activated_web
from tests.support.system import ROOT, RunningSystem
from tests.support.valkey import free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer

SAMPLES = ROOT / "deploy" / "proxies"
HOST = "esteira.example.com"
GOOD = {"session": "s", "url": "http://127.0.0.1:9/file", "kind": "image"}
AROUND = "pid {folder}/nginx.pid; {user} events {{}} http {{ access_log off; {paths} {server} }}"
HEAD = f"POST /hooks/media HTTP/1.1\r\nHost: {HOST}\r\n"
UPGRADE = (
    f"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
).encode()
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def program(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        missing(name)
    return str(found)


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    for before, after in pairs:
        assert before in text
        text = text.replace(before, after)
    return text


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that runs the sample without TLS, on these ports, with all files in a folder."""
    sample = re.sub(r"ssl_certificate\w*\s.*?;", "", (SAMPLES / "nginx.conf").read_text())
    addresses = ("listen 443 ssl", f"listen 127.0.0.1:{port}"), ("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    user = "user root;" if os.geteuid() == 0 else ""
    written = folder / "nginx.conf"
    text = AROUND.format(folder=folder, paths=paths, server=replaced(sample, *addresses), user=user)
    written.write_text(text.replace("# nginx in front", "\n# nginx in front"))
    command = [program("nginx"), "-c", str(written), "-e", str(folder / "error.log")]
    subprocess.run([*command, "-t"], check=True, capture_output=True)
    return [*command, "-g", "daemon off;"]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that runs the sample without TLS, on these ports. Debian 12 has Caddy 2.6."""
    found = program("caddy")
    version = subprocess.run([found, "version"], check=True, capture_output=True, text=True).stdout
    sample = replaced(
        (SAMPLES / "Caddyfile").read_text(),
        ("{\n    servers", "{\n    admin off\n    servers"),
        (f"{HOST} {{", f"http://{HOST}:{port} {{\n    bind 127.0.0.1"),
        ("127.0.0.1:8000", f"127.0.0.1:{upstream}"),
    )
    if re.match(r"v?2\.[0-6]\b", version):
        assert "buffer_requests" in sample
        sample = replaced(sample, ("request_buffers 64MB", "buffer_requests"))
    written = folder / "Caddyfile"
    written.write_text(sample)
    return [found, "run", "--adapter", "caddyfile", "--config", str(written)]


PROXIES = {"nginx": nginx, "caddy": caddy}


@contextlib.contextmanager
def proxy(name: str, folder: Path, upstream: int) -> Iterator[WebServer]:
    """A proxy with its sample in front of a web app, as if it were that app."""
    port = free_port()
    folder = folder / name
    folder.mkdir()
    command = PROXIES[name](folder, port, upstream)
    log = folder / "output.log"
    environment = os.environ | {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    front = Front(process, port, log)
    try:
        wait_until(lambda: _listens(port), 20)
        yield front
    finally:
        process.terminate()
        process.wait(10)


class Front(WebServer):
    """A proxy that answers for one host name."""

    def request(self, method: str, path: str, body: Any = None, *, headers: Any = None, timeout: float = 60) -> Any:
        return super().request(method, path, body, headers={**(headers or {}), "Host": HOST}, timeout=timeout)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def web(system: RunningSystem) -> Iterator[ActivatedWeb]:
    with activated_web(system, trusted_proxies="127.0.0.0/8", dashboard="true") as running:
        yield running


@pytest.mark.parametrize("name", PROXIES)
def test_proxy_passes_hooks_pages_and_sockets_and_holds_slow_bodies(
    name: str, web: ActivatedWeb, tmp_path: Path
) -> None:
    with proxy(name, tmp_path, web.port) as front:
        large = {**GOOD, "message_id": "large", "data": "A" * 5_000_000}
        assert front.post_media(large).status == 202
        assert front.request("GET", "/readyz").json == {"status": "ok"}
        assert front.request("GET", "/login").status == 200
        assert front.request("POST", "/hooks/media", b"{}").status == 401
        assert front.post_media(b" " * 70_000_000).status == 413
        assert switches_to_a_socket(front)
        assert no_slow_body_reaches(web, front)
        assert_hooks_wait_for(web, front)


def switches_to_a_socket(front: WebServer) -> bool:
    with front.connect() as connection:
        connection.sendall(UPGRADE)
        return connection.recv(100).startswith(b"HTTP/1.1 101 ")


def no_slow_body_reaches(web: ActivatedWeb, front: WebServer) -> bool:
    """Whether 50 bodies that do not end open no more connection to the web app than it has kept."""
    before = established(web.port)
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(front.connect())
            connection.sendall(f"{HEAD}Authorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n{{".encode())
        time.sleep(0.5)
        return established(web.port) <= before


def established(port: int) -> int:
    """The connections to this port of 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(remote.endswith(f":{port:04X}") and state == "01" for _, _, remote, state, *_ in fields)


def assert_hooks_wait_for(web: ActivatedWeb, front: WebServer) -> None:
    """The socket outlives the web app: hooks that come while it restarts are answered by the next one."""

    def post(number: int) -> int:
        return front.post_media({**GOOD, "message_id": f"w{number}"}).status

    with ThreadPoolExecutor(30) as senders:
        answers = [senders.submit(post, number) for number in range(10)]
        restart = senders.submit(web.restart)
        for number in range(10, 60):
            time.sleep(0.02)
            answers.append(senders.submit(post, number))
        restart.result()
        assert {answer.result() for answer in answers} == {202}
    assert web.server.totals()["received"] == 61


def test_samples_of_traefik_name_what_they_define() -> None:
    static = yaml.safe_load((SAMPLES / "traefik.yaml").read_text())
    dynamic = yaml.safe_load((SAMPLES / "traefik-dynamic.yaml").read_text())["http"]
    for router in dynamic["routers"].values():
        assert set(router["entryPoints"]) <= set(static["entryPoints"])
        assert set(router["middlewares"]) <= set(dynamic["middlewares"])
        assert router["service"] in dynamic["services"]
    assert "buffered" in dynamic["routers"]["calls"]["middlewares"]
    assert "buffered" not in dynamic["routers"]["pages"]["middlewares"]
