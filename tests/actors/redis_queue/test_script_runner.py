"""Calls of scripts on a real server that restarts, forgets scripts and is slow."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from actors.redis_queue.script_runner import ScriptCall, ScriptRunner
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

TEXTS = {
    "echo": "return ARGV[1]",
    "fails": "return redis.call('LPUSH', KEYS[1])",
    "adds": "return redis.call('INCRBY', KEYS[1], ARGV[1])",
}


@pytest.fixture
def scripts(own_valkey: ValkeyServer) -> ScriptRunner:
    return ScriptRunner(connect(own_valkey.url, timeout_s=2), TEXTS)


def connections(scripts: ScriptRunner) -> int:
    clients: Any = scripts.client.client_list()
    return sum(client["cmd"] in {"evalsha", "script|load"} for client in clients)


def test_run_all_returns_answers_and_errors_in_order(scripts: ScriptRunner) -> None:
    calls = [
        ScriptCall("echo", [], ["é"]),
        ScriptCall("fails", ["k"], []),
        ScriptCall("adds", [b"n"], [3]),
        ScriptCall("echo", [], [b"\0"]),
    ]
    for _ in range(2):  # the first time, the server does not know the scripts
        echoed, error, added, last = scripts.run_all(calls)
        assert (echoed, last) == ("é".encode(), b"\0")
        assert isinstance(error, redis.ResponseError)
    assert added == 6, "each script runs once, although the server had to load it"


def test_script_error_keeps_the_connection(scripts: ScriptRunner) -> None:
    scripts.run("echo", [], ["first"])
    before = connections(scripts)
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            scripts.run("fails", ["k"], [])
    assert scripts.run("echo", [], ["next"]) == b"next"
    assert connections(scripts) == before


def test_run_reconnects_after_a_restart(scripts: ScriptRunner, own_valkey: ValkeyServer) -> None:
    assert scripts.run("echo", [], ["before"]) == b"before"
    own_valkey.stop()
    own_valkey.start()
    assert scripts.run("echo", [], ["after"]) == b"after"


def test_run_raises_while_the_server_is_away_and_recovers(scripts: ScriptRunner, own_valkey: ValkeyServer) -> None:
    scripts.run("echo", [], ["before"])
    own_valkey.stop()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            scripts.run("echo", [], ["away"])
    own_valkey.start()
    assert scripts.run("echo", [], ["after"]) == b"after"


def test_run_connects_once_per_call_while_the_server_is_away(
    scripts: ScriptRunner, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts.run("echo", [], ["before"])
    own_valkey.stop()
    with pytest.raises(redis.ConnectionError):
        scripts.run("echo", [], ["away"])
    attempts = []

    def refuse(connection: object) -> None:
        attempts.append(connection)
        raise redis.ConnectionError

    monkeypatch.setattr(scripts.client.connection_pool.connection_class, "_connect", refuse)
    with pytest.raises(redis.ConnectionError):
        scripts.run("echo", [], ["away"])
    assert len(attempts) == 1


def test_late_answer_is_not_read_by_the_next_call(own_valkey: ValkeyServer) -> None:
    scripts = ScriptRunner(connect(own_valkey.url, timeout_s=1), TEXTS)
    scripts.run("echo", [], ["first"])
    own_valkey.pause()
    try:
        with pytest.raises(redis.TimeoutError):
            scripts.run("echo", [], ["late"])
    finally:
        own_valkey.resume()
    assert scripts.run("echo", [], ["next"]) == b"next"


def test_threads_get_their_own_answers(scripts: ScriptRunner) -> None:
    gate = threading.Barrier(8)

    def ask(number: int) -> bool:
        gate.wait(10)
        return all(scripts.run("echo", [], [f"{number}-{i}"]) == f"{number}-{i}".encode() for i in range(50))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))


def test_forked_child_does_not_use_its_parents_connections(scripts: ScriptRunner) -> None:
    assert scripts.run("echo", [], ["parent"]) == b"parent"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            answers = [scripts.run("echo", [], [f"child {i}"]) == f"child {i}".encode() for i in range(50)]
            status = 0 if all(answers) else 1
        finally:
            os._exit(status)
    assert all(scripts.run("echo", [], [f"parent {i}"]) == f"parent {i}".encode() for i in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
