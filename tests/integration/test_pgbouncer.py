"""The catalogue behind PgBouncer in transaction mode, where each transaction may run on another server connection."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Executable, literal, select, text

from actors.doctor.catalogue import check_tables
from pipeline.catalogue import Catalogue
from pipeline.catalogue.database import Database
from pipeline.catalogue.health import DatabaseHealth
from pipeline.catalogue.session import Session
from pipeline.catalogue.single_flight import LOCK_HASH
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.pgbouncer import PgBouncer, running_pgbouncer
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer

POOL_SIZE = 3
LOCK, IDLE = "lock_timeout", "idle_in_transaction_session_timeout"
ONE = select(literal(1))
PREPARED = text("SELECT count(*) FROM pg_prepared_statements")


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture(scope="module")
def pgbouncer(server: PostgresServer) -> Iterator[PgBouncer]:
    with running_pgbouncer(server.url(), pool_size=POOL_SIZE) as running:
        yield running


@pytest.fixture
def direct_url(server: PostgresServer) -> str:
    return server.new_database()


@pytest.fixture
def url(direct_url: str, pgbouncer: PgBouncer) -> str:
    """The URL of an empty database through PgBouncer."""
    return pgbouncer.url(direct_url)


@pytest.fixture(scope="module")
def migrated_url(server: PostgresServer, pgbouncer: PgBouncer) -> str:
    made = pgbouncer.url(server.new_database())
    catalogue = Catalogue(made)
    catalogue.migrate()
    catalogue.close()
    return made


def limit(name: str) -> Executable:
    """The statement for the value of a limit in ms; 0 is none."""
    return text(f"SELECT setting FROM pg_settings WHERE name = '{name}'")


def test_attachments_go_all_the_way_through_few_connections(url: str, valkey: ValkeyServer, tmp_path: Path) -> None:
    system = RunningSystem(tmp_path, valkey.url, {"DATABASE_URL": url})
    names = [f"{number}.jpg" for number in range(80)]
    with MediaServer({name: photo() for name in names}) as media, system.workers(threads=8):
        with ThreadPoolExecutor(8) as bots:
            receipts = list(bots.map(lambda name: system.submit(url=media.url(name)), names))
        records = system.wait_finished(*(receipt.id for receipt in receipts), within_s=60)
        hits = [media.hits(name) for name in names]
    system.close()
    assert {record.status for record in records} == {Status.DONE}
    assert hits == [1] * len(names)


def test_server_connections_keep_nothing_of_a_client(migrated_url: str) -> None:
    database = Database(migrated_url, durable=True)
    for _ in range(20):  # a driver that prepares statements does it after the fifth use
        database.read(lambda session: session.rows(ONE))
        database.write(lambda session: session.rows(ONE))
    database.close()
    with psycopg.connect(migrated_url, autocommit=True, prepare_threshold=None) as connection:
        assert [connection.execute(f"SHOW {name}").fetchone() for name in (LOCK, IDLE)] == [("0",), ("0",)]
        assert connection.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)


def test_transaction_brings_its_limits_with_it(migrated_url: str) -> None:
    database = Database(migrated_url, durable=True, wait_s=4)
    lock_ms, idle_ms = database.write(lambda session: [session.rows(limit(name))[0][0] for name in (LOCK, IDLE)])
    database.close()
    assert 3000 < int(lock_ms) <= 4000
    assert int(idle_ms) == 8000


def test_doctor_names_the_pooler(migrated_url: str, server: PostgresServer) -> None:
    with closing(DatabaseHealth(migrated_url)) as behind, closing(DatabaseHealth(server.url())) as direct:
        assert "behind a pooler" in check_tables(behind).message
        assert not direct.behind_pooler()


def test_direct_connection_prepares_statements_and_has_its_limits_in_the_session(server: PostgresServer) -> None:
    database = Database(server.url(), durable=True, wait_s=4)
    for _ in range(20):
        limits = database.read(lambda session: [int(session.rows(limit(name))[0][0]) for name in (LOCK, IDLE)])
    [[prepared]] = database.read(lambda session: session.rows(PREPARED))
    database.close()
    assert limits == [4000, 8000]
    assert prepared


def test_simultaneous_migrations_through_pgbouncer_apply_each_revision_once(url: str) -> None:
    catalogues = [Catalogue(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        revisions = list(threads.map(lambda catalogue: catalogue.migrate(), catalogues))
    for catalogue in catalogues:
        catalogue.close()
    assert sum(before is None for before, _ in revisions) == 1
    assert len({after for _, after in revisions}) == 1


def test_lock_of_a_content_holds_through_pgbouncer(migrated_url: str) -> None:
    database = Database(migrated_url, durable=True)
    order: list[str] = []
    locked, go_on = threading.Event(), threading.Event()

    def first(session: Session) -> None:
        session.rows(LOCK_HASH, lock=7)
        locked.set()
        go_on.wait(10)
        order.append("first")

    def second(session: Session) -> None:
        session.rows(LOCK_HASH, lock=7)
        order.append("second")

    with ThreadPoolExecutor(2) as threads:
        running = threads.submit(database.write, first)
        locked.wait(10)
        waiting = threads.submit(database.write, second)
        time.sleep(0.2)
        go_on.set()
        running.result(10), waiting.result(10)
    database.close()
    assert order == ["first", "second"]
