"""What runs beside the requests."""

from __future__ import annotations

import threading
import time

import pytest

from esteira.web.intake.background import BackgroundRunner


def test_it_returns_at_once_and_the_work_is_done() -> None:
    aside, go_on, done = BackgroundRunner(), threading.Event(), threading.Event()
    assert aside(lambda: (go_on.wait(5), done.set()))
    assert not done.is_set()
    go_on.set()
    aside.close(within_s=5)
    assert done.is_set()


def test_closed_it_begins_nothing() -> None:
    aside, done = BackgroundRunner(), threading.Event()
    aside.close(within_s=1)
    assert not aside(done.set)
    assert not done.wait(0.1)


def test_it_waits_for_what_has_begun_and_no_longer_than_it_may() -> None:
    aside, never = BackgroundRunner(), threading.Event()
    for _ in range(3):
        assert aside(lambda: never.wait(10))
    began = time.monotonic()
    aside.close(within_s=0.3)
    assert 0.25 < time.monotonic() - began < 2
    never.set()


def test_work_that_fails_is_forgotten_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    aside = BackgroundRunner()

    def fail() -> None:
        raise ZeroDivisionError

    assert aside(fail)
    began = time.monotonic()
    aside.close(within_s=5)
    assert time.monotonic() - began < 2


def test_a_machine_without_threads_left_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert not BackgroundRunner()(lambda: None)
