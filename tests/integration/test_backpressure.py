"""Full disks, locked databases, a full Redis: each costs a retry or a refusal, and no restart."""

from __future__ import annotations

import base64
import hashlib
import itertools
import resource
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import pytest

from pipeline.errors import Code, RetryableError
from pipeline.models import Record, Status
from tests.support.disks import fill_disk, small_disk
from tests.support.media_server import MediaServer
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.s3 import BUCKET, s3_server
from tests.support.system import RunningSystem, Workers, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.web import app_client

BACKOFF = {"MEDIA_BACKOFF_MS": "400"}
ONE_ATTEMPT = BACKOFF | {"MEDIA_ATTEMPTS": "1"}  # so a failure that counts as an attempt ends the attachment


@pytest.fixture
def media() -> Iterator[MediaServer]:
    with MediaServer({"a.jpg": photo(size=(640, 480)), "b.jpg": photo(), "c.jpg": photo()}) as server:
        yield server


@pytest.fixture
def own_system(own_valkey: ValkeyServer, tmp_path: Path) -> Iterator[RunningSystem]:
    made = RunningSystem(tmp_path, own_valkey.url, ONE_ATTEMPT)
    yield made
    made.close()


@contextmanager
def system_with(folder: Path, server: ValkeyServer, **settings: str) -> Iterator[RunningSystem]:
    made = RunningSystem(folder, server.url, BACKOFF | settings)
    try:
        yield made
    finally:
        made.close()


def codes(workers: Workers) -> list[str]:
    """The error codes of the attempts that have failed so far."""
    return [line["code"] for line in workers.logged("attempt failed")]


def is_done(record: Record, content: bytes) -> bool:
    return (record.status, record.sha256) == (Status.DONE, hashlib.sha256(content).hexdigest())


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("which", ["staging", "storage"])
def test_full_disk_costs_attempts_until_there_is_room(
    valkey: ValkeyServer, tmp_path: Path, media: MediaServer, which: str
) -> None:
    with small_disk(tmp_path / "disk", megabytes=2) as disk:
        place = {"STAGING_DIR": str(disk)} if which == "staging" else {"STORAGE_URL": disk.as_uri()}
        with system_with(tmp_path, valkey, **place) as system, system.workers() as workers:
            ballast = fill_disk(disk)
            first = system.submit(url=media.url("a.jpg"))
            wait_until(lambda: codes(workers), 10)
            assert [path.name for path in files(disk)] == ["ballast"]
            ballast.unlink()
            [record] = system.wait_finished(first.id)
            assert is_done(record, media.files["a.jpg"])  # type: ignore[arg-type]
            fill_disk(disk)
            [failed] = system.wait_finished(system.submit(url=media.url("b.jpg")).id)
            assert (failed.status, failed.error_code, failed.attempts) == (Status.FAILED, which, 3)
            assert set(codes(workers)) == {which}
            assert [path.name for path in files(disk) if path.name != record.sha256] == ["ballast"]


def test_upload_is_refused_while_storage_is_full(valkey: ValkeyServer, tmp_path: Path, media: MediaServer) -> None:
    data = base64.b64encode(photo(size=(640, 480))).decode()
    with (
        small_disk(tmp_path / "disk", megabytes=2) as disk,
        system_with(tmp_path, valkey, STORAGE_URL=disk.as_uri()) as system,
    ):
        ballast = fill_disk(disk)
        attachment = system.attachment(data=data)
        with pytest.raises(RetryableError) as caught:
            system.hook.accept(attachment)
        assert caught.value.code is Code.STORAGE
        assert system.services.catalogue.get(attachment.id) is None
        assert [path.name for path in files(disk)] == ["ballast"]
        ballast.unlink()
        with system.workers():
            [record] = system.wait_finished(system.hook.accept(attachment).id)
        assert record.status is Status.DONE
        assert [path.name for path in files(disk)] == [record.sha256]


def test_object_store_error_503_costs_an_attempt(
    valkey: ValkeyServer, tmp_path: Path, media: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server(monkeypatch) as store, system_with(tmp_path, valkey, STORAGE_URL=f"s3://{BUCKET}/x") as system:
        store.fault = lambda _: "503 Slow Down"
        with system.workers() as workers:
            receipt = system.submit(url=media.url("a.jpg"))
            wait_until(lambda: codes(workers), 30)
            store.fault = None
            [record] = system.wait_finished(receipt.id)
            assert workers.process.poll() is None
        assert set(codes(workers)) == {"storage"}
        assert is_done(record, media.files["a.jpg"])  # type: ignore[arg-type]
        assert store.keys() == [f"x/{record.storage_key}"]
        assert store.unfinished_uploads() == 0
    assert media.hits("a.jpg") == 1


@contextmanager
def locked(system: RunningSystem) -> Iterator[None]:
    """Locks the catalogue's file for the length of the block."""
    with closing(sqlite3.connect(system.folder / "esteira.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield
        holder.execute("ROLLBACK")


@pytest.mark.slow
def test_locked_catalogue_costs_no_attempt_and_defers_new_attachments(
    own_system: RunningSystem, media: MediaServer
) -> None:
    with own_system.workers() as workers:
        media.delay_s = 1
        receipt = own_system.submit(url=media.url("a.jpg"))
        wait_until(lambda: media.hits("a.jpg"), 10)
        with locked(own_system):
            began = time.monotonic()
            deferred = own_system.submit(url=media.url("b.jpg"))
            assert deferred.mode == "deferred"
            assert time.monotonic() - began < 8
            wait_until(lambda: codes(workers), 10)
        [record] = own_system.wait_finished(receipt.id)
        assert set(codes(workers)) == {"catalogue"}
        assert (record.status, record.attempts) == (Status.DONE, 0)
        assert media.hits("a.jpg") == 1
        wait_until(lambda: own_system.services.catalogue.get(deferred.id), 10)
        [later] = own_system.wait_finished(deferred.id)
    assert later.status is Status.DONE


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.mark.slow
def test_catalogue_outage_makes_the_hook_defer_and_the_workers_wait(
    valkey: ValkeyServer, postgres: PostgresServer, tmp_path: Path, media: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ONE_ATTEMPT | {"DATABASE_URL": postgres.new_database()}
    with system_with(tmp_path, valkey, **settings) as system, system.workers() as workers:
        http = app_client(system, monkeypatch)
        media.delay_s = 1.5
        receipt = system.submit(url=media.url("a.jpg"))
        wait_until(lambda: media.hits("a.jpg"), 10)
        postgres.stop()
        fields = {"session": "s", "message_id": "away", "url": media.url("b.jpg")}
        answer = http.post("/hooks/media", json=fields)
        [deferred] = answer.json()["accepted"]
        assert (answer.status_code, deferred["status"]) == (202, "received")
        assert http.get(f"/media/{deferred['id']}").status_code == 503
        wait_until(lambda: codes(workers), 15)
        postgres.start()
        media.delay_s = 0
        [record] = system.wait_finished(receipt.id)
        assert (record.status, record.attempts, media.hits("a.jpg")) == (Status.DONE, 0, 1)
        wait_until(lambda: system.services.catalogue.get(deferred["id"]), 10)
        [again] = system.wait_finished(deferred["id"])
    assert again.status is Status.DONE


def _full(server: ValkeyServer) -> None:
    server.client().config_set("maxmemory", "1mb")


def _roomy(server: ValkeyServer) -> None:
    server.client().config_set("maxmemory", "0")


def _replica(server: ValkeyServer) -> None:
    server.client().replicaof("127.0.0.1", 1)  # no primary answers there: it keeps its data and refuses writes


def _primary(server: ValkeyServer) -> None:
    server.client().replicaof("NO", "ONE")


REFUSALS = {"full": (_full, _roomy), "read-only": (_replica, _primary)}


@pytest.mark.slow
@pytest.mark.parametrize("how", REFUSALS)
def test_valkey_that_refuses_writes_loses_and_repeats_no_attachment(
    own_system: RunningSystem, own_valkey: ValkeyServer, media: MediaServer, how: str
) -> None:
    refuse, allow = REFUSALS[how]
    with own_system.workers(threads=1) as workers:
        media.delay_s = 1
        old = [own_system.submit(url=media.url("a.jpg")).id for _ in range(4)]  # more than a worker holds
        wait_until(lambda: media.hits("a.jpg"), 10)
        refuse(own_valkey)
        media.delay_s = 0
        meanwhile = own_system.submit(url=media.url("b.jpg"))
        assert (meanwhile.mode, meanwhile.status) == ("inline", Status.DONE)
        if how == "full":  # then acknowledgements free memory
            wait_until(lambda: own_system.queue.find_missing(old) == old, 10)
        else:
            own_system.wait_finished(old[0])
            assert own_system.queue.find_missing(old) == []  # finished attachments are not acknowledged yet
        allow(own_valkey)
        wait_until(lambda: not own_system.hook.breaker.is_open, 5)
        later = own_system.submit(url=media.url("c.jpg"))
        assert later.mode == "queued"
        records = own_system.wait_finished(*old, later.id, within_s=10)
        wait_until(lambda: own_system.queue.find_missing([*old, later.id]) == [*old, later.id], 5)
        assert workers.process.poll() is None
    assert [(record.status, record.attempts) for record in records] == [(Status.DONE, 0)] * 5
    assert [media.hits(name) for name in ("a.jpg", "b.jpg", "c.jpg")] == [4, 1, 1]
    assert len(own_system.stored_files()) == 3


def worker_process(workers: Workers) -> psutil.Process:
    """The process that holds the messages: of the master's children the one with the most threads."""
    return max(psutil.Process(workers.process.pid).children(), key=lambda child: child.num_threads())


@contextmanager
def few_files(process: psutil.Process) -> Iterator[None]:
    """Lets a process open no further file for the length of the block."""
    before = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    taken = {int(entry.name) for entry in Path(f"/proc/{process.pid}/fd").iterdir()}
    lowest_free = next(number for number in itertools.count() if number not in taken)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (lowest_free, before[1]))
    try:
        yield
    finally:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.slow
def test_worker_without_free_file_descriptors_retries(
    make_system: Callable[..., RunningSystem], media: MediaServer
) -> None:
    system = make_system(media_backoff_ms="400")
    with system.workers() as workers:
        system.wait_finished(system.submit(url=media.url("a.jpg")).id)
        process = worker_process(workers)
        with few_files(process):
            receipt = system.submit(url=media.url("b.jpg"))
            wait_until(lambda: codes(workers), 10)
        [record] = system.wait_finished(receipt.id)
        assert process.is_running()
        assert not workers.logged("attempts used up")
    assert is_done(record, media.files["b.jpg"])  # type: ignore[arg-type]
    assert system.staged_files() == []
    assert len(system.stored_files()) == 2
