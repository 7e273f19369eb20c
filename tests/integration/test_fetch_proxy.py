"""FETCH_PROXY with real workers: the proxy is used, its faults are in the history, its login is nowhere."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.history import HistoryOutcome
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.proxies import http_proxy
from tests.support.system import ROOT, RunningSystem, photo
from tests.support.valkey import ValkeyServer, free_port

LOGIN = "proxy-user:proxy-password"
WORDS = {
    "unreachable": "is unreachable: the server refuses connections",
    "407": "answers 407: it refuses the login in FETCH_PROXY",
}


def test_workers_download_through_the_proxy(make_system: Callable[..., RunningSystem]) -> None:
    with MediaServer({"a.jpg": photo()}) as media, http_proxy(login=LOGIN) as (port, journal):
        system = make_system(fetch_proxy=f"*=http://{LOGIN}@127.0.0.1:{port}")
        with system.workers() as workers:
            [record] = system.wait_finished(system.submit(url=media.url("a.jpg")).id)
            log = workers.log.read_text()
    assert record.status is Status.DONE
    assert journal.destinations == [f"127.0.0.1:{media.port}"]
    assert "proxy-password" not in log


@pytest.mark.parametrize("fault", WORDS)
def test_fault_of_the_proxy_is_retried_and_in_the_history_without_its_login(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer, fault: str
) -> None:
    with http_proxy(login="another:login-of-it") as (proxy_port, journal):
        port = proxy_port if fault == "407" else free_port()
        system = make_system(fetch_proxy=f"http://{LOGIN}@127.0.0.1:{port}", media_backoff_ms="50")
        with system.workers() as workers:
            receipt = system.submit(url="http://127.0.0.1:9/a.jpg")
            [record] = system.wait_finished(receipt.id)
            log = workers.log.read_text()
    words = (
        "answers 407: it refuses the login in FETCH_PROXY" if fault == "407" else "is unreachable: the server refuses"
    )
    message = f"the proxy http://127.0.0.1:{port} {words}"
    assert (record.status, record.error_code, record.attempts) == (Status.FAILED, "fetch_proxy", 3)
    entries = [entry for entry in system.services.catalogue.history(receipt.id) if entry.stage == "fetch"]
    assert [entry.outcome for entry in entries] == [HistoryOutcome.RETRY, HistoryOutcome.RETRY, HistoryOutcome.FAILED]
    assert all(entry.code == "fetch_proxy" and (entry.message or "").startswith(message) for entry in entries)
    shown = _status(system, receipt.id)
    assert "fetch_proxy" in shown
    assert f"127.0.0.1:{port}" in shown
    with sqlite3.connect(system.folder / "esteira.db") as database:
        dump = "\n".join(database.iterdump())
    for text in (log, shown, dump):
        assert "proxy-password" not in text
    assert journal.destinations == []


def _status(system: RunningSystem, media_id: str) -> str:
    command = [str(Path(sys.executable).parent / "esteira"), "status", media_id]
    env = {**system.env, "COLUMNS": "200"}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True, timeout=60).stdout
