"""Fetching of preview jobs: only into threads that no attachment needs."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from actors.broker import prefetch
from actors.broker.acknowledger import WorkerState
from actors.broker.consumer import Fetcher
from actors.broker.prefetch import Prefetcher, PrefetchLimits
from actors.redis_queue.queue import RedisQueue
from pipeline.outage import Outage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

THREADS = 8


class Previews:
    """A fetcher of preview jobs in a process whose threads `attachments` keep busy."""

    def __init__(self, queue: RedisQueue) -> None:
        self.attachments = 0
        self.prefetcher = Prefetcher(free_threads=lambda: THREADS - self.attachments)
        self.prefetcher.limits = PrefetchLimits.of_previews(THREADS, alone=False)._replace(poll_s=0.05)
        self.fetcher = Fetcher(
            queue,
            WorkerState("w", Outage("redis"), threading.Event()),
            prefetcher=self.prefetcher,
            queue_names=lambda: ["derive"],
        )


@pytest.fixture
def queue(valkey: ValkeyServer) -> Iterator[RedisQueue]:
    queue = RedisQueue(connect(valkey.url, timeout_s=5), queues=["fetch"])
    yield queue.preview_queue
    queue.client.close()


def test_busy_process_does_not_poll_for_a_free_thread_in_a_loop(queue: RedisQueue) -> None:
    previews = Previews(queue)
    assert previews.fetcher.next() is None
    previews.attachments = THREADS
    calls, started = 0, time.monotonic()
    while time.monotonic() - started < 1:
        assert previews.fetcher.next() is None
        calls += 1
    assert calls <= 1 / prefetch.RECHECK_S + 5


def test_unannounced_preview_job_is_fetched_once_a_thread_is_free(queue: RedisQueue) -> None:
    previews = Previews(queue)
    assert previews.fetcher.next() is None
    previews.attachments = THREADS
    queue.enqueue("job", "derive", b"{}")
    time.sleep(0.1)
    assert previews.fetcher.next() is None
    previews.attachments = 0
    message = previews.fetcher.next()
    assert message
    assert message.key == "job"


def test_finished_preview_job_makes_room_for_the_next(queue: RedisQueue) -> None:
    previews = Previews(queue)
    for number in range(3):
        queue.enqueue(str(number), "derive", b"{}")
    first, second = previews.fetcher.next(), previews.fetcher.next()
    assert first
    assert second
    assert previews.fetcher.next() is None
    previews.prefetcher.remove(first.key, first.delivery_id)
    third = previews.fetcher.next()
    assert third
    assert {first.key, second.key, third.key} == {"0", "1", "2"}
