"""A worker that is killed at any boundary on an attachment's way: afterwards it stands before it or behind it.

In each group one attachment after the other kills the worker that has begun with it, and the next worker, which is to
die of the next attachment, brings the last one to its end.
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

from actors.maintenance.schedule import clear
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
    """One boundary, an attachment that reaches it, and how often its source may be asked in all."""

    at: str
    of: str = "photo"
    downloads: int = 1
    id: str = ""
    plain: bytes = field(default=b"", repr=False)

    def __str__(self) -> str:
        return f"{self.at} of a {self.of}"


def fields(crash: Crash, server: MediaServer, name: str) -> dict[str, Any]:
    """The attachment of a crash; its source stands on the server afterwards."""
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


# Until the staged file has its name a second download is right; from then on there is none.
RUNNING_ON = [
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
GROUPS = {"running on": ("run", RUNNING_ON), "recording": ("run", RECORDING), "hopping": ("hop", HOPPING)}


@dataclass(frozen=True)
class Aftermath:
    """What a group left behind, once every attachment had ended."""

    system: RunningSystem
    server: MediaServer
    crashes: list[Crash]
    records: list[Record]

    def events(self, media_id: str) -> list[str]:
        """The ids of the events that announced it."""
        posts = [request for request in self.server.requests if request.method == "POST"]
        return [request.headers["webhook-id"] for request in posts if json.loads(request.body)["id"] == media_id]


def marker(system: RunningSystem, number: int) -> Path:
    """The file that a dying worker leaves."""
    return system.folder / f"crash-{number}"


def go_through(system: RunningSystem, server: MediaServer, crashes: list[Crash]) -> Aftermath:
    for number, crash in enumerate(crashes):
        attachment = system.attachment(**fields(crash, server, f"{number}.bin"))
        crash.id = attachment.id
        system.env |= {"CRASH_AT": crash.at, "CRASH_ID": crash.id, "CRASH_MARKER": str(marker(system, number))}
        with system.workers(module="tests.support.crashing", threads=1) as workers:
            system.hook.accept(
                attachment
            )  # now, for Dramatiq's master waits half a minute for a worker that dies at once
            workers.process.wait(60)
        system.reap_dead_workers()
    ids = [crash.id for crash in crashes]
    with system.workers():
        records = system.wait_finished(*ids, within_s=60)
        wait_until(lambda: system.queue.find_missing(ids) == ids, 10)
        pending = DeliveryFilters(status=DeliveryStatus.PENDING)  # those of the killed come back after their lease
        wait_until(lambda: system.services.catalogue.deliveries.count(pending) == 0, 60)
    return Aftermath(system, server, crashes, records)


def ended_once(found: Aftermath, number: int) -> bool:
    """Whether the attachment of a crash ended as it must, and once."""
    crash, record = found.crashes[number], found.records[number]
    refused = crash.of == "page"
    ending = (Status.REJECTED, "type_not_allowed", 1) if refused else (Status.DONE, None, 0)
    sha256 = hashlib.sha256(crash.plain).hexdigest()
    stored = [path.read_bytes() for path in found.system.stored_files() if path.name == sha256]
    events = found.events(crash.id)
    hits = found.server.hits(f"{number}.bin")
    return (
        (record.status, record.error_code, record.attempts) == ending
        and record.announced_at is not None
        and stored == ([] if refused else [crash.plain])
        and len(events) in {1, 2}
        and len(set(events)) == 1
        and min(1, crash.downloads) <= hits <= crash.downloads
    )


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("group", GROUPS)
def test_killed_at_any_boundary_each_attachment_ends_once_and_nothing_is_left(
    valkey: ValkeyServer, tmp_path: Path, group: str
) -> None:
    chain, crashes = GROUPS[group]
    settings = {"CHAIN": chain, "MEDIA_BACKOFF_MS": "50", "SANDBOX_PROCESSES": "1", "WEBHOOK_SECRET": SECRET}
    settings |= {"WEBHOOK_TIMEOUT_S": "2"}
    with (
        MediaServer() as server,
        closing(RunningSystem(tmp_path, valkey.url, settings | {"WEBHOOK_URL": server.url("hook")})) as system,
    ):
        found = go_through(system, server, crashes)
        numbers = range(len(crashes))
        assert [str(crashes[number]) for number in numbers if not marker(system, number).exists()] == []
        assert [str(crashes[number]) for number in numbers if not ended_once(found, number)] == []
        assert_counted_once(found)
        assert_nothing_left(found)


def assert_counted_once(found: Aftermath) -> None:
    endings = Counter(str(record.status) for record in found.records)
    totals = found.system.services.catalogue.totals()
    assert {name: totals[name] for name in ("received", "stored", "done", "rejected", "failed")} == {
        "received": len(found.crashes),
        "stored": endings["done"],
        "done": endings["done"],
        "rejected": endings["rejected"],
        "failed": 0,
    }


def assert_nothing_left(found: Aftermath) -> None:
    system = found.system
    for name in system.staged_files():  # what was being written; the workers clear it after twenty seconds
        assert name.endswith(".part")
        os.utime(system.settings.staging / name, (time.time() - 60,) * 2)
    clear(system.services)
    assert system.staged_files() == []
    assert len(system.stored_files()) == sum(record.status is Status.DONE for record in found.records)
    belt = system.queue
    assert belt.client.hlen(belt.keys.messages) == belt.client.hlen(belt.keys.crashes) == 0
    assert all(counts == dict.fromkeys(counts, 0) for counts in belt.stats.counts().values())
