"""The hook while the catalogue is away, with a real catalogue, a real Valkey and no worker."""

from __future__ import annotations

import base64
import os
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from actors.hook import Hook
from actors.observability.metrics_page import metrics_page
from actors.redis_queue.queue import QUICK_TIMEOUT_S, open_queue
from pipeline.catalogue.schema import HEAD
from pipeline.errors import Code, PayloadError, RetryableError
from pipeline.models import Status
from pipeline.storage import intake_key
from tests.support.disks import fill_disk, small_disk
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

URL = "https://media.example/a.jpg"
KEY = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


@contextmanager
def locked(system: RunningSystem) -> Iterator[None]:
    """Locks the catalogue's file for the length of the block, as a backup may."""
    with closing(sqlite3.connect(system.folder / "esteira.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


@pytest.fixture
def make(make_system: Callable[..., RunningSystem]) -> Callable[..., RunningSystem]:
    """A system whose hook waits for a locked catalogue only briefly."""

    def make_patient(**settings: str) -> RunningSystem:
        system = make_system(**settings)
        system.services.catalogue._database._wait_s = system.services.catalogue._wait_s = 0.2
        return system

    return make_patient


def spooled(system: RunningSystem) -> int:
    folder = system.settings.spool_folder
    return len(list(folder.glob("*.json"))) if folder and folder.exists() else 0


def next_process(system: RunningSystem) -> Hook:
    """The hook of a process that starts now; the one before it was killed."""
    system.hook.close()
    system.hook = Hook(system.services, open_queue(system.settings, timeout_s=QUICK_TIMEOUT_S))
    return system.hook


def positions(system: RunningSystem) -> list[str]:
    """The message ids in the order in which they were recorded."""
    with closing(sqlite3.connect(system.folder / "esteira.db")) as database:
        return [row[0] for row in database.execute("SELECT message_id FROM media ORDER BY rowid")]


def test_attachments_wait_in_the_spool_and_are_handed_over_in_order(make: Callable[..., RunningSystem]) -> None:
    system = make(encryption_keys=KEY)
    data = base64.b64encode(content := photo()).decode()
    with locked(system), capture_logs() as lines:
        receipts = [system.submit(message_id=f"m{n}", url=URL) for n in range(5)]
        began = time.monotonic()
        receipts += [system.submit(message_id=f"m{n}", data=data) for n in range(5, 8)]
        assert time.monotonic() - began < 0.2 * 3  # none of them has waited for the catalogue
        again = system.submit(message_id="m0", url=URL)
    assert {(receipt.mode, receipt.status) for receipt in (*receipts, again)} == {("deferred", Status.RECEIVED)}
    wait_until(lambda: spooled(system) == 0, 10)
    assert positions(system) == [f"m{n}" for n in range(8)]
    assert [system.record(receipt.id).message_id for receipt in receipts] == positions(system)
    assert system.services.catalogue.totals()["received"] == 8
    assert system.services.catalogue.totals()["duplicates"] == 1
    assert system.queue.stats.counts()["fetch"]["ready"] == 8
    assert b"".join(system.services.storage.chunks(intake_key(receipts[5].id))) == content
    assert list(system.settings.spool_folder.glob("*-*")) == []  # type: ignore[union-attr]
    assert [line["server"] for line in lines if line["event"] == "server away"] == ["catalogue"]
    wait_until(lambda: system.submit(url=URL).mode == "queued", 5)


def test_next_process_hands_over_what_a_killed_one_left(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        receipt = system.submit(url=URL)
        system.hook.close()
    assert system.services.catalogue.get(receipt.id) is None
    next_process(system).start()
    wait_until(lambda: spooled(system) == 0, 10)
    assert system.queue.stats.counts()["fetch"]["ready"] == 1


def test_entry_that_was_recorded_before_its_process_died_is_no_double(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        receipt = system.submit(url=URL)
        system.hook.close()
        folder = system.settings.spool_folder
        assert folder
        shutil.copytree(folder, system.folder / "copy")
    assert next_process(system).hand_over_spooled() == 1
    shutil.copytree(system.folder / "copy", folder, dirs_exist_ok=True)
    assert next_process(system).hand_over_spooled() == 1
    assert positions(system) == [system.record(receipt.id).message_id]
    assert system.queue.stats.counts()["fetch"]["ready"] == 1
    assert spooled(system) == 0


def test_missing_and_damaged_catalogue_loses_nothing(make: Callable[..., RunningSystem]) -> None:
    system = make()
    database, backup = system.folder / "esteira.db", system.folder / "backup.db"
    system.services.close()
    database.rename(backup)
    database.write_bytes(b"not a database" * 1000)
    first = system.submit(url=URL)
    assert first.mode == "deferred"
    database.unlink()
    backup.rename(database)
    wait_until(lambda: spooled(system) == 0, 10)
    assert system.record(first.id).status is Status.RECEIVED


def test_tables_of_another_version_are_no_outage(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with closing(sqlite3.connect(system.folder / "esteira.db")) as database:
        database.execute("DROP TABLE media")
        database.commit()
    with pytest.raises(Exception, match="has no tables: run `esteira migrate` once"):
        system.submit(url=URL)
    assert spooled(system) == 0


def test_entries_wait_for_the_tables_of_this_version(make: Callable[..., RunningSystem]) -> None:
    """They are not at fault, so none is set aside."""
    system = make()
    with locked(system):
        receipt = system.submit(url=URL)
        system.hook.close()
    with closing(sqlite3.connect(system.folder / "esteira.db")) as database, database:
        database.execute("ALTER TABLE media RENAME COLUMN caption TO text")
        database.execute("UPDATE alembic_version SET version_num = '0001'")
    assert next_process(system).hand_over_spooled() == 0
    assert spooled(system) == 1
    with closing(sqlite3.connect(system.folder / "esteira.db")) as database, database:
        database.execute("ALTER TABLE media RENAME COLUMN text TO caption")
        database.execute("UPDATE alembic_version SET version_num = ?", [HEAD])
    assert system.hook.hand_over_spooled() == 1
    assert system.record(receipt.id).status is Status.RECEIVED


def test_without_a_spool_the_hook_refuses(make: Callable[..., RunningSystem]) -> None:
    system = make(intake_spool="off")
    with locked(system), pytest.raises(RetryableError) as caught:
        system.submit(url=URL)
    assert caught.value.code is Code.CATALOGUE
    assert not (system.folder / "spool").exists()
    assert system.submit(url=URL).mode == "queued"


def test_full_spool_refuses_and_names_its_setting(make: Callable[..., RunningSystem]) -> None:
    system = make(intake_spool_mb="0.009")  # two entries
    with locked(system), capture_logs() as lines:
        kept = [system.submit(url=URL).id for _ in range(2)]
        for _ in range(3):
            with pytest.raises(RetryableError, match=r"is full: INTAKE_SPOOL_MB is 0\.009") as caught:
                system.submit(url=URL)
            assert (caught.value.code, caught.value.retry_after) == (Code.CATALOGUE, 10)
    wait_until(lambda: spooled(system) == 0, 10)
    assert all(system.record(media_id) for media_id in kept)
    assert [line["server"] for line in lines if line["event"] == "server away"] == ["catalogue", "intake spool"]


def test_unwritable_folder_is_one_warning_and_a_refusal(make: Callable[..., RunningSystem]) -> None:
    system = make(intake_spool="/proc/spool")
    with capture_logs() as lines:
        assert system.submit(url=URL).mode == "queued"
        assert system.submit(url=URL).mode == "queued"
        with locked(system), pytest.raises(RetryableError, match="/proc"):
            system.submit(url=URL)
    [warning] = [line for line in lines if line["event"] == "intake spool cannot be used"]
    assert warning["error"].startswith("/proc ")
    assert "INTAKE_SPOOL" in warning["remedy"]
    wait_until(lambda: system.submit(url=URL).mode == "queued", 5)


def test_damaged_entries_are_set_aside_and_the_others_go_on(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        receipts = [system.submit(url=URL) for _ in range(3)]
        system.hook.close()
    folder = system.settings.spool_folder
    assert folder
    victim = sorted(folder.glob("*.json"))[1]
    content = victim.read_bytes()
    victim.write_bytes(content[:50])
    with capture_logs() as lines:
        assert next_process(system).hand_over_spooled() == 2
    [line] = [line for line in lines if line["log_level"] == "error"]
    assert line["path"] == str(folder / "damaged" / victim.name)
    assert "move the files of this name back" in line["remedy"]
    assert [system.services.catalogue.get(receipt.id) is None for receipt in receipts] == [False, True, False]
    victim.write_bytes(content)  # as an operator restores it
    assert next_process(system).hand_over_spooled() == 1


def test_invalid_base64_is_refused_also_while_the_catalogue_is_away(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        system.submit(url=URL)
        with pytest.raises(PayloadError):
            system.submit(data="#")
    wait_until(lambda: spooled(system) == 0, 10)


def test_storage_outage_holds_back_only_entries_with_bytes(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        with_bytes = system.submit(data=base64.b64encode(photo()).decode())
        with_url = system.submit(url=URL)
        system.hook.close()
    media = system.folder / "media"
    shutil.rmtree(media, ignore_errors=True)
    media.write_text("")  # no folder can be made here
    hook = next_process(system)
    assert hook.hand_over_spooled() == 1
    assert system.record(with_url.id)
    assert spooled(system) == 1
    media.unlink()
    assert hook.hand_over_spooled() == 1
    assert system.services.storage.size(intake_key(with_bytes.id))


def test_forked_child_hands_over_by_itself(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        system.submit(url=URL)
        system.hook.close()
    child = os.fork()
    if child == 0:
        try:
            next_process(system).hand_over_spooled()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert spooled(system) == 0
    assert system.services.catalogue.totals()["received"] == 1


def submit_many(system: RunningSystem) -> None:
    for _ in range(200):
        system.submit(url=URL, caption="x" * 60_000)


def test_disk_of_the_catalogue_and_the_spool_full(make: Callable[..., RunningSystem], tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=4) as disk:
        system = make(var_dir=str(disk))
        ballast = fill_disk(disk)
        with pytest.raises(RetryableError) as caught:
            submit_many(system)
        assert caught.value.code is Code.CATALOGUE
        ballast.unlink()
        wait_until(lambda: system.submit(url=URL).mode == "queued", 10)
        wait_until(lambda: spooled(system) == 0, 10)


def test_worker_hands_over_what_an_ended_listener_left(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        receipt = system.submit(data=base64.b64encode(photo()).decode())
        system.hook.close()
    with system.workers():
        wait_until(lambda: spooled(system) == 0, 30)
        [record] = system.wait_finished(receipt.id)
    assert record.status is Status.DONE


def test_metrics_count_what_waits(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        system.submit(url=URL)
        text = metrics_page(system.services, system.queue, circuit_open=False, worker_timeout_s=12).decode()
    assert "esteira_intake_spool_entries 1.0" in text
    assert "esteira_intake_spool_bytes 4096.0" in text
    assert "esteira_intake_spool_limit_bytes 5.12e+08" in text


def test_folder_that_turns_unwritable_is_logged_once(make: Callable[..., RunningSystem]) -> None:
    system = make()
    with locked(system):
        system.submit(url=URL)
        system.hook.close()
    turn = system.folder / "spool" / ".turn"
    turn.unlink(missing_ok=True)
    turn.mkdir()
    with capture_logs() as lines:
        next_process(system).start()
        time.sleep(2.5)  # three passes
    assert [line["error"] for line in lines if line["event"] == "intake spool not handed over"] == ["Is a directory"]
    turn.rmdir()
    wait_until(lambda: spooled(system) == 0, 10)
