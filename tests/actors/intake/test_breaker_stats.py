"""What the dashboard says of the circuit: whether it is open, and how many attachments went past the queue lately."""

from __future__ import annotations

import redis

from actors.intake.breaker_stats import WINDOW_S, Circuit
from tests.support.system import Plant


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_it_says_whether_this_process_waits_for_redis(plant: Plant) -> None:
    circuit = Circuit(plant.hook)
    assert (circuit.facts().open, circuit.facts().away_s) == (False, 0)
    plant.hook.breaker.trip(redis.ConnectionError("refused"))
    assert circuit.facts().open


def test_fallbacks_are_counted_within_the_window(plant: Plant) -> None:
    clock = Clock()
    circuit = Circuit(plant.hook, clock=clock)
    seen = []
    plant.services.catalogue.add("fallbacks")  # before anybody looked
    for now, more in ((0, 0), (100, 2), (250, 1), (WINDOW_S, 0), (WINDOW_S + 100, 0), (WINDOW_S + 1000, 0)):
        clock.now = now
        for _ in range(more):
            plant.services.catalogue.add("fallbacks")
        facts = circuit.facts()
        seen.append((facts.fallbacks, facts.lately, facts.lately_s))
    assert seen == [(1, 0, 0), (3, 2, 100), (4, 3, 250), (4, 3, 300), (4, 1, 300), (4, 0, 900)]
