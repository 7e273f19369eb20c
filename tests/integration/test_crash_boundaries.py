"""Workers that are killed at the boundaries of their steps: each attachment still ends once, no file is left behind.

In each group one attachment after the other kills its worker at one boundary. The worker that the next attachment kills
finishes the one before.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.maintenance.tasks import remove_leftover_staging
from pipeline.catalogue import DeliveryFilters, DeliveryStatus
from pipeline.models import Record, Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.whatsapp_media import encrypt

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0LTEyMzQ1Ng=="
PAGE = b"<html>log in</html>"


@dataclass
class Crash:
    """A boundary, the kind of attachment that reaches it, and how many downloads of it are allowed in all."""

    at: str
    of: str = "photo"
    downloads: int = 1
    id: str = ""
    plain: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"{self.at} of a {self.of}"


def fields(crash: Crash, server: MediaServer, name: str) -> dict[str, Any]:
    """The fields of a crash's attachment, whose source is on the server afterwards."""
    crash.plain = PAGE + name.encode() if crash.of == "page" else photo(size=(640, 480))
    if crash.of == "inline":
        server.files[name] = b""
        return {"data": base64.b64encode(crash.plain).decode(), "kind": "image"}
    if crash.of == "secret":
        sealed = encrypt(crash.plain)
        server.files[name] = sealed.data
        return {"url": server.url(name), "kind": "image", "media_key": sealed.media_key}
    server.files[name] = crash.plain
    if crash.of == "flaky":
        server.answers[name] = [Answer(500), Answer(200, body=crash.plain)]
    return {"url": server.url(name), "kind": "image"}


# Until the staged file has its name a second download is needed, from then on none.
LOCAL = [
    Crash("before staging.name", downloads=2),
    Crash("after staging.name"),
    Crash("after decrypt.update", of="secret", downloads=2),
    Crash("after decrypt.mac", of="secret", downloads=2),
    Crash("after fetch"),
    Crash("after detect"),
    Crash("after validate"),
    Crash("before storage.sync"),
    Crash("before storage.name"),
    Crash("after storage.name"),
    Crash("before intake.delete", of="inline", downloads=0),
    Crash("after intake.delete", of="inline", downloads=0),
]
RECORDING = [
    Crash("before catalogue.claim"),
    Crash("after catalogue.claim"),
    Crash("before catalogue.release", of="flaky", downloads=3),
    Crash("after catalogue.release", of="flaky", downloads=3),
    Crash("before catalogue.stored"),
    Crash("after catalogue.stored"),
    Crash("before catalogue.ended", of="page"),
    Crash("after catalogue.ended", of="page"),
    Crash("after catalogue.finish"),
    Crash("after catalogue.finish", of="page"),
    Crash("before delivery"),
    Crash("after delivery"),
    Crash("before staging.discard"),
    Crash("after staging.discard"),
    Crash("before belt.ack"),
    Crash("after belt.ack"),
    Crash("before belt.ack", of="flaky", downloads=2),
    Crash("after belt.ack", of="flaky", downloads=2),
]
HOPPING = [
    Crash("after fetch"),
    Crash("before belt.ack"),
    Crash("after belt.ack"),
    Crash("before detect"),
    Crash("before validate"),
    Crash("before persist"),
    Crash("after catalogue.stored"),
    Crash("after delivery"),
]
GROUPS = {"local stages": ("run", LOCAL), "recording": ("run", RECORDING), "hop mode": ("hop", HOPPING)}


@dataclass(frozen=True)
class Aftermath:
    """The state after a group, once all its attachments are finished."""

    system: RunningSystem
    server: MediaServer
    crashes: list[Crash]
    records: list[Record]

    def events(self, media_id: str) -> list[str]:
        """The ids of the events that announced an attachment."""
        posts = [request for request in self.server.requests if request.method == "POST"]
        return [request.headers["webhook-id"] for request in posts if json.loads(request.body)["id"] == media_id]


def marker(system: RunningSystem, number: int) -> Path:
    """The file that a killed worker leaves."""
    return system.folder / f"crash-{number}"


def run_group(system: RunningSystem, server: MediaServer, crashes: list[Crash]) -> Aftermath:
    for number, crash in enumerate(crashes):
        attachment = system.attachment(**fields(crash, server, f"{number}.bin"))
        crash.id = attachment.id
        system.env |= {"CRASH_AT": crash.at, "CRASH_ID": crash.id, "CRASH_MARKER": str(marker(system, number))}
        with system.workers(module="tests.support.crashing", threads=1) as workers:
            # Only now: Dramatiq's master waits half a minute for a worker that dies while it boots.
            system.hook.accept(attachment)
            workers.process.wait(60)
        system.reap_dead_workers()
    ids = [crash.id for crash in crashes]
    with system.workers():
        records = system.wait_finished(*ids, within_s=60)
        wait_until(lambda: system.queue.find_missing(ids) == ids, 10)
        pending = DeliveryFilters(status=DeliveryStatus.PENDING)  # claimed ones are free again after their lease
        wait_until(lambda: system.services.catalogue.deliveries.count(pending) == 0, 60)
    return Aftermath(system, server, crashes, records)


def ended_once(aftermath: Aftermath, number: int) -> bool:
    """Whether the attachment of a crash has ended as expected, and once."""
    crash, record = aftermath.crashes[number], aftermath.records[number]
    refused = crash.of == "page"
    expected = (Status.REJECTED, "type_not_allowed", 1) if refused else (Status.DONE, None, 0)
    sha256 = hashlib.sha256(crash.plain).hexdigest()
    stored = [path.read_bytes() for path in aftermath.system.stored_files() if path.name == sha256]
    events = aftermath.events(crash.id)
    hits = aftermath.server.hits(f"{number}.bin")
    return (
        (record.status, record.error_code, record.attempts) == expected
        and record.announced_at is not None
        and stored == ([] if refused else [crash.plain])
        and len(events) in {1, 2}
        and len(set(events)) == 1
        and min(1, crash.downloads) <= hits <= crash.downloads
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("group", GROUPS)
def test_attachment_ends_once_after_a_crash_at_any_boundary(valkey: ValkeyServer, tmp_path: Path, group: str) -> None:
    chain, crashes = GROUPS[group]
    settings = {"CHAIN": chain, "MEDIA_BACKOFF_MS": "50", "SANDBOX_PROCESSES": "1", "WEBHOOK_SECRET": SECRET}
    settings |= {"WEBHOOK_TIMEOUT_S": "2"}
    with (
        MediaServer() as server,
        closing(RunningSystem(tmp_path, valkey.url, settings | {"WEBHOOK_URL": server.url("hook")})) as system,
    ):
        aftermath = run_group(system, server, crashes)
        numbers = range(len(crashes))
        assert [str(crashes[number]) for number in numbers if not marker(system, number).exists()] == []
        assert [str(crashes[number]) for number in numbers if not ended_once(aftermath, number)] == []
        assert_counted_once(aftermath)
        assert_nothing_left(aftermath)


def assert_counted_once(aftermath: Aftermath) -> None:
    counts_by_status = Counter(str(record.status) for record in aftermath.records)
    totals = aftermath.system.services.catalogue.totals()
    assert {name: totals[name] for name in ("received", "stored", "done", "rejected", "failed")} == {
        "received": len(aftermath.crashes),
        "stored": counts_by_status["done"],
        "done": counts_by_status["done"],
        "rejected": counts_by_status["rejected"],
        "failed": 0,
    }


def assert_nothing_left(aftermath: Aftermath) -> None:
    system = aftermath.system
    for name in system.staged_files():  # unfinished downloads, which workers delete after twenty seconds
        assert name.endswith(".part")
        os.utime(system.settings.staging / name, (time.time() - 60,) * 2)
    remove_leftover_staging(system.services)
    assert system.staged_files() == []
    assert len(system.stored_files()) == sum(record.status is Status.DONE for record in aftermath.records)
    queue = system.queue
    assert queue.client.hlen(queue.keys.messages) == queue.client.hlen(queue.keys.crashes) == 0
    assert all(counts == dict.fromkeys(counts, 0) for counts in queue.stats.counts().values())
