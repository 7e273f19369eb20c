"""The event history in Redis: each event once, in order, up to EVENT_HISTORY; and the feed that reads it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from esteira.web.live.feed import Event, EventFeed
from pipeline.config.settings import load_settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers.live import EVENT_IDS_KEY, EVENTS_KEY, HistoryWriter, build, event_json, remove_events
from tests.support.events import outcome
from tests.support.valkey import ValkeyServer


def append(valkey: ValkeyServer, *outcomes: Outcome, most: int = 100) -> None:
    write = HistoryWriter(most)
    for one in outcomes:
        write(valkey.client(), [one])


def history_ids(valkey: ValkeyServer) -> list[str]:
    return [entry["id"] for _, entry in valkey.client().xrange(EVENTS_KEY)]


def test_event_is_in_the_history_once(valkey: ValkeyServer) -> None:
    first, second = outcome(), outcome()
    append(valkey, first, second, first, first, second)
    assert history_ids(valkey) == [first.event_id, second.event_id]


def test_only_the_newest_events_are_kept(valkey: ValkeyServer) -> None:
    outcomes = [outcome() for _ in range(60)]
    append(valkey, *outcomes, most=25)
    assert history_ids(valkey) == [one.event_id for one in outcomes[35:]]
    assert sorted(valkey.client().hkeys(EVENT_IDS_KEY)) == sorted(history_ids(valkey))
    append(valkey, outcome(), most=5)  # a smaller EVENT_HISTORY
    assert len(history_ids(valkey)) == valkey.client().hlen(EVENT_IDS_KEY) == 5


def test_batch_is_appended_in_order_and_each_event_once(valkey: ValkeyServer) -> None:
    outcomes, write, client = [outcome() for _ in range(40)], HistoryWriter(30), valkey.client()
    write(client, outcomes[:10])
    write(client, [*outcomes[5:10], *outcomes[8:20], outcomes[12]])
    write(client, outcomes[:3])
    assert history_ids(valkey) == ids(*outcomes[:20])
    entries = client.xrange(EVENTS_KEY)
    assert [entry["before"] for _, entry in entries] == ["", *(place for place, _ in entries[:-1])]
    assert [json.loads(entry["event"])["event_id"] for _, entry in entries] == history_ids(valkey)
    assert client.hgetall(EVENT_IDS_KEY) == {entry["id"]: place for place, entry in entries}
    write(client, outcomes)
    assert history_ids(valkey) == ids(*outcomes[10:])
    assert sorted(client.hkeys(EVENT_IDS_KEY)) == sorted(history_ids(valkey))


def test_appended_event_is_published_once(valkey: ValkeyServer) -> None:
    first, second = outcome(), outcome()
    listener = valkey.client().pubsub(ignore_subscribe_messages=True)
    listener.subscribe(EVENTS_KEY)
    listener.get_message(timeout=5)
    append(valkey, first, first, second)
    heard = []
    while len(heard) < 2 and (message := listener.get_message(timeout=5)):
        heard.append(json.loads(message["data"])["event_id"])
    assert heard == ids(first, second)
    assert listener.get_message(timeout=0.1) is None
    listener.close()


def test_history_starts_again_after_the_stream_was_deleted(valkey: ValkeyServer) -> None:
    one = outcome()
    append(valkey, one)
    valkey.client().delete(EVENTS_KEY)
    append(valkey, one)
    assert history_ids(valkey) == [one.event_id]


def test_keys_are_in_the_hash_slot_of_the_queue() -> None:
    assert {EVENTS_KEY.partition("}")[0], EVENT_IDS_KEY.partition("}")[0]} == {"{esteira"}


def test_long_text_is_cut() -> None:
    long = outcome(caption="ç" * 100_000, url="s3://a/b", error={"code": "broken", "message": "cut"})
    sent = json.loads(event_json(long))
    assert sent == {**long.payload(), "caption": "ç" * 4096}


def test_no_publisher_without_an_event_history() -> None:
    assert build(load_settings(_env_file=None, event_history=0), HttpClient()) is None


NUMBERS = '{"event_id": 1, "type": 2, "session": 3}'


class Reader:
    """A feed, the event ids that it delivered, and the number of gaps that it reported."""

    def __init__(self, url: str, *, most: int = 100) -> None:
        self.delivered: list[str] = []
        self.gaps = 0
        self.feed = EventFeed(url, max_events=most, deliver=self._deliver, on_gap=self._missed)

    async def _deliver(self, event: Event) -> None:
        self.delivered.append(event.event_id)

    async def _missed(self) -> None:
        self.gaps += 1


def run_with_feed(reader: Reader, action: Callable[[], Awaitable[Any]]) -> None:
    """Run something while the feed reads."""

    async def both() -> None:
        async with asyncio.timeout(60):
            task = asyncio.create_task(reader.feed.run())
            await action()
            task.cancel()
            await reader.feed.close()

    asyncio.run(both())


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def ids(*outcomes: Outcome) -> list[str]:
    return [one.event_id for one in outcomes]


def test_events_before_the_start_are_known_but_not_delivered(valkey: ValkeyServer) -> None:
    old, new = [outcome() for _ in range(3)], [outcome() for _ in range(2)]
    append(valkey, *old)
    reader = Reader(valkey.url)

    async def work() -> None:
        await reader.feed.ready.wait()
        assert reader.feed.newest == old[-1].event_id
        append(valkey, *new)
        await until(lambda: len(reader.delivered) == 2)
        missed = reader.feed.since(old[0].event_id)
        assert missed is not None
        assert [event.event_id for event in missed] == ids(*old[1:], *new)
        assert missed[0].payload == old[1].payload()
        assert reader.feed.since(new[-1].event_id) == []
        assert reader.feed.since("never") is None

    run_with_feed(reader, work)
    assert (reader.delivered, reader.gaps) == (ids(*new), 0)


def test_feed_that_falls_behind_reports_a_gap(own_valkey: ValkeyServer) -> None:
    reader, first, last = Reader(own_valkey.url, most=10), outcome(), [outcome() for _ in range(30)]

    async def work() -> None:
        await reader.feed.ready.wait()
        append(own_valkey, first, most=10)
        await until(lambda: reader.delivered == ids(first))
        pause = own_valkey.client()
        pause.client_kill_filter(_type="normal", skipme=True)
        pause.close()
        append(own_valkey, *last, most=10)  # all of it before the feed reads again
        await until(lambda: len(reader.delivered) == 11)
        assert reader.feed.since(first.event_id) is None

    run_with_feed(reader, work)
    assert (reader.delivered, reader.gaps) == (ids(first, *last[20:]), 1)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_removed_event_is_dropped_without_a_gap(valkey: ValkeyServer, which: int) -> None:
    first, outcomes, after = Reader(valkey.url), [outcome(caption=f"words {n}") for n in range(3)], outcome()
    removed = outcomes[which]
    remaining = [one for one in outcomes if one is not removed]

    async def work() -> None:
        await first.feed.ready.wait()
        append(valkey, *outcomes)
        await until(lambda: first.delivered == ids(*outcomes))
        remove_events(valkey.client(), [removed.event_id, "unknown"])
        append(valkey, after)
        await until(lambda: after.event_id in first.delivered)
        found = first.feed.since("")
        assert found is not None
        assert [event.event_id for event in found] == ids(*remaining, after)
        assert first.feed.since(removed.event_id) is None

    run_with_feed(first, work)
    assert (first.delivered, first.gaps) == (ids(*outcomes, after), 0)
    assert removed.caption not in str(valkey.client().xrange(EVENTS_KEY))
    assert sorted(valkey.client().hkeys(EVENT_IDS_KEY)) == sorted(ids(*remaining, after))
    append(valkey, *(outcome() for _ in range(5)), most=5)
    assert len(history_ids(valkey)) == valkey.client().hlen(EVENT_IDS_KEY) == 5


@pytest.mark.parametrize("clock", ["as it was", "set back"])
def test_feed_starts_again_after_redis_was_emptied(own_valkey: ValkeyServer, clock: str) -> None:
    reader, before, after = Reader(own_valkey.url), outcome(), [outcome(), outcome()]

    async def work() -> None:
        await reader.feed.ready.wait()
        if clock == "set back":  # an entry with an id from the future
            far = f"{2**42}-0"
            own_valkey.client().xadd(EVENTS_KEY, {"id": "f", "before": "", "event": event_json(before)}, id=far)
        else:
            append(own_valkey, before)
        await until(lambda: reader.delivered == ids(before))
        own_valkey.client().flushall()
        append(own_valkey, *after)
        await until(lambda: len(reader.delivered) == 3)

    run_with_feed(reader, work)
    assert (reader.delivered, reader.gaps) == (ids(before, *after), 1)


def test_feed_skips_entries_that_are_not_events(own_valkey: ValkeyServer) -> None:
    reader, one = Reader(own_valkey.url), outcome()

    async def work() -> None:
        await reader.feed.ready.wait()
        client = own_valkey.client()
        for entry in ({"x": "y"}, {"event": "["}, {"event": "[]"}, {"event": "{}"}, {"event": NUMBERS}):
            client.xadd(EVENTS_KEY, entry)
        client.delete(EVENTS_KEY)
        append(own_valkey, one)
        await until(lambda: one.event_id in reader.delivered)

    run_with_feed(reader, work)
    assert reader.delivered == ids(one)
