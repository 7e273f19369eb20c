"""The catalogue on SQLite: the contract, concurrent processes, faults of the file."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from pipeline.catalogue import Catalogue, CatalogueError, Filters
from pipeline.catalogue.database import Database
from pipeline.errors import Code, RetryableError, SettingsError, SupersededError
from pipeline.models import Stage, Status
from tests.pipeline.catalogue.contract_catalogue import CatalogueContract
from tests.pipeline.catalogue.contract_claim_writes import ClaimWritesContract
from tests.pipeline.catalogue.contract_history import HistoryContract
from tests.pipeline.catalogue.contract_single_flight import SingleFlightContract
from tests.pipeline.catalogue.contract_sources import SourcesContract
from tests.support.catalogues import MEDIA_KEY, attachment, claimed, failure, finished, stored

ROOT = Path(__file__).parents[3]
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def url(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/catalogue.db"
    Catalogue(url).migrate()
    return url


def connected(url: str) -> sqlite3.Connection:
    return sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)


def removed(url: str) -> Path:
    path = Path(url.removeprefix("sqlite:///"))
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
    return path


class TestContract(CatalogueContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestSingleFlight(SingleFlightContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestClaimWrites(ClaimWritesContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestSources(SourcesContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestHistory(HistoryContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


def test_created_directory_is_private(tmp_path: Path) -> None:
    Catalogue(f"sqlite:///{tmp_path}/var/catalogue.db").migrate()
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("place", ["/proc/none/catalogue.db", "{}/file/catalogue.db"])
def test_directory_that_cannot_be_created_names_the_setting(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SettingsError, match=r"DATABASE_URL: cannot write to .*VAR_DIR"):
        Catalogue(f"sqlite:///{place.format(tmp_path)}")


def carry(url: str, process: int, failures: Any) -> None:
    """Finishes 30 attachments of this process, and accepts one that all processes share."""
    catalogue = Catalogue(url)
    try:
        for number in range(30):
            catalogue.accept(attachment(message_id="shared"))
            finished(catalogue, of=attachment(message_id=f"{process}-{number}"))
    except Exception as error:
        failures.put(repr(error))
        raise


def test_concurrent_processes_count_correctly(url: str) -> None:
    failures = SPAWN.Queue()
    writers = [SPAWN.Process(target=carry, args=(url, number, failures)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(60)
    assert failures.empty(), failures.get()
    catalogue = Catalogue(url)
    totals = catalogue.totals()
    assert catalogue.count(Filters(status=Status.DONE)) == totals["done"] == totals["stored"] == 120
    assert (totals["received"], totals["duplicates"]) == (121, 119)


def test_concurrent_migrations_run_once(tmp_path: Path) -> None:
    program = (
        "import sys; from pipeline.catalogue import Catalogue\n"
        "catalogue = Catalogue(sys.argv[1]); catalogue.migrate(); catalogue.check_schema()"
    )
    url = f"sqlite:///{tmp_path}/new/folder/catalogue.db"
    started = [
        subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in started] == [("", 0)] * 4


def test_missing_tables_raise_an_error_with_the_remedy(tmp_path: Path) -> None:
    catalogue = Catalogue(f"sqlite:///{tmp_path}/new.db")
    for use in (catalogue.check_schema, catalogue.totals, lambda: catalogue.accept(attachment())):
        with pytest.raises(CatalogueError, match="esteira start"):
            use()
    catalogue.migrate()
    catalogue.check_schema()
    assert catalogue.accept(attachment()).fresh


def test_newer_revision_is_refused(url: str) -> None:
    connected(url).execute("UPDATE alembic_version SET version_num = '9999'")
    for use in (Catalogue(url).check_schema, Catalogue(url).migrate):
        with pytest.raises(CatalogueError):
            use()


@pytest.mark.parametrize(("revision", "usable"), [("9999", True), ("0001", False), ("", False), ("z", False)])
def test_check_schema_allows_only_a_newer_revision(url: str, revision: str, usable: bool) -> None:
    connected(url).execute("UPDATE alembic_version SET version_num = ?", (revision,))
    with contextlib.nullcontext() if usable else pytest.raises(CatalogueError):
        Catalogue(url).check_schema(newer_allowed=True)


def test_write_waits_for_a_lock(url: str) -> None:
    other = connected(url)
    other.execute("BEGIN EXCLUSIVE")
    catalogue = Catalogue(url)
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.append(catalogue.accept(attachment())))
    thread.start()
    time.sleep(0.3)
    assert not answers
    other.execute("ROLLBACK")
    thread.join()
    assert answers[0].fresh


def test_permanent_lock_is_a_retryable_error(url: str) -> None:
    other = connected(url)
    other.execute("BEGIN EXCLUSIVE")
    catalogue = Catalogue(url, wait_s=0.1)
    for _ in range(3):
        with pytest.raises(RetryableError, match="locked") as caught:
            catalogue.accept(attachment())
        assert caught.value.code == Code.CATALOGUE
    assert catalogue.totals()["received"] == 0  # readers do not wait
    other.execute("ROLLBACK")
    assert catalogue.accept(attachment()).fresh


def test_turn_and_lock_share_one_wait(url: str) -> None:
    other = connected(url)
    other.execute("BEGIN EXCLUSIVE")
    catalogue = Catalogue(url, wait_s=0.6)

    def refused(number: int) -> float:
        time.sleep(number * 0.1)
        began = time.monotonic()
        with pytest.raises(RetryableError):
            catalogue.accept(attachment())
        return time.monotonic() - began

    with ThreadPoolExecutor(5) as pool:
        waits = list(pool.map(refused, range(5)))
    assert all(0.55 < wait < 0.9 for wait in waits), waits
    other.execute("ROLLBACK")
    assert catalogue.accept(attachment()).fresh


def test_connection_gets_the_busy_timeout_of_each_user(url: str) -> None:
    database = Database(url, durable=False, wait_s=0.5)
    other = connected(url)
    other.execute("BEGIN EXCLUSIVE")
    with ThreadPoolExecutor(4) as pool:
        refusals = [pool.submit(database.write, lambda _: None) for _ in range(4)]
    assert all(isinstance(refusal.exception(), RetryableError) for refusal in refusals)
    found = database.read(lambda session: session.row(text("PRAGMA busy_timeout")))
    assert found
    assert 400 < found[0] <= 500


def test_lost_claim_leaves_no_open_transaction(url: str) -> None:
    catalogue = Catalogue(url)
    claim = claimed(catalogue, catalogue.accept(attachment()).id)
    claimed(catalogue, claim.id, takeover=True)
    with pytest.raises(SupersededError):
        catalogue.mark_failed(claim, failure())
    connected(url).execute("BEGIN IMMEDIATE")


def test_damaged_file_is_a_one_line_error(url: str) -> None:
    Catalogue(url).close()
    path = removed(url)
    path.write_bytes(b"this is no database at all" * 1000)
    with pytest.raises(RetryableError) as caught:
        Catalogue(url).check_schema()
    assert "\n" not in caught.value.message


def test_replaced_file_is_reopened(url: str) -> None:
    catalogue = Catalogue(url)
    catalogue.accept(attachment())
    removed(url)
    with pytest.raises(RetryableError, match="the file is missing"):
        catalogue.accept(attachment())
    Catalogue(url).migrate()
    assert catalogue.accept(attachment()).fresh
    assert Catalogue(url).count(Filters()) == 1


def test_file_that_was_moved_away_returns_with_its_last_commits(url: str) -> None:
    file = Path(url.removeprefix("sqlite:///"))
    catalogue = Catalogue(url)
    catalogue.accept(attachment())
    file.rename(file.with_suffix(".away"))
    for process in (catalogue, Catalogue(url)):  # one that had it open, and one that starts meanwhile
        with pytest.raises(RetryableError, match="the file is missing"):
            process.accept(attachment())
    assert not file.exists()
    file.with_suffix(".away").rename(file)
    assert Catalogue(url).count(Filters()) == 1
    assert catalogue.accept(attachment(message_id="second")).fresh


def test_full_disk_is_a_retryable_error_and_recovers(tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", mount]
    if os.geteuid() != 0 or subprocess.run(mounting, check=False).returncode:
        pytest.skip("a small filesystem cannot be mounted here")
    try:
        (mount / "ballast").write_bytes(b"x" * 1_000_000)
        catalogue = Catalogue(f"sqlite:///{mount}/catalogue.db")
        catalogue.migrate()
        accepted = 0
        error: RetryableError | None = None
        while error is None and accepted < 2000:
            try:
                catalogue.accept(attachment(caption="x" * 4000))
                accepted += 1
            except RetryableError as raised:
                error = raised
        assert error
        assert (error.code, "full" in error.message) == (Code.CATALOGUE, True)
        (mount / "ballast").unlink()
        assert catalogue.accept(attachment()).fresh
        assert catalogue.count(Filters()) == catalogue.totals()["received"] == accepted + 1
        catalogue.close()
    finally:
        subprocess.run(["umount", "-l", mount], check=True)


def test_errors_contain_no_secret(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    connected(url).execute("CREATE TRIGGER no BEFORE INSERT ON media BEGIN SELECT RAISE(ABORT, 'refused'); END")
    with pytest.raises(Exception, match="cannot") as caught:
        Catalogue(url).accept(attachment(media_key=MEDIA_KEY, url="https://user:pass@host/?token=secret"))
    shown = f"{caught.value!r} {caught.value.__cause__!r}"
    assert MEDIA_KEY not in shown
    assert "secret" not in shown


@pytest.mark.parametrize(
    "wrong",
    ["", "nonsense", "mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:", "postgresql://u:secret@h:port/d"],
)
def test_invalid_url_is_refused_without_its_password(wrong: str) -> None:
    with pytest.raises(SettingsError, match="DATABASE_URL") as caught:
        Catalogue(wrong)
    assert "secret" not in str(caught.value)


def test_durable_catalogue_syncs_at_every_commit(url: str) -> None:
    for durable, expected in ((True, 2), (False, 1)):
        with Database(url, durable=durable).engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == expected
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"


def test_forked_child_opens_its_own_connections(url: str) -> None:
    catalogue = Catalogue(url)
    catalogue.accept(attachment(message_id="before"))
    child = os.fork()
    if child == 0:
        status = 1
        with contextlib.suppress(BaseException):
            fresh = catalogue.accept(attachment(message_id="child")).fresh
            status = 0 if fresh and catalogue.totals()["received"] == 2 else 1
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert catalogue.accept(attachment(message_id="after")).fresh
    assert catalogue.totals()["received"] == 3


def test_killed_writer_leaves_an_intact_file(url: str) -> None:
    program = (
        "import sys; from pipeline.catalogue import Catalogue; from tests.support.catalogues import finished\n"
        "catalogue = Catalogue(sys.argv[1])\n"
        "while True:\n    finished(catalogue); print('.', flush=True)"
    )
    for _ in range(5):
        child = subprocess.Popen([sys.executable, "-c", program, url], cwd=ROOT, stdout=subprocess.PIPE)
        assert child.stdout
        for _ in range(5):
            child.stdout.readline()
        child.kill()
        child.communicate()
    assert connected(url).execute("PRAGMA integrity_check").fetchone() == ("ok",)
    catalogue, totals = Catalogue(url), Catalogue(url).totals()
    assert catalogue.count(Filters()) == totals["received"]
    assert catalogue.count(Filters(status=Status.DONE)) == totals["done"]


def test_replay_after_failed_notify_without_content_starts_at_fetch(url: str) -> None:
    catalogue = Catalogue(url)
    failed = finished(catalogue, Status.FAILED, stage=Stage.NOTIFY)
    record = catalogue.reopen(failed.id)
    assert record
    assert (record.status, record.stage) == (Status.RECEIVED, Stage.FETCH)
    assert catalogue.mark_failed(claimed(catalogue, failed.id), failure()).status is Status.FAILED
    assert stored()
