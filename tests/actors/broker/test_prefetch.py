"""The prefetcher: when a worker process fetches more, and which message it runs next."""

from __future__ import annotations

import threading
import time

import pytest

from actors.broker.prefetch import MAX_DETACHED, Prefetcher, PrefetchLimits
from actors.redis_queue.messages import FetchedMessage

NEVER = float("inf")


def fetched(key: str, *, priority: int = 0, large: bool = False, session: str | None = None) -> FetchedMessage:
    """A message of a session of its own, unless one is given."""
    return FetchedMessage(key, 1, 0, "fetch", b"", large, priority, key if session is None else session)


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


def free(prefetcher: Prefetcher) -> tuple[int, int | None]:
    """How many messages more to fetch, and how many of large files among them."""
    count, limits = prefetcher.free()
    return count, limits.large


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
    assert free(prefetcher) == (2, 2)


def test_lowest_priority_value_runs_next_even_if_fetched_later(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    popped(prefetcher)
    prefetcher.add([fetched("urgent", priority=-5)])
    prefetcher.remove("0", 1)
    assert popped(prefetcher) == ["urgent"]


def test_large_files_take_only_their_share(prefetcher: Prefetcher) -> None:
    assert free(prefetcher) == (8, 2)
    prefetcher.add([fetched("a", large=True)])
    assert free(prefetcher) == (7, 1)
    prefetcher.add([fetched("b", large=True)])
    assert free(prefetcher) == (6, 0)
    prefetcher.remove("a", 1)
    assert free(prefetcher) == (7, 1)


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
    assert free(prefetcher) == (7, 2)
    prefetcher.remove("a", 2)
    assert free(prefetcher) == (8, 2)


def test_void_delivery_does_not_run_next_to_the_new_one(prefetcher: Prefetcher) -> None:
    prefetcher.add([fetched("a"), fetched("b")])
    prefetcher.add([fetched("a", priority=5)._replace(delivery_id=2)])
    prefetcher.release()
    assert free(prefetcher) == (8, 2)
    prefetcher.add([fetched("a"), fetched("b")])
    prefetcher.add([fetched("a", priority=5)._replace(delivery_id=2)])
    assert popped(prefetcher) == ["b", "a"]


def test_release_forgets_messages_that_were_not_popped(prefetcher: Prefetcher) -> None:
    fill(prefetcher, 8)
    assert len(popped(prefetcher)) == 5
    prefetcher.release()
    assert prefetcher.pop() is None
    assert free(prefetcher) == (3, 2)


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


def fill_session(prefetcher: Prefetcher, count: int, *, limited: bool = False) -> None:
    messages = [fetched(f"slow {number}", priority=number, session="slow") for number in range(count)]
    prefetcher.add(messages, requested=8, limited=limited)


def test_downloads_of_one_session_leave_a_thread_and_room_to_others(prefetcher: Prefetcher) -> None:
    fill_session(prefetcher, 6)
    assert popped(prefetcher) == ["slow 0", "slow 1", "slow 2"]
    count, limits = prefetcher.free()
    assert (count, limits.per_session_here, limits.downloads) == (2, 6, {"slow": (6, 0)})
    prefetcher.wake()
    assert wants_more(prefetcher)
    prefetcher.add([fetched("a", priority=9), fetched("b", priority=10)], requested=2)
    assert popped(prefetcher) == ["a", "b"]


def test_next_download_of_a_session_runs_when_one_has_ended_or_left_its_thread(prefetcher: Prefetcher) -> None:
    fill_session(prefetcher, 6)
    popped(prefetcher)
    prefetcher.detach("slow 1")
    assert popped(prefetcher) == ["slow 3"]
    prefetcher.remove("slow 0", 1)
    assert popped(prefetcher) == ["slow 4"]
    assert popped(prefetcher) == []
    assert prefetcher.free()[1].downloads == {"slow": (4, 0)}


def test_large_downloads_of_one_session_leave_a_thread_for_large_files() -> None:
    prefetcher = prefetcher_for(8)
    prefetcher.add([fetched("a", session="slow", large=True)])
    limits = prefetcher.free()[1]
    assert (limits.large, limits.large_per_session_here, limits.downloads) == (3, 3, {"slow": (1, 1)})


def test_messages_of_later_stages_are_no_downloads(prefetcher: Prefetcher) -> None:
    prefetcher.add([fetched(str(number), session="s")._replace(queue="detect") for number in range(6)])
    assert len(popped(prefetcher)) == 5
    assert prefetcher.free()[1].downloads == {}


@pytest.mark.parametrize("limited", [True, False])
def test_ended_download_triggers_a_fetch_if_its_session_was_limited(prefetcher: Prefetcher, limited: bool) -> None:
    fill_session(prefetcher, 3, limited=limited)
    popped(prefetcher)
    prefetcher.remove("slow 0", 1)
    assert wants_more(prefetcher) == limited


def test_process_of_one_thread_downloads() -> None:
    prefetcher = prefetcher_for(1)
    fill_session(prefetcher, 2)
    assert popped(prefetcher) == ["slow 0"]


@pytest.mark.parametrize(("per_session", "here", "total"), [(None, 6, 0), (4, 4, 4), (100, 6, 100)])
def test_setting_limits_the_downloads_of_a_session(per_session: int | None, here: int, total: int) -> None:
    limits = PrefetchLimits.of_stages(8, large_room=2, per_session=per_session)
    assert (limits.per_session, limits.per_session_total) == (here, total)
