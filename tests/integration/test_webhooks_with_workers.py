"""Webhooks from real workers to real receivers: outages, filters, killed workers, and inline processing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.catalogue import DeliveryFilters, DeliveryStatus
from pipeline.models import Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until
from tests.support.webhooks import SECRET, endpoints, event_ids, posts

Make = Callable[..., RunningSystem]


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({f"{number}.jpg": photo() for number in range(12)}) as server:
        yield server


def count(system: RunningSystem, status: DeliveryStatus, **filters: str) -> int:
    return system.services.catalogue.deliveries.count(DeliveryFilters(status=status, **filters))


def test_endpoint_outage_does_not_delay_the_queue(make_system: Make, server: MediaServer) -> None:
    server.answers["hook"] = Answer(503)
    system = make_system(webhook_url=server.url("hook"), webhook_secret=SECRET, webhook_retry_s="900")
    with system.workers(processes=2):
        ids = [system.submit(url=server.url(f"{number}.jpg")).id for number in range(12)]
        records = system.wait_finished(*ids)
        assert {record.status for record in records} == {Status.DONE}
        assert all(record.announced_at for record in records)
        wait_until(lambda: system.services.catalogue.deliveries.circuit("default").open, 20)
        assert count(system, DeliveryStatus.PENDING) == 12
        server.answers["hook"] = Answer(204)
        refused = len(posts(server, "hook"))
        wait_until(lambda: count(system, DeliveryStatus.DELIVERED) == 12, 60)
        taken = [json.loads(request.body) for request in posts(server, "hook")[refused:]]
    # One that was under way in the moment of the change may have been refused or taken: only repeats count.
    assert {event["id"] for event in taken} <= set(ids)
    assert len({event["event_id"] for event in taken}) == len(taken)
    assert len(set(event_ids(server, "hook"))) == 12
    assert {event["type"] for event in taken} == {"media.done"}


def test_endpoints_get_only_their_events(make_system: Make, server: MediaServer) -> None:
    server.files["bad.jpg"] = b"<html>"
    given = endpoints(
        {"name": "all", "url": server.url("all")},
        {"name": "bad-news", "url": server.url("bad-news"), "types": ["media.rejected"]},
        {"name": "shops", "url": server.url("shops"), "sessions": ["shop-*"]},
    )
    system = make_system(webhook_endpoints=given)
    with system.workers():
        good = system.submit(url=server.url("1.jpg"), session="shop-1").id
        bad = system.submit(url=server.url("bad.jpg"), session="other", kind="image").id
        system.wait_finished(good, bad)
        wait_until(lambda: count(system, DeliveryStatus.DELIVERED) == 4, 30)
    found = {
        name: {json.loads(request.body)["id"] for request in posts(server, name)}
        for name in ("all", "bad-news", "shops")
    }
    assert found == {"all": {good, bad}, "bad-news": {bad}, "shops": {good}}


def test_workers_deliver_events_of_inline_attachments(make_system: Make, server: MediaServer) -> None:
    system = make_system(webhook_url=server.url("hook"), webhook_secret=SECRET)
    alone = system.with_redis("redis://127.0.0.1:1/0")
    try:
        receipt = alone.submit(url=server.url("1.jpg"))
        assert (receipt.mode, receipt.status) == ("inline", Status.DONE)
        assert (count(system, DeliveryStatus.PENDING), posts(server, "hook")) == (1, [])
    finally:
        alone.close()
    with system.workers():
        wait_until(lambda: count(system, DeliveryStatus.DELIVERED) == 1, 30)
    assert [json.loads(request.body)["id"] for request in posts(server, "hook")] == [receipt.id]


@pytest.mark.slow
def test_delivery_of_a_killed_worker_is_repeated_with_its_id(make_system: Make) -> None:
    class Stalling(MediaServer):
        def reply(self, request: object, name: str) -> Answer | None:
            if name == "hook" and len(posts(self, "hook")) == 1:
                time.sleep(8)
            return super().reply(request, name)  # type: ignore[arg-type]

    with Stalling({"a.jpg": photo()}) as server:
        system = make_system(webhook_url=server.url("hook"), webhook_secret=SECRET, webhook_timeout_s="5")
        with system.workers() as workers:
            receipt = system.submit(url=server.url("a.jpg"))
            wait_until(lambda: posts(server, "hook"), 30)
            workers.kill()
        assert system.record(receipt.id).status is Status.DONE
        with system.workers():
            wait_until(lambda: count(system, DeliveryStatus.DELIVERED) == 1, 60)
        first, again = event_ids(server, "hook")
    assert first == again
