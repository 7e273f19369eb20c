"""Whose turn it is on the belt: perishable first, large files apart, sessions by what they have in flight."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing

import pytest

from actors.redis_queue.queue import AckAction, FetchedMessage, RedisQueue, connect
from actors.redis_queue.scheduling import SchedulingInfo, SizeClasses
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer, free_port, running_valkey

QUEUES = [stage.value for stage in Stage]
HOUR_MS = 3_600_000
LARGE = 100_000_000


def belt_on(server: ValkeyServer, size_classes: SizeClasses | None = None) -> RedisQueue:
    return RedisQueue(connect(server.url, timeout_s=2), queues=QUEUES, size_classes=size_classes)


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return belt_on(valkey)


def in_ms(milliseconds: int) -> int:
    return int(time.time() * 1000) + milliseconds


def offer(belt: RedisQueue, key: str, session: str = "s", *, size: int = 0, expires_at: int | None = None) -> None:
    assert belt.enqueue(key, "fetch", b"message", scheduling=SchedulingInfo(session, size, expires_at))


def backlog(belt: RedisQueue, session: str, count: int, *, size: int = 0) -> None:
    for number in range(count):
        offer(belt, f"{session}-{number:04}", session, size=size)


def fetch(belt: RedisQueue, count: int, *, worker: str = "w", large: int | None = None) -> list[FetchedMessage]:
    return belt.fetch(worker, count, QUEUES, large=large)[1]


def keys_of(handed: list[FetchedMessage]) -> list[str]:
    return [item.key for item in handed]


def sessions_of(handed: list[FetchedMessage]) -> Counter[str]:
    return Counter(item.key.partition("-")[0] for item in handed)


def finish(belt: RedisQueue, item: FetchedMessage, verdict: str = "done", *, delay_ms: int = 0) -> None:
    assert belt.ack("w", item.key, item.delivery_id, AckAction(verdict, item.queue, item.data, delay_ms))


# ---- perishable first


def test_what_expires_within_the_hour_or_has_expired_goes_before_the_others(belt: RedisQueue) -> None:
    offer(belt, "lasting")
    offer(belt, "tomorrow", expires_at=in_ms(24 * HOUR_MS))
    offer(belt, "soon", expires_at=in_ms(HOUR_MS // 2))
    offer(belt, "expired", "another", expires_at=in_ms(-HOUR_MS))
    assert set(keys_of(fetch(belt, 2))) == {"soon", "expired"}
    assert keys_of(fetch(belt, 9)) == ["lasting", "tomorrow"]


def test_what_expired_more_than_a_day_ago_goes_before_nobody(belt: RedisQueue) -> None:
    for number in range(20):
        offer(belt, f"history-{number}", "history", expires_at=in_ms(-30 * 24 * HOUR_MS))
    fetch(belt, 4)
    offer(belt, "quiet", "quiet")
    assert keys_of(fetch(belt, 1)) == ["quiet"]
    assert len(fetch(belt, 99)) == 16
    assert belt.client.exists(belt.keys.expiring) == 0


def test_what_waits_becomes_urgent_while_it_waits(belt: RedisQueue) -> None:
    backlog(belt, "other", 3)
    offer(belt, "behind", "mine")
    offer(belt, "perishable", "mine", expires_at=in_ms(HOUR_MS + 300))
    backlog(belt, "third", 3)
    assert "perishable" not in keys_of(fetch(belt, 3))
    time.sleep(0.35)
    assert keys_of(fetch(belt, 1)) == ["perishable"]
    assert belt.client.zcard(belt.keys.expiring) == 0
    assert len(fetch(belt, 9)) == 4


def test_among_the_urgent_of_a_session_the_first_come_is_first(belt: RedisQueue) -> None:
    offer(belt, "late", expires_at=in_ms(HOUR_MS + 30))
    offer(belt, "early", expires_at=in_ms(1000))
    time.sleep(0.05)
    assert keys_of(fetch(belt, 2)) == ["late", "early"]


def test_urgent_large_files_go_before_small_ones_that_can_wait(belt: RedisQueue) -> None:
    offer(belt, "small")
    offer(belt, "large", size=LARGE)
    offer(belt, "urgent", expires_at=in_ms(1000))
    offer(belt, "large-urgent", size=LARGE, expires_at=in_ms(1000))
    assert keys_of(fetch(belt, 9)) == ["large-urgent", "urgent", "large", "small"]


# ---- large files apart


def test_of_large_files_no_more_are_taken_than_asked_for(belt: RedisQueue) -> None:
    backlog(belt, "large", 5, size=LARGE)
    backlog(belt, "small", 5)
    assert sessions_of(fetch(belt, 4, large=1)) == {"large": 1, "small": 3}
    assert sessions_of(fetch(belt, 9, large=0)) == {"small": 2}
    assert fetch(belt, 9, large=0) == []
    assert sessions_of(fetch(belt, 9, large=9)) == {"large": 4}


def test_large_is_what_is_declared_larger_than_the_setting(valkey: ValkeyServer) -> None:
    belt = belt_on(valkey, SizeClasses(large_bytes=1000))
    offer(belt, "at-the-limit", size=1000)
    offer(belt, "above", size=1001)
    assert {item.key: item.large for item in fetch(belt, 2)} == {"at-the-limit": False, "above": True}


@pytest.mark.parametrize(
    ("threads", "share", "large"), [(1, 0.25, 1), (2, 0.25, 1), (8, 0.25, 2), (8, 1, 7), (8, 0.01, 1), (2, 1, 1)]
)
def test_the_share_leaves_a_thread_for_either(threads: int, share: float, large: int) -> None:
    assert SizeClasses(large_share=share).large_threads(threads) == large


# ---- sessions in turn


def test_one_file_goes_before_the_three_hundred_of_another_session(belt: RedisQueue) -> None:
    backlog(belt, "busy", 300)
    fetch(belt, 16)
    offer(belt, "quiet-0", "quiet")
    assert keys_of(fetch(belt, 1)) == ["quiet-0"]


def test_sessions_take_turns_whenever_their_files_came(belt: RedisQueue) -> None:
    for session in ("a", "b", "c"):
        backlog(belt, session, 20)
    assert sessions_of(fetch(belt, 12)) == {"a": 4, "b": 4, "c": 4}


def test_a_session_alone_gets_all_there_is(belt: RedisQueue) -> None:
    backlog(belt, "only", 40)
    assert len(fetch(belt, 32)) == 32


def test_a_session_of_weight_four_has_four_times_as_much_in_flight(valkey: ValkeyServer) -> None:
    belt = belt_on(valkey, SizeClasses(weights={"vip": 4, "test": 0.5}))
    for session in ("test", "usual", "vip"):
        backlog(belt, session, 50)
    taken = sessions_of(fetch(belt, 44))
    assert 30 <= taken["vip"] <= 34
    assert 7 <= taken["usual"] <= 9
    assert 3 <= taken["test"] <= 5


def test_bytes_count_like_files(valkey: ValkeyServer) -> None:
    belt = belt_on(valkey, SizeClasses(large_bytes=10**9))
    backlog(belt, "heavy", 20, size=48_000_000)  # each like four files
    backlog(belt, "light", 20)
    assert sessions_of(fetch(belt, 10)) == {"heavy": 2, "light": 8}


def test_a_slow_session_does_not_slow_a_fast_one(belt: RedisQueue) -> None:
    backlog(belt, "slow", 100)
    fetch(belt, 8)
    backlog(belt, "fast", 100)
    done = 0
    for _ in range(50):
        [item] = fetch(belt, 1)
        if item.key.startswith("fast"):
            done += 1
            finish(belt, item)
    assert done == 50


def test_those_that_are_level_go_in_the_order_of_their_last_service(belt: RedisQueue) -> None:
    for session in ("c", "b", "a"):
        offer(belt, f"{session}-0", session)
        time.sleep(0.003)
        offer(belt, f"{session}-1", session)
    order = []
    for _ in range(6):
        [item] = fetch(belt, 1)
        order.append(item.key[0])
        finish(belt, item)
        time.sleep(0.003)
    assert "".join(order) == "cbacba"


def test_who_has_little_in_flight_overtakes_what_was_handed_out_before(belt: RedisQueue) -> None:
    backlog(belt, "busy", 40)
    before = fetch(belt, 16)
    offer(belt, "quiet", "quiet")
    offer(belt, "urgent", "busy", expires_at=in_ms(1000))
    urgent, quiet = fetch(belt, 2)
    assert (urgent.key, quiet.key) == ("urgent", "quiet")
    assert urgent.priority < min(item.priority for item in before)
    assert quiet.priority < before[-1].priority
    assert [item.priority for item in before] == sorted(item.priority for item in before)


# ---- within a session


def test_what_is_due_handed_back_or_reaped_goes_to_its_sessions_front(belt: RedisQueue) -> None:
    backlog(belt, "s", 6)
    first, second, third, fourth = fetch(belt, 4)
    finish(belt, first, "later", delay_ms=1)
    time.sleep(0.01)
    assert keys_of(fetch(belt, 1)) == ["s-0000"]
    finish(belt, fourth, "back")
    assert keys_of(fetch(belt, 1)) == ["s-0003"]
    assert belt.reap("w", silence_ms=0, crash=True) == 4
    assert keys_of(fetch(belt, 9, worker="v")) == ["s-0001", "s-0002", "s-0000", "s-0003", "s-0004", "s-0005"]
    assert {second.key, third.key} == {"s-0001", "s-0002"}


@pytest.mark.parametrize("verdict", ["next", "later", "back"])
def test_a_message_keeps_its_place_on_the_way(belt: RedisQueue, verdict: str) -> None:
    offer(belt, "a", "s", size=LARGE, expires_at=in_ms(1000))
    [item] = fetch(belt, 1)
    assert belt.ack(
        "w", "a", item.delivery_id, AckAction(verdict, "validate" if verdict == "next" else "fetch", b"new", 1)
    )
    time.sleep(0.01)
    offer(belt, "other", "t")
    assert belt.client.hlen(belt.keys.in_flight) == 0
    _, (again, _) = belt.fetch("w", 2, QUEUES[::-1])
    assert (again.key, again.large, again.data) == ("a", True, b"message" if verdict == "back" else b"new")
    assert again.priority < 0
    assert belt.stats.sessions()["s"] == {"ready": 0, "running": 1}


# ---- accounts


def test_what_is_finished_is_not_in_flight_any_more(belt: RedisQueue) -> None:
    backlog(belt, "a", 3)
    offer(belt, "big", "b", size=LARGE)
    handed = fetch(belt, 9)
    assert belt.client.hgetall(belt.keys.in_flight) == {b"a": b"3000", b"b": b"7250"}
    for item, verdict in zip(handed, ["done", "dead", "later", "back"], strict=True):
        finish(belt, item, verdict, delay_ms=HOUR_MS)
    assert belt.client.exists(belt.keys.in_flight) == 0


def test_what_dead_workers_held_is_not_in_flight_any_more(belt: RedisQueue) -> None:
    backlog(belt, "a", 3)
    fetch(belt, 2)
    belt.client.hdel(belt.keys.messages, "a-0000")
    belt.reap("w", silence_ms=0, crash=True)
    assert belt.client.exists(belt.keys.in_flight) == 0


def test_accounts_that_were_lost_begin_at_nothing(belt: RedisQueue) -> None:
    backlog(belt, "a", 4)
    one, two = fetch(belt, 2)
    belt.client.delete(belt.keys.in_flight)
    finish(belt, one)
    assert belt.client.exists(belt.keys.in_flight) == 0
    fetch(belt, 1)
    finish(belt, two)
    assert belt.client.exists(belt.keys.in_flight) == 0


def test_sessions_are_told_with_what_waits_and_runs_the_longest_first(belt: RedisQueue) -> None:
    backlog(belt, "a", 2)
    backlog(belt, "b", 5)
    offer(belt, "c-large", "c", size=LARGE)
    fetch(belt, 3)
    assert belt.stats.sessions() == {
        "b": {"ready": 4, "running": 1},
        "a": {"ready": 1, "running": 1},
        "c": {"ready": 0, "running": 1},
    }
    assert list(belt.stats.sessions(limit=2)) == ["b", "a"]
    assert belt.stats.counts()["fetch"] == {"ready": 5, "delayed": 0, "running": 3, "dead": 0}


@pytest.mark.parametrize("session", ["with:colons,and=more", "ação 📎", "a\0b", "x" * 512, ""])
def test_any_name_of_a_session_comes_back_whole(belt: RedisQueue, session: str) -> None:
    offer(belt, "a", session, expires_at=in_ms(2 * HOUR_MS))
    offer(belt, "b", session)
    assert list(belt.stats.sessions()) == [session.replace("\0", "\ufffd")]
    [item] = fetch(belt, 1)
    assert belt.mark_started("w", item.key, item.delivery_id)
    assert belt.held_messages("w") == [item]
    assert belt.stats.sessions() == {session.replace("\0", "\ufffd"): {"ready": 1, "running": 1}}
    finish(belt, item)
    assert belt.client.exists(belt.keys.in_flight, belt.keys.expiring) == 0


def test_a_queue_that_was_flushed_leaves_nothing_behind(belt: RedisQueue) -> None:
    backlog(belt, "a", 3)
    backlog(belt, "b", 2, size=LARGE)
    offer(belt, "perishable", "c", expires_at=in_ms(2 * HOUR_MS))
    belt.enqueue("delayed", "fetch", b"message", delay_ms=HOUR_MS)
    belt.enqueue("elsewhere", "notify", b"message", scheduling=SchedulingInfo("a"))
    fetch(belt, 1, large=0)
    belt.client.hset(belt.keys.messages, "listed", b"message")
    belt.client.rpush(belt.keys.ready("fetch"), "listed")
    belt.flush("fetch")
    assert belt.stats.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 1, "dead": 0}
    assert set(belt.client.hkeys(belt.keys.messages)) == {b"a-0000", b"elsewhere"}
    assert belt.client.exists(belt.keys.expiring) == 0
    assert list(belt.client.hgetall(belt.keys.session_marks)) == [b"a"]
    assert keys_of(fetch(belt, 9)) == ["elsewhere"]


# ---- waking up


def heard(belt: RedisQueue) -> Iterator[int]:
    """How many wake-up calls were heard since the last look."""
    with closing(belt.client.pubsub(ignore_subscribe_messages=True)) as channel:
        channel.subscribe(belt.keys.channel)
        channel.get_message(timeout=1)
        while True:
            count = 0
            while channel.get_message(timeout=0.05):
                count += 1
            yield count


def test_who_sleeps_is_called_when_a_lane_was_empty(belt: RedisQueue) -> None:
    calls = heard(belt)
    assert next(calls) == 0
    offer(belt, "a", "s")
    assert next(calls) == 1
    offer(belt, "b", "s")
    offer(belt, "c", "t")
    assert next(calls) == 0
    offer(belt, "large", "s", size=LARGE)
    assert next(calls) == 1
    for item in fetch(belt, 3, large=0):
        finish(belt, item)
    offer(belt, "d", "s")
    assert next(calls) == 1  # though a large one waits there


def test_who_sleeps_is_told_of_what_will_be_due(belt: RedisQueue) -> None:
    offer(belt, "a")
    [item] = fetch(belt, 1)
    calls = heard(belt)
    assert next(calls) == 0
    finish(belt, item, "later", delay_ms=HOUR_MS)
    assert next(calls) == 1


# ---- from the former version


# ---- Redis Cluster


def test_a_cluster_takes_every_script() -> None:
    # Without its own it takes the port 10,000 above, which the kernel may have given to anybody.
    arguments = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with running_valkey(arguments=arguments) as server:
        belt = belt_on(server)
        belt.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + 10
        while b"cluster_state:ok" not in belt.client.execute_command("CLUSTER", "INFO"):  # type: ignore[no-untyped-call]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        backlog(belt, "a", 3)
        offer(belt, "perishable", "b", size=LARGE, expires_at=in_ms(2 * HOUR_MS))
        one, two, *_ = fetch(belt, 3)
        assert belt.mark_started("w", one.key, one.delivery_id)
        finish(belt, one, "next")
        finish(belt, two, "later", delay_ms=1)
        assert belt.heartbeat("v", silence_ms=60_000) == []
        assert belt.reap("w", silence_ms=0, crash=True) == 1
        assert belt.find_missing(["a-0000", "nowhere"]) == ["nowhere"]
        assert belt.audit() == 0
        belt.client.hset(belt.keys.messages, "nowhere", b"1")
        assert belt.audit() == 5
        backlog(belt, "a", 3)
        assert (
            belt.stats.counts()["fetch"]["ready"] == sum(told["ready"] for told in belt.stats.sessions().values()) == 3
        )
        belt.client.close()
