"""The order of fetches: urgent messages first, a limit for large files, and fair turns for sessions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from actors.redis_queue.messages import AckAction, FetchedMessage, FetchLimits, FetchResult, SessionDownloads
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo, SizeClasses, scheduling_of
from pipeline.catalogue.pauses import Pause
from pipeline.models import Attachment, Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer, free_port, running_valkey

QUEUES = [stage.value for stage in Stage]
HOUR_MS = 3_600_000
LARGE = 100_000_000
DOWNLOAD = 2**36  # what a download adds to the number in `flight`, in addition to its load


def queue_on(server: ValkeyServer, size_classes: SizeClasses | None = None) -> RedisQueue:
    return RedisQueue(connect(server.url, timeout_s=2), queues=QUEUES, size_classes=size_classes)


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return queue_on(valkey)


def in_ms(milliseconds: int) -> int:
    return int(time.time() * 1000) + milliseconds


def enqueue(queue: RedisQueue, key: str, session: str = "s", *, size: int = 0, expires_at: int | None = None) -> None:
    assert queue.enqueue(key, "fetch", b"message", scheduling=SchedulingInfo(session, size, expires_at))


def backlog(queue: RedisQueue, session: str, count: int, *, size: int = 0) -> None:
    for number in range(count):
        enqueue(queue, f"{session}-{number:04}", session, size=size)


def fetch(queue: RedisQueue, count: int, *, worker: str = "w", large: int | None = None) -> list[FetchedMessage]:
    return queue.fetch(worker, count, QUEUES, limits=FetchLimits(large))[1]


def keys_of(messages: list[FetchedMessage]) -> list[str]:
    return [item.key for item in messages]


def sessions_of(messages: list[FetchedMessage]) -> Counter[str]:
    return Counter(item.key.partition("-")[0] for item in messages)


def ack(queue: RedisQueue, item: FetchedMessage, verdict: str = "done", *, delay_ms: int = 0) -> None:
    assert queue.ack("w", item.key, item.delivery_id, AckAction(verdict, item.queue, item.data, delay_ms))


# ---- urgent messages first


def test_messages_that_expire_within_an_hour_come_first(queue: RedisQueue) -> None:
    enqueue(queue, "lasting")
    enqueue(queue, "tomorrow", expires_at=in_ms(24 * HOUR_MS))
    enqueue(queue, "soon", expires_at=in_ms(HOUR_MS // 2))
    enqueue(queue, "expired", "another", expires_at=in_ms(-HOUR_MS))
    assert set(keys_of(fetch(queue, 2))) == {"soon", "expired"}
    assert keys_of(fetch(queue, 9)) == ["lasting", "tomorrow"]


def test_messages_that_expired_a_day_ago_are_not_urgent(queue: RedisQueue) -> None:
    for number in range(20):
        enqueue(queue, f"history-{number}", "history", expires_at=in_ms(-30 * 24 * HOUR_MS))
    fetch(queue, 4)
    enqueue(queue, "quiet", "quiet")
    assert keys_of(fetch(queue, 1)) == ["quiet"]
    assert len(fetch(queue, 99)) == 16
    assert queue.client.exists(queue.keys.expiring) == 0


def test_waiting_message_becomes_urgent_as_it_nears_expiry(queue: RedisQueue) -> None:
    backlog(queue, "other", 3)
    enqueue(queue, "behind", "mine")
    enqueue(queue, "perishable", "mine", expires_at=in_ms(HOUR_MS + 300))
    backlog(queue, "third", 3)
    assert "perishable" not in keys_of(fetch(queue, 3))
    time.sleep(0.35)
    assert keys_of(fetch(queue, 1)) == ["perishable"]
    assert queue.client.zcard(queue.keys.expiring) == 0
    assert len(fetch(queue, 9)) == 4


def test_urgent_messages_of_a_session_keep_their_order(queue: RedisQueue) -> None:
    enqueue(queue, "late", expires_at=in_ms(HOUR_MS + 30))
    enqueue(queue, "early", expires_at=in_ms(1000))
    time.sleep(0.05)
    assert keys_of(fetch(queue, 2)) == ["late", "early"]


def test_urgent_large_files_come_before_small_ones(queue: RedisQueue) -> None:
    enqueue(queue, "small")
    enqueue(queue, "large", size=LARGE)
    enqueue(queue, "urgent", expires_at=in_ms(1000))
    enqueue(queue, "large-urgent", size=LARGE, expires_at=in_ms(1000))
    assert keys_of(fetch(queue, 9)) == ["large-urgent", "urgent", "large", "small"]


# ---- limits for large files


def test_fetch_takes_at_most_max_large_files(queue: RedisQueue) -> None:
    backlog(queue, "large", 5, size=LARGE)
    backlog(queue, "small", 5)
    assert sessions_of(fetch(queue, 4, large=1)) == {"large": 1, "small": 3}
    assert sessions_of(fetch(queue, 9, large=0)) == {"small": 2}
    assert fetch(queue, 9, large=0) == []
    assert sessions_of(fetch(queue, 9, large=9)) == {"large": 4}


def test_file_above_the_setting_is_large(valkey: ValkeyServer) -> None:
    queue = queue_on(valkey, SizeClasses(large_bytes=1000))
    enqueue(queue, "at-the-limit", size=1000)
    enqueue(queue, "above", size=1001)
    assert {item.key: item.large for item in fetch(queue, 2)} == {"at-the-limit": False, "above": True}


@pytest.mark.parametrize(
    ("threads", "share", "large"), [(1, 0.25, 1), (2, 0.25, 1), (8, 0.25, 2), (8, 1, 7), (8, 0.01, 1), (2, 1, 1)]
)
def test_large_threads_leave_a_thread_for_each_class(threads: int, share: float, large: int) -> None:
    assert SizeClasses(large_share=share).large_threads(threads) == large


# ---- fair turns for sessions


def test_quiet_session_overtakes_a_backlog(queue: RedisQueue) -> None:
    backlog(queue, "busy", 300)
    fetch(queue, 16)
    enqueue(queue, "quiet-0", "quiet")
    assert keys_of(fetch(queue, 1)) == ["quiet-0"]


def test_sessions_take_turns(queue: RedisQueue) -> None:
    for session in ("a", "b", "c"):
        backlog(queue, session, 20)
    assert sessions_of(fetch(queue, 12)) == {"a": 4, "b": 4, "c": 4}


def test_single_session_gets_all_capacity(queue: RedisQueue) -> None:
    backlog(queue, "only", 40)
    assert len(fetch(queue, 32)) == 32


def test_session_weight_multiplies_what_is_in_flight(valkey: ValkeyServer) -> None:
    queue = queue_on(valkey, SizeClasses(weights={"vip": 4, "test": 0.5}))
    for session in ("test", "usual", "vip"):
        backlog(queue, session, 50)
    taken = sessions_of(fetch(queue, 44))
    assert 30 <= taken["vip"] <= 34
    assert 7 <= taken["usual"] <= 9
    assert 3 <= taken["test"] <= 5


def test_large_sizes_count_as_several_files(valkey: ValkeyServer) -> None:
    queue = queue_on(valkey, SizeClasses(large_bytes=10**9))
    backlog(queue, "heavy", 20, size=48_000_000)  # each like four files
    backlog(queue, "light", 20)
    assert sessions_of(fetch(queue, 10)) == {"heavy": 2, "light": 8}


def test_slow_session_does_not_slow_a_fast_one(queue: RedisQueue) -> None:
    backlog(queue, "slow", 100)
    fetch(queue, 8)
    backlog(queue, "fast", 100)
    done = 0
    for _ in range(50):
        [item] = fetch(queue, 1)
        if item.key.startswith("fast"):
            done += 1
            ack(queue, item)
    assert done == 50


def test_equal_sessions_are_served_in_the_order_of_their_last_service(queue: RedisQueue) -> None:
    for session in ("c", "b", "a"):
        enqueue(queue, f"{session}-0", session)
        time.sleep(0.003)
        enqueue(queue, f"{session}-1", session)
    order = []
    for _ in range(6):
        [item] = fetch(queue, 1)
        order.append(item.key[0])
        ack(queue, item)
        time.sleep(0.003)
    assert "".join(order) == "cbacba"


def test_session_with_little_in_flight_gets_a_better_priority(queue: RedisQueue) -> None:
    backlog(queue, "busy", 40)
    before = fetch(queue, 16)
    enqueue(queue, "quiet", "quiet")
    enqueue(queue, "urgent", "busy", expires_at=in_ms(1000))
    urgent, quiet = fetch(queue, 2)
    assert (urgent.key, quiet.key) == ("urgent", "quiet")
    assert urgent.priority < min(item.priority for item in before)
    assert quiet.priority < before[-1].priority
    assert [item.priority for item in before] == sorted(item.priority for item in before)


# ---- within a session


def test_returned_due_and_reaped_messages_go_to_the_front(queue: RedisQueue) -> None:
    backlog(queue, "s", 6)
    first, second, third, fourth = fetch(queue, 4)
    ack(queue, first, "later", delay_ms=1)
    time.sleep(0.01)
    assert keys_of(fetch(queue, 1)) == ["s-0000"]
    ack(queue, fourth, "back")
    assert keys_of(fetch(queue, 1)) == ["s-0003"]
    assert queue.reap("w", silence_ms=0, crash=True) == 4
    assert keys_of(fetch(queue, 9, worker="v")) == ["s-0001", "s-0002", "s-0000", "s-0003", "s-0004", "s-0005"]
    assert {second.key, third.key} == {"s-0001", "s-0002"}


@pytest.mark.parametrize("verdict", ["next", "later", "back"])
def test_message_keeps_its_scheduling_info(queue: RedisQueue, verdict: str) -> None:
    enqueue(queue, "a", "s", size=LARGE, expires_at=in_ms(1000))
    [item] = fetch(queue, 1)
    assert queue.ack(
        "w", "a", item.delivery_id, AckAction(verdict, "validate" if verdict == "next" else "fetch", b"new", 1)
    )
    time.sleep(0.01)
    enqueue(queue, "other", "t")
    assert queue.client.hlen(queue.keys.in_flight) == 0
    _, (again, _), _ = queue.fetch("w", 2, QUEUES[::-1])
    assert (again.key, again.large, again.data) == ("a", True, b"message" if verdict == "back" else b"new")
    assert again.priority < 0
    assert queue.stats.sessions()["s"] == {"ready": 0, "running": 1}


# ---- what is in flight, counts


def test_acknowledged_messages_are_not_in_flight(queue: RedisQueue) -> None:
    backlog(queue, "a", 3)
    enqueue(queue, "big", "b", size=LARGE)
    messages = fetch(queue, 9)
    assert queue.client.hgetall(queue.keys.in_flight) == {
        b"a": b"%d" % (3 * DOWNLOAD + 3000),
        b"b": b"%d" % (DOWNLOAD + 7250),
    }
    for item, verdict in zip(messages, ["done", "dead", "later", "back"], strict=True):
        ack(queue, item, verdict, delay_ms=HOUR_MS)
    assert queue.client.exists(queue.keys.in_flight) == 0


def test_reaped_messages_are_not_in_flight(queue: RedisQueue) -> None:
    backlog(queue, "a", 3)
    fetch(queue, 2)
    queue.client.hdel(queue.keys.messages, "a-0000")
    queue.reap("w", silence_ms=0, crash=True)
    assert queue.client.exists(queue.keys.in_flight) == 0


def test_in_flight_starts_at_zero_after_an_eviction(queue: RedisQueue) -> None:
    backlog(queue, "a", 4)
    one, two = fetch(queue, 2)
    queue.client.delete(queue.keys.in_flight)
    ack(queue, one)
    assert queue.client.exists(queue.keys.in_flight) == 0
    fetch(queue, 1)
    ack(queue, two)
    assert queue.client.exists(queue.keys.in_flight) == 0


def test_session_counts_are_sorted_by_ready_messages(queue: RedisQueue) -> None:
    backlog(queue, "a", 2)
    backlog(queue, "b", 5)
    enqueue(queue, "c-large", "c", size=LARGE)
    fetch(queue, 3)
    assert queue.stats.sessions() == {
        "b": {"ready": 4, "running": 1},
        "a": {"ready": 1, "running": 1},
        "c": {"ready": 0, "running": 1},
    }
    assert list(queue.stats.sessions(limit=2)) == ["b", "a"]
    assert queue.stats.counts()["fetch"] == {"ready": 5, "delayed": 0, "running": 3, "dead": 0}


@pytest.mark.parametrize("session", ["with:colons,and=more", "ação 📎", "a\0b", "x" * 512, ""])
def test_session_names_are_preserved(queue: RedisQueue, session: str) -> None:
    enqueue(queue, "a", session, expires_at=in_ms(2 * HOUR_MS))
    enqueue(queue, "b", session)
    assert list(queue.stats.sessions()) == [session.replace("\0", "\ufffd")]
    [item] = fetch(queue, 1)
    assert queue.mark_started("w", item.key, item.delivery_id)
    assert queue.held_messages("w") == [item]
    assert queue.stats.sessions() == {session.replace("\0", "\ufffd"): {"ready": 1, "running": 1}}
    ack(queue, item)
    assert queue.client.exists(queue.keys.in_flight, queue.keys.expiring) == 0


def test_flush_removes_all_waiting_messages(queue: RedisQueue) -> None:
    backlog(queue, "a", 3)
    backlog(queue, "b", 2, size=LARGE)
    enqueue(queue, "perishable", "c", expires_at=in_ms(2 * HOUR_MS))
    queue.enqueue("delayed", "fetch", b"message", delay_ms=HOUR_MS)
    queue.enqueue("elsewhere", "notify", b"message", scheduling=SchedulingInfo("a"))
    fetch(queue, 1, large=0)
    queue.flush("fetch")
    assert queue.stats.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 1, "dead": 0}
    assert set(queue.client.hkeys(queue.keys.messages)) == {b"a-0000", b"elsewhere"}
    assert queue.client.exists(queue.keys.expiring) == 0
    assert list(queue.client.hgetall(queue.keys.session_marks)) == [b"a"]
    assert keys_of(fetch(queue, 9)) == ["elsewhere"]


# ---- waking up


def wake_up_calls(queue: RedisQueue) -> Iterator[int]:
    """Yields the number of wake-up calls since the last look."""
    with closing(queue.client.pubsub(ignore_subscribe_messages=True)) as channel:
        channel.subscribe(queue.keys.channel)
        channel.get_message(timeout=1)
        while True:
            count = 0
            while channel.get_message(timeout=0.05):
                count += 1
            yield count


def test_enqueue_wakes_workers_if_no_session_was_waiting(queue: RedisQueue) -> None:
    calls = wake_up_calls(queue)
    assert next(calls) == 0
    enqueue(queue, "a", "s")
    assert next(calls) == 1
    enqueue(queue, "b", "s")
    enqueue(queue, "c", "t")
    assert next(calls) == 0
    enqueue(queue, "large", "s", size=LARGE)
    assert next(calls) == 1
    for item in fetch(queue, 3, large=0):
        ack(queue, item)
    enqueue(queue, "d", "s")
    assert next(calls) == 1  # although a large one is waiting


def test_delayed_message_wakes_workers(queue: RedisQueue) -> None:
    enqueue(queue, "a")
    [item] = fetch(queue, 1)
    calls = wake_up_calls(queue)
    assert next(calls) == 0
    ack(queue, item, "later", delay_ms=HOUR_MS)
    assert next(calls) == 1


# ---- Redis Cluster


def test_scripts_run_on_a_cluster() -> None:
    # The default cluster port is the port plus 10,000, which may be in use.
    arguments = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    with running_valkey(arguments=arguments) as server:
        queue = queue_on(server)
        queue.client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)  # type: ignore[no-untyped-call]
        deadline = time.monotonic() + 10
        while b"cluster_state:ok" not in queue.client.execute_command("CLUSTER", "INFO"):  # type: ignore[no-untyped-call]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        backlog(queue, "a", 3)
        enqueue(queue, "perishable", "b", size=LARGE, expires_at=in_ms(2 * HOUR_MS))
        one, two, *_ = fetch(queue, 3)
        assert queue.mark_started("w", one.key, one.delivery_id)
        ack(queue, one, "next")
        ack(queue, two, "later", delay_ms=1)
        assert queue.heartbeat("v", silence_ms=60_000) == []
        assert queue.reap("w", silence_ms=0, crash=True) == 1
        assert queue.find_missing(["a-0000", "nowhere"]) == ["nowhere"]
        assert queue.audit() == 0
        queue.client.hset(queue.keys.messages, "nowhere", b"1")
        assert queue.audit() == 5
        backlog(queue, "a", 3)
        assert (
            queue.stats.counts()["fetch"]["ready"]
            == sum(states["ready"] for states in queue.stats.sessions().values())
            == 3
        )
        queue.client.close()


# ---- undeclared sizes


@pytest.mark.parametrize(
    ("fields", "large"),
    [
        ({"kind": "document"}, True),
        ({"kind": "video"}, True),
        ({}, True),
        ({"mimetype": "application/pdf"}, True),
        ({"kind": "document", "size": 1000}, False),
        ({"kind": "image", "size": LARGE}, True),
        ({"kind": "image"}, False),
        ({"kind": "sticker"}, False),
        ({"kind": "ptt"}, False),
        ({"mimetype": "audio/ogg"}, False),
        ({"mimetype": "image/jpeg"}, False),
        ({"data": "YQ=="}, False),
    ],
)
def test_download_of_undeclared_size_is_large_unless_its_kind_is_usually_small(
    fields: dict[str, Any], large: bool
) -> None:
    attachment = Attachment(session="s", message_id="m", **fields)
    charge, size_class, *_ = SizeClasses().encode(scheduling_of(attachment)).split(",")
    assert (size_class == "1") == large
    assert (int(charge) > 1000) == large


def test_inline_bytes_of_undeclared_size_are_small() -> None:
    attachment = Attachment(session="s", message_id="m", kind="document")
    assert SizeClasses().encode(scheduling_of(attachment, intake=True)) == "1000,0,0,s"


# ---- the history


def of_history(queue: RedisQueue, session: str, count: int, *, size: int = 0) -> None:
    for number in range(count):
        scheduling = SchedulingInfo(session, size, in_ms(1000), of_history=True)
        assert queue.enqueue(f"{session}-old-{number:04}", "fetch", b"message", scheduling=scheduling)


def test_history_goes_after_all_that_waits_also_of_other_sessions(queue: RedisQueue) -> None:
    of_history(queue, "a", 3)
    backlog(queue, "a", 2)
    backlog(queue, "b", 2, size=LARGE)
    enqueue(queue, "urgent", "c", expires_at=in_ms(60_000))
    fetched = fetch(queue, 8)
    assert [item.of_history for item in fetched] == [False] * 5 + [True] * 3
    assert fetched[0].key == "urgent"
    runs = sorted(fetched, key=lambda item: item.priority)
    assert [item.of_history for item in runs] == [False] * 5 + [True] * 3
    assert sum(item.of_history for item in queue.held_messages("w")) == 3


def test_large_history_does_not_overtake_small_new_messages(queue: RedisQueue) -> None:
    of_history(queue, "a", 2, size=LARGE)
    backlog(queue, "b", 2)
    assert keys_of(fetch(queue, 3)) == ["b-0000", "b-0001", "a-old-0000"]


def test_new_message_goes_before_the_history_that_waits_in_its_session(queue: RedisQueue) -> None:
    of_history(queue, "a", 3)
    assert keys_of(fetch(queue, 1)) == ["a-old-0000"]
    enqueue(queue, "new", "a")
    enqueue(queue, "other", "b")
    assert sorted(keys_of(fetch(queue, 2))) == ["new", "other"]
    assert keys_of(fetch(queue, 5)) == ["a-old-0001", "a-old-0002"]


def test_worker_takes_no_more_of_the_history_than_it_has_room_for(queue: RedisQueue) -> None:
    of_history(queue, "a", 3)
    of_history(queue, "b", 3, size=LARGE)
    first = queue.fetch("w", 4, QUEUES, limits=FetchLimits(history=1))
    assert (len(first.messages), first.limited) == (1, True)
    none = queue.fetch("w", 4, QUEUES, limits=FetchLimits(history=0))
    assert (none.messages, none.limited) == ([], True)
    enqueue(queue, "new", "c")
    assert keys_of(queue.fetch("w", 4, QUEUES, limits=FetchLimits(history=0)).messages) == ["new"]


def test_history_stays_last_in_later_stages_retries_and_after_its_worker_died(queue: RedisQueue) -> None:
    of_history(queue, "a", 3)
    first, second, _third = fetch(queue, 3)
    assert queue.ack("w", first.key, first.delivery_id, AckAction("next", "detect", first.data))
    ack(queue, second, "later", delay_ms=1)
    queue.reap("w", silence_ms=0, crash=False)
    time.sleep(0.01)
    assert queue.enqueue("new", "detect", b"message", scheduling=SchedulingInfo("b"))
    backlog(queue, "b", 1)
    fetched = queue.fetch("v", 9, ["detect", "fetch"]).messages
    assert sorted(keys_of([item for item in fetched if not item.of_history])) == ["b-0000", "new"]
    runs = sorted(fetched, key=lambda item: item.priority)
    assert [item.of_history for item in runs] == [False] * 2 + [True] * 3


def test_history_is_never_urgent(queue: RedisQueue) -> None:
    of_history(queue, "a", 1)
    assert queue.client.zcard(queue.keys.expiring) == 0
    backlog(queue, "b", 1)
    assert keys_of(fetch(queue, 2)) == ["b-0000", "a-old-0000"]


def test_paused_session_keeps_its_history_paused(queue: RedisQueue) -> None:
    of_history(queue, "a", 2)
    queue.publish_pauses([Pause("session", "a", 1)], version="")
    of_history(queue, "b", 1)
    enqueue(queue, "new", "a")
    assert keys_of(fetch(queue, 9)) == ["b-old-0000"]
    queue.publish_pauses([], version="1")
    assert keys_of(fetch(queue, 9)) == ["new", "a-old-0000", "a-old-0001"]


def test_removal_of_the_only_new_message_puts_its_session_last_again(queue: RedisQueue) -> None:
    of_history(queue, "a", 1)
    enqueue(queue, "new", "a")
    assert queue.remove("new")
    backlog(queue, "b", 1)
    assert keys_of(fetch(queue, 2)) == ["b-0000", "a-old-0000"]


@pytest.mark.parametrize("session", ["a", "b"])
def test_new_message_wakes_workers_that_leave_the_history_waiting(queue: RedisQueue, session: str) -> None:
    of_history(queue, "a", 3)
    with queue.client.pubsub() as calls:
        calls.subscribe(queue.keys.channel)
        assert calls.get_message(timeout=2)
        enqueue(queue, "new", session)
        woken = calls.get_message(timeout=2)
    assert woken is not None
    assert woken["data"] == b"fetch"


def test_scheduling_of_an_old_message_is_that_of_its_record() -> None:
    attachment = Attachment(session="s", message_id="m", kind="image", expires_at=5, from_history=True)
    assert SizeClasses().encode(scheduling_of(attachment)) == "1000,0,1,s"
    assert SizeClasses().encode(SchedulingInfo("s", 0, 5000)) == "1000,0,5000,s"


# ---- downloads of one session


def limited(queue: RedisQueue, worker: str, *, total: int = 0, here: int = 0, **downloads: int) -> FetchResult:
    held = {session: SessionDownloads(number) for session, number in downloads.items()}
    limits = FetchLimits(per_session=total, per_session_here=here, downloads=held)
    return queue.fetch(worker, 4, QUEUES, limits=limits)


def test_session_at_its_limit_in_all_workers_gets_no_download_and_others_do(queue: RedisQueue) -> None:
    backlog(queue, "slow", 9)
    first = limited(queue, "w", total=3)
    assert (sessions_of(first.messages), first.limited) == ({"slow": 3}, True)
    backlog(queue, "quick", 2)
    second = limited(queue, "v", total=3)
    assert (sessions_of(second.messages), second.limited) == ({"quick": 2}, True)
    ack(queue, first.messages[0])
    ack(queue, first.messages[1], "later", delay_ms=HOUR_MS)
    assert sessions_of(limited(queue, "v", total=3).messages) == {"slow": 2}
    assert sessions_of(limited(queue, "v", total=0).messages) == {"slow": 4}


def test_session_at_its_limit_in_one_worker_gets_downloads_elsewhere(queue: RedisQueue) -> None:
    backlog(queue, "slow", 9)
    backlog(queue, "quick", 1)
    first = limited(queue, "w", here=3, slow=1)
    assert (sessions_of(first.messages), first.limited) == ({"slow": 2, "quick": 1}, True)
    assert sessions_of(limited(queue, "v", here=3).messages) == {"slow": 3}


def test_downloads_of_a_dead_worker_do_not_count(queue: RedisQueue) -> None:
    backlog(queue, "slow", 9)
    limited(queue, "dead", total=3)
    assert limited(queue, "w", total=3).messages == []
    queue.reap("dead", silence_ms=0, crash=False)
    assert sessions_of(limited(queue, "w", total=3).messages) == {"slow": 3}


def test_downloads_are_counted_anew_after_their_count_was_lost(queue: RedisQueue) -> None:
    backlog(queue, "slow", 9)
    limited(queue, "w", total=3)
    queue.client.delete(queue.keys.in_flight)
    assert queue.audit() == 0
    assert limited(queue, "w", total=3).messages == []
    queue.client.flushall()
    backlog(queue, "slow", 9)
    assert sessions_of(limited(queue, "w", total=3).messages) == {"slow": 3}


@pytest.mark.parametrize("fields", [{"size": LARGE}, {"expires_at": 1}])
def test_limit_holds_for_large_and_urgent_files(queue: RedisQueue, fields: dict[str, int]) -> None:
    if "expires_at" in fields:
        fields = {"expires_at": in_ms(60_000)}
    for number in range(5):
        enqueue(queue, f"slow-{number}", "slow", **fields)
    backlog(queue, "quick", 1)
    assert sessions_of(limited(queue, "w", total=2).messages) == {"slow": 2, "quick": 1}


def test_large_files_of_one_session_leave_room_for_those_of_others(queue: RedisQueue) -> None:
    backlog(queue, "slow", 4, size=LARGE)
    enqueue(queue, "slow-small", "slow")
    limits = FetchLimits(large=2, large_per_session_here=1)
    first = queue.fetch("w", 4, QUEUES, limits=limits)
    assert (keys_of(first.messages), first.limited) == (["slow-0000", "slow-small"], True)
    backlog(queue, "other", 1, size=LARGE)
    held = {"slow": SessionDownloads(2, 1)}
    second = queue.fetch("w", 4, QUEUES, limits=limits._replace(large=1, downloads=held))
    assert keys_of(second.messages) == ["other-0000"]


def test_later_stages_are_not_limited(queue: RedisQueue) -> None:
    for number in range(4):
        assert queue.enqueue(f"s-{number}", "detect", b"message", scheduling=SchedulingInfo("s"))
    result = limited(queue, "w", total=1, here=1)
    assert (sessions_of(result.messages), result.limited) == ({"s": 4}, False)


def test_paused_session_stays_paused_behind_one_at_its_limit(queue: RedisQueue) -> None:
    backlog(queue, "slow", 3)
    backlog(queue, "paused", 3)
    queue.publish_pauses([Pause("session", "paused", 1)], version="")
    assert sessions_of(limited(queue, "w", total=1).messages) == {"slow": 1}
