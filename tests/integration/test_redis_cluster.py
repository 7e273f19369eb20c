"""The queue on a cluster whose slot moves to another node while everything runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from actors.doctor.redis_server import run_checks
from actors.redis_queue.queue import open_queue
from esteira.web.live.feed import Event, EventFeed
from pipeline.config.settings import load_settings
from pipeline.models import Status
from pipeline.notifiers.live import EVENTS_KEY
from pipeline.redis_client import connect
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer, running_valkey
from tests.support.valkey_groups import Cluster, call, running
from tests.support.waiting import wait_until

SETTINGS = {"SWEEP_AFTER_S": "600", "MEDIA_BACKOFF_MS": "50", "FALLBACK": "spool"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with running(Cluster) as made:
        yield made


def another(cluster: Cluster) -> ValkeyServer:
    owner = cluster.owner
    return next(node for node in cluster.nodes if node is not owner)


@pytest.mark.slow
def test_slot_that_moves_loses_no_attachment(cluster: Cluster, tmp_path: Path) -> None:
    system = RunningSystem(tmp_path, cluster.url, SETTINGS)
    names = [f"{number}.jpg" for number in range(60)]
    with MediaServer({name: photo() for name in names}) as media, system.workers() as workers:
        wait_until(lambda: workers.logged("worker started"), 60)
        urls = map(media.url, names)
        cluster.move_at_once(another(cluster))
        receipts = [system.submit(url=next(urls)) for _ in range(20)]
        assert {receipt.mode for receipt in receipts} == {"queued"}, "a slot that moves at once is no outage"
        move = threading.Thread(target=cluster.move_by_keys, args=(another(cluster),), kwargs={"pause_s": 1})
        move.start()
        receipts += [system.submit(url=next(urls)) for _ in range(20)]
        move.join()
        wait_until(lambda: not system.hook.breaker.is_open, 10)
        receipts += [system.submit(url=next(urls)) for _ in range(20)]
        records = system.wait_finished(*(receipt.id for receipt in receipts), within_s=30)
        hits = [media.hits(name) for name in names]
    system.close()
    assert {record.status for record in records} == {Status.DONE}
    assert hits == [1] * len(names)


def test_every_kind_of_call_follows_the_slot(cluster: Cluster) -> None:
    queue = open_queue(load_settings(_env_file=None, redis_url=cluster.url))
    client = queue.client
    assert queue.enqueue("moves", "fetch", b"message")
    calls = {
        "command": lambda: client.exists(queue.keys.messages),
        "script": lambda: queue.find_missing(["moves"]) == [],
        "pipeline": lambda: queue.stats.counts()["fetch"]["ready"],
        "transaction": lambda: client.pipeline(transaction=True).exists(queue.keys.messages).execute()[0],
        "loaded script": lambda: client.register_script("return redis.call('EXISTS', KEYS[1])")([queue.keys.messages]),
    }
    for name, send in calls.items():
        cluster.move_at_once(another(cluster))
        assert send() == 1, name
    assert queue.remove("moves")


def test_reader_that_blocks_follows_the_slot(cluster: Cluster) -> None:
    delivered: list[str] = []

    async def deliver(event: Event) -> None:
        delivered.append(event.event_id)

    async def on_gap() -> None:
        return

    feed = EventFeed(cluster.url, max_events=10, deliver=deliver, on_gap=on_gap)

    async def move() -> None:
        task = asyncio.create_task(feed.run())
        await asyncio.wait_for(feed.ready.wait(), 10)
        await asyncio.to_thread(cluster.move_at_once, another(cluster))
        entry = {"event": '{"event_id": "e1", "type": "t", "session": "s", "gateway": "g"}'}
        cluster.owner.client().xadd(EVENTS_KEY, entry)
        while not delivered:
            await asyncio.sleep(0.02)
        task.cancel()
        await feed.close()

    asyncio.run(asyncio.wait_for(move(), 20))
    assert delivered == ["e1"]


def test_one_node_in_the_url_leads_to_the_queue_and_the_doctor_asks_for_more(cluster: Cluster) -> None:
    url = another(cluster).url
    findings = {finding.check: finding for finding in run_checks(load_settings(_env_file=None, redis_url=url))}
    assert findings["redis"].level == "ok"
    assert findings["redis cluster"].level == "warn"
    assert "redis+cluster://" in (findings["redis cluster"].remedy or "")
    settings = load_settings(_env_file=None, redis_url=cluster.url)
    assert next(finding for finding in run_checks(settings) if finding.check == "redis cluster").level == "ok"


def test_node_that_is_away_is_passed_over(cluster: Cluster) -> None:
    first = cluster.nodes[0]
    if cluster.owner is first:
        cluster.move_at_once(cluster.nodes[1])
    first.stop()
    queue = open_queue(load_settings(_env_file=None, redis_url=cluster.url))

    def enqueues() -> bool:
        try:
            return queue.enqueue("passes", "fetch", b"message")
        except redis.RedisError:
            return False

    try:
        wait_until(enqueues, 10)
    finally:
        queue.client.close()
        first.start()
        wait_until(lambda: "cluster_state:ok" in call(first, "CLUSTER", "INFO"), 20)


def test_replica_that_refuses_writes_is_left_for_the_next_server() -> None:
    with running_valkey(aof=False) as one, running_valkey(aof=False) as other:
        with connect(f"redis+cluster://127.0.0.1:{one.port},127.0.0.1:{other.port}", timeout_s=2) as client:
            client.set("{esteira}:x", 1)
            one.client().replicaof("127.0.0.1", str(other.port))
            client.set("{esteira}:x", 2)
        assert other.client().get("{esteira}:x") == "2"
