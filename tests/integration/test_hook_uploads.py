"""Uploads to `POST /hooks/media`, with `curl -F` and others: files become attachments, and leave nothing behind."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server

Make = Callable[..., RunningSystem]
TYPE = "multipart/form-data; boundary=xyz"
END = b"\r\n--xyz--\r\n"


def field(name: str, value: str) -> bytes:
    return f'--xyz\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()


def file_head(filename: str, mimetype: str = "image/jpeg") -> bytes:
    disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
    return f"--xyz\r\n{disposition}\r\nContent-Type: {mimetype}\r\n\r\n".encode()


def staged(system: RunningSystem) -> list[Path]:
    folder = system.settings.staging
    return list(folder.iterdir()) if folder.exists() else []


def intake(system: RunningSystem) -> list[Path]:
    folder = system.folder / "media" / "intake"
    return [path for path in folder.rglob("*") if path.is_file()] if folder.exists() else []


def post(server: WebServer, body: object, query: str = "", **headers: str) -> tuple[int, dict[str, object]]:
    sent = {"Authorization": f"Bearer {TOKEN}", "Content-Type": TYPE, **headers}
    answer = server.request("POST", f"/hooks/media{query}", body, headers=sent, timeout=120)
    return answer.status, answer.json


def curl(server: WebServer, *arguments: str) -> dict[str, object]:
    command = ["curl", "-sS", "-H", f"Authorization: Bearer {TOKEN}", *arguments]
    finished = subprocess.run(
        [*command, f"http://127.0.0.1:{server.port}/hooks/media?wait=60"], capture_output=True, check=True, timeout=90
    )
    answer: dict[str, object] = json.loads(finished.stdout)
    return answer


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_uploads_a_file_and_gets_its_record(make_system: Make, tmp_path: Path) -> None:
    system = make_system()
    file = tmp_path / "praia é.jpg"
    file.write_bytes(photo())
    with web_server(system, web_workers="2") as server, system.workers():
        fields = ("-F", "session=shop", "-F", "chat=5511999990000", "-F", "kind=image", "-F", "from_me=true")
        record = curl(server, "-F", f"file=@{file}", *fields)
        assert (record["status"], record["session"], record["chat"]) == ("done", "shop", "5511999990000")
        assert (record["filename"], record["sha256"]) == ("praia é.jpg", hashlib.sha256(file.read_bytes()).hexdigest())
        assert curl(server, "-F", f"file=@{file}", *fields)["id"] == record["id"]  # the same upload again
        other = curl(server, "-F", f"file=@{file}", *fields, "-F", "message_id=m2")
        assert (other["status"], other["message_id"]) == ("done", "m2")
    assert staged(system) == []
    assert intake(system) == []


def test_several_files_are_parts_of_one_message(make_system: Make) -> None:
    system = make_system()
    whole = field("session", "s") + field("message_id", "m") + file_head("1.jpg") + photo() + b"\r\n"
    whole += file_head("2.jpg") + photo() + END
    with web_server(system) as server:
        status, reply = post(server, whole)
        assert status == 202
        accepted = reply["accepted"]
        assert isinstance(accepted, list)
        records = [system.record(one["id"]) for one in accepted]
        assert [(record.message_id, record.part, record.filename) for record in records] == [
            ("m", 0, "1.jpg"),
            ("m", 1, "2.jpg"),
        ]
        assert post(server, whole, "?wait=5")[0] == 400
        assert post(server, field("filename", "x.jpg") + whole)[0] == 400
    assert staged(system) == []
    assert len(intake(system)) == 2


@pytest.mark.parametrize(
    ("given", "settings", "status", "words"),
    [
        (field("session", "s") + file_head("a") + b"x" * 1_100_000 + END, {"max_upload_mb": "1"}, 413, "MAX_UPLOAD_MB"),
        (file_head("a") + b"x" + END, {}, 400, "session: is missing"),
        (
            field("session", "s") + field("url", "http://e.example/") + file_head("a") + b"x" + END,
            {},
            400,
            "url: the body",
        ),
        (field("session", "s") + field("file", "photo.jpg") + END, {}, 400, "file: was sent as text, not as a file"),
        (field("session", "s") + END, {}, 400, "url: one of url, data and direct_path is needed"),
        (field("session", "s") + field("kind", "song") + file_head("a") + b"x" + END, {}, 400, "kind"),
        (field("session", "s") + file_head("a") + b"x", {}, 400, "the body ended early"),
        (b"not a form", {}, 400, "not multipart/form-data"),
    ],
)
def test_wrong_upload_is_refused_and_leaves_nothing(
    make_system: Make, given: bytes, settings: dict[str, str], status: int, words: str
) -> None:
    system = make_system()
    with web_server(system, **settings) as server:
        found, reply = post(server, given)
        chunked, again = post(server, iter([given[:100], given[100:]]))
        assert server.request("POST", "/hooks/media", given, headers={"Content-Type": TYPE}).status == 401
        assert server.totals()["received"] == 0
    assert (found, chunked) == (status, status), (reply, again)
    assert words in json.dumps(reply)
    assert (staged(system), intake(system)) == ([], [])


def test_abandoned_and_stalled_uploads_leave_nothing(make_system: Make) -> None:
    system = make_system()
    begun = field("session", "s") + file_head("a.jpg") + b"x" * 600_000
    head = f"POST /hooks/media HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: {TYPE}\r\n"
    with web_server(system, hook_body_timeout_s="2") as server:

        def begin() -> socket.socket:
            connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
            connection.sendall(f"{head}Content-Length: 900000\r\n\r\n".encode() + begun)
            return connection

        left = begin()
        wait_until(lambda: staged(system), within_s=30)
        left.close()
        wait_until(lambda: not staged(system), within_s=30)
        stalled = begin()
        answer = stalled.recv(4096)
        assert answer.startswith(b"HTTP/1.1 408")
        wait_until(lambda: not staged(system), within_s=30)
        assert server.totals()["received"] == 0
        killed = begin()
        wait_until(lambda: staged(system), within_s=30)
        server.process.kill()
        killed.close()
    assert system.services.staging.discard_copies(-1) == 1  # what a worker does after some minutes
    assert staged(system) == []


@pytest.mark.slow
def test_large_upload_is_never_in_memory_as_a_whole(make_system: Make) -> None:
    system = make_system()
    size = 200_000_000

    def pieces() -> Iterator[bytes]:
        yield field("session", "s") + file_head("big.bin", "application/octet-stream")
        for _ in range(size // 1_000_000):
            yield bytes(1_000_000)
        yield END

    with web_server(system) as server:
        post(server, field("session", "s") + file_head("a") + b"x" + END)
        before = psutil.Process(server.process.pid).memory_info().rss
        highest = before

        def watched() -> Iterator[bytes]:
            nonlocal highest
            for piece in pieces():
                yield piece
                highest = max(highest, psutil.Process(server.process.pid).memory_info().rss)

        status, reply = post(server, watched())
        assert status == 202, reply
        assert highest - before < 50_000_000
        [accepted] = reply["accepted"]  # type: ignore[misc]
    assert staged(system) == []
    assert [path.stat().st_size for path in intake(system) if path.stat().st_size > 1] == [size]
    assert accepted["status"] == "received"
