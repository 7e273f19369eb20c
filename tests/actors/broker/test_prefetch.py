"""What a worker process holds: when it takes more, and what it runs next."""

from __future__ import annotations

import threading
import time

import pytest

from actors.broker.prefetch import MOST_ABOARD, Prefetcher
from actors.redis_queue.queue import FetchedMessage
from actors.redis_queue.scheduling import SizeClasses

NEVER = float("inf")


def handed(key: str, *, turn: int = 0, large: bool = False) -> FetchedMessage:
    return FetchedMessage(key, 1, 0, "fetch", b"", large, turn)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Prefetcher:
    monkeypatch.setattr("actors.broker.prefetch.POLL_S", 0.01)
    hands = Prefetcher(SizeClasses(large_share=0.5))
    hands.size_for(4)
    return hands


def fill(hands: Prefetcher, count: int, *, first: int = 0) -> None:
    hands.take(handed(str(number), turn=number) for number in range(first, first + count))


def given(hands: Prefetcher) -> list[str]:
    keys = []
    while item := hands.give():
        keys.append(item.key)
    return keys


def wants(hands: Prefetcher) -> bool:
    """Whether it wants more just now."""
    return hands.wait(NEVER)


def test_work_is_fetched_when_it_is_announced_or_the_time_has_come(hands: Prefetcher) -> None:
    assert hands.wait(time.monotonic() - 1)
    assert not wants(hands)
    hands.call()
    assert wants(hands)
    assert not wants(hands)


def test_a_process_that_has_not_asked_yet_has_no_time_for_anything_else(hands: Prefetcher) -> None:
    assert hands.busy() == 8
    hands.take([])
    assert hands.busy() == 0
    fill(hands, 3)
    assert hands.busy() == 3


def test_a_process_with_no_thread_free_leaves_it_to_others(hands: Prefetcher) -> None:
    fill(hands, 5)
    given(hands)
    hands.call()
    assert not wants(hands)
    hands.drop("0", 1)  # it has finished something, so it is no slower than they
    assert wants(hands)


def test_a_full_process_fetches_again_when_a_quarter_is_done(hands: Prefetcher) -> None:
    fill(hands, 8)
    hands.call()
    assert given(hands) == ["0", "1", "2", "3", "4"]
    hands.drop("0", 1)
    assert given(hands) == ["5"]
    assert not wants(hands)
    hands.drop("1", 1)
    assert given(hands) == ["6"]
    assert wants(hands)
    assert hands.free() == (2, 2)


def test_the_lowest_turn_runs_next_whenever_it_came(hands: Prefetcher) -> None:
    fill(hands, 8)
    given(hands)
    hands.take([handed("urgent", turn=-5)])
    hands.drop("0", 1)
    assert given(hands) == ["urgent"]


def test_large_files_keep_to_their_share(hands: Prefetcher) -> None:
    assert hands.free() == (8, 2)
    hands.take([handed("a", large=True)])
    assert hands.free() == (7, 1)
    hands.take([handed("b", large=True)])
    assert hands.free() == (6, 0)
    hands.drop("a", 1)
    assert hands.free() == (7, 1)


def test_when_a_large_file_is_done_it_looks_for_another(hands: Prefetcher) -> None:
    hands.take([handed("a", large=True), handed("b")])
    given(hands)
    assert not wants(hands)
    hands.drop("b", 1)
    assert not wants(hands)
    hands.drop("a", 1)
    assert wants(hands)


def test_what_is_known_is_not_taken_twice_and_a_new_delivery_is(hands: Prefetcher) -> None:
    hands.take([handed("a")])
    hands.take([handed("a")])
    assert given(hands) == ["a"]
    hands.take([handed("a")._replace(serial=2)])
    assert given(hands) == ["a"]
    hands.drop("a", 1)
    assert hands.free() == (7, 2)
    hands.drop("a", 2)
    assert hands.free() == (8, 2)


def test_a_delivery_that_redis_gave_out_anew_is_not_run_as_well(hands: Prefetcher) -> None:
    hands.take([handed("a"), handed("b")])
    hands.take([handed("a", turn=5)._replace(serial=2)])
    hands.put_away()
    assert hands.free() == (8, 2)
    hands.take([handed("a"), handed("b")])
    hands.take([handed("a", turn=5)._replace(serial=2)])
    assert given(hands) == ["b", "a"]


def test_what_was_not_given_out_can_be_put_away(hands: Prefetcher) -> None:
    fill(hands, 8)
    assert len(given(hands)) == 5
    hands.put_away()
    assert hands.give() is None
    assert hands.free() == (3, 2)


def test_a_feeder_that_waits_is_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("actors.broker.prefetch.POLL_S", 5)
    hands = Prefetcher(SizeClasses())
    answers: list[bool] = []
    thread = threading.Thread(target=lambda: answers.append(hands.wait(NEVER)))
    began = time.monotonic()
    thread.start()
    hands.call()
    thread.join(5)
    assert answers == [True]
    assert time.monotonic() - began < 2


def test_a_process_with_enough_aboard_leaves_work_to_others_until_some_has_ended(hands: Prefetcher) -> None:
    for number in range(MOST_ABOARD):
        fill(hands, 1, first=number)
        assert given(hands) == [str(number)]
        hands.board(str(number))
    hands.call()
    assert not wants(hands)
    hands.drop("0", 1)
    assert wants(hands)
