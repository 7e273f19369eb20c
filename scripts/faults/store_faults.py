"""Object storage faults: errors, delays, refusals, falsified writes. Each public function is one round."""

from __future__ import annotations

import time

from scripts.faults.environment import Testbed
from scripts.faults.esteira import replay

# (disturbance, share of the requests, seconds); a complete outage is shorter than the three attempts of a stage
OUTAGES = (
    ("failing", 0.5, 10.0),
    ("failing", 1.0, 4.0),
    ("reset", 1.0, 4.0),
    ("slow", 1.0, 8.0),
    ("refusing", 1.0, 4.0),
)
FALSE_WRITES = (("discarding", 0.3, 8.0), ("truncating", 0.3, 8.0), ("discarding", 1.0, 4.0), ("truncating", 1.0, 4.0))


def disturb_store(testbed: Testbed, round_number: int) -> None:
    """503 for half of the requests, 503 for all, connection resets, responses after three seconds, 403."""
    _disturb(testbed, *OUTAGES[round_number % len(OUTAGES)])


def falsify_writes(testbed: Testbed, round_number: int) -> None:
    """A PUT is answered 200, but nothing or half is stored: for 30 % of the requests, then for all."""
    _disturb(testbed, *FALSE_WRITES[round_number % len(FALSE_WRITES)])


def block_store(testbed: Testbed, round_number: int) -> None:
    """Unavailable for longer than all attempts last; then the failed attachments are replayed."""
    _disturb(testbed, ("failing", "reset")[round_number % 2], 1.0, 20.0)
    time.sleep(10)
    replay(testbed, "storage")


def _disturb(testbed: Testbed, disturbance: str, share: float, seconds: float) -> None:
    assert testbed.store
    testbed.load.surge(10)
    testbed.store.share, testbed.store.disturbance = share, disturbance
    time.sleep(seconds)
    testbed.store.disturbance = "none"
    testbed.record_recovery()
    if not testbed.store.affected[disturbance]:
        testbed.observations.problems.append(f"no request was {disturbance}")
    time.sleep(testbed.rng.uniform(3, 6))
