"""Failures by address: counted in bounded memory, each address on its own."""

from __future__ import annotations

from esteira.web.auth import guesses
from esteira.web.auth.guesses import MAX_FAILURES, WINDOW_S, FailureCounts


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_failures_are_refused_after_the_limit_until_the_window_ends() -> None:
    clock = Clock()
    counts = FailureCounts(clock=clock)
    assert [counts.record("192.0.2.1") for _ in range(MAX_FAILURES)] == [0.0] * MAX_FAILURES
    clock.now = 10
    assert counts.record("192.0.2.1") == WINDOW_S - 10
    assert counts.record("192.0.2.2") == 0
    clock.now = WINDOW_S
    assert counts.record("192.0.2.1") == 0


def test_memory_is_bounded_and_the_oldest_windows_are_forgotten() -> None:
    clock = Clock()
    counts = FailureCounts(max_failures=1, clock=clock)
    counts.record("first")
    for number in range(guesses.MAX_ADDRESSES):
        counts.record(str(number))
    assert len(counts._windows) == guesses.MAX_ADDRESSES
    assert counts.record("first") == 0, "its window was forgotten"
    assert counts.record(str(guesses.MAX_ADDRESSES - 1)) > 0
