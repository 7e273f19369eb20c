"""`GET /metrics`: metrics of the web app and of workers, with access control, also while a server is unreachable."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from esteira.web.api.metrics import Metrics
from esteira.web.auth.access import Authenticator
from esteira.web.intake.ignored_counts import WebIgnoredCounter
from pipeline.config.settings import current_settings
from pipeline.metrics import COUNTER_BUFFER
from pipeline.services import services
from tests.conftest import missing
from tests.support.media_server import MediaServer
from tests.support.scraped import Page
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.web import app_client

METRICS_TOKEN = "a token that reads metrics"


@pytest.fixture(autouse=True)
def _empty_counter_buffer() -> Iterator[None]:
    """Start with an empty buffer, after the circuit breakers of earlier tests have closed.

    A breaker that closes flushes the counters of this process to the Redis of its own test. One whose Redis was stopped
    for good never closes, so the wait is limited to a few probes.
    """
    deadline = time.monotonic() + 3
    while any(thread.name == "redis probe" for thread in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.05)
    COUNTER_BUFFER.drain()
    yield
    COUNTER_BUFFER.drain()


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    monkeypatch.setenv("METRICS_TOKEN", METRICS_TOKEN)
    monkeypatch.setattr("esteira.web.api.metrics.CACHE_S", 0)
    with app_client(system, monkeypatch) as made:
        yield made


def scrape(client: TestClient) -> Page:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {METRICS_TOKEN}"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Page(answer.text)


def scrape_complete(client: TestClient) -> Page:
    """A page with Redis and the catalogue; on a busy machine a call may exceed the hook's timeout of 0.25 s."""
    pages: list[Page] = []

    def is_complete() -> bool:
        pages.append(scrape(client))
        return pages[-1].value("esteira_up") == 2

    wait_until(is_complete, 60)
    return pages[-1]


def test_page_has_the_metrics_of_worker_processes(system: RunningSystem, client: TestClient) -> None:
    content = photo()
    with MediaServer({"a": content, "b": content, "c": b"<html></html>"}) as media:
        items = [{"session": "a person's name", "message_id": n, "url": media.url(n), "kind": "image"} for n in "abc"]
        ids = [one["id"] for one in client.post("/hooks/media", json=items).json()["accepted"]]
        client.post("/hooks/media", json=items[0])
        client.post("/hooks/media", json=items[0], headers={"Authorization": "Bearer wrong"})
        waiting = scrape_complete(client)
        with system.workers(threads=1) as workers:  # one after another, or both copies would be written
            system.wait_finished(*ids)
            assert scrape_complete(client).value("esteira_workers") == 1
            workers.stop()
    assert waiting.value("esteira_queue_messages", stage="fetch", state="ready") == 3
    assert (waiting.value("esteira_oldest_unfinished_seconds") or 0) > 0

    page = scrape_complete(client)
    for name, labels, expected in [
        ("esteira_up", {}, 2),
        ("esteira_circuit_open", {}, 0),
        ("esteira_received_total", {}, 3),
        ("esteira_duplicates_total", {}, 1),
        ("esteira_queue_messages", {}, 0),
        ("esteira_oldest_unfinished_seconds", {}, 0),
        ("esteira_workers", {}, 0),
        ("esteira_endings_total", {"kind": "image", "status": "done", "code": ""}, 2),
        ("esteira_endings_total", {"kind": "image", "status": "rejected", "code": "type_not_allowed"}, 1),
        ("esteira_attempts_total", {"stage": "fetch", "outcome": "done"}, 3),
        ("esteira_attempts_total", {"stage": "detect", "outcome": "error"}, 1),
        ("esteira_stored_bytes_total", {}, 2 * len(content)),
        ("esteira_deduplicated_bytes_total", {}, len(content)),
        ("esteira_stage_duration_seconds_count", {"stage": "notify"}, 3),
        ("esteira_whole_duration_seconds_count", {"status": "done"}, 2),
        ("esteira_hook_duration_seconds_count", {"gateway": "media", "status": "202"}, 2),
        ("esteira_hook_duration_seconds_count", {"gateway": "media", "status": "401"}, 1),
    ]:
        assert page.value(name, **labels) == expected, (name, labels)
    assert (page.value("esteira_sandbox_starts_total") or 0) >= 1
    assert (page.value("esteira_disk_free_bytes", place="storage") or 0) > 0
    assert "person" not in page.text


def test_retries_and_requeued_attachments_are_counted(system: RunningSystem, client: TestClient) -> None:
    receipt = system.submit(url="http://127.0.0.1:9/nobody-listens", kind="image")
    system.queue.client.flushall()
    assert system.sweep() == 1
    with system.workers() as workers:
        system.wait_finished(receipt.id)
        workers.stop()
    page = scrape_complete(client)
    assert page.value("esteira_swept_total") == 1
    assert page.value("esteira_retries_total", stage="fetch", code="fetch_refused") == 2
    assert page.value("esteira_attempts_total", stage="fetch", outcome="error") == 3
    assert page.value("esteira_endings_total", status="failed", code="fetch_refused") == 1
    assert page.value("esteira_queue_messages", state="dead") == 1


@pytest.mark.parametrize("token", ["", "wrong", f"{METRICS_TOKEN} "[:-2]])
def test_page_needs_a_token(client: TestClient, token: str) -> None:
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 401
    assert "esteira" not in answer.text


def test_metrics_token_gives_no_other_access(client: TestClient) -> None:
    headers = {"Authorization": f"Bearer {METRICS_TOKEN}"}
    assert client.get("/stats", headers=headers).status_code == 401
    assert client.post("/hooks/media", headers=headers, json={}).status_code == 401
    assert client.get("/metrics").status_code == 200  # with the API_TOKEN


def test_page_is_closed_without_any_token(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    with app_client(system, monkeypatch) as client:
        closed = current_settings().model_copy(update={"api_token": None})
        metrics = Metrics(Authenticator(closed), WebIgnoredCounter())
        client.app.router.routes.clear()  # type: ignore[attr-defined]
        metrics.add_routes(client.app)  # type: ignore[arg-type]
        for token in ("", "None", "anything"):
            assert client.get("/metrics", headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_page_is_served_while_redis_is_down(
    own_valkey: ValkeyServer, system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("esteira.web.api.metrics.CACHE_S", 0)
    monkeypatch.setenv("METRICS_TOKEN", METRICS_TOKEN)
    with app_client(system.with_redis(own_valkey.url), monkeypatch) as client:
        scrape_complete(client)
        own_valkey.stop()
        page = scrape(client)
        assert page.value("esteira_up", part="redis") == 0
        assert page.value("esteira_up", part="catalogue") == 1
        assert page.value("esteira_received_total") == 0
        assert page.value("esteira_queue_messages") is None
        with MediaServer({"a": photo()}) as media:
            item = {"session": "s", "message_id": "m", "url": media.url("a"), "kind": "image"}
            answer = client.post("/hooks/media", json=item)
            assert answer.status_code == 202
            assert scrape(client).value("esteira_circuit_open") == 1
            system.wait_finished(*[one["id"] for one in answer.json()["accepted"]])
        assert scrape(client).value("esteira_fallbacks_total") == 1
        own_valkey.start()
        # At least 1: if a flush succeeds but its answer comes too late, the increments are added again.
        wait_until(lambda: scrape(client).value("esteira_endings_total", status="done"), 60)
        assert scrape_complete(client).value("esteira_circuit_openings_total")


def test_page_is_served_while_the_catalogue_is_unreachable(client: TestClient, system: RunningSystem) -> None:
    services().catalogue.close()
    database = system.folder / "esteira.db"
    shutil.move(database, system.folder / "gone.db")
    Path(f"{database}").mkdir()
    page = scrape(client)
    assert page.value("esteira_up", part="catalogue") == 0
    assert page.value("esteira_up", part="redis") == 1
    assert page.value("esteira_received_total") is None


def test_page_is_cached_for_a_second(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    with app_client(system, monkeypatch) as client:
        made: list[object] = []
        monkeypatch.setattr(
            "esteira.web.api.metrics.metrics_page", lambda *own, **_: made.append(own) or f"page {len(made)}\n"
        )
        metrics = Metrics(Authenticator(current_settings()), WebIgnoredCounter(), clock=lambda: now[0])
        client.app.router.routes.clear()  # type: ignore[attr-defined]
        metrics.add_routes(client.app)  # type: ignore[arg-type]
        assert [client.get("/metrics").text for _ in range(3)] == ["page 1\n"] * 3
        now[0] += 1
        assert client.get("/metrics").text == "page 2\n"


def test_promtool_accepts_the_page(client: TestClient) -> None:
    if not shutil.which("promtool"):
        missing("promtool")
    client.post("/hooks/media", json={})
    page = scrape(client).text
    command = ["promtool", "check", "metrics"]
    found = subprocess.run(command, input=page, capture_output=True, text=True, timeout=30, check=False)
    assert (found.returncode, found.stdout + found.stderr) == (0, "")
