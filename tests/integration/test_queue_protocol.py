"""The commands of the queue under random interleavings: several workers, repeats, lost answers, crashes.

After every step each accepted message is in exactly one place, none was finished twice, the finished jobs keep within
their length, and turns and in-flight counts are those that follow from the messages. Nothing of a paused stage or
session is fetched, and everything else is.
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
from actors.redis_queue.messages import Ack, AckAction, FetchedMessage, FetchLimits, PauseStateUnknownError
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo, SizeClasses
from pipeline.catalogue.pauses import Pause
from pipeline.config.job_retention import JobRetention
from pipeline.redis_client import connect
from tests.support.finished_jobs import finished_jobs
from tests.support.valkey import ValkeyServer

QUEUES = ["fetch", "notify"]  # two do all that five can, and each is looked at after every step
KEYS = ["a", "b", "c", "d"]
WORKERS = ["w1", "w2"]
VERDICTS = ["next", "later", "back", "done", "dead"]
CAP = 1
JOB_LIST = FinishedJobList("completed", JobRetention(count=CAP), 3600)
LARGE_SHARE = 1
DOWNLOAD = 2**36  # what a download adds to the number in `flight`, in addition to its load
BAND, HISTORY_BAND, LOAD_UNIT = 2**50, 2**49, 2**39  # as in scheduling.lua
HISTORY = 0  # in place of the time until a source expires
HOUR_MS = 3_600_000
PAUSABLE = [("stage", "fetch"), ("stage", "notify"), ("session", "x"), ("session", ""), ("session", "y:1,2")]
SCHEDULING = st.builds(
    lambda session, size, expires_in: (session, size, expires_in),
    st.sampled_from(["", "x", "y", "y:1,2"]),
    st.sampled_from([0, 100_000_000]),
    st.sampled_from([None, -1000, HOUR_MS + 15, 2 * HOUR_MS, HISTORY]),
)


class Waiting(NamedTuple):
    """One waiting message, as a member of its sorted set. `urgency` is 0, 1, or 2 for the history."""

    session: bytes
    urgency: bytes
    key: bytes
    member: bytes


class QueueMachine(RuleBasedStateMachine):
    """Workers that fetch, acknowledge, repeat commands, lose answers and die."""

    queue: RedisQueue

    def __init__(self) -> None:
        super().__init__()
        self.queue.client.flushall()
        self.accepted: set[str] = set()
        self.ended: Counter[str] = Counter()
        self.dead: set[str] = set()
        self.assumed: dict[str, list[FetchedMessage]] = {worker: [] for worker in WORKERS}
        self.sent: list[tuple[str, list[tuple[FetchedMessage, AckAction]]]] = []
        self.paused: set[tuple[str, str]] = set()

    @rule(
        key=st.sampled_from(KEYS),
        queue=st.sampled_from(QUEUES),
        delay=st.sampled_from([0, 0, 1, HOUR_MS]),
        place=SCHEDULING,
    )
    def enqueue(self, key: str, queue: str, delay: int, place: tuple[str, int, int | None]) -> None:
        session, size, expires_in = place
        expires_at = None if expires_in is None else int(time.time() * 1000) + expires_in
        scheduling = SchedulingInfo(session, size, expires_at, of_history=expires_in == HISTORY)
        put = self.queue.enqueue(key, queue, b"message", scheduling=scheduling, delay_ms=delay)
        assert put == (key not in self.accepted)
        self.accepted.add(key)
        self.dead.discard(key)

    @rule(
        worker=st.sampled_from(WORKERS),
        count=st.integers(1, 3),
        per_session=st.integers(0, 2),
        history=st.integers(0, 2),
        lost=st.booleans(),
    )
    def fetch(self, worker: str, count: int, per_session: int, history: int, lost: bool) -> None:
        large = LARGE_SHARE - sum(item.large for item in self.queue.held_messages(worker))
        before = self._downloads()
        limits = FetchLimits(large, per_session=per_session, history=history)
        _, handed, limited = self.queue.fetch(worker, count, QUEUES, limits=limits)
        assert len(handed) <= count
        assert sum(item.of_history for item in handed) <= history
        if per_session:
            assert all(n <= max(per_session, before[session]) for session, n in self._downloads().items())
        assert all(item.data == b"message" for item in handed)
        assert not any(self._is_paused(item.queue, item.session) for item in handed)
        if len(handed) < count and not limited:
            assert not [
                waiting
                for queue in QUEUES
                for waiting in self._waiting(queue, "small")
                if not self._is_paused(queue, waiting.session.decode())
            ]
        if lost:  # the answer did not arrive: the worker asks what it holds
            known = {(item.key, item.delivery_id) for item in self.assumed[worker]}
            handed = [item for item in self.queue.held_messages(worker) if (item.key, item.delivery_id) not in known]
        self.assumed[worker] += handed

    @precondition(lambda self: any(self.assumed.values()))
    @rule(data=st.data(), verdicts=st.lists(st.sampled_from(VERDICTS), min_size=1, max_size=4))
    def ack(self, data: st.DataObject, verdicts: list[str]) -> None:
        """Acknowledges one delivery or several at once, sometimes one of them twice."""
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.assumed[worker]]))
        acks = []
        for verdict in verdicts:
            item = data.draw(st.sampled_from(self.assumed[worker]))
            queue = item.queue if verdict == "back" else data.draw(st.sampled_from(QUEUES))
            acks.append((item, AckAction(verdict, queue, b"message", 1)))
        self.assumed[worker] = [item for item in self.assumed[worker] if item not in [acked for acked, _ in acks]]
        self._send(worker, acks)

    @precondition(lambda self: self.sent)
    @rule(data=st.data())
    def repeat_ack(self, data: st.DataObject) -> None:
        """An answer was lost, and the worker sends its acknowledgement again, however late."""
        worker, acks = data.draw(st.sampled_from(self.sent))
        assert not any(self._ack_many(worker, acks))

    @precondition(lambda self: any(self.assumed.values()))
    @rule(data=st.data())
    def mark_started(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from([worker for worker in WORKERS if self.assumed[worker]]))
        item = data.draw(st.sampled_from(self.assumed[worker]))
        known = {(held.key, held.delivery_id) for held in self.queue.held_messages(worker)}
        assert self.queue.mark_started(worker, item.key, item.delivery_id) == ((item.key, item.delivery_id) in known)

    @rule(worker=st.sampled_from(WORKERS))
    def die(self, worker: str) -> None:
        """The heartbeat stops, but the worker does not know it and goes on with the messages that it held."""
        self.queue.reap(worker, silence_ms=0, crash=True)

    @rule(worker=st.sampled_from(WORKERS))
    def restart(self, worker: str) -> None:
        self.queue.reap(worker, silence_ms=0, crash=False)
        self.assumed[worker] = []

    @rule()
    def audit(self) -> None:
        """The queue is consistent after any sequence of commands."""
        assert self.queue.audit() == 0

    @rule(paused=st.sets(st.sampled_from(PAUSABLE)))
    def pause_and_resume(self, paused: set[tuple[str, str]]) -> None:
        self.paused = paused
        self._publish_pauses()

    @rule(key=st.sampled_from(KEYS))
    def remove(self, key: str) -> None:
        """A cancelled message is removed unless a worker holds it."""
        held = any(key == item.key for worker in WORKERS for item in self.queue.held_messages(worker))
        removed = self.queue.remove(key)
        assert removed == (key in self.accepted and not held)
        self.accepted -= {key} if removed else set()

    @rule()
    def lose_the_pauses(self) -> None:
        """Redis evicts the pauses: a fetch that requires them raises until they are published again."""
        self.queue.client.delete(self.queue.keys.paused)
        with pytest.raises(PauseStateUnknownError):
            self.queue.fetch("w1", 9, QUEUES, require_pause_state=True)
        self._publish_pauses()

    def _publish_pauses(self) -> None:
        version = self.queue.pauses_version()
        assert self.queue.publish_pauses([Pause(*pause, 1) for pause in self.paused], version=version)

    def _is_paused(self, queue: str, session: str) -> bool:
        return not self.paused.isdisjoint({("stage", queue), ("session", session)})

    def _send(self, worker: str, acks: list[tuple[FetchedMessage, AckAction]]) -> None:
        done = self._ack_many(worker, acks)
        self.sent.append((worker, acks))
        for (item, action), held in zip(acks, done, strict=True):
            if held and action.verdict in {"done", "dead"}:
                self.accepted.remove(item.key)
                self.ended[item.key] += 1
            if held and action.verdict == "dead":
                self.dead.add(item.key)

    def _ack_many(self, worker: str, acks: list[tuple[FetchedMessage, AckAction]]) -> list[bool]:
        return self.queue.ack_many(
            worker,
            [
                Ack(item.key, item.delivery_id, action, (JOB_LIST, "{}") if action.verdict == "done" else None)
                for item, action in acks
            ],
        )

    @invariant()
    def each_message_is_in_exactly_one_place(self) -> None:
        assert self._places() == Counter(self.accepted)
        assert {key.decode() for key in self.queue.client.hkeys(self.queue.keys.messages)} == self.accepted

    @invariant()
    def every_worker_with_messages_is_in_the_list_of_workers(self) -> None:
        workers = {name.decode() for name in self.queue.client.zrange(self.queue.keys.workers, 0, -1)}
        holding = {worker for worker in WORKERS if self.queue.client.hlen(self.queue.keys.held(worker))}
        assert holding <= workers

    @invariant()
    def dead_letters_and_finished_jobs_are_complete(self) -> None:
        dead = [key for queue in QUEUES for key in self.queue.client.zrange(self.queue.keys.dead(queue), 0, -1)]
        assert sorted(key.decode() for key in dead) == sorted(self.dead)
        assert {key.decode() for key in self.queue.client.hkeys(self.queue.keys.dead_messages)} == self.dead
        assert len(finished_jobs(self.queue, "completed")) <= CAP
        assert self.queue.client.hlen(self.queue.keys.finished_entries("completed")) <= CAP

    @invariant()
    def in_flight_is_the_sum_of_held_messages(self) -> None:
        held: Counter[bytes] = Counter()
        for worker in WORKERS:
            for value in self.queue.client.hvals(self.queue.keys.held(worker)):
                charge, _, _, session = value.split(b":", 4)[4].split(b",", 3)
                held[session] += int(charge)
        assert self._in_flight() == held
        downloads = Counter({session: n // DOWNLOAD for session, n in self._flight().items() if n >= DOWNLOAD})
        assert downloads == self._downloads()

    @invariant()
    def no_worker_exceeds_its_share_of_large_files(self) -> None:
        for worker in WORKERS:
            assert sum(item.large for item in self.queue.held_messages(worker)) <= LARGE_SHARE

    @invariant()
    def sessions_have_turns_exactly_where_they_have_messages(self) -> None:
        marks: dict[bytes, set[str]] = {}
        in_flight = self._in_flight()
        for number, (queue, size_class) in enumerate(
            (queue, size_class) for queue in QUEUES for size_class in SIZE_CLASSES
        ):
            first: dict[bytes, Waiting] = {}
            for found in self._waiting(queue, size_class):
                first.setdefault(found.session, found)
            turns = dict(self.queue.client.zrange(self.queue.keys.turns(queue, size_class), 0, -1, withscores=True))
            assert turns.keys() == first.keys()
            for session, turn in turns.items():
                marks.setdefault(session, set()).add(chr(65 + number))
                load = min(1023, in_flight[session] // 250)
                paused, in_band = divmod(int(turn), 2 * BAND)
                assert paused == (("session", session.decode()) in self.paused)
                assert in_band % HISTORY_BAND // LOAD_UNIT == load
                assert max(0, in_band // HISTORY_BAND - 1) == int(first[session].urgency)
        standing = self.queue.client.hgetall(self.queue.keys.session_marks)
        assert {session: set(value.decode()) for session, value in standing.items()} == marks
        assert all(len(value) == len(set(value)) for value in standing.values())

    @invariant()
    def waiting_messages_match_their_scheduling_info(self) -> None:
        expiring = {}
        for number, (queue, size_class) in enumerate(
            (queue, size_class) for queue in QUEUES for size_class in SIZE_CLASSES
        ):
            for found in self._waiting(queue, size_class):
                value = self.queue.client.hget(self.queue.keys.messages, found.key)
                text = value[1:].partition(b"\0")[0] if value.startswith(b"\1") else b"1000,0,0,"
                _, large, expires, session = text.split(b",", 3)
                assert (session, SIZE_CLASSES[int(large)]) == (found.session, size_class)
                assert (expires == b"1") == (found.urgency == b"2")
                if int(expires) > 1 and found.urgency == b"1":
                    expiring[chr(65 + number).encode() + found.member] = float(expires)
        assert dict(self.queue.client.zrange(self.queue.keys.expiring, 0, -1, withscores=True)) == expiring

    def _in_flight(self) -> Counter[bytes]:
        return Counter({session: n % DOWNLOAD for session, n in self._flight().items()})

    def _flight(self) -> dict[bytes, int]:
        flight = {session: int(n) for session, n in self.queue.client.hgetall(self.queue.keys.in_flight).items()}
        assert all(n > 0 for n in flight.values())
        return flight

    def _downloads(self) -> Counter[bytes]:
        """How many messages of the queue `fetch` workers hold, by session."""
        values = [value for worker in WORKERS for value in self.queue.client.hvals(self.queue.keys.held(worker))]
        fields = [value.split(b":", 4) for value in values]
        return Counter(info.split(b",", 3)[3] for _, queue, _, _, info in fields if queue == b"fetch")

    def _waiting(self, queue: str, size_class: str) -> Iterator[Waiting]:
        for member in self.queue.client.zrange(self.queue.keys.waiting(queue, size_class), 0, -1):
            session, _, rest = member.partition(b"\0")
            yield Waiting(session, rest[:1], rest[17:], member)

    def _places(self) -> Counter[str]:
        client: Any = self.queue.client
        places: list[bytes] = []
        for queue in QUEUES:
            places += [found.key for size_class in SIZE_CLASSES for found in self._waiting(queue, size_class)]
            places += client.zrange(self.queue.keys.delayed(queue), 0, -1)
        for worker in WORKERS:
            places += client.hkeys(self.queue.keys.held(worker))
        return Counter(place.decode() for place in places)


@pytest.mark.slow
def test_queue_is_consistent_under_any_interleaving(valkey: ValkeyServer) -> None:
    size_classes = SizeClasses(weights={"x": 3})
    QueueMachine.queue = RedisQueue(connect(valkey.url, timeout_s=5), queues=QUEUES, size_classes=size_classes)
    run_state_machine_as_test(
        QueueMachine,
        settings=settings(
            max_examples=80, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
