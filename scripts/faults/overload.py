"""Faults of too much work: a spike, and more than can be done for minutes on end. Each function is one round."""

from __future__ import annotations

import time

from scripts.faults.environment import Testbed
from scripts.faults.leftovers import esteira_backlog
from scripts.faults.resource_usage import Reading, measured
from scripts.faults.times import percentile

SPIKES = ((10, 60.0), (100, 5.0))  # times the load, for so many seconds
TRIAL_FILES = 150
MINUTE_S = 60.0
CATCH_UP_S = 900.0
MAX_GROWTH_MB = 100.0  # of the whole plant in one round


def flood(testbed: Testbed, round_number: int) -> None:
    """Ten times the load for a minute, a hundred times for five seconds; then the usual until nothing of that waits."""
    times, seconds = SPIKES[round_number % len(SPIKES)]
    with measured(testbed, every_s=2) as readings:
        taken = _offer(testbed, testbed.load.rate * times, seconds)
        drained = _catch_up(testbed)
    testbed.observations.figures.append(
        f"×{times}: {taken}; caught up in {drained:.0f} s; {_memory(testbed, readings)}"
    )


def overload(testbed: Testbed, round_number: int) -> None:
    """Twice what the plant can do, for a minute a round; after the last one it has its usual time, and more."""
    if round_number == 0:
        testbed.load.rate *= max(1.0, 2 * _capacity(testbed) / testbed.load.rate)
    with measured(testbed, every_s=5) as readings:
        taken = _offer(testbed, testbed.load.rate, MINUTE_S)
    _, waiting, oldest_s = esteira_backlog(testbed.folder / "var" / "esteira.db")
    waits = f"{waiting} wait, the oldest for {oldest_s:.0f} s"
    testbed.observations.figures.append(f"minute {round_number + 1}: {taken}; {waits}; {_memory(testbed, readings)}")


def _offer(testbed: Testbed, rate: float, seconds: float) -> str:
    """Offers files at this rate for so long, and tells how many a second were taken and how fast."""
    usual, known = testbed.load.rate, len(testbed.load.attempts)
    testbed.load.rate = rate
    time.sleep(seconds)
    testbed.load.rate = usual
    answered = testbed.load.attempts[known:]
    taken = sum(one.answer.id is not None for one in answered)
    p99 = percentile([one.took_s for one in answered], 99)
    return f"{rate:.0f}/s offered, {taken / seconds:.0f}/s taken, answer p99 {p99} s"


def _capacity(testbed: Testbed) -> float:
    """Files a second that the plant ends as long as something waits."""
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
    """Waits until all that has come up to now has ended; how long that took."""
    began = time.monotonic()
    while (took := time.monotonic() - began) < CATCH_UP_S:
        if esteira_backlog(testbed.folder / "var" / "esteira.db")[2] < took:
            break
        time.sleep(1)
    return took


def _memory(testbed: Testbed, readings: list[Reading]) -> str:
    first, most = readings[0].whole.pss, max(reading.whole.pss for reading in readings)
    if most - first > MAX_GROWTH_MB:
        testbed.observations.broken.append(f"memory grew from {first:.0f} to {most:.0f} MB")
    return f"memory {first:.0f} → {most:.0f} MB"
