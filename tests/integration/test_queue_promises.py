"""The promises of the queue that no other test covers, on a real Valkey with real workers."""

from __future__ import annotations

import base64
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import pairwise
from pathlib import Path
from statistics import median

import pytest

from actors.factory import build_broker
from actors.maintenance.schedule import maintenance_tasks
from pipeline.models import Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0LTEyMzQ1Ng=="
NO_SWEEP = {"SWEEP_AFTER_S": "3600"}
STAGES = ("fetch", "detect", "validate", "persist", "notify")


class Clocked(MediaServer):
    """Notes when each name was asked for; `slow` names are answered after so many seconds."""

    def __init__(self, files: dict[str, bytes | Path] | None = None) -> None:
        super().__init__(files)
        self.slow: dict[str, float] = {}
        self.times: dict[str, list[float]] = {}

    def answer_for(self, name: str) -> Answer | None:
        self.times.setdefault(name, []).append(time.monotonic())
        time.sleep(self.slow.get(name, 0))
        return super().answer_for(name)

    def pauses(self, name: str) -> list[float]:
        return [later - earlier for earlier, later in pairwise(self.times[name])]


@pytest.fixture
def media() -> Iterator[Clocked]:
    server = Clocked({"a.jpg": photo()})
    with server:
        yield server


@contextmanager
def own(folder: Path, server: ValkeyServer, **settings: str) -> Iterator[RunningSystem]:
    with closing(RunningSystem(folder, server.url, settings)) as system:
        yield system


def told(server: MediaServer) -> list[str]:
    """The ids of the events that reached the webhook, in order."""
    return [request.headers["webhook-id"] for request in server.requests if request.method == "POST"]


def waiting(system: RunningSystem, queue: str, lane: str = "ready") -> int:
    return system.queue.stats.counts()[queue][lane]


@pytest.mark.slow
def test_waiting_retry_survives_its_worker_and_valkey(own_valkey: ValkeyServer, tmp_path: Path, media: Clocked) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(200, body=photo())]
    with own(tmp_path, own_valkey, MEDIA_BACKOFF_MS="3000", **NO_SWEEP) as system:
        with system.workers() as first:
            receipt = system.submit(url=media.url("a.jpg"))
            wait_until(lambda: waiting(system, "fetch", "delayed"), 10)
            first.kill()
        own_valkey.kill()
        own_valkey.start()
        with system.workers() as second:
            [record] = system.wait_finished(receipt.id)
        attempts = [line["attempt"] for line in second.logged("attachment started")]
    assert (record.status, attempts, media.hits("a.jpg")) == (Status.DONE, [2], 2)
    assert media.pauses("a.jpg")[0] >= 3


@pytest.mark.slow
def test_next_stage_survives_a_killed_valkey(own_valkey: ValkeyServer, tmp_path: Path, media: Clocked) -> None:
    with own(tmp_path, own_valkey, **NO_SWEEP) as system:
        with system.workers(queues=("fetch", "detect")):
            receipt = system.submit(url=media.url("a.jpg"))
            wait_until(lambda: waiting(system, "validate"), 10)
        own_valkey.kill()
        own_valkey.start()
        with system.workers(queues=("validate", "persist", "notify")):
            [record] = system.wait_finished(receipt.id)
    assert (record.status, media.hits("a.jpg")) == (Status.DONE, 1)


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_each_stage_has_three_attempts(make_system: Callable[..., RunningSystem], media: Clocked, chain: str) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(503), Answer(200, body=photo())]
    system = make_system(media_backoff_ms="1200", chain=chain)
    with system.workers():
        [record] = system.wait_finished(system.submit(url=media.url("a.jpg")).id)
    assert (record.status, media.hits("a.jpg")) == (Status.DONE, 3)
    first, second = media.pauses("a.jpg")
    assert 1.19 < first < 1.9
    assert 2.39 < second < 3.1


def test_idle_worker_runs_a_retry_when_due(make_system: Callable[..., RunningSystem], media: Clocked) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(503), Answer(200, body=photo())]
    system = make_system(media_backoff_ms="150")
    with system.workers():
        system.wait_finished(system.submit(url=media.url("a.jpg")).id)
    assert min(media.pauses("a.jpg")) < 0.7


def test_retry_after_of_a_server_is_respected(system: RunningSystem, media: Clocked) -> None:
    media.answers["a.jpg"] = [Answer(429, {"Retry-After": "2"}), Answer(200, body=photo())]
    with system.workers():
        [record] = system.wait_finished(system.submit(url=media.url("a.jpg")).id)
    assert record.status is Status.DONE
    assert media.pauses("a.jpg") == [pytest.approx(2.2, abs=0.4)]


@pytest.mark.parametrize(("chain", "holding"), [("run", "fetch"), ("hop", "detect")])
def test_message_is_held_until_its_last_stage(
    make_system: Callable[..., RunningSystem], media: Clocked, chain: str, holding: str
) -> None:
    media.slow["a.jpg"] = 1.0
    system = make_system(chain=chain)
    with system.workers(), closing(sqlite3.connect(system.folder / "esteira.db", isolation_level=None)) as other:
        receipt = system.submit(url=media.url("a.jpg"))
        wait_until(lambda: media.hits("a.jpg"), 15)
        other.execute("BEGIN IMMEDIATE")  # who runs on comes as far as its first note, who hops to its next claim
        wait_until(system.stored_files if chain == "run" else lambda: waiting(system, "detect", "running"), 15)
        assert {stage: waiting(system, stage, "running") for stage in STAGES} == {
            stage: int(stage == holding) for stage in STAGES
        }
        other.execute("ROLLBACK")
        system.wait_finished(receipt.id)
        wait_until(lambda: system.queue.find_missing([receipt.id]), 5)


@pytest.mark.slow
def test_enqueue_wakes_an_idle_worker(system: RunningSystem, media: Clocked) -> None:
    media.files |= {f"{number}.jpg": photo() for number in range(9)}
    lags = []
    with system.workers():
        system.wait_finished(system.submit(url=media.url("a.jpg")).id)
        for number in range(9):
            time.sleep(0.37)  # at another moment of its poll each time, which comes once a second
            began = time.monotonic()
            receipt = system.submit(url=media.url(f"{number}.jpg"))
            system.wait_finished(receipt.id)
            lags.append(media.times[f"{number}.jpg"][0] - began)
    assert median(lags) < 0.15, lags


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_redis_holds_only_small_messages(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer, media: Clocked, chain: str
) -> None:
    big = photo(size=(1200, 900))
    media.files["big.jpg"] = big
    system = make_system(chain=chain)
    client = valkey.client()

    def largest() -> int:
        return max((int(client.memory_usage(key) or 0) for key in client.scan_iter()), default=0)

    ids = [system.submit(data=base64.b64encode(big).decode()).id, system.submit(url=media.url("big.jpg")).id]
    seen = [largest()]

    def all_ended() -> bool:
        seen.append(largest())
        return all(system.record(media_id).finished_at for media_id in ids)

    with system.workers():
        wait_until(all_ended, 30)
    assert len(big) > 300_000
    assert 0 < max(seen) < 20_000


def test_worker_with_shared_storage_only_finds_inline_bytes(
    make_system: Callable[..., RunningSystem], tmp_path: Path
) -> None:
    here = make_system(staging_dir=str(tmp_path / "here"))
    there = make_system(staging_dir=str(tmp_path / "there"))
    receipt = here.submit(data=base64.b64encode(photo()).decode())
    with there.workers():
        [record] = here.wait_finished(receipt.id)
    assert record.status is Status.DONE
    assert here.staged_files() == there.staged_files() == []


def test_lost_staged_bytes_are_fetched_again(system: RunningSystem, media: Clocked) -> None:
    with system.workers(queues=("fetch", "detect")):
        receipt = system.submit(url=media.url("a.jpg"))
        wait_until(lambda: waiting(system, "validate"), 10)
    assert system.staged_files() == [receipt.id]
    (system.settings.staging / receipt.id).unlink()
    with system.workers() as workers:
        [record] = system.wait_finished(receipt.id)
        assert len(workers.logged("back to fetch")) == 1
    assert (record.status, record.attempts, media.hits("a.jpg")) == (Status.DONE, 0, 2)


@pytest.mark.slow
def test_lost_messages_are_requeued_once_by_one_worker(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer, media: Clocked
) -> None:
    names = [f"{number}.jpg" for number in range(30)]
    media.files |= {name: photo() for name in names}
    system = make_system(sweep_after_s="1")
    ids = [system.submit(url=media.url(name)).id for name in names]
    valkey.client().flushall()
    time.sleep(1.1)
    with system.workers(processes=3, threads=2) as workers:
        records = system.wait_finished(*ids)
        found = [line["messages"] for line in workers.logged("lost attachments requeued")]
    assert {record.status for record in records} == {Status.DONE}
    assert [media.hits(name) for name in names] == [1] * 30
    assert found == [30]


@pytest.mark.slow
def test_lost_stored_attachment_is_only_announced(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer, media: Clocked
) -> None:
    system = make_system(sweep_after_s="1", claim_lease_s="2", webhook_url=media.url("hook"), webhook_secret=SECRET)
    with system.workers(queues=("fetch", "detect", "validate", "persist")):
        receipt = system.submit(url=media.url("a.jpg"))
        wait_until(lambda: waiting(system, "notify"), 15)
    assert (system.record(receipt.id).status, told(media)) == (Status.STORED, [])
    valkey.client().flushall()
    with system.workers() as workers:
        [record] = system.wait_finished(receipt.id)
        wait_until(lambda: told(media), 15)
        assert [line["messages"] for line in workers.logged("lost attachments requeued")] == [1]
    assert (record.status, media.hits("a.jpg"), len(told(media))) == (Status.DONE, 1, 1)


@pytest.mark.slow
def test_requeue_of_a_long_backlog_extends_its_lock(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        system.submit(url="http://127.0.0.1:9/never")
    monkeypatch.setattr("actors.intake.requeue_scan.PAGE", 2)
    monkeypatch.setattr("actors.maintenance.tasks.services", lambda: system.services)
    settings = system.settings.model_copy(update={"sweep_after_s": 0})
    broker = build_broker(settings)
    kept: list[str] = []
    monkeypatch.setattr(broker.enqueue_client.locks, "extend", lambda name, ttl_ms: kept.append(name))
    sweep = next(task for _, task in maintenance_tasks(broker, settings) if task.__name__ == "sweep")
    sweep()
    assert kept == ["sweep", "scan"] * 3


def test_delayed_and_running_messages_are_not_requeued(
    make_system: Callable[..., RunningSystem], media: Clocked
) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(200, body=photo())]
    media.slow["b.jpg"] = 12.5  # longer than the pause between two requeue scans
    media.files["b.jpg"] = photo()
    system = make_system(sweep_after_s="1", media_backoff_ms="12000")
    with system.workers() as workers:
        ids = [system.submit(url=media.url(name)).id for name in ("a.jpg", "b.jpg")]
        records = system.wait_finished(*ids, within_s=40)
        assert workers.logged("lost attachments requeued") == []
    assert [record.status for record in records] == [Status.DONE] * 2
    assert (media.hits("a.jpg"), media.hits("b.jpg")) == (2, 1)
