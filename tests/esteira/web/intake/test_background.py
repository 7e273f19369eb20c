"""BackgroundRunner: starts at once, waits on close, survives errors."""

from __future__ import annotations

import threading
import time

import pytest

from esteira.web.intake.background import BackgroundRunner


def test_runner_returns_at_once() -> None:
    runner, go_on, done = BackgroundRunner(), threading.Event(), threading.Event()
    assert runner(lambda: (go_on.wait(5), done.set()))
    assert not done.is_set()
    go_on.set()
    runner.close(within_s=5)
    assert done.is_set()


def test_closed_runner_starts_nothing() -> None:
    runner, done = BackgroundRunner(), threading.Event()
    runner.close(within_s=1)
    assert not runner(done.set)
    assert not done.wait(0.1)


def test_close_waits_at_most_its_time_limit() -> None:
    runner, never = BackgroundRunner(), threading.Event()
    for _ in range(3):
        assert runner(lambda: never.wait(10))
    began = time.monotonic()
    runner.close(within_s=0.3)
    assert 0.25 < time.monotonic() - began < 2
    never.set()


def test_close_does_not_wait_for_failed_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    runner = BackgroundRunner()

    def fail() -> None:
        raise ZeroDivisionError

    assert runner(fail)
    began = time.monotonic()
    runner.close(within_s=5)
    assert time.monotonic() - began < 2


def test_runner_returns_false_when_no_thread_can_start(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not BackgroundRunner()(lambda: None)
