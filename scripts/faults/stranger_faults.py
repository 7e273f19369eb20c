"""Faults by strangers: bodies that stall, JSON bombs, downloads that nothing reads. Each public function is one round.

The load goes on meanwhile: a hook of the load that is refused, or answered later than ANSWER_S at the 99th percentile,
is a problem of the round.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator

import requests
from pydantic import SecretStr

from pipeline.security.tokens import TokenSigner
from scripts.faults.environment import Testbed
from scripts.faults.files import GOOD, LARGE_PICTURE, File
from scripts.faults.load import REFUSED
from scripts.faults.times import percentile

CONNECTIONS = 1000
OPENED_AT_ONCE = 50  # connections, every WAIT_S: more would be a flood
WAIT_S = 0.2
SECONDS = 12.0  # of one round
ANSWER_S = 2.0
BOMB = b"[" + b"{}," * 16_000_000 + b"{}]"  # 48 MB
STALLED = (  # in turn: without a secret, and with a signature that is only verified with the body
    ("/hooks/wppconnect", ""),
    ("/hooks/cloud", f"X-Hub-Signature-256: sha256={'0' * 64}\r\n"),
)
SIGNED_HOOK = {"CLOUD_APP_SECRET": "secret-of-the-chaos", "WPPCONNECT_SECRET": "secret-of-the-chaos"}


def stall_bodies(testbed: Testbed, round_number: int) -> None:
    """Opens a thousand connections with a body that never arrives, and replaces those that are closed."""
    path, fields = STALLED[round_number % len(STALLED)]
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: 1000000\r\n\r\n{{".encode()
    with _answered_meanwhile(testbed, f"{CONNECTIONS} bodies for {path}"):
        _keep_open(testbed, head)


def send_bombs(testbed: Testbed, _round_number: int) -> None:
    """Sends JSON of sixteen million objects to the hook and to calls, one after another."""
    address = _address(testbed)
    headers = {"Authorization": f"Bearer {_token(testbed)}"}
    with _answered_meanwhile(testbed, "bombs of 48 MB"):
        until = time.monotonic() + SECONDS
        while time.monotonic() < until:
            for path in ("/hooks/media", f"/media/{'0' * 32}/link", "/media/replay", "/pause"):
                answer = requests.post(address + path, BOMB, headers=headers, timeout=30)
                if answer.status_code not in {400, 413}:
                    testbed.observations.problems.append(f"a bomb for {path} was answered {answer.status_code}")


def leave_downloads_unread(testbed: Testbed, round_number: int) -> None:
    """Opens a thousand downloads of ten megabytes through one link, and reads none."""
    media_id = testbed.load.send_file(File(round_number + 1, GOOD, LARGE_PICTURE, "image")).id
    if media_id is None or not _has_content(testbed, media_id):
        testbed.observations.problems.append("the large file was not stored")
        return
    url, _ = TokenSigner(SecretStr(_token(testbed))).link(media_id, seconds=3600)
    with _answered_meanwhile(testbed, f"{CONNECTIONS} downloads"):
        _keep_open(testbed, f"GET {url} HTTP/1.1\r\nHost: a\r\n\r\n".encode())


@contextlib.contextmanager
def _answered_meanwhile(testbed: Testbed, what: str) -> Iterator[None]:
    began = time.time()
    yield
    attempts = [attempt for attempt in testbed.load.attempts if attempt.at >= began]
    refused = sum(attempt.answer.outcome == REFUSED for attempt in attempts)
    p99 = percentile([attempt.took_s for attempt in attempts], 99)
    testbed.observations.figures.append(f"{what}: hooks meanwhile p99 {p99} s")
    if refused or not attempts or p99 is None or p99 > ANSWER_S:
        testbed.observations.problems.append(f"{what}: {refused} of {len(attempts)} hooks refused, p99 {p99} s")


def _keep_open(testbed: Testbed, sent: bytes) -> None:
    """Keeps CONNECTIONS open on which this was sent, for SECONDS; what the server closes is opened again."""
    port, until = int(testbed.part("web").env["PORT"]), time.monotonic() + SECONDS
    opened: list[socket.socket] = []
    try:
        while time.monotonic() < until:
            opened = [connection for connection in opened if not _is_closed(connection)]
            missing = min(OPENED_AT_ONCE, CONNECTIONS - len(opened))
            opened += [_open(port, sent) for _ in range(missing)]
            time.sleep(WAIT_S)
    finally:
        for connection in opened:
            connection.close()


def _open(port: int, sent: bytes) -> socket.socket:
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(5)
    with contextlib.suppress(OSError):
        connection.connect(("127.0.0.1", port))
        connection.sendall(sent)
    connection.setblocking(False)
    return connection


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has closed it; an answer that was sent is not read."""
    try:
        closed = connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        closed = True
    if closed:
        connection.close()
    return closed


def _has_content(testbed: Testbed, media_id: str) -> bool:
    headers = {"Authorization": f"Bearer {_token(testbed)}"}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        answer = requests.get(f"{_address(testbed)}/media/{media_id}", headers=headers, timeout=10)
        if answer.ok and answer.json()["content"]:
            return True
        time.sleep(0.5)
    return False


def _address(testbed: Testbed) -> str:
    return f"http://127.0.0.1:{testbed.part('web').env['PORT']}"


def _token(testbed: Testbed) -> str:
    return testbed.part("web").env["API_TOKEN"]
