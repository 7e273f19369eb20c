"""`esteira doctor` with real servers that are misconfigured."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.cli_forkserver import CliForkserver, cli_forkserver
from tests.support.esteira import Installation, new_installation
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer, running_valkey
from tests.support.waiting import wait_until


@pytest.fixture(scope="module")
def esteira() -> Iterator[CliForkserver]:
    with cli_forkserver() as made:
        yield made


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    with postgres_server() as server:
        yield server


@pytest.fixture
def installation(own_valkey: ValkeyServer, esteira: CliForkserver) -> Iterator[Installation]:
    with new_installation(esteira, REDIS_URL=own_valkey.url) as made:
        assert made.run("migrate").code == 0
        yield made


def run_doctor(installation: Installation) -> tuple[int, dict[str, Any]]:
    """The exit status, and the findings by the name of their check."""
    finished = installation.run("doctor", "--json")
    assert finished.err == ""
    return finished.code, {finding["check"]: finding for finding in finished.json["checks"]}


def configure(server: ValkeyServer, **options: str) -> None:
    for name, value in options.items():
        server.client().config_set(name.replace("_", "-"), value)


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_eviction_policy_that_deletes_queues_fails(
    installation: Installation, own_valkey: ValkeyServer, policy: str
) -> None:
    configure(own_valkey, maxmemory_policy=policy)
    code, findings = run_doctor(installation)
    assert (code, findings["redis eviction"]["level"]) == (1, "fail")
    assert "noeviction" in findings["redis eviction"]["remedy"]


def test_eviction_policy_that_deletes_only_finished_jobs_warns(
    installation: Installation, own_valkey: ValkeyServer
) -> None:
    configure(own_valkey, maxmemory_policy="volatile-lru")
    code, findings = run_doctor(installation)
    assert (code, findings["redis eviction"]["level"]) == (0, "warn")


def test_missing_append_only_file_warns(installation: Installation, own_valkey: ValkeyServer) -> None:
    configure(own_valkey, appendonly="no")
    code, findings = run_doctor(installation)
    assert (code, findings["redis persistence"]["level"]) == (0, "warn")
    assert "appendonly yes" in findings["redis persistence"]["remedy"]


def test_full_redis_fails(installation: Installation, own_valkey: ValkeyServer) -> None:
    configure(own_valkey, maxmemory="1mb")
    code, findings = run_doctor(installation)
    assert (code, findings["redis memory"]["level"]) == (1, "fail")


def test_read_only_replica_fails(installation: Installation, own_valkey: ValkeyServer) -> None:
    with running_valkey() as primary:
        own_valkey.client().replicaof("127.0.0.1", primary.port)
        code, findings = run_doctor(installation)
    assert (code, findings["redis role"]["level"]) == (1, "fail")


def test_refused_login_names_the_password_setting(installation: Installation, own_valkey: ValkeyServer) -> None:
    configure(own_valkey, requirepass="hunter2")
    code, findings = run_doctor(installation)
    assert (code, findings["redis"]["level"]) == (1, "fail")
    assert "PASSWORD_REDIS" in findings["redis"]["remedy"]


def test_stalled_redis_is_reported_as_a_timeout(installation: Installation, own_valkey: ValkeyServer) -> None:
    own_valkey.pause()
    code, findings = run_doctor(installation)
    own_valkey.resume()
    assert code == 1
    assert "TimeoutError" in findings["redis"]["message"]


def test_running_workers_are_counted(system: RunningSystem, esteira: CliForkserver) -> None:
    with system.workers():
        wait_until(lambda: system.queue.client.zcard(system.queue.keys.workers), 30)  # the first beat follows the boot
        code, findings = run_doctor(Installation(system.folder, system.env, esteira))
    assert (code, findings["workers"]["message"]) == (0, "1 worker process running")


def test_postgresql_is_checked_with_its_clock(installation: Installation, postgres: PostgresServer) -> None:
    postgresql = installation.with_settings(DATABASE_URL=postgres.new_database())
    code, findings = run_doctor(postgresql)
    assert (code, findings["catalogue"]["level"]) == (1, "fail")
    assert "esteira migrate" in findings["catalogue"]["remedy"]
    assert postgresql.run("migrate").code == 0
    code, findings = run_doctor(postgresql)
    assert code == 0
    assert findings["catalogue"]["level"] == findings["catalogue clock"]["level"] == "ok"
    assert "catalogue journal" not in findings


def test_postgresql_with_a_wrong_clock_warns(installation: Installation, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    postgresql = installation.with_settings(DATABASE_URL=url)
    assert postgresql.run("migrate").code == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shifted")
        connection.execute(
            "CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
            " AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$"
        )
        name = url.rpartition("/")[2]
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = shifted, pg_catalog, public')
    code, findings = run_doctor(postgresql)
    assert (code, findings["catalogue clock"]["level"]) == (0, "warn")
    assert "+3600." in findings["catalogue clock"]["message"]
