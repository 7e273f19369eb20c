"""The thread that looks for errands, while attachments take every thread."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from actors.broker import preview_consumer
from actors.broker.preview_consumer import Background
from actors.redis_queue.queue import RedisQueue, connect
from tests.support.valkey import ValkeyServer


@pytest.fixture
def belt(valkey: ValkeyServer) -> Iterator[RedisQueue]:
    made = RedisQueue(connect(valkey.url, timeout_s=5), queues=["fetch"])
    yield made.preview_queue
    made.client.close()


def test_a_busy_process_does_not_ask_again_and_again_whether_it_has_room(
    belt: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_consumer, "POLL_S", 0.05)
    held = 0
    beside = Background(belt, "w", lambda: held)
    beside.size_for(8, alone=False)
    assert beside.take() == []  # there is nothing; it is looked again after POLL_S
    held = 8
    asked, began = 0, time.monotonic()
    while time.monotonic() - began < 1:
        assert beside.take() == []
        asked += 1
    assert asked <= 1 / preview_consumer.BUSY_POLL_S + 5


def test_an_errand_that_nobody_announced_is_found_once_there_is_room(
    belt: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview_consumer, "POLL_S", 0.05)
    held = 0
    beside = Background(belt, "w", lambda: held)
    beside.size_for(8, alone=False)
    assert beside.take() == []
    held = 8
    belt.enqueue("errand", "derive", b"{}")
    time.sleep(0.1)
    assert beside.take() == []
    held = 0
    assert [one.key for one in beside.take()] == ["errand"]
