"""The listener while the queue is away: the work is done in its own thread, once."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from esteira.cli.demo import pictures
from tests.support.esteira import Installation
from tests.support.media_server import MediaServer, Request
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

LISTENER = """
import json, sys, time
from actors.observability.logging import configure_observability
from actors.hook import process_media
from pipeline.models import Attachment
from pipeline.config.settings import current_settings
import sentry_sdk

configure_observability(current_settings())
for line in sys.stdin:
    begin = time.monotonic()
    receipt = process_media(Attachment(session="listener", kind="image", **json.loads(line)))
    took = time.monotonic() - begin
    sentry_sdk.flush(5)
    print(json.dumps({"id": receipt.id, "mode": receipt.mode, "status": receipt.status, "took": took}), flush=True)
"""


class Listener:
    """A listener's process: hands attachments over, one at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.modes: Counter[str] = Counter()

    def receives(self, url: str) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"message_id": url, "url": url}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.modes[answer["mode"]] += 1
        return answer


@pytest.fixture
def listener(running: Installation) -> Iterator[Listener]:
    process = subprocess.Popen(
        [sys.executable, "-c", LISTENER],
        cwd=running.folder,
        env=running.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Listener(process)
    finally:
        process.kill()
        process.wait()


def events(sentry: MediaServer) -> list[Request]:
    """What reached Sentry as an event, other than sessions and client reports."""
    return [request for request in sentry.requests if b'"type":"event"' in _plain(request)]


def _plain(request: Request) -> bytes:
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


@pytest.mark.slow
def test_a_queue_that_is_away_costs_the_listener_the_steps_and_no_attachment(
    running: Installation, queue: ValkeyServer, sentry: MediaServer, media: MediaServer, listener: Listener
) -> None:
    media.files |= {name: pictures.jpeg() for name in "abcde"}
    queued = listener.receives(media.url("a"))
    assert queued["mode"] == "queued"
    wait_until(lambda: running.run("status", queued["id"], "--json").json["status"] == "done")

    queue.stop()
    first, second = listener.receives(media.url("b")), listener.receives(media.url("c"))
    assert [(one["mode"], one["status"]) for one in (first, second)] == [("inline", "done")] * 2
    wait_until(lambda: events(sentry))
    assert len(events(sentry)) == 1
    assert len(running.stored_files()) == 3

    queue.start()
    wait_until(lambda: listener.receives(media.url("a"))["mode"] == "duplicate")
    wait_until(lambda: receives_queued(listener, media), within_s=30, every_s=1)
    queue.pause()
    try:
        stalled = listener.receives(media.url("d"))
    finally:
        queue.resume()
    assert (stalled["mode"], stalled["status"]) == ("inline", "done")
    assert stalled["took"] < 1 + second["took"]

    wait_until(lambda: running.run("list", "--session", "listener", "--status", "received", "--json").json == [])
    running.run("sweep", "--older-than", "0")
    assert [media.hits(name) for name in "abcd"] == [1] * 4
    records = running.run("list", "--session", "listener", "--json").json
    assert {record["status"] for record in records} == {"done"}
    totals = running.run("stats", "--json").json["totals"]
    assert totals["done"] == totals["received"] == len(records)
    assert totals["fallbacks"] == listener.modes["inline"] >= 3
    assert len(events(sentry)) == 2, "one for each outage"


def receives_queued(listener: Listener, media: MediaServer) -> bool:
    """Whether the queue takes attachments again; the breaker finds out in the background."""
    name = f"probe{len(media.files)}"
    media.files[name] = pictures.jpeg()
    return listener.receives(media.url(name))["mode"] == "queued"
