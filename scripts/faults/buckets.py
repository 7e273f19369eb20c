"""Faults of object storage: it fails, dawdles, refuses or lies. Each function is one round."""

from __future__ import annotations

import time

from scripts.faults.environment import Site
from scripts.faults.product import replay

# (mood, share of the requests, seconds); a whole outage is shorter than the three attempts of a step take together
OUTAGES = (
    ("failing", 0.5, 10.0),
    ("failing", 1.0, 4.0),
    ("deaf", 1.0, 4.0),
    ("slow", 1.0, 8.0),
    ("refusing", 1.0, 4.0),
)
LIES = (("forgetful", 0.3, 8.0), ("careless", 0.3, 8.0), ("forgetful", 1.0, 4.0), ("careless", 1.0, 4.0))


def trouble_the_store(site: Site, turn: int) -> None:
    """503 to half of all requests, 503 to all, connections reset, three seconds for each answer, 403."""
    _befall(site, *OUTAGES[turn % len(OUTAGES)])


def make_the_store_lie(site: Site, turn: int) -> None:
    """A PUT is answered 200 and nothing, or half of it, is there: now and then, then each time."""
    _befall(site, *LIES[turn % len(LIES)])


def lose_the_store(site: Site, turn: int) -> None:
    """Away for longer than the attempts last: what was given up is listed, and a replay stores it."""
    _befall(site, ("failing", "deaf")[turn % 2], 1.0, 20.0)
    time.sleep(10)
    replay(site, "storage")


def _befall(site: Site, mood: str, share: float, seconds: float) -> None:
    assert site.store
    site.load.surge(10)
    site.store.share, site.store.mood = share, mood
    time.sleep(seconds)
    site.store.mood = "well"
    site.came_back()
    if not site.store.befallen[mood]:
        site.marks.broken.append(f"no request was {mood}")
    time.sleep(site.chance.uniform(3, 6))
