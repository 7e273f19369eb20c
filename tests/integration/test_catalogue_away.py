"""Hand-overs while PostgreSQL is away, read-only, or closed to new connections: none is refused, lost or doubled."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg import sql

from actors.hook import Hook
from actors.intake.spooled_intake import HUNG_S
from actors.redis_queue.queue import QUICK_TIMEOUT_S, open_queue
from pipeline.models import Status
from pipeline.security.roles import Role
from pipeline.services import build_services
from pipeline.storage import intake_key
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.system import RunningSystem, photo
from tests.support.users import user
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.web import app_client

UNKNOWN_TOKEN = {"Authorization": f"Bearer est_{'0' * 12}_{'x' * 43}"}
URL = "https://media.example/a.jpg"


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def system(valkey: ValkeyServer, postgres: PostgresServer, tmp_path: Path) -> Iterator[RunningSystem]:
    with closing(RunningSystem(tmp_path, valkey.url, {"DATABASE_URL": postgres.new_database()})) as made:
        yield made


def alter(postgres: PostgresServer, system: RunningSystem, change: str) -> None:
    """Changes the database, and ends its connections as an administrator does."""
    name = system.settings.database.rpartition("/")[2]
    with psycopg.connect(postgres.url(), autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} " + change).format(sql.Identifier(name)))  # type: ignore[arg-type]
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])


def spooled(system: RunningSystem) -> list[Path]:
    return list((system.folder / "spool").glob("*.json"))


@pytest.mark.parametrize(
    ("change", "undo"),
    [
        ("SET default_transaction_read_only = on", "RESET default_transaction_read_only"),  # as after a failover
        ("ALLOW_CONNECTIONS false", "ALLOW_CONNECTIONS true"),
    ],
    ids=["read-only", "closed"],
)
def test_server_that_answers_and_records_nothing_counts_as_away(
    system: RunningSystem, postgres: PostgresServer, change: str, undo: str
) -> None:
    assert system.submit(url=URL).mode == "queued"
    alter(postgres, system, change)
    receipts = [system.submit(url=URL) for _ in range(3)]
    assert {receipt.mode for receipt in receipts} == {"deferred"}
    alter(postgres, system, undo)
    wait_until(lambda: not spooled(system), 10)
    assert [system.record(receipt.id).status for receipt in receipts] == [Status.RECEIVED] * 3
    wait_until(lambda: system.submit(url=URL).mode == "queued", 5)


def test_ended_connections_alone_defer_nothing(system: RunningSystem, postgres: PostgresServer) -> None:
    assert system.submit(url=URL).mode == "queued"
    alter(postgres, system, "SET application_name = 'x'")
    assert system.submit(url=URL).mode == "queued"


def test_process_that_starts_while_the_catalogue_is_away_accepts(
    system: RunningSystem, postgres: PostgresServer
) -> None:
    postgres.stop()
    try:
        services = build_services(system.settings, wait_s=1.5)
        hook = Hook(services, open_queue(system.settings, timeout_s=QUICK_TIMEOUT_S))
        receipt = hook.accept(system.attachment(url=URL))
        assert (receipt.mode, receipt.status) == ("deferred", Status.RECEIVED)
    finally:
        postgres.start()
    wait_until(lambda: not spooled(system), 10)
    assert system.record(receipt.id)
    hook.close()


def test_web_app_that_starts_without_its_catalogue_takes_every_kind_of_hand_over(
    system: RunningSystem, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, upload = photo(), photo()
    postgres.stop()
    try:
        with app_client(system, monkeypatch) as http:
            answers = [
                http.post("/hooks/media", json={"session": "s", "message_id": "m1", "url": URL}),
                http.post("/hooks/media", json={"session": "s", "message_id": "m2", "data": _base64(image)}),
                http.post("/hooks/media", data={"session": "s", "message_id": "m3"}, files={"file": ("a.jpg", upload)}),
                http.post("/hooks/media?wait=0.3", json={"session": "s", "message_id": "m4", "url": URL}),
                http.post("/hooks/media", json={"session": "s", "message_id": "m1", "url": URL}),
            ]
            assert [answer.status_code for answer in answers] == [202] * 5
            ids = [answer.json()["accepted"][0]["id"] for answer in answers]
            assert ids[0] == ids[4]
            assert answers[3].headers["X-Attachment-Id"] == ids[3]
            assert (http.get("/readyz").status_code, http.get("/readyz?for=intake").status_code) == (503, 200)
            assert http.get(f"/media/{ids[0]}").status_code == 503
            postgres.start()
            wait_until(lambda: not spooled(system), 20)
            assert [http.get(f"/media/{media_id}").json()["status"] for media_id in ids] == ["received"] * 5
    finally:
        postgres.stop()
        postgres.start()
    kept = [b"".join(system.services.storage.chunks(intake_key(media_id))) for media_id in ids[1:3]]
    assert kept == [image, upload]
    assert system.services.catalogue.totals()["received"] == 4
    assert system.queue.stats.counts()["fetch"]["ready"] == 4


def test_users_token_hands_over_while_its_copy_is_young(
    system: RunningSystem, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with app_client(system, monkeypatch) as http:
        header = {"Authorization": f"Bearer {user(system, 'ana', Role.INTAKE)}"}
        fields = {"session": "s", "message_id": "m1", "url": URL}
        assert http.post("/hooks/media", json=fields, headers=header).status_code == 202
        postgres.stop()
        try:
            answer = http.post("/hooks/media", json=fields | {"message_id": "m2"}, headers=header)
            unknown = http.post("/hooks/media", json=fields, headers=UNKNOWN_TOKEN)
        finally:
            postgres.start()
        assert answer.status_code == 202
        assert unknown.status_code in {401, 503}
        wait_until(lambda: not spooled(system), 20)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def test_order_of_arrival_is_the_order_in_the_queue(system: RunningSystem, postgres: PostgresServer) -> None:
    postgres.stop()
    receipts = [system.submit(url=URL, message_id=f"m{number}") for number in range(20)]
    postgres.start()
    wait_until(lambda: not spooled(system), 10)
    with psycopg.connect(system.settings.database) as connection:
        rows = connection.execute("SELECT message_id FROM media ORDER BY received_at, ctid").fetchall()
    assert [row[0] for row in rows] == [f"m{number}" for number in range(20)]
    assert system.queue.stats.counts()["fetch"]["ready"] == len({receipt.id for receipt in receipts}) == 20


@contextmanager
def frozen(postgres: PostgresServer) -> Iterator[None]:
    """Stops all processes of the server, as a host whose disk hangs: connections stay, and nothing answers."""
    server = psutil.Process(postgres.pid)
    processes = [server, *server.children(recursive=True)]
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_server_that_hangs_delays_only_the_first_calls(system: RunningSystem, postgres: PostgresServer) -> None:
    assert system.submit(url=URL).mode == "queued"
    with ThreadPoolExecutor() as pool:
        with frozen(postgres):
            first = pool.submit(system.submit, url=URL)
            wait_until(lambda: system.hook._spooled._running.oldest_s > HUNG_S, 10)  # type: ignore[union-attr]
            later = [system.submit(url=URL) for _ in range(3)]
            assert {receipt.mode for receipt in later} == {"deferred"}
            assert not first.done()
        assert first.result(20).mode == "queued"
    wait_until(lambda: not spooled(system), 20)
    assert all(system.record(receipt.id) for receipt in later)
