"""How scripts are called, on a real server that goes away, forgets, and is slow."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from actors.redis_queue.queue import connect
from actors.redis_queue.script_runner import Call, Scripts
from tests.support.valkey import ValkeyServer

TEXTS = {
    "echo": "return ARGV[1]",
    "fails": "return redis.call('LPUSH', KEYS[1])",
    "adds": "return redis.call('INCRBY', KEYS[1], ARGV[1])",
}


@pytest.fixture
def scripts(own_valkey: ValkeyServer) -> Scripts:
    return Scripts(connect(own_valkey.url, timeout_s=2), TEXTS)


def connections(scripts: Scripts) -> int:
    clients: Any = scripts.client.client_list()
    return sum(client["cmd"] in {"evalsha", "script|load"} for client in clients)


def test_several_calls_are_answered_in_their_order_the_one_that_fails_too(scripts: Scripts) -> None:
    calls = [Call("echo", [], ["é"]), Call("fails", ["k"], []), Call("adds", [b"n"], [3]), Call("echo", [], [b"\0"])]
    for _ in range(2):  # the first time the server does not know them
        echoed, error, added, last = scripts.call_all(calls)
        assert (echoed, last) == ("é".encode(), b"\0")
        assert isinstance(error, redis.ResponseError)
    assert added == 6, "each is run once, though the server had to be told"


def test_an_error_of_a_script_is_raised_and_costs_no_connection(scripts: Scripts) -> None:
    scripts.call("echo", [], ["first"])
    before = connections(scripts)
    for _ in range(3):
        with pytest.raises(redis.ResponseError):
            scripts.call("fails", ["k"], [])
    assert scripts.call("echo", [], ["next"]) == b"next"
    assert connections(scripts) == before


def test_a_server_that_has_restarted_meanwhile_is_not_noticed(scripts: Scripts, own_valkey: ValkeyServer) -> None:
    assert scripts.call("echo", [], ["before"]) == b"before"
    own_valkey.stop()
    own_valkey.start()
    assert scripts.call("echo", [], ["after"]) == b"after"


def test_a_server_that_is_away_is_told_and_found_again(scripts: Scripts, own_valkey: ValkeyServer) -> None:
    scripts.call("echo", [], ["before"])
    own_valkey.stop()
    for _ in range(2):
        with pytest.raises(redis.ConnectionError):
            scripts.call("echo", [], ["away"])
    own_valkey.start()
    assert scripts.call("echo", [], ["after"]) == b"after"


def test_a_server_that_is_away_is_dialled_once_a_call(
    scripts: Scripts, own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts.call("echo", [], ["before"])
    own_valkey.stop()
    with pytest.raises(redis.ConnectionError):
        scripts.call("echo", [], ["away"])
    dialled = []

    def refuse(connection: object) -> None:
        dialled.append(connection)
        raise redis.ConnectionError

    monkeypatch.setattr(scripts.client.connection_pool.connection_class, "_connect", refuse)
    with pytest.raises(redis.ConnectionError):
        scripts.call("echo", [], ["away"])
    assert len(dialled) == 1


def test_an_answer_that_came_too_late_is_never_taken_for_the_next_one(own_valkey: ValkeyServer) -> None:
    scripts = Scripts(connect(own_valkey.url, timeout_s=1), TEXTS)
    scripts.call("echo", [], ["first"])
    own_valkey.pause()
    try:
        with pytest.raises(redis.TimeoutError):
            scripts.call("echo", [], ["late"])
    finally:
        own_valkey.resume()
    assert scripts.call("echo", [], ["next"]) == b"next"


def test_threads_get_their_own_answers(scripts: Scripts) -> None:
    gate = threading.Barrier(8)

    def ask(number: int) -> bool:
        gate.wait(10)
        return all(scripts.call("echo", [], [f"{number}-{i}"]) == f"{number}-{i}".encode() for i in range(50))

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(ask, range(8)))


def test_a_forked_child_leaves_its_parents_connections_alone(scripts: Scripts) -> None:
    assert scripts.call("echo", [], ["parent"]) == b"parent"
    child = os.fork()
    if child == 0:
        status = 1
        try:
            answers = [scripts.call("echo", [], [f"child {i}"]) == f"child {i}".encode() for i in range(50)]
            status = 0 if all(answers) else 1
        finally:
            os._exit(status)
    assert all(scripts.call("echo", [], [f"parent {i}"]) == f"parent {i}".encode() for i in range(50))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
