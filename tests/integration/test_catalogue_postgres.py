"""The catalogue on a real PostgreSQL server: the contract, restarts, concurrent migrations."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine

from pipeline.catalogue import Catalogue, CatalogueError, Filters, engines, statements, statistics
from pipeline.catalogue.indexes import metadata
from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.models import Status
from tests.pipeline.catalogue.contract_access import AccessContract
from tests.pipeline.catalogue.contract_audit import AuditContract
from tests.pipeline.catalogue.contract_catalogue import CatalogueContract
from tests.pipeline.catalogue.contract_claim_writes import ClaimWritesContract
from tests.pipeline.catalogue.contract_failures import FailuresContract
from tests.pipeline.catalogue.contract_history import HistoryContract
from tests.pipeline.catalogue.contract_previews import PreviewsContract
from tests.pipeline.catalogue.contract_single_flight import SingleFlightContract
from tests.pipeline.catalogue.contract_sources import SourcesContract
from tests.pipeline.catalogue.contract_statistics import StatisticsContract
from tests.support.catalogues import MEDIA_KEY, attachment, claimed, finished, mark_stored, stored
from tests.support.postgres import PASSWORD, PostgresServer, postgres_server

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def empty(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture
def url(empty: str) -> Iterator[str]:
    catalogue = Catalogue(empty)
    catalogue.migrate()
    catalogue.close()
    yield empty
    # Connections that a test leaves open must not exhaust the server's limit.
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )


class TestContract(CatalogueContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestAccess(AccessContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestAudit(AuditContract):
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


class TestPreviews(PreviewsContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestStatistics(StatisticsContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


class TestFailures(FailuresContract):
    @pytest.fixture
    def url(self, url: str) -> str:
        return url


def test_migrations_create_the_tables_of_the_code(url: str) -> None:
    with create_engine(url.replace("postgresql:", "postgresql+psycopg:")).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_concurrent_migrations_run_once(empty: str) -> None:
    program = (
        "import os; from pipeline.catalogue import Catalogue\n"
        "catalogue = Catalogue(os.environ['DATABASE_URL']); catalogue.migrate(); catalogue.check_schema()"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", program], cwd=ROOT, stderr=subprocess.PIPE, text=True, env={"DATABASE_URL": empty}
        )
        for _ in range(4)
    ]
    assert [(process.communicate(timeout=60)[1], process.returncode) for process in started] == [("", 0)] * 4


def test_heroku_url_is_accepted(url: str) -> None:
    Catalogue(url.replace("postgresql://", "postgres://")).check_schema()


def test_missing_tables_raise_an_error_with_the_remedy(empty: str) -> None:
    catalogue = Catalogue(empty)
    for use in (catalogue.check_schema, catalogue.totals, lambda: catalogue.accept(attachment())):
        with pytest.raises(CatalogueError, match="esteira start"):
            use()


def test_concurrent_threads_count_correctly(url: str) -> None:
    catalogues = [Catalogue(url) for _ in range(3)]

    def finish_attachments(number: int) -> None:
        catalogues[number % 3].accept(attachment(message_id="shared"))
        finished(catalogues[number % 3])

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(finish_attachments, range(120)))
    totals = catalogues[0].totals()
    assert (totals["received"], totals["duplicates"]) == (121, 119)
    assert totals["stored"] == totals["done"] == catalogues[0].count(Filters(status=Status.DONE)) == 120


def test_concurrent_renewals_do_not_deadlock(url: str) -> None:
    catalogue = Catalogue(url)
    tokens = [claimed(catalogue, catalogue.accept(attachment()).id).token for _ in range(30)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: catalogue.renew(tokens[:: (-1) ** n], lease_s=60), range(40)))


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_calls_survive_a_server_restart(server: PostgresServer, url: str, mode: str) -> None:
    catalogue = Catalogue(url)
    with ThreadPoolExecutor(6) as pool:  # so that the pool has several connections
        list(pool.map(lambda _: catalogue.accept(attachment()), range(30)))
    claim = claimed(catalogue, catalogue.accept(attachment()).id)
    server.stop(mode)
    server.start()
    assert mark_stored(catalogue, claim, stored()).status is Status.STORED
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: catalogue.accept(attachment()), range(30)))
    assert catalogue.totals()["received"] == 61


def test_unreachable_server_is_a_retryable_error_without_password(server: PostgresServer, url: str) -> None:
    catalogue = Catalogue(url)
    catalogue.totals()
    server.stop()
    try:
        for use in (catalogue.totals, catalogue.migrate, lambda: catalogue.accept(attachment())):
            with pytest.raises(RetryableError) as caught:
                use()
            assert caught.value.code == Code.CATALOGUE
            assert PASSWORD not in caught.value.message
            assert "127.0.0.1" in caught.value.message
            assert "\n" not in caught.value.message
    finally:
        server.start()
    assert catalogue.accept(attachment()).fresh


def test_locked_table_is_a_retryable_error(url: str) -> None:
    catalogue = Catalogue(url, wait_s=1)
    with psycopg.connect(url) as other:
        other.execute("LOCK TABLE media IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        with pytest.raises(RetryableError, match="lock timeout"):
            catalogue.accept(attachment())
        assert time.monotonic() - began < 5
    assert catalogue.accept(attachment()).fresh


def test_two_locks_share_one_wait(url: str) -> None:
    catalogue = Catalogue(url, wait_s=1)
    catalogue.totals()
    with psycopg.connect(url) as first, psycopg.connect(url) as second:
        first.execute("LOCK TABLE media IN ACCESS EXCLUSIVE MODE")
        second.execute("LOCK TABLE counters IN ACCESS EXCLUSIVE MODE")
        threading.Timer(0.7, first.rollback).start()
        began = time.monotonic()
        with pytest.raises(RetryableError, match="lock timeout"):
            catalogue.accept(attachment())
        assert 0.9 < time.monotonic() - began < 1.4
    assert catalogue.accept(attachment()).fresh


def test_locks_of_a_dead_host_are_released(url: str) -> None:
    engine = engines.open_postgresql(engines.database_url(url), wait_s=0.5)
    dead = engine.raw_connection()
    dead.cursor().execute("BEGIN; LOCK TABLE media IN ACCESS EXCLUSIVE MODE")
    assert Catalogue(url, wait_s=20).accept(attachment()).fresh
    with pytest.raises(psycopg.Error):
        dead.cursor().execute("COMMIT")
    dead.invalidate()
    with engine.connect() as alive:  # the server sends keepalives and ends connections of a dead host
        assert alive.exec_driver_sql("SHOW tcp_keepalives_idle").scalar() == "30"
    engine.dispose()


def test_exhausted_pool_is_a_retryable_error(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "CONNECTIONS", 1)
    catalogue = Catalogue(url, wait_s=1)
    catalogue.totals()
    with psycopg.connect(url) as other, ThreadPoolExecutor(8) as pool:
        other.execute("LOCK TABLE counters IN ACCESS EXCLUSIVE MODE")
        waiting = [pool.submit(catalogue.totals) for _ in range(8)]
        codes = {type(error).__name__ for future in waiting if (error := future.exception(timeout=30))}
        other.rollback()
    assert codes == {"RetryableError"}
    assert catalogue.totals()["received"] == 0


def test_errors_contain_no_secret(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute("ALTER TABLE media ADD CONSTRAINT no CHECK (length(payload) < 5)")
    with pytest.raises(Exception, match="cannot hold") as caught:
        Catalogue(url).accept(attachment(media_key=MEDIA_KEY))
    assert MEDIA_KEY not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_listings_and_statistics_use_their_indexes(url: str) -> None:
    """With 20,000 rows, because PostgreSQL reads a small table completely."""
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "INSERT INTO media (id, gateway, session, message_id, part, status, stage, attempts, run, kind, "
            "received_at, finished_at, intake, payload) SELECT md5(n::text), 'waha', 's' || n % 50, n::text, 0, "
            "CASE WHEN n % 100 = 0 THEN 'failed' ELSE 'done' END, 'notify', 0, 0, 'image', n, n + 5, false, '{}' "
            "FROM generate_series(1, 20000) n"
        )
        other.execute("ANALYZE media")
    dialect = create_engine("postgresql+psycopg://").dialect
    values = {
        "limit": 50,
        "newest": 500,
        "since": 19_000,
        "now": 30_000,
        "before": 30_000,
        "session": "s7",
        "status": "failed",
    }
    with psycopg.connect(url) as connection:
        for statement in (
            statements.listing(frozenset(), paged=False),
            statements.listing(frozenset({"session"}), paged=False),
            statements.listing(frozenset({"session", "status"}), paged=False),
            statements.UNFINISHED,
            statistics.DURATIONS,
            statistics.FINISHED_SINCE,
        ):
            compiled = statement.compile(dialect=dialect)
            given = {name: values.get(name, bind.value) for name, bind in compiled.binds.items()}
            plan = [row[0] for row in connection.execute(f"EXPLAIN {compiled.string}", given)]  # type: ignore[arg-type]
            assert not any("Seq Scan" in line for line in plan), plan


def test_server_restart_under_load_loses_no_count(server: PostgresServer, url: str) -> None:
    catalogue = Catalogue(url)
    accepted: list[str] = []
    unsure = 0
    done = threading.Event()

    def load() -> None:
        nonlocal unsure
        while not done.is_set():
            try:
                accepted.append(catalogue.accept(attachment()).id)
            except RetryableError:
                unsure += 1
                time.sleep(0.05)

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    server.stop("fast")
    server.start()
    time.sleep(0.5)
    done.set()
    for thread in threads:
        thread.join()
    totals = catalogue.totals()
    rows = catalogue.count(Filters())
    assert totals["received"] == rows
    assert len(accepted) <= rows <= len(accepted) + unsure


def test_errors_contain_no_value_of_a_row(url: str) -> None:
    """The server's text quotes the whole row that violates a constraint."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("ALTER TABLE media ADD CONSTRAINT no_caption CHECK (caption IS NULL)")
    declared = attachment(media_key=MEDIA_KEY, url="https://media.example/?oh=zQ9-signature", caption="x")
    with pytest.raises(PermanentError) as caught:
        Catalogue(url).accept(declared)
    shown = "".join(traceback.format_exception(caught.value))
    assert "CheckViolation" in shown
    assert MEDIA_KEY not in shown
    assert "zQ9" not in shown
