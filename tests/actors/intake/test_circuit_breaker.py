"""The circuit breaker during and after outages of Redis."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from actors.intake.circuit_breaker import CircuitBreaker, RedisUnavailableError
from tests.support.waiting import wait_until

ERROR = redis.ConnectionError("refused")


class Server:
    """A Redis that answers or refuses every command."""

    def __init__(self) -> None:
        self.away = True
        self.commands = 0

    def command(self) -> str:
        self.commands += 1
        if self.away:
            raise ERROR
        return "answer"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("actors.intake.circuit_breaker.PROBE_EVERY_S", 0.01)
    return Server()


def fail(breaker: CircuitBreaker) -> Exception | None:
    """Makes a call that fails or is skipped; returns the error if this call opened the circuit."""

    def command() -> None:
        raise ERROR

    with pytest.raises(RedisUnavailableError) as raised:
        breaker.call(command)
    return raised.value.error


def test_breaker_returns_the_answer_while_closed(server: Server) -> None:
    server.away = False
    assert CircuitBreaker(server.command).call(server.command) == "answer"


def test_breaker_skips_calls_until_a_probe_succeeds(server: Server) -> None:
    closed = threading.Event()
    breaker = CircuitBreaker(server.command, on_close=closed.set)
    assert [fail(breaker), fail(breaker)] == [ERROR, None]
    time.sleep(0.05)
    assert breaker.is_open
    with pytest.raises(RedisUnavailableError):
        breaker.call(lambda: pytest.fail("called while the circuit is open"))
    server.away = False
    wait_until(lambda: not breaker.is_open, 2)
    assert closed.wait(2)
    assert breaker.call(server.command) == "answer"


def test_breaker_lets_other_errors_pass(server: Server) -> None:
    def command() -> None:
        raise ZeroDivisionError

    breaker = CircuitBreaker(server.command)
    with pytest.raises(ZeroDivisionError):
        breaker.call(command)
    assert not breaker.is_open


def test_breaker_opens_again_when_a_call_fails_while_it_closes(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = CircuitBreaker(server.command)

    class Log:
        """Redis goes away again at the moment at which its return is logged."""

        def error(self, *_: Any, **__: Any) -> None:
            pass

        def info(self, *_: Any, **__: Any) -> None:
            if not server.away:
                server.away = True
                fail(breaker)

    monkeypatch.setattr("pipeline.outage.log", Log())
    fail(breaker)
    server.away = False
    wait_until(lambda: server.away, 2)
    time.sleep(0.05)
    assert breaker.is_open
    monkeypatch.undo()
    server.away = False
    wait_until(lambda: not breaker.is_open, 3)


def test_breaker_closes_at_once_if_no_probe_thread_can_start(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    breaker = CircuitBreaker(server.command)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        assert fail(breaker) is ERROR
    assert fail(breaker) is ERROR
    assert breaker.is_open
    server.away = False
    wait_until(lambda: not breaker.is_open, 2)
