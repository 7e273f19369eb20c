"""What the belt promises, sentence by sentence, on a real Valkey with real workers, where no other test shows it."""

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
from actors.maintenance.schedule import chores
from pipeline.models import Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import Plant, photo, wait_until
from tests.support.valkey import ValkeyServer

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
def own(folder: Path, server: ValkeyServer, **settings: str) -> Iterator[Plant]:
    with closing(Plant(folder, server.url, settings)) as plant:
        yield plant


def told(server: MediaServer) -> list[str]:
    """The ids of the events that reached the webhook, in order."""
    return [request.headers["webhook-id"] for request in server.requests if request.method == "POST"]


def waiting(plant: Plant, queue: str, lane: str = "ready") -> int:
    return plant.belt.counts()[queue][lane]


@pytest.mark.slow
def test_a_retry_that_waits_outlives_its_worker_and_a_killed_valkey(
    own_valkey: ValkeyServer, tmp_path: Path, media: Clocked
) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(200, body=photo())]
    with own(tmp_path, own_valkey, MEDIA_BACKOFF_MS="3000", **NO_SWEEP) as plant:
        with plant.workers() as first:
            receipt = plant.submit(url=media.url("a.jpg"))
            wait_until(lambda: waiting(plant, "fetch", "delayed"), 10)
            first.kill()
        own_valkey.kill()
        own_valkey.start()
        with plant.workers() as second:
            [record] = plant.ended(receipt.id)
        attempts = [line["attempt"] for line in second.said("attachment started")]
    assert (record.status, attempts, media.hits("a.jpg")) == (Status.DONE, [2], 2)
    assert media.pauses("a.jpg")[0] >= 3


@pytest.mark.slow
def test_the_next_stage_outlives_a_killed_valkey(own_valkey: ValkeyServer, tmp_path: Path, media: Clocked) -> None:
    with own(tmp_path, own_valkey, **NO_SWEEP) as plant:
        with plant.workers(queues=("fetch", "detect")):
            receipt = plant.submit(url=media.url("a.jpg"))
            wait_until(lambda: waiting(plant, "validate"), 10)
        own_valkey.kill()
        own_valkey.start()
        with plant.workers(queues=("validate", "persist", "notify")):
            [record] = plant.ended(receipt.id)
    assert (record.status, media.hits("a.jpg")) == (Status.DONE, 1)


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_each_stage_has_three_attempts_of_its_own(make_plant: Callable[..., Plant], media: Clocked, chain: str) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(503), Answer(200, body=photo())]
    plant = make_plant(media_backoff_ms="1200", chain=chain)
    with plant.workers():
        [record] = plant.ended(plant.submit(url=media.url("a.jpg")).id)
    assert (record.status, media.hits("a.jpg")) == (Status.DONE, 3)
    first, second = media.pauses("a.jpg")
    assert 1.19 < first < 1.9
    assert 2.39 < second < 3.1


def test_a_short_backoff_is_not_rounded_up_to_the_idle_workers_next_look(
    make_plant: Callable[..., Plant], media: Clocked
) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(503), Answer(200, body=photo())]
    plant = make_plant(media_backoff_ms="150")
    with plant.workers():
        plant.ended(plant.submit(url=media.url("a.jpg")).id)
    assert min(media.pauses("a.jpg")) < 0.7


def test_a_servers_retry_after_is_waited_for(plant: Plant, media: Clocked) -> None:
    media.answers["a.jpg"] = [Answer(429, {"Retry-After": "2"}), Answer(200, body=photo())]
    with plant.workers():
        [record] = plant.ended(plant.submit(url=media.url("a.jpg")).id)
    assert record.status is Status.DONE
    assert media.pauses("a.jpg") == [pytest.approx(2.2, abs=0.4)]


@pytest.mark.parametrize(("chain", "holding"), [("run", "fetch"), ("hop", "detect")])
def test_the_message_that_began_a_chain_is_held_until_it_ends(
    make_plant: Callable[..., Plant], media: Clocked, chain: str, holding: str
) -> None:
    media.slow["a.jpg"] = 1.0
    plant = make_plant(chain=chain)
    with plant.workers(), closing(sqlite3.connect(plant.folder / "esteira.db", isolation_level=None)) as other:
        receipt = plant.submit(url=media.url("a.jpg"))
        wait_until(lambda: media.hits("a.jpg"), 15)
        other.execute("BEGIN IMMEDIATE")  # who runs on comes as far as its first note, who hops to its next claim
        wait_until(plant.stored_files if chain == "run" else lambda: waiting(plant, "detect", "running"), 15)
        assert {stage: waiting(plant, stage, "running") for stage in STAGES} == {
            stage: int(stage == holding) for stage in STAGES
        }
        other.execute("ROLLBACK")
        plant.ended(receipt.id)
        wait_until(lambda: plant.belt.missing([receipt.id]), 5)


@pytest.mark.slow
def test_an_idle_worker_is_woken_by_the_enqueue(plant: Plant, media: Clocked) -> None:
    media.files |= {f"{number}.jpg": photo() for number in range(9)}
    lags = []
    with plant.workers():
        plant.ended(plant.submit(url=media.url("a.jpg")).id)
        for number in range(9):
            time.sleep(0.37)  # at another moment of its poll each time, which comes once a second
            began = time.monotonic()
            receipt = plant.submit(url=media.url(f"{number}.jpg"))
            plant.ended(receipt.id)
            lags.append(media.times[f"{number}.jpg"][0] - began)
    assert median(lags) < 0.15, lags


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_nothing_big_rides_in_redis(
    make_plant: Callable[..., Plant], valkey: ValkeyServer, media: Clocked, chain: str
) -> None:
    big = photo(size=(1200, 900))
    media.files["big.jpg"] = big
    plant = make_plant(chain=chain)
    client = valkey.client()

    def largest() -> int:
        return max((int(client.memory_usage(key) or 0) for key in client.scan_iter()), default=0)

    ids = [plant.submit(data=base64.b64encode(big).decode()).id, plant.submit(url=media.url("big.jpg")).id]
    seen = [largest()]

    def all_ended() -> bool:
        seen.append(largest())
        return all(plant.record(media_id).finished_at for media_id in ids)

    with plant.workers():
        wait_until(all_ended, 30)
    assert len(big) > 300_000
    assert 0 < max(seen) < 20_000


def test_inline_bytes_are_found_by_a_worker_that_shares_nothing_but_storage(
    make_plant: Callable[..., Plant], tmp_path: Path
) -> None:
    here = make_plant(staging_dir=str(tmp_path / "here"))
    there = make_plant(staging_dir=str(tmp_path / "there"))
    receipt = here.submit(data=base64.b64encode(photo()).decode())
    with there.workers():
        [record] = here.ended(receipt.id)
    assert record.status is Status.DONE
    assert here.staged_files() == there.staged_files() == []


def test_a_stage_whose_staged_bytes_are_gone_has_them_fetched_again(plant: Plant, media: Clocked) -> None:
    with plant.workers(queues=("fetch", "detect")):
        receipt = plant.submit(url=media.url("a.jpg"))
        wait_until(lambda: waiting(plant, "validate"), 10)
    assert plant.staged_files() == [receipt.id]
    (plant.settings.staging / receipt.id).unlink()
    with plant.workers() as workers:
        [record] = plant.ended(receipt.id)
        assert len(workers.said("back to fetch")) == 1
    assert (record.status, record.attempts, media.hits("a.jpg")) == (Status.DONE, 0, 2)


@pytest.mark.slow
def test_what_redis_forgot_is_swept_back_once_by_one_of_many_workers(
    make_plant: Callable[..., Plant], valkey: ValkeyServer, media: Clocked
) -> None:
    names = [f"{number}.jpg" for number in range(30)]
    media.files |= {name: photo() for name in names}
    plant = make_plant(sweep_after_s="1")
    ids = [plant.submit(url=media.url(name)).id for name in names]
    valkey.client().flushall()
    time.sleep(1.1)
    with plant.workers(processes=3, threads=2) as workers:
        records = plant.ended(*ids)
        found = [line["messages"] for line in workers.said("swept")]
    assert {record.status for record in records} == {Status.DONE}
    assert [media.hits(name) for name in names] == [1] * 30
    assert found == [30]


@pytest.mark.slow
def test_what_is_stored_and_forgotten_is_only_announced(
    make_plant: Callable[..., Plant], valkey: ValkeyServer, media: Clocked
) -> None:
    plant = make_plant(sweep_after_s="1", claim_lease_s="2", webhook_url=media.url("hook"), webhook_secret=SECRET)
    with plant.workers(queues=("fetch", "detect", "validate", "persist")):
        receipt = plant.submit(url=media.url("a.jpg"))
        wait_until(lambda: waiting(plant, "notify"), 15)
    assert (plant.record(receipt.id).status, told(media)) == (Status.STORED, [])
    valkey.client().flushall()
    with plant.workers() as workers:
        [record] = plant.ended(receipt.id)
        wait_until(lambda: told(media), 15)
        assert [line["messages"] for line in workers.said("swept")] == [1]
    assert (record.status, media.hits("a.jpg"), len(told(media))) == (Status.DONE, 1, 1)


@pytest.mark.slow
def test_a_sweep_of_a_long_backlog_stays_one_workers(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(5):
        plant.submit(url="http://127.0.0.1:9/never")
    monkeypatch.setattr("actors.maintenance.requeue_lost.BATCH", 2)
    monkeypatch.setattr("actors.maintenance.schedule.services", lambda: plant.services)
    settings = plant.settings.model_copy(update={"sweep_after_s": 0})
    broker = build_broker(settings)
    kept: list[str] = []
    monkeypatch.setattr(broker.enqueue_client, "keep", lambda name, ttl_ms: kept.append(name))
    sweep = next(chore for _, chore in chores(broker, settings) if chore.__name__ == "sweep")
    sweep()
    assert kept == ["sweep"] * 3


def test_what_waits_for_its_retry_or_is_under_way_is_not_swept(
    make_plant: Callable[..., Plant], media: Clocked
) -> None:
    media.answers["a.jpg"] = [Answer(500), Answer(200, body=photo())]
    media.slow["b.jpg"] = 12.5  # longer than the pause between two sweeps
    media.files["b.jpg"] = photo()
    plant = make_plant(sweep_after_s="1", media_backoff_ms="12000")
    with plant.workers() as workers:
        ids = [plant.submit(url=media.url(name)).id for name in ("a.jpg", "b.jpg")]
        records = plant.ended(*ids, within_s=40)
        assert workers.said("swept") == []
    assert [record.status for record in records] == [Status.DONE] * 2
    assert (media.hits("a.jpg"), media.hits("b.jpg")) == (2, 1)
