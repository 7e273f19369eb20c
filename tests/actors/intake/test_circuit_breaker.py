"""The circuit breaker while Redis comes and goes."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import redis

from actors.intake.circuit_breaker import CircuitBreaker
from tests.support.waiting import wait_until

ERROR = redis.ConnectionError("refused")


class Server:
    """Answers a probe, or does not."""

    def __init__(self) -> None:
        self.away = True

    def probe(self) -> None:
        if self.away:
            raise ERROR


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    monkeypatch.setattr("actors.intake.circuit_breaker.PROBE_EVERY_S", 0.01)
    return Server()


def test_it_is_open_until_a_probe_is_answered(server: Server) -> None:
    breaker = CircuitBreaker(server.probe)
    assert [breaker.trip(ERROR), breaker.trip(ERROR)] == [True, False]
    time.sleep(0.05)
    assert breaker.is_open
    server.away = False
    wait_until(lambda: not breaker.is_open, 2)


def test_a_failure_in_the_moment_of_closing_opens_it_again(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = CircuitBreaker(server.probe)

    class Log:
        """Is told that Redis is back, and in this moment it goes away."""

        def error(self, *_: Any, **__: Any) -> None:
            pass

        def info(self, *_: Any, **__: Any) -> None:
            if not server.away:
                server.away = True
                breaker.trip(ERROR)

    monkeypatch.setattr("actors.observability.outage.log", Log())
    breaker.trip(ERROR)
    server.away = False
    wait_until(lambda: server.away, 2)
    time.sleep(0.05)
    assert breaker.is_open
    monkeypatch.undo()
    server.away = False
    wait_until(lambda: not breaker.is_open, 3)


def test_without_a_thread_for_the_probe_it_does_not_stay_open(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    breaker = CircuitBreaker(server.probe)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", refuse)
        assert breaker.trip(ERROR)
    assert breaker.trip(ERROR)
    assert breaker.is_open
    server.away = False
    wait_until(lambda: not breaker.is_open, 2)
