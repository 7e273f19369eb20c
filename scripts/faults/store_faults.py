"""Faults of object storage: it fails, dawdles, refuses or lies. Each function is one round."""

from __future__ import annotations

import time

from scripts.faults.environment import Testbed
from scripts.faults.esteira import replay

# (mood, share of the requests, seconds); a whole outage is shorter than the three attempts of a step take together
OUTAGES = (
    ("failing", 0.5, 10.0),
    ("failing", 1.0, 4.0),
    ("deaf", 1.0, 4.0),
    ("slow", 1.0, 8.0),
    ("refusing", 1.0, 4.0),
)
LIES = (("forgetful", 0.3, 8.0), ("careless", 0.3, 8.0), ("forgetful", 1.0, 4.0), ("careless", 1.0, 4.0))


def trouble_the_store(testbed: Testbed, round_number: int) -> None:
    """503 to half of all requests, 503 to all, connections reset, three seconds for each answer, 403."""
    _disturb(testbed, *OUTAGES[round_number % len(OUTAGES)])


def make_the_store_lie(testbed: Testbed, round_number: int) -> None:
    """A PUT is answered 200 and nothing, or half of it, is there: now and then, then each time."""
    _disturb(testbed, *LIES[round_number % len(LIES)])


def lose_the_store(testbed: Testbed, round_number: int) -> None:
    """Away for longer than the attempts last: what was given up is listed, and a replay stores it."""
    _disturb(testbed, ("failing", "deaf")[round_number % 2], 1.0, 20.0)
    time.sleep(10)
    replay(testbed, "storage")


def _disturb(testbed: Testbed, disturbance: str, share: float, seconds: float) -> None:
    assert testbed.store
    testbed.load.surge(10)
    testbed.store.share, testbed.store.disturbance = share, disturbance
    time.sleep(seconds)
    testbed.store.disturbance = "well"
    testbed.record_return()
    if not testbed.store.affected[disturbance]:
        testbed.observations.broken.append(f"no request was {disturbance}")
    time.sleep(testbed.rng.uniform(3, 6))
