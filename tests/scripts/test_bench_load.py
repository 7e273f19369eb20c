"""Tests for the standard load of scripts/bench, its media server, and a trial of the bare loop."""

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
from scripts.benchmarks.baselines.bare import decode, mime_type
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.trials import ON_DISK, folder_with_room, measure_trial, trial

FILES = 12


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("media")
    media.standard_load(FILES, made)
    return made


@pytest.fixture
def server(folder: Path) -> Iterator[MediaServer]:
    with media_server(folder) as running_program:
        yield running_program


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def connect(server: MediaServer, number: int = 0) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(server.urls[number]).netloc, timeout=20)


def test_load_order_contains_each_kind_as_often_as_declared() -> None:
    assert len(media.ORDER) == 50
    assert {kind: media.ORDER.count(kind) for kind in media.KINDS} == {k: row[1] for k, row in media.KINDS.items()}


def test_load_files_are_unique_and_decodable(folder: Path) -> None:
    paths = media.standard_load(FILES, folder)
    assert len({hashlib.sha256(path.read_bytes()).digest() for path in paths}) == FILES
    for path in paths:
        decode(mime_type(str(path)), str(path))


@pytest.mark.parametrize("kind", media.KINDS)
def test_make_writes_the_declared_type_and_the_same_bytes_each_time(kind: str, tmp_path: Path) -> None:
    number = media.ORDER.index(kind)
    path, again = (tmp_path / f"{name}-{media.file_name(number)}" for name in ("first", "again"))
    media.make((number, path))
    time.sleep(1)  # a timestamp in the file would differ now
    media.make((number, again))
    assert path.read_bytes() == again.read_bytes()
    assert mime_type(str(path)) == media.KINDS[kind][4].partition(";")[0]


def test_rows_are_valid_attachments(folder: Path) -> None:
    paths = media.standard_load(FILES, folder)
    rows = media.rows(paths, "http://127.0.0.1:1")
    attachments = [parse_attachment(row) for row in rows]
    assert len({attachment.id for attachment in attachments}) == FILES
    assert [attachment.size for attachment in attachments] == [path.stat().st_size for path in paths]


def test_large_pdf_has_the_requested_size_and_opens(tmp_path: Path) -> None:
    path = media.large_pdf(tmp_path / "large.pdf", 3_000_000)
    assert 3_000_000 < path.stat().st_size < 3_002_000
    with pypdfium2.PdfDocument(path) as document:
        assert len(document) == 1


def test_media_server_sends_whole_files_over_one_connection_and_counts_requests(
    folder: Path, server: MediaServer
) -> None:
    (folder / "large").write_bytes(os.urandom(5_000_000))
    (folder / "empty").write_bytes(b"")
    connection = connect(server)
    for name in ("large", media.file_name(0), "empty", "large"):
        assert get(connection, f"/{name}?x=1") == (200, (folder / name).read_bytes())
    assert get(connection, "/none")[0] == 404
    assert get(connection, "/../" + folder.name)[0] == 404
    assert server.counts()["large"] == 2


def test_media_server_survives_clients_that_disconnect(folder: Path, server: MediaServer) -> None:
    (folder / "huge").write_bytes(bytes(20_000_000))
    for _ in range(3):
        client = connect(server)
        client.request("GET", "/huge")
        client.close()
    assert get(connect(server), f"/{media.file_name(1)}")[0] == 200


def test_media_server_delays_requests_in_parallel(folder: Path) -> None:
    with media_server(folder, delay_s=1.0, hosts=("127.0.0.2", "127.0.0.3")) as server:
        began = time.monotonic()
        waiting = [connect(server, number % 2) for number in range(20)]
        for connection in waiting:
            connection.request("GET", f"/{media.file_name(0)}")
        statuses = [connection.getresponse().status for connection in waiting]
        took = time.monotonic() - began
    assert statuses == [200] * 20
    assert 1.0 <= took < 10.0


def test_bare_loop_processes_all_files_and_removes_its_folder(folder: Path, server: MediaServer) -> None:
    rows = media.rows(media.standard_load(FILES, folder), server.url)
    with trial("bare loop", processes=1, threads=1) as run:
        run.system.fill(rows)
        with run.workers() as workers:
            snapshot = run.wait_until_done(workers, FILES)
        assert snapshot.worker_cpu > 0
        assert run.system.stored() == FILES
        leftover = run.system.setup.folder
    assert not leftover.exists()


def test_folder_with_room_falls_back_to_disk_and_to_the_temporary_folder() -> None:
    assert folder_with_room(1, on_disk=True) == ON_DISK
    assert folder_with_room(1 << 60, on_disk=False) == tempfile.gettempdir()


def test_measure_trial_reports_the_exit_status_of_failed_workers(server: MediaServer) -> None:
    rows = [{"message_id": "m", "url": f"{server.url}/none", "session": "s"}]
    with trial("bare loop") as run, pytest.raises(Exception, match="0 of 1 files done, the workers ended with 1"):
        measure_trial(run, rows, 1)
