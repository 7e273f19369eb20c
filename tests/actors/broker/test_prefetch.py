"""The prefetcher: when a worker process fetches more, and which message it runs next."""

from __future__ import annotations

import threading
import time

import pytest

from actors.broker.prefetch import MAX_DETACHED, Prefetcher, PrefetchLimits
from actors.redis_queue.queue import FetchedMessage

NEVER = float("inf")


def fetched(key: str, *, priority: int = 0, large: bool = False) -> FetchedMessage:
    return FetchedMessage(key, 1, 0, "fetch", b"", large, priority)


def prefetcher_for(threads: int, *, poll_s: float = 0.01) -> Prefetcher:
    prefetcher = Prefetcher()
    prefetcher.limits = PrefetchLimits.of_stages(threads, large_room=threads // 2)._replace(poll_s=poll_s)
    return prefetcher


@pytest.fixture
def prefetcher() -> Prefetcher:
    return prefetcher_for(4)


def fill(prefetcher: Prefetcher, count: int, *, first: int = 0) -> None:
    prefetcher.add([fetched(str(number), priority=number) for number in range(first, first + count)])


def popped(prefetcher: Prefetcher) -> list[str]:
    """Pops all messages that may run now."""
    keys = []
    while message := prefetcher.pop():
        keys.append(message.key)
    return keys


def wants_more(prefetcher: Prefetcher) -> bool:
    return prefetcher.wait(NEVER)


def test_prefetcher_wants_more_when_work_is_announced_or_the_poll_is_due(prefetcher: Prefetcher) -> None:
    assert prefetcher.wait(time.monotonic() - 1)
    assert not wants_more(prefetcher)
    prefetcher.wake()
    assert wants_more(prefetcher)
    assert not wants_more(prefetcher)


def test_process_counts_as_busy_before_its_first_fetch(prefetcher: Prefetcher) -> None:
    assert prefetcher.busy() == 8
    prefetcher.add([], requested=8)
    assert prefetcher.busy() == 0
    fill(prefetcher, 3)
    assert prefetcher.busy() == 3


def test_process_counts_as_busy_while_it_is_about_to_fetch_more(prefetcher: Prefetcher) -> None:
    prefetcher.add([fetched("a")], requested=1)  # there may be more
    assert prefetcher.busy() == 8
    popped(prefetcher)
    assert wants_more(prefetcher)
    prefetcher.remove("a", 1)
    assert prefetcher.busy() == 8  # the fetch runs
    prefetcher.add([], requested=8)
    assert prefetcher.busy() == 0
    prefetcher.wake()
    assert prefetcher.busy() == 8


def test_process_without_a_free_thread_leaves_work_to_other_processes(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 5)
    popped(prefetcher)
    prefetcher.wake()
    assert not wants_more(prefetcher)
    prefetcher.remove("0", 1)  # it has finished something, so it is as fast as they are
    assert wants_more(prefetcher)


def test_full_process_fetches_again_when_a_quarter_is_done(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    prefetcher.wake()
    assert popped(prefetcher) == ["0", "1", "2", "3", "4"]
    prefetcher.remove("0", 1)
    assert popped(prefetcher) == ["5"]
    assert not wants_more(prefetcher)
    prefetcher.remove("1", 1)
    assert popped(prefetcher) == ["6"]
    assert wants_more(prefetcher)
    assert prefetcher.free() == (2, 2)


def test_lowest_priority_value_runs_next_even_if_fetched_later(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    popped(prefetcher)
    prefetcher.add([fetched("urgent", priority=-5)])
    prefetcher.remove("0", 1)
    assert popped(prefetcher) == ["urgent"]


def test_large_files_take_only_their_share(prefetcher: Prefetcher) -> None:
    assert prefetcher.free() == (8, 2)
    prefetcher.add([fetched("a", large=True)])
    assert prefetcher.free() == (7, 1)
    prefetcher.add([fetched("b", large=True)])
    assert prefetcher.free() == (6, 0)
    prefetcher.remove("a", 1)
    assert prefetcher.free() == (7, 1)


def test_finished_large_file_triggers_a_fetch(prefetcher: Prefetcher) -> None:
    prefetcher.add([fetched("a", large=True), fetched("b")])
    popped(prefetcher)
    assert not wants_more(prefetcher)
    prefetcher.remove("b", 1)
    assert not wants_more(prefetcher)
    prefetcher.remove("a", 1)
    assert wants_more(prefetcher)


def test_same_delivery_is_added_once_and_a_new_delivery_replaces_it(prefetcher: Prefetcher) -> None:
    prefetcher.add([fetched("a")])
    prefetcher.add([fetched("a")])
    assert popped(prefetcher) == ["a"]
    prefetcher.add([fetched("a")._replace(delivery_id=2)])
    assert popped(prefetcher) == ["a"]
    prefetcher.remove("a", 1)
    assert prefetcher.free() == (7, 2)
    prefetcher.remove("a", 2)
    assert prefetcher.free() == (8, 2)


def test_void_delivery_does_not_run_next_to_the_new_one(prefetcher: Prefetcher) -> None:
    prefetcher.add([fetched("a"), fetched("b")])
    prefetcher.add([fetched("a", priority=5)._replace(delivery_id=2)])
    prefetcher.release()
    assert prefetcher.free() == (8, 2)
    prefetcher.add([fetched("a"), fetched("b")])
    prefetcher.add([fetched("a", priority=5)._replace(delivery_id=2)])
    assert popped(prefetcher) == ["b", "a"]


def test_release_forgets_messages_that_were_not_popped(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    assert len(popped(prefetcher)) == 5
    prefetcher.release()
    assert prefetcher.pop() is None
    assert prefetcher.free() == (3, 2)


def test_wake_ends_the_wait_of_the_fetcher() -> None:
    prefetcher = prefetcher_for(4, poll_s=5)
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(prefetcher.wait(NEVER)))
    started = time.monotonic()
    thread.start()
    prefetcher.wake()
    thread.join(5)
    assert answers == [True]
    assert time.monotonic() - started < 2


def test_process_with_many_detached_messages_fetches_no_more_until_one_ends(prefetcher: Prefetcher) -> None:
    for number in range(MAX_DETACHED):
        fill(prefetcher, 1, first=number)
        assert popped(prefetcher) == [str(number)]
        prefetcher.detach(str(number))
    prefetcher.wake()
    assert not wants_more(prefetcher)
    prefetcher.remove("0", 1)
    assert wants_more(prefetcher)
