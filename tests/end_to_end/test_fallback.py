"""process_media() while Redis is unreachable: the attachment is processed inline, once."""

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

BOT = """
import json, sys, time
from actors.observability.logging import configure_observability
from actors.hook import process_media
from pipeline.models import Attachment
from pipeline.config.settings import current_settings
import sentry_sdk

configure_observability(current_settings())
for line in sys.stdin:
    started = time.monotonic()
    receipt = process_media(Attachment(session="listener", kind="image", **json.loads(line)))
    took = time.monotonic() - started
    sentry_sdk.flush(5)
    print(json.dumps({"id": receipt.id, "mode": receipt.mode, "status": receipt.status, "took": took}), flush=True)
"""


class Bot:
    """A bot in a process of its own, which hands over one attachment at a time."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.modes: Counter[str] = Counter()

    def hand_over(self, url: str) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps({"message_id": url, "url": url}) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        self.modes[answer["mode"]] += 1
        return answer


@pytest.fixture
def bot(running: Installation) -> Iterator[Bot]:
    process = subprocess.Popen(
        [sys.executable, "-c", BOT],
        cwd=running.folder,
        env=running.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Bot(process)
    finally:
        process.kill()
        process.wait()


def events(sentry: MediaServer) -> list[Request]:
    """The requests to Sentry with an error event, without sessions and client reports."""
    return [request for request in sentry.requests if b'"type":"event"' in _body(request)]


def _body(request: Request) -> bytes:
    return gzip.decompress(request.body) if request.headers.get("content-encoding") == "gzip" else request.body


@pytest.mark.slow
def test_redis_outages_lose_no_attachment_and_send_one_sentry_event_each(
    running: Installation, module_valkey: ValkeyServer, sentry: MediaServer, media: MediaServer, bot: Bot
) -> None:
    media.files |= {name: pictures.jpeg() for name in "abcde"}
    queued = bot.hand_over(media.url("a"))
    assert queued["mode"] == "queued"
    wait_until(lambda: running.run("status", queued["id"], "--json").json["status"] == "done")

    module_valkey.stop()
    first, second = bot.hand_over(media.url("b")), bot.hand_over(media.url("c"))
    assert [(receipt["mode"], receipt["status"]) for receipt in (first, second)] == [("inline", "done")] * 2
    wait_until(lambda: events(sentry))
    assert len(events(sentry)) == 1
    assert len(running.stored_files()) == 3

    module_valkey.start()
    wait_until(lambda: bot.hand_over(media.url("a"))["mode"] == "duplicate")
    wait_until(lambda: is_queued(bot, media), within_s=30, every_s=1)
    module_valkey.pause()
    try:
        stalled = bot.hand_over(media.url("d"))
    finally:
        module_valkey.resume()
    assert (stalled["mode"], stalled["status"]) == ("inline", "done")
    assert stalled["took"] < 1 + second["took"]

    wait_until(lambda: running.run("list", "--session", "listener", "--status", "received", "--json").json == [])
    running.run("sweep", "--older-than", "0")
    assert [media.hits(name) for name in "abcd"] == [1] * 4
    records = running.run("list", "--session", "listener", "--json").json
    assert {record["status"] for record in records} == {"done"}
    totals = running.run("stats", "--json").json["totals"]
    assert totals["done"] == totals["received"] == len(records)
    assert totals["fallbacks"] == bot.modes["inline"] >= 3
    assert len(events(sentry)) == 2, "one event per outage"


def is_queued(bot: Bot, media: MediaServer) -> bool:
    """Whether attachments are queued again; the circuit breaker tests Redis in the background."""
    name = f"probe{len(media.files)}"
    media.files[name] = pictures.jpeg()
    return bot.hand_over(media.url(name))["mode"] == "queued"
