"""`esteira workers`."""

from __future__ import annotations

import json

from actors.observability.worker_info import ACTIVITY, WorkerIdentity
from actors.redis_queue.queue import RedisQueue
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.esteira import Installation
from tests.support.valkey import ValkeyServer

MINUTE_MS = 60_000


def beat(valkey: ValkeyServer) -> None:
    queue = RedisQueue(connect(valkey.url, timeout_s=2), queues=["fetch"])
    with ACTIVITY.working_on(["f" * 32], Stage.FETCH):
        info = (
            WorkerIdentity(threads=4, queues=["fetch"])
            .current_info(sandbox_deaths=3)
            .model_copy(update={"host": "berlin"})
        )
        queue.heartbeat("w", silence_ms=MINUTE_MS, info=info.model_dump_json())


def test_workers_without_any_worker(installation: Installation) -> None:
    finished = installation.run("workers")
    assert finished.code == 0
    assert finished.out == "0 worker processes alive\n"
    assert "No worker runs: `esteira start`" in finished.err
    assert installation.run("workers", "--json").out == "[]\n"


def test_workers_shows_each_process_and_its_attachments(installation: Installation, valkey: ValkeyServer) -> None:
    beat(valkey)
    [worker] = json.loads(installation.run("workers", "--json").out)
    assert (worker["id"], worker["host"], worker["threads"], worker["alive"], worker["sandbox_deaths"]) == (
        "w",
        "berlin",
        4,
        True,
        3,
    )
    assert [(run["id"], run["stage"]) for run in worker["running"]] == [("f" * 32, "fetch")]
    _, row, footer = installation.run("workers").out.splitlines()
    assert "berlin" in row
    assert "fetch " + "f" * 32 in row
    assert footer == "1 worker process alive"
