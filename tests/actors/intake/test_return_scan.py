"""The thread that scans when Redis returns."""

from __future__ import annotations

import threading

import pytest
import redis

from actors.intake import return_scan
from actors.intake.return_scan import ReturnScans
from pipeline.errors import Code, RetryableError
from tests.support.waiting import wait_until


def test_signal_during_a_scan_causes_one_more() -> None:
    go, scans = threading.Event(), []

    def scan() -> None:
        scans.append(1)
        go.wait(5)

    runner = ReturnScans(scan)
    for _ in range(5):
        runner.signal()
        wait_until(lambda: scans, 5)
    go.set()
    wait_until(lambda: len(scans) == 2, 5)
    runner.signal()
    wait_until(lambda: len(scans) == 3, 5)


@pytest.mark.parametrize("error", [redis.ConnectionError(), RetryableError(Code.CATALOGUE, "locked")])
def test_interrupted_scan_is_repeated(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    monkeypatch.setattr(return_scan, "RETRY_S", 0.01)
    scans: list[int] = []

    def scan() -> None:
        scans.append(1)
        if len(scans) < 3:
            raise error

    ReturnScans(scan).signal()
    wait_until(lambda: len(scans) == 3, 5)


def test_scan_that_is_always_interrupted_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(return_scan, "RETRY_S", 0)
    scans: list[int] = []

    def scan() -> None:
        scans.append(1)
        raise redis.ConnectionError

    runner = ReturnScans(scan)
    runner.signal()
    wait_until(lambda: len(scans) == return_scan.TRIES, 5)
    wait_until(lambda: threading.active_count() and "return scan" not in {t.name for t in threading.enumerate()}, 5)
    runner.signal()  # a later return starts anew
    wait_until(lambda: len(scans) == 2 * return_scan.TRIES, 5)
