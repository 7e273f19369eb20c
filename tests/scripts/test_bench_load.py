"""What scripts/bench carries, the server that it comes from, and a bare loop that carries it."""

from __future__ import annotations

import hashlib
import http.client
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pypdfium2
import pytest

from pipeline.models import parse_attachment
from scripts.benchmarks import media
from scripts.benchmarks.baselines.bare import decode, kind_of
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.trials import ON_DISK, carry, place_with, trial

FILES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("media")
    media.load(FILES, made)
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[MediaServer]:
    with media_server(folder) as running:
        yield running


def asked(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def connect(server: MediaServer, number: int = 0) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.urls[number]).netloc, timeout=20)


def test_the_mix_is_a_chats() -> None:
    assert len(media.ORDER) == 50
    assert {kind: media.ORDER.count(kind) for kind in media.KINDS} == {k: row[1] for k, row in media.KINDS.items()}


def test_all_files_are_different_and_can_be_decoded(folder: Path) -> None:
    paths = media.load(FILES, folder)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == FILES
    for path in paths:
        decode(kind_of(str(path)), str(path))


@pytest.mark.parametrize("kind", media.KINDS)
def test_each_kind_is_what_it_is_declared_as_and_the_same_each_time(kind: str, tmp_path: Path) -> None:
    number = media.ORDER.index(kind)
    path, again = (tmp_path / f"{name}-{media.name_of(number)}" for name in ("first", "again"))
    media.make((number, path))
    time.sleep(1)  # nothing in it tells the time
    media.make((number, again))
    assert path.read_bytes() == again.read_bytes()
    assert kind_of(str(path)) == media.KINDS[kind][4].partition(";")[0]


def test_a_row_is_an_attachment(folder: Path) -> None:
    paths = media.load(FILES, folder)
    rows = media.rows(paths, "http://127.0.0.1:1")
    attachments = [parse_attachment(row) for row in rows]
    assert len({attachment.id for attachment in attachments}) == FILES
    assert [attachment.size for attachment in attachments] == [path.stat().st_size for path in paths]


def test_a_large_document_has_its_size_and_opens(tmp_path: Path) -> None:
    path = media.large_paper(tmp_path / "large.pdf", 3_000_000)
    assert 3_000_000 < path.stat().st_size < 3_002_000
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 1


def test_the_server_sends_whole_files_over_one_connection_and_counts_them(folder: Path, server: MediaServer) -> None:
    (folder / "large").write_bytes(os.urandom(5_000_000))
    (folder / "empty").write_bytes(b"")
    connection = connect(server)
    for name in ("large", media.name_of(0), "empty", "large"):
        assert asked(connection, f"/{name}?x=1") == (200, (folder / name).read_bytes())
    assert asked(connection, "/none")[0] == 404
    assert asked(connection, "/../" + folder.name)[0] == 404
    assert server.counts()["large"] == 2


def test_a_client_that_goes_away_in_the_middle_disturbs_nobody(folder: Path, server: MediaServer) -> None:
    (folder / "huge").write_bytes(bytes(20_000_000))
    for _ in range(3):
        away = connect(server)
        away.request("GET", "/huge")
        away.close()
    assert asked(connect(server), f"/{media.name_of(1)}")[0] == 200


def test_a_slow_server_lets_everybody_wait_at_the_same_time(folder: Path) -> None:
    with media_server(folder, delay_s=1.0, hosts=("127.0.0.2", "127.0.0.3")) as server:
        began = time.monotonic()
        waiting = [connect(server, number % 2) for number in range(20)]
        for connection in waiting:
            connection.request("GET", f"/{media.name_of(0)}")
        statuses = [connection.getresponse().status for connection in waiting]
        took = time.monotonic() - began
    assert statuses == [200] * 20
    assert 1.0 <= took < 10.0


def test_a_bare_loop_carries_all_of_it(folder: Path, server: MediaServer) -> None:
    rows = media.rows(media.load(FILES, folder), server.url)
    with trial("bare loop", processes=1, threads=1) as run:
        run.contestant.fill(rows)
        with run.working() as workers:
            mark = run.reach(workers, FILES)
        assert mark.worker_cpu > 0
        assert run.contestant.stored() == FILES
        leftover = run.contestant.place.folder
    assert not leftover.exists()


def test_what_has_no_room_in_memory_goes_to_the_disk_and_then_wherever_there_is_any() -> None:
    assert place_with(1, on_disk=True) == ON_DISK
    assert place_with(1 << 60, on_disk=False) == tempfile.gettempdir()


def test_carrying_tells_what_stood_in_the_way(server: MediaServer) -> None:
    rows = [{"message_id": "m", "url": f"{server.url}/none", "session": "s"}]
    with trial("bare loop") as run, pytest.raises(Exception, match="0 of 1 files done, the workers ended with 1"):
        carry(run, rows, 1)
