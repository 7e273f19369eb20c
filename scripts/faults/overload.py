"""Overload faults: a load spike, and minutes above capacity. Each public function is one round."""

from __future__ import annotations

import time

from scripts.faults.environment import Testbed
from scripts.faults.leftovers import esteira_backlog
from scripts.faults.resource_usage import Reading, measured
from scripts.faults.times import percentile

SPIKES = ((10, 60.0), (100, 5.0))  # factor of the load, seconds
TRIAL_FILES = 150
MINUTE_S = 60.0
CATCH_UP_S = 900.0
MAX_GROWTH_MB = 100.0  # of the whole test system in one round


def spike(testbed: Testbed, round_number: int) -> None:
    """Ten times the load for a minute, or 100 times for 5 s; then the usual load until the backlog is finished."""
    times, seconds = SPIKES[round_number % len(SPIKES)]
    with measured(testbed, every_s=2) as readings:
        throughput = _send_at_rate(testbed, testbed.load.rate * times, seconds)
        drained = _catch_up(testbed)
    testbed.observations.figures.append(
        f"×{times}: {throughput}; caught up in {drained:.0f} s; {_memory(testbed, readings)}"
    )


def overload(testbed: Testbed, round_number: int) -> None:
    """Twice the measured capacity for one minute per round."""
    if round_number == 0:
        testbed.load.rate *= max(1.0, 2 * _capacity(testbed) / testbed.load.rate)
    with measured(testbed, every_s=5) as readings:
        throughput = _send_at_rate(testbed, testbed.load.rate, MINUTE_S)
    _, waiting, oldest_s = esteira_backlog(testbed.folder / "var" / "esteira.db")
    waits = f"{waiting} waiting, the oldest for {oldest_s:.0f} s"
    testbed.observations.figures.append(
        f"minute {round_number + 1}: {throughput}; {waits}; {_memory(testbed, readings)}"
    )


def _send_at_rate(testbed: Testbed, rate: float, seconds: float) -> str:
    """Sends files at this rate; returns a text with the accepted files per second and the response time."""
    usual, known = testbed.load.rate, len(testbed.load.attempts)
    testbed.load.rate = rate
    time.sleep(seconds)
    testbed.load.rate = usual
    attempts = testbed.load.attempts[known:]
    accepted = sum(attempt.answer.id is not None for attempt in attempts)
    p99 = percentile([attempt.took_s for attempt in attempts], 99)
    return f"{rate:.0f}/s offered, {accepted / seconds:.0f}/s accepted, answer p99 {p99} s"


def _capacity(testbed: Testbed) -> float:
    """Measures the capacity: files per second that are finished while there is a backlog."""
    database = testbed.folder / "var" / "esteira.db"
    testbed.load.surge(TRIAL_FILES)
    time.sleep(3)
    began, before = time.monotonic(), esteira_backlog(database)[0]
    waiting = TRIAL_FILES
    while waiting > 10 and time.monotonic() - began < 60:
        time.sleep(0.5)
        ended, waiting, _ = esteira_backlog(database)
    capacity = (ended - before) / (time.monotonic() - began)
    testbed.observations.figures.append(f"capacity {capacity:.0f}/s")
    return capacity


def _catch_up(testbed: Testbed) -> float:
    """Waits until everything accepted so far is finished; returns the seconds."""
    began = time.monotonic()
    while (took := time.monotonic() - began) < CATCH_UP_S:
        if esteira_backlog(testbed.folder / "var" / "esteira.db")[2] < took:
            break
        time.sleep(1)
    return took


def _memory(testbed: Testbed, readings: list[Reading]) -> str:
    first, most = readings[0].whole.pss, max(reading.whole.pss for reading in readings)
    if most - first > MAX_GROWTH_MB:
        testbed.observations.problems.append(f"memory grew from {first:.0f} to {most:.0f} MB")
    return f"memory {first:.0f} → {most:.0f} MB"
