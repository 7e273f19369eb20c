"""The protocol of the belt under random interleavings: several workers, repeats, lost answers, crashes.

After every step each accepted message is in exactly one place, none has been finished twice, and the ledger keeps
within its caps.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from actors.belt import Belt, Handed, Step, connect
from actors.ledger import Shelf
from pipeline.models import Stage
from pipeline.settings import Retention
from tests.support.valkey import ValkeyServer

QUEUES = [stage.value for stage in Stage]
KEYS = ["a", "b"]
WORKERS = ["w1", "w2"]
CAP = 1
SHELF = Shelf("completed", Retention(count=CAP), 3600)


class BeltMachine(RuleBasedStateMachine):
    """Workers that fetch, finish, repeat themselves, forget and die."""

    belt: Belt

    def __init__(self) -> None:
        super().__init__()
        self.belt.client.flushall()
        self.accepted: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.dead: set[str] = set()
        self.believed: dict[str, list[Handed]] = {worker: [] for worker in WORKERS}
        self.sent: list[tuple[str, Handed, Step]] = []

    @rule(key=st.sampled_from(KEYS), queue=st.sampled_from(QUEUES), delay=st.sampled_from([0, 1, 3_600_000]))
    def offer(self, key: str, queue: str, delay: int) -> None:
        put = self.belt.offer(key, queue, b"message", delay_ms=delay)
        assert put == (key not in self.accepted)
        self.accepted.add(key)
        self.dead.discard(key)

    @rule(worker=st.sampled_from(WORKERS), count=st.integers(1, 3), lost=st.booleans())
    def fetch(self, worker: str, count: int, lost: bool) -> None:
        _, handed = self.belt.fetch(worker, count, QUEUES)
        if lost:  # the answer did not arrive: the worker asks what it holds
            known = {(item.key, item.serial) for item in self.believed[worker]}
            handed = [item for item in self.belt.held(worker) if (item.key, item.serial) not in known]
        self.believed[worker] += handed

    @precondition(lambda self: any(self.believed.values()))
    @rule(data=st.data(), verdict=st.sampled_from(["next", "later", "back", "done", "dead"]))
    def finish(self, data: st.DataObject, verdict: str) -> None:
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.believed[worker]]))
        item = data.draw(st.sampled_from(self.believed[worker]))
        self.believed[worker].remove(item)
        queue = item.queue if verdict == "back" else data.draw(st.sampled_from(QUEUES))
        self._send(worker, item, Step(verdict, queue, b"message", 1))

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        """An answer was lost, and the worker sends its verdict a second time, however late."""
        assert not self._finish(*data.draw(st.sampled_from(self.sent)))

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker: str) -> None:
        """The heartbeat stops. The worker itself does not know: it goes on with what it believes to hold."""
        self.belt.reap(worker, silence_ms=0, crash=True)

    @rule(worker=st.sampled_from(WORKERS))
    def restart(self, worker: str) -> None:
        self.belt.reap(worker, silence_ms=0, crash=False)
        self.believed[worker] = []

    def _send(self, worker: str, item: Handed, step: Step) -> None:
        if self._finish(worker, item, step):
            self.sent.append((worker, item, step))
            if step.verdict in {"done", "dead"}:
                self.accepted.remove(item.key)
                self.ended[item.key] += 1
            if step.verdict == "dead":
                self.dead.add(item.key)

    def _finish(self, worker: str, item: Handed, step: Step) -> bool:
        note = (SHELF, "{}") if step.verdict == "done" else None
        return self.belt.finish(worker, item.key, item.serial, step, note=note)

    @invariant()
    def each_message_is_in_exactly_one_place(self) -> None:
        assert self._places() == Counter(self.accepted)
        assert {key.decode() for key in self.belt.client.hkeys(self.belt.keys.messages)} == self.accepted

    @invariant()
    def whoever_holds_a_message_can_be_found_by_the_reaper(self) -> None:
        workers = {name.decode() for name in self.belt.client.zrange(self.belt.keys.workers, 0, -1)}
        holding = {worker for worker in WORKERS if self.belt.client.hlen(self.belt.keys.held(worker))}
        assert holding <= workers

    @invariant()
    def dead_letters_and_ledger_are_what_they_should_be(self) -> None:
        dead = [key for queue in QUEUES for key in self.belt.client.zrange(self.belt.keys.dead(queue), 0, -1)]
        assert sorted(key.decode() for key in dead) == sorted(self.dead)
        assert {key.decode() for key in self.belt.client.hkeys(self.belt.keys.dead_messages)} == self.dead
        assert len(self.belt.ledger("completed")) <= CAP
        assert self.belt.client.hlen(self.belt.keys.entries("completed")) <= CAP

    def _places(self) -> Counter[str]:
        client: Any = self.belt.client
        places: list[bytes] = []
        for queue in QUEUES:
            places += client.lrange(self.belt.keys.ready(queue), 0, -1)
            places += client.zrange(self.belt.keys.delayed(queue), 0, -1)
        for worker in WORKERS:
            places += client.hkeys(self.belt.keys.held(worker))
        return Counter(place.decode() for place in places)


@pytest.mark.slow
def test_the_protocol_holds_under_any_interleaving(valkey: ValkeyServer) -> None:
    BeltMachine.belt = Belt(connect(valkey.url, timeout_s=5), queues=QUEUES)
    run_state_machine_as_test(
        BeltMachine,
        settings=settings(
            max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
