"""Worker processes as `esteira workers`, GET /workers and the dashboard show them."""

from __future__ import annotations

import os
import socket

from actors.operations.workers import workers
from pipeline.models import Stage
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until


def test_running_attachment_of_a_worker_is_shown(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=60) as server, system.workers(threads=3):
        receipt = system.submit(url=server.url("a.jpg"))
        wait_until(lambda: any(worker.running for worker in workers(system.queue)), 30)
        [worker] = workers(system.queue)
        server.delay_s = 0
    assert [(run.id, run.stage) for run in worker.running] == [(receipt.id, Stage.FETCH)]
    assert (worker.host, worker.threads, worker.alive) == (socket.gethostname(), 3, True)
    assert set(worker.queues) >= {stage.value for stage in Stage}
    assert worker.pid != os.getpid()


def test_last_error_of_a_worker_is_shown_without_its_source(system: RunningSystem) -> None:
    with system.workers():
        system.submit(url="http://127.0.0.1:9/never?token=very-secret")
        wait_until(lambda: any(worker.last_error for worker in workers(system.queue)), 30)
        [worker] = workers(system.queue)
        said = system.queue.client.get(system.queue.keys.worker_info(worker.id))
    assert worker.last_error
    assert (worker.last_error.code, worker.last_error.stage) == ("fetch_refused", Stage.FETCH)
    assert b"secret" not in said  # type: ignore[operator]
    assert b"127.0.0.1" not in said  # type: ignore[operator]


def test_stopped_worker_is_not_shown(system: RunningSystem) -> None:
    with system.workers() as running:
        wait_until(lambda: workers(system.queue), 30)
        assert running.stop() == 0
        assert workers(system.queue) == []
        [started], [stopped] = running.logged("worker started"), running.logged("worker stopped")
    assert started["pid"] == stopped["pid"]
    assert started["threads"] == 4


def test_worker_warns_of_a_misspelled_setting(system: RunningSystem) -> None:
    system.env["WEBHOOK_URLS"] = "https://hunter2.example"
    with system.workers() as running:
        wait_until(lambda: running.logged("unknown setting"), 30)
        [said] = running.logged("unknown setting")
    assert (said["level"], said["name"], said["meant"]) == ("warning", "WEBHOOK_URLS", "WEBHOOK_URL")
    assert "hunter2" not in running.log.read_text()
