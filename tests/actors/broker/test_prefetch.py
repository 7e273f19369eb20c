"""What a worker process holds: when it takes more, and what it runs next."""

from __future__ import annotations

import threading
import time

import pytest

from actors.broker.prefetch import MAX_DETACHED, Prefetcher
from actors.redis_queue.queue import FetchedMessage
from actors.redis_queue.scheduling import SizeClasses

NEVER = float("inf")


def handed(key: str, *, priority: int = 0, large: bool = False) -> FetchedMessage:
    return FetchedMessage(key, 1, 0, "fetch", b"", large, priority)


@pytest.fixture
def prefetcher(monkeypatch: pytest.MonkeyPatch) -> Prefetcher:
    monkeypatch.setattr("actors.broker.prefetch.POLL_S", 0.01)
    prefetcher = Prefetcher(SizeClasses(large_share=0.5))
    prefetcher.size_for(4)
    return prefetcher


def fill(prefetcher: Prefetcher, count: int, *, first: int = 0) -> None:
    prefetcher.add(handed(str(number), priority=number) for number in range(first, first + count))


def given(prefetcher: Prefetcher) -> list[str]:
    keys = []
    while item := prefetcher.pop():
        keys.append(item.key)
    return keys


def wants(prefetcher: Prefetcher) -> bool:
    """Whether it wants more just now."""
    return prefetcher.wait(NEVER)


def test_work_is_fetched_when_it_is_announced_or_the_time_has_come(prefetcher: Prefetcher) -> None:
    assert prefetcher.wait(time.monotonic() - 1)
    assert not wants(prefetcher)
    prefetcher.wake()
    assert wants(prefetcher)
    assert not wants(prefetcher)


def test_a_process_that_has_not_asked_yet_has_no_time_for_anything_else(prefetcher: Prefetcher) -> None:
    assert prefetcher.busy() == 8
    prefetcher.add([])
    assert prefetcher.busy() == 0
    fill(prefetcher, 3)
    assert prefetcher.busy() == 3


def test_a_process_with_no_thread_free_leaves_it_to_others(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 5)
    given(prefetcher)
    prefetcher.wake()
    assert not wants(prefetcher)
    prefetcher.remove("0", 1)  # it has finished something, so it is no slower than they
    assert wants(prefetcher)


def test_a_full_process_fetches_again_when_a_quarter_is_done(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    prefetcher.wake()
    assert given(prefetcher) == ["0", "1", "2", "3", "4"]
    prefetcher.remove("0", 1)
    assert given(prefetcher) == ["5"]
    assert not wants(prefetcher)
    prefetcher.remove("1", 1)
    assert given(prefetcher) == ["6"]
    assert wants(prefetcher)
    assert prefetcher.free() == (2, 2)


def test_the_lowest_turn_runs_next_whenever_it_came(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    given(prefetcher)
    prefetcher.add([handed("urgent", priority=-5)])
    prefetcher.remove("0", 1)
    assert given(prefetcher) == ["urgent"]


def test_large_files_keep_to_their_share(prefetcher: Prefetcher) -> None:
    assert prefetcher.free() == (8, 2)
    prefetcher.add([handed("a", large=True)])
    assert prefetcher.free() == (7, 1)
    prefetcher.add([handed("b", large=True)])
    assert prefetcher.free() == (6, 0)
    prefetcher.remove("a", 1)
    assert prefetcher.free() == (7, 1)


def test_when_a_large_file_is_done_it_looks_for_another(prefetcher: Prefetcher) -> None:
    prefetcher.add([handed("a", large=True), handed("b")])
    given(prefetcher)
    assert not wants(prefetcher)
    prefetcher.remove("b", 1)
    assert not wants(prefetcher)
    prefetcher.remove("a", 1)
    assert wants(prefetcher)


def test_what_is_known_is_not_taken_twice_and_a_new_delivery_is(prefetcher: Prefetcher) -> None:
    prefetcher.add([handed("a")])
    prefetcher.add([handed("a")])
    assert given(prefetcher) == ["a"]
    prefetcher.add([handed("a")._replace(delivery_id=2)])
    assert given(prefetcher) == ["a"]
    prefetcher.remove("a", 1)
    assert prefetcher.free() == (7, 2)
    prefetcher.remove("a", 2)
    assert prefetcher.free() == (8, 2)


def test_a_delivery_that_redis_gave_out_anew_is_not_run_as_well(prefetcher: Prefetcher) -> None:
    prefetcher.add([handed("a"), handed("b")])
    prefetcher.add([handed("a", priority=5)._replace(delivery_id=2)])
    prefetcher.release()
    assert prefetcher.free() == (8, 2)
    prefetcher.add([handed("a"), handed("b")])
    prefetcher.add([handed("a", priority=5)._replace(delivery_id=2)])
    assert given(prefetcher) == ["b", "a"]


def test_what_was_not_given_out_can_be_put_away(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    assert len(given(prefetcher)) == 5
    prefetcher.release()
    assert prefetcher.pop() is None
    assert prefetcher.free() == (3, 2)


def test_a_feeder_that_waits_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.broker.prefetch.POLL_S", 5)
    prefetcher = Prefetcher(SizeClasses())
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(prefetcher.wait(NEVER)))
    began = time.monotonic()
    thread.start()
    prefetcher.wake()
    thread.join(5)
    assert answers == [True]
    assert time.monotonic() - began < 2


def test_a_process_with_enough_aboard_leaves_work_to_others_until_some_has_ended(prefetcher: Prefetcher) -> None:
    for number in range(MAX_DETACHED):
        fill(prefetcher, 1, first=number)
        assert given(prefetcher) == [str(number)]
        prefetcher.detach(str(number))
    prefetcher.wake()
    assert not wants(prefetcher)
    prefetcher.remove("0", 1)
    assert wants(prefetcher)
