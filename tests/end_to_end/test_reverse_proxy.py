"""The samples of deploy/proxies in front of a running web app."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.conftest import missing
from tests.support.system import ROOT, RunningSystem
from tests.support.valkey import free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server

DOCUMENT = ROOT / "docs" / "reverse-proxy.md"
GOOD = {"session": "s", "url": "http://127.0.0.1:9/file", "kind": "image"}
AROUND = "pid {folder}/nginx.pid; {user} events {{}} http {{ access_log off; {paths} {server} }}"
HEAD = "POST /hooks/media HTTP/1.1\r\nHost: a\r\n"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx() -> str:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        missing("nginx")
    return str(program)


def configuration(folder: Path, *, port: int, upstream: int) -> Path:
    """The sample without TLS, on these ports, with all files in a folder."""
    [sample] = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(), flags=re.DOTALL)
    changed = re.sub(r"ssl_certificate\w*\s.*?;", "", sample)
    for before, after in (("listen 443 ssl", f"listen 127.0.0.1:{port}"), ("127.0.0.1:8000", f"127.0.0.1:{upstream}")):
        assert before in changed
        changed = changed.replace(before, after)
    paths = " ".join(f"{name}_temp_path {folder}/{name};" for name in TEMPORARY)
    user = "user root;" if folder.owner() == "root" else ""
    written = folder / "nginx.conf"
    written.write_text(AROUND.format(folder=folder, paths=paths, server=changed, user=user))
    return written


@contextlib.contextmanager
def proxy(folder: Path, upstream: WebServer) -> Iterator[WebServer]:
    """nginx with the sample in front of a web app, as if it were that app."""
    program, port = nginx(), free_port()
    config = configuration(folder, port=port, upstream=upstream.port)
    command = [program, "-c", str(config), "-e", str(folder / "error.log")]
    checked = subprocess.run([*command, "-t"], capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen([*command, "-g", "daemon off;"])
    front = WebServer(process, port, folder / "error.log")
    try:
        wait_until(lambda: _listens(port), 10)
        yield front
    finally:
        process.terminate()
        process.wait(10)


def _listens(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_hooks_pages_and_sockets_pass_through_nginx(system: RunningSystem, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    settings = {"trusted_proxies": "127.0.0.0/8", "dashboard": "true"}
    with web_server(system, **settings) as server, proxy(folder, server) as front:
        large = {**GOOD, "message_id": "large", "data": "A" * 5_000_000}
        assert front.post_media(large).status == 202
        assert front.request("GET", "/readyz").json == {"status": "ok"}
        assert front.request("GET", "/login").status == 200
        too_large = front.post_media(b" " * 70_000_000)
        assert (too_large.status, too_large.code) == (413, "too_large")
        assert too_large.headers["content-type"] == "application/json"
        assert front.request("POST", "/hooks/media", b"{}").status == 401
        assert switches_to_a_socket(front)


def switches_to_a_socket(front: WebServer) -> bool:
    with front.connect() as connection:
        connection.sendall(
            b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n"
            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        return connection.recv(100).startswith(b"HTTP/1.1 101 ")


def test_stalled_body_does_not_reach_the_app_behind_nginx(system: RunningSystem, tmp_path: Path) -> None:
    folder = tmp_path / "nginx"
    folder.mkdir()
    with web_server(system) as server, proxy(folder, server) as front, contextlib.ExitStack() as stack:
        for _ in range(50):
            connection = stack.enter_context(front.connect())
            connection.sendall(f"{HEAD}Authorization: Bearer {TOKEN}\r\nContent-Length: 9\r\n\r\n{{".encode())
        time.sleep(0.5)
        assert established(server.port) == 0


def established(port: int) -> int:
    """The connections to this port of 127.0.0.1."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    fields = (line.split() for line in lines)
    return sum(remote.endswith(f":{port:04X}") and state == "01" for _, _, remote, state, *_ in fields)
