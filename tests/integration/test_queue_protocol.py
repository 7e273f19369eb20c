"""The protocol of the belt under random interleavings: several workers, repeats, lost answers, crashes.

After every step each accepted message is in exactly one place, none has been finished twice, the ledger keeps within
its caps, and turns and figures of what is in flight are those that the messages themselves say. Nothing of a paused
stage or session is handed out, and nothing else is held back.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.keys import SIZE_CLASSES
from actors.redis_queue.queue import Ack, AckAction, FetchedMessage, PauseStateUnknownError, RedisQueue, connect
from actors.redis_queue.scheduling import SchedulingInfo, SizeClasses
from pipeline.config.settings import JobRetention
from tests.support.valkey import ValkeyServer

QUEUES = ["fetch", "notify"]  # two do all that five can, and each is looked at after every step
KEYS = ["a", "b", "c", "d"]
WORKERS = ["w1", "w2"]
VERDICTS = ["next", "later", "back", "done", "dead"]
CAP = 1
SHELF = FinishedJobList("completed", JobRetention(count=CAP), 3600)
LARGE_SHARE = 1
BAND, RANK = 2**50, 2**40  # as in lanes.lua
HOUR_MS = 3_600_000
PAUSABLE = [("stage", "fetch"), ("stage", "notify"), ("session", "x"), ("session", ""), ("session", "y:1,2")]
PLACES = st.builds(
    lambda session, size, expires_in: (session, size, expires_in),
    st.sampled_from(["", "x", "y", "y:1,2"]),
    st.sampled_from([0, 100_000_000]),
    st.sampled_from([None, -1000, HOUR_MS + 15, 2 * HOUR_MS]),
)


class Waiting(NamedTuple):
    """One member of a lane."""

    session: bytes
    urgent: bool
    key: bytes
    member: bytes


class BeltMachine(RuleBasedStateMachine):
    """Workers that fetch, finish, repeat themselves, forget and die."""

    belt: RedisQueue

    def __init__(self) -> None:
        super().__init__()
        self.belt.client.flushall()
        self.accepted: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.dead: set[str] = set()
        self.believed: dict[str, list[FetchedMessage]] = {worker: [] for worker in WORKERS}
        self.sent: list[tuple[str, list[tuple[FetchedMessage, AckAction]]]] = []
        self.paused: set[tuple[str, str]] = set()

    @rule(
        key=st.sampled_from(KEYS),
        queue=st.sampled_from(QUEUES),
        delay=st.sampled_from([0, 0, 1, HOUR_MS]),
        place=PLACES,
    )
    def offer(self, key: str, queue: str, delay: int, place: tuple[str, int, int | None]) -> None:
        session, size, expires_in = place
        expires_at = None if expires_in is None else int(time.time() * 1000) + expires_in
        put = self.belt.enqueue(
            key, queue, b"message", scheduling=SchedulingInfo(session, size, expires_at), delay_ms=delay
        )
        assert put == (key not in self.accepted)
        self.accepted.add(key)
        self.dead.discard(key)

    @rule(key=st.sampled_from(KEYS), queue=st.sampled_from(QUEUES))
    def come_from_the_former_version(self, key: str, queue: str) -> None:
        if key not in self.accepted | self.dead:
            self.belt.client.hset(self.belt.keys.messages, key, b"message")
            self.belt.client.rpush(self.belt.keys.ready(queue), key)
            self.accepted.add(key)

    @rule(worker=st.sampled_from(WORKERS), count=st.integers(1, 3), lost=st.booleans())
    def fetch(self, worker: str, count: int, lost: bool) -> None:
        large = LARGE_SHARE - sum(item.large for item in self.belt.held_messages(worker))
        _, handed = self.belt.fetch(worker, count, QUEUES, large=large)
        assert len(handed) <= count
        assert all(item.data == b"message" for item in handed)
        assert not any(self._is_paused(item.queue, item.session) for item in handed)
        if len(handed) < count:
            assert not [
                found
                for queue in QUEUES
                for found in self._waiting(queue, "small")
                if not self._is_paused(queue, found.session.decode())
            ]
        if lost:  # the answer did not arrive: the worker asks what it holds
            known = {(item.key, item.delivery_id) for item in self.believed[worker]}
            handed = [item for item in self.belt.held_messages(worker) if (item.key, item.delivery_id) not in known]
        self.believed[worker] += handed

    @precondition(lambda self: any(self.believed.values()))
    @rule(data=st.data(), verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=4))
    def finish(self, data: st.DataObject, verdicts: list[str]) -> None:
        """One delivery or several at once, now and then one of them twice."""
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.believed[worker]]))
        endings = []
        for verdict in verdicts:
            item = data.draw(st.sampled_from(self.believed[worker]))
            queue = item.queue if verdict == "back" else data.draw(st.sampled_from(QUEUES))
            endings.append((item, AckAction(verdict, queue, b"message", 1)))
        self.believed[worker] = [item for item in self.believed[worker] if item not in [one for one, _ in endings]]
        self._send(worker, endings)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def finish_again(self, data: st.DataObject) -> None:
        """An answer was lost, and the worker sends its verdict a second time, however late."""
        worker, endings = data.draw(st.sampled_from(self.sent))
        assert not any(self._finish(worker, endings))

    @precondition(lambda self: any(self.believed.values()))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.believed[worker]]))
        item = data.draw(st.sampled_from(self.believed[worker]))
        known = {(held.key, held.delivery_id) for held in self.belt.held_messages(worker)}
        assert self.belt.mark_started(worker, item.key, item.delivery_id) == ((item.key, item.delivery_id) in known)

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker: str) -> None:
        """The heartbeat stops. The worker itself does not know: it goes on with what it believes to hold."""
        self.belt.reap(worker, silence_ms=0, crash=True)

    @rule(worker=st.sampled_from(WORKERS))
    def restart(self, worker: str) -> None:
        self.belt.reap(worker, silence_ms=0, crash=False)
        self.believed[worker] = []

    @rule()
    def audit(self) -> None:
        """Finds nothing wrong with it, however it came about."""
        listed = any(self.belt.client.llen(self.belt.keys.ready(queue)) for queue in QUEUES)
        assert self.belt.audit() == (-1 if listed else 0)

    @rule(paused=st.sets(st.sampled_from(PAUSABLE)))
    def pause_and_resume(self, paused: set[tuple[str, str]]) -> None:
        self.paused = paused
        self._tell()

    @rule(key=st.sampled_from(KEYS))
    def drop(self, key: str) -> None:
        """Cancelled: it goes unless somebody holds it."""
        held = any(key == item.key for worker in WORKERS for item in self.belt.held_messages(worker))
        listed = any(key.encode() in self.belt.client.lrange(self.belt.keys.ready(queue), 0, -1) for queue in QUEUES)
        dropped = self.belt.remove(key)
        assert dropped == (key in self.accepted and not held and not listed)
        self.accepted -= {key} if dropped else set()

    @rule()
    def forget_what_is_paused(self) -> None:
        """Redis throws it away: nobody who heeds pauses is given anything before it is told again."""
        self.belt.client.delete(self.belt.keys.paused)
        with pytest.raises(PauseStateUnknownError):
            self.belt.fetch("w1", 9, QUEUES, require_pause_state=True)
        self._tell()

    def _tell(self) -> None:
        told = self.belt.pauses_version()
        assert self.belt.publish_pauses([(*one, 1) for one in self.paused], version=told)

    def _is_paused(self, queue: str, session: str) -> bool:
        return not self.paused.isdisjoint({("stage", queue), ("session", session)})

    def _send(self, worker: str, endings: list[tuple[FetchedMessage, AckAction]]) -> None:
        done = self._finish(worker, endings)
        self.sent.append((worker, endings))
        for (item, step), held in zip(endings, done, strict=True):
            if held and step.verdict in {"done", "dead"}:
                self.accepted.remove(item.key)
                self.ended[item.key] += 1
            if held and step.verdict == "dead":
                self.dead.add(item.key)

    def _finish(self, worker: str, endings: list[tuple[FetchedMessage, AckAction]]) -> list[bool]:
        return self.belt.ack_many(
            worker,
            [
                Ack(item.key, item.delivery_id, step, (SHELF, "{}") if step.verdict == "done" else None)
                for item, step in endings
            ],
        )

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
        assert len(self.belt.finished_jobs("completed")) <= CAP
        assert self.belt.client.hlen(self.belt.keys.finished_entries("completed")) <= CAP

    @invariant()
    def what_is_in_flight_is_what_is_held(self) -> None:
        held: Counter[bytes] = Counter()
        for worker in WORKERS:
            for value in self.belt.client.hvals(self.belt.keys.held(worker)):
                charge, _, _, session = value.split(b":", 4)[4].split(b",", 3)
                held[session] += int(charge)
        assert self._flight() == held

    @invariant()
    def nobody_holds_more_large_files_than_its_share(self) -> None:
        for worker in WORKERS:
            assert sum(item.large for item in self.belt.held_messages(worker)) <= LARGE_SHARE

    @invariant()
    def a_session_has_a_turn_where_something_of_it_waits_and_nowhere_else(self) -> None:
        marks: dict[bytes, set[str]] = {}
        flight = self._flight()
        for number, (queue, lane) in enumerate((queue, lane) for queue in QUEUES for lane in SIZE_CLASSES):
            first: dict[bytes, Waiting] = {}
            for found in self._waiting(queue, lane):
                first.setdefault(found.session, found)
            turns = dict(self.belt.client.zrange(self.belt.keys.turns(queue, lane), 0, -1, withscores=True))
            assert turns.keys() == first.keys()
            for session, turn in turns.items():
                marks.setdefault(session, set()).add(chr(65 + number))
                rank = min(1023, flight[session] // 250)
                aside, in_band = divmod(int(turn), 2 * BAND)
                assert aside == (("session", session.decode()) in self.paused)
                assert (in_band < BAND, in_band % BAND // RANK) == (first[session].urgent, rank)
        standing = self.belt.client.hgetall(self.belt.keys.session_marks)
        assert {session: set(value.decode()) for session, value in standing.items()} == marks
        assert all(len(value) == len(set(value)) for value in standing.values())

    @invariant()
    def what_waits_knows_its_place(self) -> None:
        perishable = {}
        for number, (queue, lane) in enumerate((queue, lane) for queue in QUEUES for lane in SIZE_CLASSES):
            for found in self._waiting(queue, lane):
                value = self.belt.client.hget(self.belt.keys.messages, found.key)
                text = value[1:].partition(b"\0")[0] if value.startswith(b"\1") else b"1000,0,0,"
                _, large, expires, session = text.split(b",", 3)
                assert (session, SIZE_CLASSES[int(large)]) == (found.session, lane)
                if int(expires) and not found.urgent:
                    perishable[chr(65 + number).encode() + found.member] = float(expires)
        assert dict(self.belt.client.zrange(self.belt.keys.expiring, 0, -1, withscores=True)) == perishable

    def _flight(self) -> Counter[bytes]:
        flight = {session: int(n) for session, n in self.belt.client.hgetall(self.belt.keys.in_flight).items()}
        assert all(n > 0 for n in flight.values())
        return Counter(flight)

    def _waiting(self, queue: str, lane: str) -> Iterator[Waiting]:
        for member in self.belt.client.zrange(self.belt.keys.waiting(queue, lane), 0, -1):
            session, _, rest = member.partition(b"\0")
            yield Waiting(session, rest[:1] == b"0", rest[17:], member)

    def _places(self) -> Counter[str]:
        client: Any = self.belt.client
        places: list[bytes] = []
        for queue in QUEUES:
            places += client.lrange(self.belt.keys.ready(queue), 0, -1)
            places += [found.key for lane in SIZE_CLASSES for found in self._waiting(queue, lane)]
            places += client.zrange(self.belt.keys.delayed(queue), 0, -1)
        for worker in WORKERS:
            places += client.hkeys(self.belt.keys.held(worker))
        return Counter(place.decode() for place in places)


@pytest.mark.slow
def test_the_protocol_holds_under_any_interleaving(valkey: ValkeyServer) -> None:
    size_classes = SizeClasses(weights={"x": 3})
    BeltMachine.belt = RedisQueue(connect(valkey.url, timeout_s=5), queues=QUEUES, size_classes=size_classes)
    run_state_machine_as_test(
        BeltMachine,
        settings=settings(
            max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
