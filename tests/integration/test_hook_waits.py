"""How long the hook waits while another process holds the catalogue locked."""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import psycopg
import pytest
from fastapi.testclient import TestClient

from tests.support.postgres import PostgresServer, postgres_server
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.web import app_client

AT_ONCE = 10
WAIT_S = 1.5
ANSWERED_S = 4.0  # 1.5 s, and what a crowded machine adds; without a bound it takes 10


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@contextmanager
def locked_file(system: RunningSystem) -> Iterator[None]:
    with closing(sqlite3.connect(system.folder / "esteira.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        yield


@contextmanager
def locked_table(system: RunningSystem) -> Iterator[None]:
    with psycopg.connect(system.settings.database) as holder:
        holder.execute("LOCK TABLE media IN ROW EXCLUSIVE MODE")  # readers go on, as they do on SQLite
        holder.execute("LOCK TABLE counters IN SHARE MODE")
        yield


Locking = Callable[[RunningSystem], AbstractContextManager[None]]


@pytest.fixture(params=["sqlite", "postgresql"])
def held(
    request: pytest.FixtureRequest, valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[TestClient, AbstractContextManager[None]]]:
    """The app with its catalogue, and a block during which another process holds the catalogue locked."""
    server = request.getfixturevalue("postgres") if request.param == "postgresql" else None
    locking: Locking = locked_table if server else locked_file
    settings = {"DATABASE_URL": server.new_database()} if server else {}
    with closing(RunningSystem(tmp_path, valkey.url, settings)) as system:
        yield app_client(system, monkeypatch), locking(system)


def given(number: int) -> dict[str, str]:
    """Every third brings its bytes, for which the catalogue is asked once more."""
    source = {"url": "http://127.0.0.1:9/a"} if number % 3 else {"data": base64.b64encode(photo()).decode()}
    return {"session": "s", "message_id": f"m{number}", **source}


def test_waiting_callers_are_answered_soon_on_a_locked_catalogue(
    held: tuple[TestClient, AbstractContextManager[None]],
) -> None:
    http, locked = held
    assert http.post("/hooks/media", json=given(1)).status_code == 202  # so that all is opened

    def post(number: int) -> tuple[int, float]:
        time.sleep(number * 0.05)
        began = time.monotonic()
        answer = http.post("/hooks/media", json=given(number))
        assert answer.json()["accepted"][0]["status"] == "received"
        return answer.status_code, time.monotonic() - began

    numbers = range(2, 2 + AT_ONCE)
    with locked, ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(post, numbers))
        began = time.monotonic()
        assert http.post("/hooks/media", json=given(99)).status_code == 202
        assert time.monotonic() - began < WAIT_S  # it has not waited for the catalogue
    assert [status for status, _ in answers] == [202] * AT_ONCE
    assert max(seconds for _, seconds in answers) < ANSWERED_S
    again = [http.post("/hooks/media", json=given(number)) for number in numbers]
    assert [answer.status_code for answer in again] == [202] * AT_ONCE


def test_callers_without_a_spool_fail_soon_on_a_locked_catalogue(
    held: tuple[TestClient, AbstractContextManager[None]], tmp_path: Path
) -> None:
    http, locked = held
    (tmp_path / "spool").write_text("")  # no folder can be made here
    assert http.post("/hooks/media", json=given(1)).status_code == 202
    with locked:
        began = time.monotonic()
        answer = http.post("/hooks/media", json=given(2))
        assert time.monotonic() - began < ANSWERED_S
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert answer.json()["error"]["code"] == "catalogue"
    assert http.post("/hooks/media", json=given(2)).status_code == 202


def test_short_catalogue_lock_delays_but_does_not_refuse(
    held: tuple[TestClient, AbstractContextManager[None]],
) -> None:
    http, locked = held
    assert http.post("/hooks/media", json=given(1)).status_code == 202
    with ThreadPoolExecutor(AT_ONCE) as pool:
        with locked:
            waiting = [pool.submit(http.post, "/hooks/media", json=given(number)) for number in range(2, 2 + AT_ONCE)]
            time.sleep(0.5)
            assert not any(answer.done() for answer in waiting)
        assert [answer.result().status_code for answer in waiting] == [202] * AT_ONCE
