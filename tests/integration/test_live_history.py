"""The newest endings in Redis: each once, in their order, no more than are wanted; and how a web process reads them."""

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


def tell(valkey: ValkeyServer, *told: Outcome, most: int = 100) -> None:
    append = HistoryWriter(most)
    for one in told:
        append(valkey.client(), [one])


def kept(valkey: ValkeyServer) -> list[str]:
    return [entry["id"] for _, entry in valkey.client().xrange(EVENTS_KEY)]


def test_an_ending_stands_there_once_however_often_it_is_told(valkey: ValkeyServer) -> None:
    one, two = outcome(), outcome()
    tell(valkey, one, two, one, one, two)
    assert kept(valkey) == [one.event_id, two.event_id]


def test_the_newest_are_kept_and_nothing_of_the_others(valkey: ValkeyServer) -> None:
    told = [outcome() for _ in range(60)]
    tell(valkey, *told, most=25)
    assert kept(valkey) == [one.event_id for one in told[35:]]
    assert sorted(valkey.client().hkeys(EVENT_IDS_KEY)) == sorted(kept(valkey))
    tell(valkey, outcome(), most=5)  # somebody wants fewer from now on
    assert len(kept(valkey)) == valkey.client().hlen(EVENT_IDS_KEY) == 5


def test_several_are_appended_in_their_order_with_one_call_and_each_once(valkey: ValkeyServer) -> None:
    told, append, client = [outcome() for _ in range(40)], HistoryWriter(30), valkey.client()
    append(client, told[:10])
    append(client, [*told[5:10], *told[8:20], told[12]])
    append(client, told[:3])
    assert kept(valkey) == ids(*told[:20])
    entries = client.xrange(EVENTS_KEY)
    assert [entry["before"] for _, entry in entries] == ["", *(place for place, _ in entries[:-1])]
    assert [json.loads(entry["event"])["event_id"] for _, entry in entries] == kept(valkey)
    assert client.hgetall(EVENT_IDS_KEY) == {entry["id"]: place for place, entry in entries}
    append(client, told)
    assert kept(valkey) == ids(*told[10:])
    assert sorted(client.hkeys(EVENT_IDS_KEY)) == sorted(kept(valkey))


def test_what_is_appended_is_published_once_for_programs_beside(valkey: ValkeyServer) -> None:
    one, two = outcome(), outcome()
    listener = valkey.client().pubsub(ignore_subscribe_messages=True)
    listener.subscribe(EVENTS_KEY)
    listener.get_message(timeout=5)
    tell(valkey, one, one, two)
    heard = []
    while len(heard) < 2 and (message := listener.get_message(timeout=5)):
        heard.append(json.loads(message["data"])["event_id"])
    assert heard == ids(one, two)
    assert listener.get_message(timeout=0.1) is None
    listener.close()


def test_a_history_that_was_thrown_away_alone_begins_anew(valkey: ValkeyServer) -> None:
    one = outcome()
    tell(valkey, one)
    valkey.client().delete(EVENTS_KEY)
    tell(valkey, one)
    assert kept(valkey) == [one.event_id]


def test_both_keys_lie_in_the_slot_of_the_belt() -> None:
    assert {EVENTS_KEY.partition("}")[0], EVENT_IDS_KEY.partition("}")[0]} == {"{esteira"}


def test_a_text_without_end_is_shortened_and_nothing_is_added() -> None:
    told = outcome(caption="ç" * 100_000, url="s3://a/b", error={"code": "broken", "message": "cut"})
    sent = json.loads(event_json(told))
    assert sent == {**told.payload(), "caption": "ç" * 4096}


def test_with_no_history_nothing_is_told() -> None:
    assert build(load_settings(_env_file=None, event_history=0), HttpClient()) is None


NUMBERS = '{"event_id": 1, "type": 2, "session": 3}'


class Reader:
    """A feed at work, and what it told."""

    def __init__(self, url: str, *, most: int = 100) -> None:
        self.told: list[str] = []
        self.gaps = 0
        self.feed = EventFeed(url, max_events=most, deliver=self._deliver, on_gap=self._missed)

    async def _deliver(self, event: Event) -> None:
        self.told.append(event.event_id)

    async def _missed(self) -> None:
        self.gaps += 1


def reading(reader: Reader, what: Callable[[], Awaitable[Any]]) -> None:
    """Runs something while the feed reads."""

    async def both() -> None:
        async with asyncio.timeout(60):
            task = asyncio.create_task(reader.feed.run())
            await what()
            task.cancel()
            await reader.feed.close()

    asyncio.run(both())


async def until(holds: Callable[[], object]) -> None:
    while not holds():
        await asyncio.sleep(0.01)


def ids(*told: Outcome) -> list[str]:
    return [one.event_id for one in told]


def test_what_was_there_before_is_known_but_no_news(valkey: ValkeyServer) -> None:
    old, new = [outcome() for _ in range(3)], [outcome() for _ in range(2)]
    tell(valkey, *old)
    reader = Reader(valkey.url)

    async def work() -> None:
        await reader.feed.ready.wait()
        assert reader.feed.newest == old[-1].event_id
        tell(valkey, *new)
        await until(lambda: len(reader.told) == 2)
        missed = reader.feed.since(old[0].event_id)
        assert missed is not None
        assert [event.event_id for event in missed] == ids(*old[1:], *new)
        assert missed[0].payload == old[1].payload()
        assert reader.feed.since(new[-1].event_id) == []
        assert reader.feed.since("never") is None

    reading(reader, work)
    assert (reader.told, reader.gaps) == (ids(*new), 0)


def test_a_reader_that_falls_behind_the_history_tells_of_the_gap(own_valkey: ValkeyServer) -> None:
    reader, first, last = Reader(own_valkey.url, most=10), outcome(), [outcome() for _ in range(30)]

    async def work() -> None:
        await reader.feed.ready.wait()
        tell(own_valkey, first, most=10)
        await until(lambda: reader.told == ids(first))
        pause = own_valkey.client()
        pause.client_kill_filter(_type="normal", skipme=True)
        pause.close()
        tell(own_valkey, *last, most=10)  # all of it before this loop runs again
        await until(lambda: len(reader.told) == 11)
        assert reader.feed.since(first.event_id) is None

    reading(reader, work)
    assert (reader.told, reader.gaps) == (ids(first, *last[20:]), 1)


@pytest.mark.parametrize("which", [0, 1, 2])
def test_what_is_forgotten_is_told_to_nobody_any_more_and_leaves_no_gap(valkey: ValkeyServer, which: int) -> None:
    first, told, after = Reader(valkey.url), [outcome(caption=f"words {n}") for n in range(3)], outcome()
    gone, kept_ones = told[which], [one for one in told if one is not told[which]]

    async def work() -> None:
        await first.feed.ready.wait()
        tell(valkey, *told)
        await until(lambda: first.told == ids(*told))
        remove_events(valkey.client(), [gone.event_id, "never told"])
        tell(valkey, after)
        await until(lambda: after.event_id in first.told)
        found = first.feed.since("")
        assert found is not None
        assert [event.event_id for event in found] == ids(*kept_ones, after)
        assert first.feed.since(gone.event_id) is None

    reading(first, work)
    assert (first.told, first.gaps) == (ids(*told, after), 0)
    assert gone.caption not in str(valkey.client().xrange(EVENTS_KEY))
    assert sorted(valkey.client().hkeys(EVENT_IDS_KEY)) == sorted(ids(*kept_ones, after))
    tell(valkey, *(outcome() for _ in range(5)), most=5)
    assert len(kept(valkey)) == valkey.client().hlen(EVENT_IDS_KEY) == 5


@pytest.mark.parametrize("clock", ["as it was", "set back"])
def test_a_redis_that_was_emptied_is_read_from_its_beginning(own_valkey: ValkeyServer, clock: str) -> None:
    reader, before, after = Reader(own_valkey.url), outcome(), [outcome(), outcome()]

    async def work() -> None:
        await reader.feed.ready.wait()
        if clock == "set back":  # what stands there is of a time to come
            far = f"{2**42}-0"
            own_valkey.client().xadd(EVENTS_KEY, {"id": "f", "before": "", "event": event_json(before)}, id=far)
        else:
            tell(own_valkey, before)
        await until(lambda: reader.told == ids(before))
        own_valkey.client().flushall()
        tell(own_valkey, *after)
        await until(lambda: len(reader.told) == 3)

    reading(reader, work)
    assert (reader.told, reader.gaps) == (ids(before, *after), 1)


def test_what_is_no_event_is_passed_over(own_valkey: ValkeyServer) -> None:
    reader, one = Reader(own_valkey.url), outcome()

    async def work() -> None:
        await reader.feed.ready.wait()
        client = own_valkey.client()
        for entry in ({"x": "y"}, {"event": "["}, {"event": "[]"}, {"event": "{}"}, {"event": NUMBERS}):
            client.xadd(EVENTS_KEY, entry)
        client.delete(EVENTS_KEY)
        tell(own_valkey, one)
        await until(lambda: one.event_id in reader.told)

    reading(reader, work)
    assert reader.told == ids(one)
