"""A signalled thread works once for each batch of signals, and never after it was stopped."""

from __future__ import annotations

import threading

import pytest

from actors.intake.signalled_thread import SignalledThread
from tests.support.waiting import wait_until


class Work:
    """Work that waits until it may go on, and counts its calls."""

    def __init__(self) -> None:
        self.calls = 0
        self.may_go_on = threading.Event()

    def __call__(self) -> None:
        self.calls += 1
        assert self.may_go_on.wait(10)


def names() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_signals_during_a_call_cause_one_more_call() -> None:
    work = Work()
    thread = SignalledThread("one more", work)
    thread.signal()
    wait_until(lambda: work.calls == 1)
    for _ in range(3):
        thread.signal()
    work.may_go_on.set()
    wait_until(lambda: "one more" not in names())
    assert work.calls == 2


def test_stop_waits_for_the_call_and_ends_all_signals() -> None:
    work = Work()
    thread = SignalledThread("stopped", work)
    thread.signal()
    wait_until(lambda: work.calls == 1)
    threading.Timer(0.1, work.may_go_on.set).start()
    thread.stop(10)
    assert work.may_go_on.is_set()
    thread.signal()
    wait_until(lambda: "stopped" not in names())
    assert work.calls == 1


def test_thread_that_cannot_be_started_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    work = Work()
    work.may_go_on.set()
    thread = SignalledThread("tried again", work)

    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        thread.signal()
    assert work.calls == 0
    thread.signal()
    wait_until(lambda: work.calls == 1)
