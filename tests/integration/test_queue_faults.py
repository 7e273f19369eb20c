"""Failures of workers, Valkey and messages: every attachment is still finished."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from dramatiq import Message

from actors.delivery import encode_message, stage_message
from actors.execution.claiming import claim_attachment
from actors.execution.executor import run_step
from pipeline.models import Stage, Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until


def asking(kwargs: dict[str, Any]) -> bytes:
    """A well-formed message for an actor that does not exist."""
    return Message(queue_name="fetch", actor_name="fetch", args=(), kwargs=kwargs, options={}).encode()


def misshapen(**fields: Any) -> bytes:
    """A message that an actor could run, but for these fields."""
    return json.dumps({**stage_message("f" * 32, Stage.FETCH).asdict(), "args": [], **fields}).encode()


@pytest.fixture
def own_system(own_valkey: ValkeyServer, tmp_path: Path) -> Iterator[RunningSystem]:
    made = RunningSystem(tmp_path, own_valkey.url, {"MEDIA_BACKOFF_MS": "50", "SWEEP_AFTER_S": "1"})
    yield made
    made.close()


@pytest.mark.slow
def test_attachment_of_a_killed_worker_runs_again_within_20_s(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=3) as server:
        with system.workers() as workers:
            receipt = system.submit(url=server.url("a.jpg"))
            wait_until(lambda: server.hits("a.jpg"), 10)
            killed = time.monotonic()
            workers.kill()
        server.delay_s = 0
        with system.workers():
            [record] = system.wait_finished(receipt.id, within_s=25)
            assert time.monotonic() - killed < 22
    assert (record.status, record.attempts) == (Status.DONE, 0)
    assert len(system.stored_files()) == 1


def test_message_that_crashed_three_workers_fails_as_poison(system: RunningSystem) -> None:
    receipt = system.submit(url="http://127.0.0.1:9/never")
    system.queue.client.hset(system.queue.keys.crashes, receipt.id, 3)
    with system.workers() as workers:
        [record] = system.wait_finished(receipt.id)
        wait_until(lambda: workers.logged("media.failed"), 5)
    assert (record.status, record.error_code, record.stage) == (Status.FAILED, "poison", Stage.FETCH)
    assert record.announced_at


def test_poison_in_notify_fails_without_an_event(system: RunningSystem) -> None:
    receipt = system.submit(url="http://127.0.0.1:9/never")
    system.queue.client.hset(system.queue.keys.crashes, receipt.id, 4)
    with system.workers():
        [record] = system.wait_finished(receipt.id)
    assert (record.status, record.error_code, record.announced_at) == (Status.FAILED, "poison", None)


def test_stored_attachment_is_not_reported_as_poison(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server:
        receipt = system.submit(url=server.url("a.jpg"))
        claim, result = claim_attachment(system.services, receipt.id), None
        for stage in (Stage.FETCH, Stage.DETECT, Stage.VALIDATE, Stage.PERSIST):
            result = run_step(system.services, claim, stage, result, attempt=1)
        system.queue.client.hset(system.queue.keys.crashes, receipt.id, 3)
        with system.workers() as workers:
            [record] = system.wait_finished(receipt.id)
            assert not workers.logged("media.failed")
        assert (record.status, record.error_code, record.announced_at) == (Status.FAILED, "poison", None)
        system.services.catalogue.reopen(receipt.id)
        system.sweep()
        with system.workers() as workers:
            [record] = system.wait_finished(receipt.id)
            wait_until(lambda: workers.logged("media.done"), 5)
    assert record.status is Status.DONE


@pytest.mark.parametrize(
    "garbage",
    [
        b"not json",
        b"[1, 2]",
        b'{"queue_name": "fetch"}',
        b"\xff\xfe\x00",
        asking({"media_id": "f" * 32, "attempt": "x"}),
        asking({"media_id": 5}),
        asking({"media_id": "f" * 32, "inputs": [1]}),
        asking({"media_id": "f" * 32, "url": "http://old.format"}),
        misshapen(actor_name=["fetch"]),
        misshapen(options=5),
        misshapen(options={"throws": "RetryableError"}),
        misshapen(options={"eta": 1}),
    ],
    ids=["text", "list", "half", "bytes", "attempt", "id", "inputs", "old", "actor", "options", "throws", "eta"],
)
def test_garbage_becomes_a_dead_letter(system: RunningSystem, garbage: bytes) -> None:
    system.queue.enqueue("garbage", "fetch", garbage)
    with MediaServer({"a.jpg": photo()}) as server, system.workers():
        receipt = system.submit(url=server.url("a.jpg"))
        [record] = system.wait_finished(receipt.id)
        empty_but_one = {"ready": 0, "delayed": 0, "running": 0, "dead": 1}
        wait_until(lambda: system.queue.stats.counts()["fetch"] == empty_but_one, 5)
    assert record.status is Status.DONE


def test_message_for_an_unknown_actor_becomes_a_dead_letter(system: RunningSystem) -> None:
    message = stage_message("a" * 32, Stage.FETCH).copy(actor_name="transcribe")
    system.queue.enqueue("a" * 32, "fetch", encode_message(message))
    with system.workers() as workers:
        wait_until(lambda: system.queue.stats.counts()["fetch"]["dead"] == 1, 10)
        assert workers.process.poll() is None


def test_message_of_an_unknown_attachment_is_dropped(system: RunningSystem) -> None:
    system.queue.enqueue("a" * 32, "fetch", encode_message(stage_message("a" * 32, Stage.FETCH)))
    with system.workers():
        wait_until(lambda: system.queue.find_missing(["a" * 32]), 10)
    assert system.queue.stats.counts()["fetch"]["dead"] == 0


def test_wiped_queue_is_restored_from_the_catalogue(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo(), "b.jpg": photo()}) as server:
        first = system.submit(url=server.url("a.jpg"))
        with system.workers():
            system.wait_finished(first.id)
        second = system.submit(url=server.url("b.jpg"))
        system.queue.client.flushall()
        assert system.sweep() == 1
        assert system.sweep() == 0
        with system.workers():
            [record] = system.wait_finished(second.id)
        assert (server.hits("a.jpg"), server.hits("b.jpg")) == (1, 1)
    assert record.status is Status.DONE


@pytest.mark.parametrize("part", ["waiting:fetch:small", "held:gone", "turns:fetch:small"])
def test_evicted_part_of_the_queue_is_restored_from_the_catalogue(system: RunningSystem, part: str) -> None:
    with MediaServer({"a.jpg": photo(), "b.jpg": photo()}) as server:
        ids = [system.submit(url=server.url(name)).id for name in ("a.jpg", "b.jpg")]
        system.queue.fetch("gone", 1, ["fetch"])
        system.queue.client.delete(f"{{esteira}}:{part}")
        system.sweep()
        system.queue.reap("gone", silence_ms=0, crash=False)
        with system.workers():
            records = system.wait_finished(*ids)
        assert (server.hits("a.jpg"), server.hits("b.jpg")) == (1, 1)
    assert {record.status for record in records} == {Status.DONE}


def test_workers_drain_a_full_valkey(own_system: RunningSystem, own_valkey: ValkeyServer) -> None:
    with MediaServer({"a.jpg": photo()}) as server:
        ids = [own_system.submit(url=server.url("a.jpg")).id for _ in range(3)]
        client = own_valkey.client()
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", int(client.info("memory")["used_memory"]) - 10_000)
        with pytest.raises(redis.RedisError):
            own_system.queue.enqueue("more", "fetch", b"1")
        with own_system.workers():
            records = own_system.wait_finished(*ids)
            wait_until(lambda: own_system.queue.find_missing(ids) == ids, 5)
    assert {record.status for record in records} == {Status.DONE}


def test_attachment_fails_after_its_staged_bytes_were_lost_three_times(
    make_system: Callable[..., RunningSystem], tmp_path: Path
) -> None:
    here = make_system(media_backoff_ms="50", staging_dir=str(tmp_path / "here"))
    there = make_system(media_backoff_ms="50", staging_dir=str(tmp_path / "there"))
    rest = ("detect", "validate", "persist", "notify")
    with MediaServer({"a.jpg": photo()}) as server, here.workers(queues=("fetch",)) as fetching:
        with there.workers(queues=rest) as checking:
            receipt = here.submit(url=server.url("a.jpg"))
            [record] = here.wait_finished(receipt.id)
            assert len(checking.logged("back to fetch")) == 3
        assert len(fetching.logged("attachment started")) == 4
        assert server.hits("a.jpg") == 1
    assert (record.status, record.error_code, record.stage) == (Status.FAILED, "staging_lost", Stage.DETECT)


def test_fallback_longer_than_its_lease_runs_once(own_valkey: ValkeyServer, tmp_path: Path) -> None:
    settings = {"CLAIM_LEASE_S": "1", "SWEEP_AFTER_S": "0.5", "MEDIA_BACKOFF_MS": "50"}
    system = RunningSystem(tmp_path, own_valkey.url, settings)
    away = system.with_redis("redis://127.0.0.1:1/0")
    try:
        with MediaServer({"a.jpg": photo()}, delay_s=3) as server, system.workers():
            receipt = away.submit(url=server.url("a.jpg"))
            assert (receipt.mode, receipt.status) == ("inline", Status.DONE)
            assert system.sweep() == 0
            assert server.hits("a.jpg") == 1
    finally:
        away.close()
        system.close()


def test_read_only_valkey_keeps_the_circuit_open(own_system: RunningSystem, own_valkey: ValkeyServer) -> None:
    client = own_valkey.client()
    client.replicaof("127.0.0.1", "1")
    with MediaServer({"a.jpg": photo()}) as server:
        assert own_system.submit(url=server.url("a.jpg")).mode == "inline"
        time.sleep(2.5)  # longer than two probes
        assert own_system.hook.breaker.is_open
        client.replicaof("NO", "ONE")
        wait_until(lambda: not own_system.hook.breaker.is_open, 5)


def test_workers_continue_after_an_outage(own_system: RunningSystem, own_valkey: ValkeyServer) -> None:
    with MediaServer({"a.jpg": photo(), "b.jpg": photo()}) as server, own_system.workers() as workers:
        own_system.wait_finished(own_system.submit(url=server.url("a.jpg")).id)
        own_valkey.kill()
        wait_until(lambda: workers.logged("server away"), 10)
        own_valkey.start()
        wait_until(lambda: workers.logged("server back"), 10)
        receipt = own_system.submit(url=server.url("b.jpg"))
        [record] = own_system.wait_finished(receipt.id, within_s=10)
    assert record.status is Status.DONE


@pytest.mark.parametrize("fault", ["stop", "pause"])
def test_listener_runs_the_five_steps_without_valkey(
    own_system: RunningSystem, own_valkey: ValkeyServer, fault: str
) -> None:
    with MediaServer({"a.jpg": photo(), "b.jpg": photo()}) as server:
        getattr(own_valkey, fault)()
        started = time.monotonic()
        receipt = own_system.submit(url=server.url("a.jpg"))
        assert (receipt.mode, receipt.status) == ("inline", Status.DONE)
        second = own_system.submit(url=server.url("b.jpg"))
        assert second.mode == "inline"
        assert time.monotonic() - started < 10
        own_valkey.start() if fault == "stop" else own_valkey.resume()
        wait_until(lambda: not own_system.hook.breaker.is_open, 5)
        with own_system.workers() as workers:
            time.sleep(1)
            assert not workers.logged("attachment started")
        assert (server.hits("a.jpg"), server.hits("b.jpg")) == (1, 1)
    assert own_system.services.catalogue.totals()["fallbacks"] == 2


def test_attachment_that_fails_in_the_listener_is_left_to_workers(
    own_system: RunningSystem, own_valkey: ValkeyServer
) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=0) as server:
        url = server.url("a.jpg")
        port = server.port
    own_valkey.stop()
    receipt = own_system.submit(url=url)
    assert (receipt.mode, receipt.status) == ("spooled", Status.RECEIVED)
    record = own_system.record(receipt.id)
    assert (record.error_code, record.attempts) == ("fetch_refused", 1)
    assert port
    own_valkey.start()
    with own_system.workers():
        [failed] = own_system.wait_finished(receipt.id, within_s=40)
    assert failed.status is Status.FAILED


def test_spooled_attachment_waits_for_the_requeue_scan(
    make_system: Callable[..., RunningSystem], own_valkey: ValkeyServer, tmp_path: Path
) -> None:
    system = RunningSystem(tmp_path, own_valkey.url, {"FALLBACK": "spool"})
    try:
        own_valkey.stop()
        with MediaServer({"a.jpg": photo()}) as server:
            receipt = system.submit(url=server.url("a.jpg"))
            assert receipt.mode == "spooled"
            own_valkey.start()
            assert system.sweep() == 1
            with system.workers():
                [record] = system.wait_finished(receipt.id)
        assert record.status is Status.DONE
    finally:
        system.close()


def test_stopped_workers_return_messages_without_an_attempt(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=1.5) as server:
        with system.workers(threads=1) as workers:
            ids = [system.submit(url=server.url("a.jpg")).id for _ in range(3)]
            wait_until(lambda: server.hits("a.jpg"), 10)
            os.killpg(workers.process.pid, signal.SIGTERM)
            os.killpg(workers.process.pid, signal.SIGTERM)
            assert workers.process.wait(20) == 0
        counts = system.queue.stats.counts()["fetch"]
        assert (counts["ready"], counts["running"], counts["delayed"]) == (2, 0, 0)
        assert system.queue.client.hlen(system.queue.keys.crashes) == 0
        server.delay_s = 0
        with system.workers():
            records = system.wait_finished(*ids)
    assert [(record.status, record.attempts) for record in records] == [(Status.DONE, 0)] * 3


def test_messages_contain_no_secrets(system: RunningSystem) -> None:
    key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVowMTIzNDU="
    system.submit(url="https://media.example/x?oh=SIGNED&oe=123", media_key=key, kind="image")
    for name in system.queue.client.scan_iter("*"):
        kind = system.queue.client.type(name)
        value = system.queue.client.hgetall(name) if kind == b"hash" else system.queue.client.dump(name)
        assert key not in repr(value)
        assert "SIGNED" not in repr(value)
