"""`esteira doctor` before real servers that are set up badly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from actors.redis_queue.keys import Keys
from tests.support.cli_forkserver import CliForkserver, cli_forkserver
from tests.support.esteira import Installation, new_installation
from tests.support.postgres import PostgresServer, postgres_server
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer, free_port, running_valkey
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


def examined(installation: Installation) -> tuple[int, dict[str, Any]]:
    """The exit status, and the findings by the names of their checks."""
    finished = installation.run("doctor", "--json")
    assert finished.err == ""
    return finished.code, {finding["check"]: finding for finding in finished.json["checks"]}


def configure(server: ValkeyServer, **options: str) -> None:
    for name, value in options.items():
        server.client().config_set(name.replace("_", "-"), value)


@pytest.fixture
def shards() -> Iterator[list[ValkeyServer]]:
    """A cluster of two; the second holds the belt's keys."""
    buses = [free_port(), free_port()]
    options = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) for bus in buses]
    with (
        running_valkey(aof=False, arguments=options[0]) as one,
        running_valkey(aof=False, arguments=options[1]) as other,
    ):
        ours: Any = one.client().execute_command("CLUSTER KEYSLOT", Keys().workers)
        one.client().execute_command("CLUSTER ADDSLOTSRANGE", 0, ours - 1)
        other.client().execute_command("CLUSTER ADDSLOTSRANGE", ours, 16_383)
        one.client().execute_command("CLUSTER MEET", "127.0.0.1", other.port, buses[1])
        wait_until(lambda: all("cluster_state:ok" in _cluster(server) for server in (one, other)), 30)
        yield [one, other]


def _cluster(server: ValkeyServer) -> str:
    return str(server.client().execute_command("CLUSTER", "INFO"))


def test_a_shard_that_has_not_the_belts_keys_fails_and_one_that_has_is_a_risk(
    shards: list[ValkeyServer], esteira: CliForkserver
) -> None:
    wrong, right = shards
    with new_installation(esteira, REDIS_URL=right.url) as made:
        assert made.run("migrate").code == 0
        assert examined(made)[1]["cluster"]["level"] == "warn"
        code, found = examined(made.with_settings(REDIS_URL=wrong.url))
    assert (code, found["redis"]["level"]) == (1, "fail")
    assert f"belong to its shard 127.0.0.1:{right.port}" in found["redis"]["message"]
    assert "without cluster mode" in found["redis"]["remedy"]


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_policy_that_throws_queues_away_fails(
    installation: Installation, own_valkey: ValkeyServer, policy: str
) -> None:
    configure(own_valkey, maxmemory_policy=policy)
    code, findings = examined(installation)
    assert (code, findings["eviction"]["level"]) == (1, "fail")
    assert "noeviction" in findings["eviction"]["remedy"]


def test_a_policy_that_throws_only_the_ledger_away_warns(installation: Installation, own_valkey: ValkeyServer) -> None:
    configure(own_valkey, maxmemory_policy="volatile-lru")
    code, findings = examined(installation)
    assert (code, findings["eviction"]["level"]) == (0, "warn")


def test_no_append_only_file_warns_for_the_sweep_puts_back_what_is_forgotten(
    installation: Installation, own_valkey: ValkeyServer
) -> None:
    configure(own_valkey, appendonly="no")
    code, findings = examined(installation)
    assert (code, findings["append-only file"]["level"]) == (0, "warn")
    assert "appendonly yes" in findings["append-only file"]["remedy"]


def test_a_full_redis_fails(installation: Installation, own_valkey: ValkeyServer) -> None:
    configure(own_valkey, maxmemory="1mb")
    code, findings = examined(installation)
    assert (code, findings["memory"]["level"]) == (1, "fail")


def test_a_replica_fails(installation: Installation, own_valkey: ValkeyServer) -> None:
    with running_valkey() as primary:
        own_valkey.client().replicaof("127.0.0.1", primary.port)
        code, findings = examined(installation)
    assert (code, findings["role"]["level"]) == (1, "fail")


def test_a_refused_login_is_told_as_such(installation: Installation, own_valkey: ValkeyServer) -> None:
    configure(own_valkey, requirepass="hunter2")
    code, findings = examined(installation)
    assert (code, findings["redis"]["level"]) == (1, "fail")
    assert "PASSWORD_REDIS" in findings["redis"]["remedy"]


def test_a_stalled_redis_is_told_in_time(installation: Installation, own_valkey: ValkeyServer) -> None:
    own_valkey.pause()
    code, findings = examined(installation)
    own_valkey.resume()
    assert code == 1
    assert "TimeoutError" in findings["redis"]["message"]


def test_living_workers_are_counted(system: RunningSystem, esteira: CliForkserver) -> None:
    with system.workers():
        wait_until(lambda: system.queue.client.zcard(system.queue.keys.workers), 30)  # the first beat follows the boot
        code, findings = examined(Installation(system.folder, system.env, esteira))
    assert (code, findings["workers"]["message"]) == (0, "1 worker process alive")


def test_postgresql_is_examined_with_its_clock(installation: Installation, postgres: PostgresServer) -> None:
    there = installation.with_settings(DATABASE_URL=postgres.new_database())
    code, findings = examined(there)
    assert (code, findings["catalogue"]["level"]) == (1, "fail")
    assert "esteira migrate" in findings["catalogue"]["remedy"]
    assert there.run("migrate").code == 0
    code, findings = examined(there)
    assert code == 0
    assert findings["catalogue"]["level"] == findings["catalogue clock"]["level"] == "ok"
    assert "catalogue journal" not in findings


def test_a_postgresql_whose_clock_is_off_warns(installation: Installation, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    there = installation.with_settings(DATABASE_URL=url)
    assert there.run("migrate").code == 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA shifted")
        connection.execute(
            "CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql"
            " AS $$ SELECT pg_catalog.clock_timestamp() + interval '1 hour' $$"
        )
        name = url.rpartition("/")[2]
        connection.execute(f'ALTER DATABASE "{name}" SET search_path = shifted, pg_catalog, public')
    code, findings = examined(there)
    assert (code, findings["catalogue clock"]["level"]) == (0, "warn")
    assert "+3600." in findings["catalogue clock"]["message"]
