"""What strangers keep open or send too much of does not keep out the requests of others."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from esteira.web.server.file_limits import MAX_CONNECTIONS
from pipeline.config.limits import MB
from pipeline.security.tokens import TokenSigner
from tests.esteira.web.api.test_media_content import stored_media
from tests.support.gateway_senders import SETTINGS
from tests.support.system import RunningSystem
from tests.support.waiting import wait_until
from tests.support.web import app_client, app_routes
from tests.support.web_server import TOKEN, WebServer, web_server

GOOD = {"session": "s", "url": "http://127.0.0.1:9/file", "kind": "image"}
AUTHORIZED = f"Authorization: Bearer {TOKEN}\r\n"
ANSWER_S = 2.0  # in which the hooks of others are answered
MANY = 1000
OPENED_AT_ONCE, OPENED_EVERY_S = 50, 0.2  # connections: more would be a flood, which is another matter


@pytest.fixture(scope="module", autouse=True)
def _many_files() -> None:
    """Two thousand sockets are open at a time in this process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def many() -> int:
    """How many connections a test opens: 1000, or as many as the limit of files allows."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MANY if soft == resource.RLIM_INFINITY else min(MANY, soft - 300)


def head(method: str, path: str, fields: str = "", *, length: int | None = None) -> bytes:
    announced = "" if length is None else f"Content-Length: {length}\r\n"
    return f"{method} {path} HTTP/1.1\r\nHost: a\r\n{fields}{announced}\r\n".encode()


@contextlib.contextmanager
def opened(server: WebServer, sent: bytes, *, count: int, receive_bytes: int | None = None) -> Iterator[list[Any]]:
    """So many connections on each of which this was sent, and of which nothing is read."""
    with contextlib.ExitStack() as stack:
        connections = []
        for number in range(count):
            if number % OPENED_AT_ONCE == OPENED_AT_ONCE - 1:
                time.sleep(OPENED_EVERY_S)
            connection = stack.enter_context(socket.socket())
            if receive_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            connection.settimeout(10)
            connection.connect(("127.0.0.1", server.port))
            with contextlib.suppress(OSError):  # the server may have closed it already
                connection.sendall(sent)
            connections.append(connection)
        yield connections


def answer_on(connection: socket.socket, *, within_s: float = 10) -> bytes:
    """What the server sends until it closes the connection."""
    connection.settimeout(within_s)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


def status_and_code(answer: bytes) -> tuple[int, str]:
    first, _, rest = answer.partition(b"\r\n")
    return int(first.split()[1]), json.loads(rest.partition(b"\r\n\r\n")[2])["error"]["code"]


def hooks_are_answered(server: WebServer, *, times: int = 20, size: int = 0) -> None:
    """Posts hooks on new connections; each is accepted in time."""
    for number in range(times):
        began = time.monotonic()
        posted = server.post_media({**GOOD, "message_id": f"{began} {number}", "caption": "c" * size})
        assert posted.status == 202, posted.body
        assert time.monotonic() - began < ANSWER_S


# Heads that ask for a body of 64 MB: without a secret, with a wrong one, with a signature that no body can fit.
REFUSED_HEADS = [
    ("/hooks/media", ""),
    ("/hooks/media", "Authorization: Bearer guessed\r\n"),
    ("/hooks/wppconnect", ""),
    ("/hooks/wppconnect/guessed", ""),
    ("/hooks/wppconnect", "X-Webhook-Secret: guessed\r\n"),
    ("/hooks/evolution", ""),
    ("/hooks/evolution", "Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA\r\n"),
    ("/hooks/waha", ""),
    ("/hooks/waha", "X-Webhook-Hmac: 00\r\nX-Webhook-Timestamp: 1\r\n"),
    ("/hooks/waha", f"X-Webhook-Hmac: {'0' * 128}\r\nX-Webhook-Timestamp: 1000\r\n"),
    ("/hooks/cloud", ""),
    ("/hooks/cloud", "X-Hub-Signature-256: sha256=00\r\n"),
]


@pytest.fixture(scope="module")
def refusing(tmp_path_factory: pytest.TempPathFactory, _shared_valkey: Any) -> Iterator[WebServer]:
    running = RunningSystem(tmp_path_factory.mktemp("web"), _shared_valkey.url, {})
    with web_server(running) as server:
        yield server
    running.close()


@pytest.mark.parametrize(("path", "fields"), REFUSED_HEADS)
def test_hook_14_wrong_secret_is_refused_before_the_body(refusing: WebServer, path: str, fields: str) -> None:
    with opened(refusing, head("POST", path, fields, length=64 * MB), count=1) as [connection]:
        assert status_and_code(answer_on(connection, within_s=3)) == (401, "unauthorized")


def test_every_call_is_refused_before_its_body(
    refusing: WebServer, system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    routes = {
        (route.method.upper(), route.path)
        for route in app_routes(app_client(system, monkeypatch).app)
        if route.method not in {"get", "head"} and not route.path.startswith("/hooks/")
    }
    assert {("POST", "/media/replay"), ("POST", "/pause"), ("POST", "/webhooks/redeliver")} <= routes
    for method, path in routes:
        url = path.replace("{media_id}", "0" * 32)
        with opened(refusing, head(method, url, length=1000), count=1) as [connection]:
            assert status_and_code(answer_on(connection, within_s=3)) == (401, "unauthorized"), (method, path)


def test_sender_of_a_refused_body_sees_the_answer(refusing: WebServer) -> None:
    for path, fields, expected in (
        ("/hooks/media", "", (401, "unauthorized")),
        ("/hooks/media", AUTHORIZED, (413, "too_large")),
        ("/media/replay", AUTHORIZED, (413, "too_large")),
    ):
        with opened(refusing, head("POST", path, fields, length=80 * MB), count=1) as [connection]:
            connection.sendall(b" " * 80 * MB)  # all of it, before the answer is read
            assert status_and_code(answer_on(connection)) == expected


def test_chunked_body_that_is_too_large_is_refused(refusing: WebServer) -> None:
    chunked = head("POST", "/media/replay", AUTHORIZED + "Transfer-Encoding: chunked\r\n")
    with opened(refusing, chunked, count=1) as [connection]:
        for _ in range(20):
            with contextlib.suppress(OSError):
                connection.sendall(b"2000\r\n" + b" " * 0x2000 + b"\r\n")
        assert status_and_code(answer_on(connection)) == (413, "too_large")


def test_body_in_many_tiny_chunks_is_refused(refusing: WebServer) -> None:
    signed = f"X-Webhook-Hmac: {'0' * 128}\r\nX-Webhook-Timestamp: {int(time.time() * 1000)}\r\n"
    for path, fields in (("/hooks/waha", signed), ("/media/replay", AUTHORIZED)):
        chunked = head("POST", path, fields + "Transfer-Encoding: chunked\r\n")
        with opened(refusing, chunked + b"1\r\n \r\n" * 5000, count=1) as [connection]:
            assert answer_on(connection).split()[1] == b"400"
    hooks_are_answered(refusing, times=2)


def websocket_head(path: str) -> bytes:
    fields = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    return head("GET", path, f"{fields}Sec-WebSocket-Key: {'A' * 22}==\r\n")


EMPTY_FRAMES = {
    "pings": (b"", b"\x89\x80\0\0\0\0"),
    "fragments of a text": (b"\x01\x80\0\0\0\0", b"\0\x80\0\0\0\0"),
    "texts": (b"", b"\x81\x80\0\0\0\0"),
}


@pytest.mark.parametrize("kind", EMPTY_FRAMES)
def test_socket_with_too_many_frames_is_closed(refusing: WebServer, kind: str) -> None:
    first, frame = EMPTY_FRAMES[kind]
    with opened(refusing, websocket_head("/socket.io/?EIO=4&transport=websocket"), count=1) as [connection]:
        assert connection.recv(1000).startswith(b"HTTP/1.1 101")
        with contextlib.suppress(OSError):
            connection.sendall(first + frame * 2000)
        answer_on(connection, within_s=5)  # TimeoutError: it is still open
    hooks_are_answered(refusing, times=2)


def test_socket_with_few_frames_stays_open(refusing: WebServer) -> None:
    with opened(refusing, websocket_head("/socket.io/?EIO=4&transport=websocket"), count=1) as [connection]:
        connection.sendall(EMPTY_FRAMES["pings"][1] * 200)
        with pytest.raises(TimeoutError):
            answer_on(connection, within_s=1)


def test_head_with_many_fields_is_refused(refusing: WebServer) -> None:
    for fields in (
        "".join(f"x{number}: 1\r\n" for number in range(200)),
        f"x: {'y' * 200_000}\r\n",
        "x: y\r\n" * 20_000,
    ):
        with opened(refusing, head("GET", "/healthz", fields), count=1) as [connection]:
            assert answer_on(connection, within_s=3).split()[1] in {b"431", b"400"}
    hooks_are_answered(refusing, times=2)


SIGNED = {
    "/hooks/waha": f"X-Webhook-Hmac: {'0' * 128}\r\nX-Webhook-Timestamp: {int(time.time() * 1000)}\r\n",
    "/hooks/cloud": f"X-Hub-Signature-256: sha256={'0' * 64}\r\n",
}


@pytest.mark.parametrize(
    ("path", "fields"),
    [("/hooks/wppconnect", ""), *SIGNED.items(), ("/login", "")],
    ids=["secret", "waha", "cloud", "login"],
)
def test_hook_14_thousand_stalled_bodies_leave_room_for_hooks(system: RunningSystem, path: str, fields: str) -> None:
    with web_server(system) as server:
        stalled = head("POST", path, fields, length=1_000_000) + b"{"
        with opened(server, stalled, count=many()):
            hooks_are_answered(server)
        log = server.log_text()
    assert "no file descriptors left" not in log
    assert "Traceback" not in log


def test_hook_14_signed_hook_is_accepted_among_stalled_ones(system: RunningSystem) -> None:
    body = b'{"entry": []}'
    signature = hmac.new(SETTINGS["CLOUD_APP_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    stalled = head("POST", "/hooks/cloud", SIGNED["/hooks/cloud"], length=1_000_000) + b"{"
    with web_server(system) as server, opened(server, stalled, count=200):
        time.sleep(1.5)  # the stalled ones are no longer young, and make room
        for _ in range(10):
            answer = server.request(
                "POST", "/hooks/cloud", body, headers={"X-Hub-Signature-256": f"sha256={signature}"}
            )
            assert answer.status == 202


def test_hook_14_large_bodies_leave_memory_for_small_ones(system: RunningSystem) -> None:
    large = head("POST", "/hooks/media", AUTHORIZED, length=64 * MB) + b" " * (63 * MB)
    with web_server(system, hook_body_timeout_s="60") as server, opened(server, large, count=4):
        hooks_are_answered(server, size=100_000)


class Meanwhile:
    """Posts hooks in a thread until the block ends; all of them are accepted in time."""

    def __init__(self, server: WebServer) -> None:
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.took: list[float] = []
        self.failed: list[object] = []

    def __enter__(self) -> Meanwhile:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        assert self.failed == []
        assert self.took
        assert max(self.took) < ANSWER_S

    def _run(self) -> None:
        while not self._done.is_set():
            began = time.monotonic()
            try:
                posted = self._server.post_media({**GOOD, "message_id": str(began)})
            except OSError as error:
                self.failed.append(error)
            else:
                self.failed += [] if posted.status == 202 else [posted.body]
            self.took.append(time.monotonic() - began)


BOMB = b"[" + b"{}," * (50 * MB // 3) + b"{}]"


def test_hook_14_bombs_are_refused_and_hooks_answered_meanwhile(system: RunningSystem) -> None:
    media_id = stored_media(system).id
    session = TokenSigner(SecretStr(TOKEN)).session_token("s1", gateway=None, days=1)
    with web_server(system) as server, Meanwhile(server):
        for path, token, expected in (
            (f"/media/{media_id}/link", session, (413, "too_large")),
            (f"/media/{media_id}/link", TOKEN, (413, "too_large")),
            ("/media/replay", TOKEN, (413, "too_large")),
            ("/webhooks/redeliver", TOKEN, (413, "too_large")),
            ("/pause", TOKEN, (413, "too_large")),
            (f"/media/{media_id}/replay", TOKEN, (400, "bad_payload")),
            ("/hooks/media", TOKEN, (400, "bad_payload")),
        ):
            answer = server.request("POST", path, BOMB, headers={"Authorization": f"Bearer {token}"})
            assert (answer.status, answer.code) == expected, path
            assert len(answer.body) < 1000


def test_error_of_a_long_field_is_cut(refusing: WebServer) -> None:
    for path, name in (("/pause", "x" * 60_000), ("/hooks/media", "x" * 5_000_000)):
        answer = refusing.request("POST", path, json.dumps({name: 1}), headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status, answer.code) == (400, "bad_payload")
        assert len(answer.body) < 3000


def test_api_08_unread_downloads_are_bounded_and_end(system: RunningSystem) -> None:
    media = stored_media(system, os.urandom(20_000_000))
    url, _ = TokenSigner(SecretStr(TOKEN)).link(media.id, seconds=3600)
    unread = head("GET", url)
    with web_server(system, download_stall_s="2") as server:
        with opened(server, unread, count=many(), receive_bytes=4096) as connections:
            hooks_are_answered(server)
            assert len(files_of(server, "media")) <= 8
            wait_until(lambda: not files_of(server, "media"), 20)  # the stalled ones are cut off
            answers = [answer_on(connection) for connection in connections[:100]]
        hooks_are_answered(server, times=2)
    statuses = [answer.split(b" ", 2)[1] for answer in answers if answer]
    assert {b"200", b"429"} >= set(statuses)
    assert b"429" in statuses
    assert all(len(answer) < 20_000_000 for answer in answers)


def files_of(server: WebServer, folder: str) -> list[str]:
    """The files below a folder of this name that the server has open."""
    links = []
    for entry in os.scandir(f"/proc/{server.process.pid}/fd"):
        with contextlib.suppress(OSError):
            links.append(os.readlink(entry.path))
    return [link for link in links if f"/{folder}/" in link]


def test_slow_reader_is_not_cut_off(system: RunningSystem) -> None:
    media = stored_media(system, os.urandom(8_000_000))
    unread = head("GET", f"/media/{media.id}/content", AUTHORIZED + "Connection: close\r\n")
    with (
        web_server(system, download_stall_s="2") as server,
        opened(server, unread, count=1, receive_bytes=4096) as [connection],
    ):
        received = 0
        while piece := connection.recv(1_000_000):
            received += len(piece)
            time.sleep(0.0005 * len(piece) / 1000)  # 2 MB/s
    assert received > 8_000_000


def test_unread_answers_to_pipelined_requests_end(system: RunningSystem) -> None:
    requests = head("GET", "/openapi.json", AUTHORIZED) * 500
    with web_server(system, download_stall_s="2") as server, opened(server, requests, count=20, receive_bytes=4096):
        hooks_are_answered(server, times=5)
        wait_until(lambda: connections_of(server) < 10, 20)


def connections_of(server: WebServer) -> int:
    """How many connections the server has open."""
    sockets = 0
    for entry in os.scandir(f"/proc/{server.process.pid}/fd"):
        with contextlib.suppress(OSError):
            sockets += os.readlink(entry.path).startswith("socket:")
    return sockets


def test_connections_that_do_nothing_make_room_for_hooks(system: RunningSystem) -> None:
    with web_server(system) as server, contextlib.ExitStack() as stack:
        stack.enter_context(opened(server, b"", count=many() // 2))
        stack.enter_context(opened(server, head("GET", "/healthz"), count=many() // 2))
        hooks_are_answered(server)
        assert connections_of(server) <= MAX_CONNECTIONS + 50
