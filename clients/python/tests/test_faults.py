"""What goes wrong on the listener's machine: the disk, the clock, files of others, messages of an odd form."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from esteira_client import AsyncClient, Client, EsteiraError, MessageError, RefusedError, SpoolError, SpoolOptions
from esteira_client.messages import hand_over_of
from esteira_client.replies import retry_after_s
from esteira_client.spool import Spool
from esteira_client.spool_lock import SpoolLock
from fake_server import TOKEN, FakeServer

MESSAGE = {"message_id": "m1", "url": "https://media.example/x", "kind": "image"}
ENTRY = {"v": 1, "path": "/hooks/media", "id": "x", "message_id": "m1", "at": 1796125205099, "body": MESSAGE}


def spooled(folder: Path, *texts: Any) -> None:
    """Writes entries as another process would."""
    folder.mkdir(exist_ok=True)
    for number, text in enumerate(texts):
        name = f"179474000000{number}-00000000-000000.json"
        (folder / name).write_text(text if isinstance(text, str) else json.dumps(text))


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def fill_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """New files can be created, and nothing can be written to them."""
    real = os.fdopen

    def full(descriptor: int, *arguments: Any) -> Any:
        if "w" in arguments[0]:
            os.close(descriptor)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, *arguments)

    monkeypatch.setattr(os, "fdopen", full)


def test_spool_of_a_full_disk_is_sent(server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled(folder, ENTRY, ENTRY)
    fill_the_disk(monkeypatch)
    reports: list[EsteiraError] = []
    with Client(server.url, TOKEN, spool=folder, on_error=lambda error, _: reports.append(error)) as client:
        assert client.flush(10)
    assert not reports
    assert not (folder / "lock").exists()


def test_hand_over_asks_the_server_although_the_spool_cannot_be_used(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spooled(folder, ENTRY)
    monkeypatch.setattr(SpoolLock, "acquire", lambda _: (_ for _ in ()).throw(OSError(errno.EROFS, "read-only")))
    reports: list[str] = []
    with Client(server.url, TOKEN, spool=folder, on_error=lambda error, _: reports.append(error.code)) as client:
        wait_until(lambda: reports)
        assert client.process_media(MESSAGE, "shop").mode == "accepted"
    assert reports == ["spool_failed"]


def test_hand_over_that_cannot_be_spooled_asks_the_server_again(server: FakeServer, folder: Path) -> None:
    server.refuse(503, "catalogue", Retry_After="60")
    with Client(server.url, TOKEN, spool=SpoolOptions(folder, max_entries=1)) as client:
        assert client.process_media(MESSAGE, "shop").mode == "spooled"
        server.answer(202)
        assert client.process_media({**MESSAGE, "message_id": "m2"}, "shop").mode == "accepted"


def test_lock_from_before_the_clock_was_set_back_is_taken_over(folder: Path) -> None:
    folder.mkdir()
    SpoolLock(folder).acquire()
    os.utime(folder / "lock", (time.time() + 3600,) * 2)
    assert SpoolLock(folder).acquire()


def test_names_keep_their_order_although_the_clock_is_set_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool = Spool(SpoolOptions(folder))
    names = [spool.store(hand_over_of(MESSAGE, "shop"))]
    before = time.time() - 3600
    monkeypatch.setattr(time, "time", lambda: before)
    names.append(spool.store(hand_over_of(MESSAGE, "shop")))
    assert spool.names() == names


def test_garbage_in_the_spool_blocks_no_entry(server: FakeServer, folder: Path) -> None:
    texts = ["", "\0\0", "[" * 100_000, "[]", '{"v": 1}', json.dumps(ENTRY)[:-20], json.dumps({**ENTRY, "at": 10**400})]
    fields = [{"path": "/hooks/../media/x/replay"}, {"path": "/hooks/a\n"}, {"path": 1}, {"body": 1}, {"file": []}]
    fields.append({"file": {"name": "../../etc/passwd", "size": 1}, "fields": {}})
    for start in range(0, 12, 6):
        spooled(folder, *[*texts, *({**ENTRY, **field} for field in fields)][start : start + 6], ENTRY)
        with Client(server.url, TOKEN, spool=folder) as client:
            assert client.flush(10)
    assert [request["path"] for request in server.requests] == ["/hooks/media"] * 2


def test_entry_that_cannot_be_moved_aside_blocks_no_other(server: FakeServer, folder: Path) -> None:
    spooled(folder, "damaged", ENTRY)
    (folder / "aside").write_text("a file in the place of the folder")
    reports: list[str] = []
    with Client(server.url, TOKEN, spool=folder, on_error=lambda error, _: reports.append(error.code)):
        wait_until(lambda: Spool(SpoolOptions(folder)).names() == ["1794740000000-00000000-000000.json"])
    assert reports[0] == "spool_failed"
    assert server.bodies() == [MESSAGE]


def test_entry_stays_while_the_system_fails_to_read_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spooled(folder, ENTRY)
    monkeypatch.setattr(Path, "read_bytes", lambda _: (_ for _ in ()).throw(OSError(errno.EMFILE, "too many files")))
    reports: list[str] = []
    with Client("http://127.0.0.1:9", TOKEN, spool=folder, on_error=lambda error, _: reports.append(error.code)):
        wait_until(lambda: reports)
    assert (reports[0], len(Spool(SpoolOptions(folder)).names())) == ("spool_failed", 1)


def test_files_of_others_are_no_entries(server: FakeServer, folder: Path) -> None:
    spooled(folder, ENTRY)
    for name in ("config.json", "firmware.bin", "draft.tmp"):
        (folder / name).write_text("not of the spool")
        os.utime(folder / name, (0, 0))
    with Client(server.url, TOKEN, spool=folder) as client:
        assert client.flush(10)
    names = {path.name for path in folder.iterdir()} - {"aside"}
    assert names == {"config.json", "firmware.bin", "draft.tmp"}


def test_redirect_keeps_what_is_in_the_spool(server: FakeServer, folder: Path) -> None:
    spooled(folder, ENTRY, ENTRY)
    server.answer(302, b"", Location="https://login.example/")
    reports: list[str] = []
    with Client(server.url, TOKEN, spool=folder, on_error=lambda error, _: reports.append(error.code)) as client:
        wait_until(lambda: reports)
        with pytest.raises(RefusedError):
            client.process_media(MESSAGE, "shop")
    assert (reports, len(Spool(SpoolOptions(folder)).names())) == (["redirected"], 2)


def test_upload_that_never_ends_in_time_blocks_no_other(
    server: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esteira_client.spool_sender.SEND_TIMEOUT_S", 0.1)
    Spool(SpoolOptions(folder)).store(hand_over_of({"message_id": "large"}, "shop", b"x"))
    Spool(SpoolOptions(folder)).store(hand_over_of(MESSAGE, "shop"))
    server.delay_s = 0.3
    server.refuse(503, "catalogue", Retry_After="0")
    with Client(server.url, TOKEN, spool=folder):
        wait_until(lambda: any(request["body"][:1] == b"{" for request in server.requests))


def test_file_that_grows_while_it_is_spooled_is_kept_as_it_was_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = tmp_path / "voice.ogg"
    voice.write_bytes(b"half of it and more")
    spool = Spool(SpoolOptions(folder))
    monkeypatch.setattr("esteira_client.messages.HandOver.size", 10)
    entry = spool.load(spool.store(hand_over_of({"message_id": "m1"}, "shop", voice)))
    assert entry
    assert entry.sent.file == next(folder.glob("*.bin"))


def test_file_that_vanished_is_named(server: FakeServer, folder: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"jpeg")
    sent = hand_over_of({"message_id": "m1"}, "shop", photo)
    photo.unlink()
    with pytest.raises(MessageError, match="cannot be read: No such file"):
        Spool(SpoolOptions(folder)).store(sent)


def test_uploads_at_the_same_time_need_few_open_files(server: FakeServer, folder: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"jpeg")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 40, limits[1]))
    try:

        async def burst() -> list[Any]:
            async with AsyncClient(server.url, TOKEN, spool=folder, timeout=20) as client:
                tasks = (client.process_media({"message_id": f"m{number}"}, "shop", file=photo) for number in range(60))
                return await asyncio.gather(*tasks)

        assert {receipt.mode for receipt in asyncio.run(burst())} <= {"accepted", "spooled"}
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def test_broken_letters_are_handed_over(server: FakeServer, folder: Path) -> None:
    with Client(server.url, TOKEN, spool=folder) as client:
        client.process_media({**MESSAGE, "caption": "cut \ud83d"}, "shop")
        client.process_media({"message_id": "m2", "caption": "cut \ud83d", "filename": "\ud83d.jpg"}, "shop", file=b"x")
    json_request, form = server.requests
    assert json.loads(json_request["body"])["caption"] == "cut \ud83d"
    assert b"cut ?\r\n" in form["body"]


def test_type_that_a_sender_declares_adds_no_header_to_the_form(server: FakeServer, folder: Path) -> None:
    with Client(server.url, TOKEN, spool=folder) as client:
        for mimetype in ("image/png\r\nX-Other: 1", "audio/ogg; codecs=opus"):
            client.process_media({"message_id": "m1", "mimetype": mimetype}, "shop", file=b"bytes")
    first, second = (request["body"] for request in server.requests)
    assert b"Content-Type: application/octet-stream\r\n\r\nbytes" in first
    assert b"Content-Type: audio/ogg; codecs=opus\r\n\r\nbytes" in second


def test_retry_after_is_seconds_or_a_date() -> None:
    def date(seconds: float) -> str:
        return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)

    assert 50 < (retry_after_s(date(60)) or 0) <= 60
    assert [retry_after_s(value) for value in (date(-60), date(10**6), "7", "soon", "", None)] == [
        *(0, 600, 7),
        *(None, None, None),
    ]


LATE = """
import sys, threading
from esteira_client import Client
client = Client(sys.argv[1], "token", spool=sys.argv[2], timeout=10)

def listen():
    main.join()
    print(client.process_media({"message_id": "m1", "url": "https://media.example/x"}, "shop").mode)
    print(client.flush(10))

main = threading.main_thread()
threading.Thread(target=listen).start()
"""


@pytest.mark.parametrize(("status", "mode"), [(202, "accepted"), (503, "spooled")])
def test_client_works_after_the_end_of_the_main_thread(
    server: FakeServer, folder: Path, status: int, mode: str
) -> None:
    server.then(202)
    server.answers[0] = (status, {}, server.answers[0][2])
    url = server.url.replace("127.0.0.1", "localhost")
    command = [sys.executable, "-c", LATE, url, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment())
    assert (done.stdout.split(), done.stderr) == ([mode, "True"], "")


def environment() -> dict[str, str]:
    """The environment of a process that finds the client where this one does."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


def test_spool_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with Client("http://127.0.0.1:9", TOKEN, spool=tmp_path / "file") as client:
        with pytest.raises(SpoolError) as caught:
            client.process_media(MESSAGE, "shop")
        assert caught.value.code == "spool_failed"
        assert client.flush(1)
