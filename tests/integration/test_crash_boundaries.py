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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.chores import clear
from pipeline.models import Record, Status
from tests.support.media_server import Answer, MediaServer
from tests.support.plant import Plant, photo
from tests.support.valkey import running_valkey
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


def fields(crash: Crash, server: MediaServer, number: str) -> dict[str, Any]:
    """The attachment of a crash; its source stands on the server afterwards."""
    crash.plain = PAGE + number.encode() if crash.of == "page" else photo(size=(640, 480))
    name = f"{number}.bin"
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
    Crash("before fetch"),
    Crash("before staging.name", downloads=2),
    Crash("after staging.name"),
    Crash("after decrypt.update", of="secret", downloads=2),
    Crash("after decrypt.mac", of="secret", downloads=2),
    Crash("after fetch"),
    Crash("after detect"),
    Crash("after validate"),
    Crash("before storage.sync"),
    Crash("after storage.sync"),
    Crash("before storage.name"),
    Crash("after storage.name"),
    Crash("after persist"),
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
    Crash("before catalogue.finish"),
    Crash("after catalogue.finish"),
    Crash("after catalogue.finish", of="page"),
    Crash("before announcement"),
    Crash("after announcement"),
    Crash("before staging.discard"),
    Crash("after staging.discard"),
    Crash("before belt.finish"),
    Crash("after belt.finish"),
    Crash("before belt.finish", of="flaky", downloads=2),
    Crash("after belt.finish", of="flaky", downloads=2),
]
HOPPING = [
    Crash("after fetch"),
    Crash("before belt.finish"),
    Crash("after belt.finish"),
    Crash("before detect"),
    Crash("before validate"),
    Crash("before persist"),
    Crash("after catalogue.stored"),
    Crash("before notify"),
    Crash("after announcement"),
    Crash("after notify"),
]
GROUPS = {"running on": ("run", RUNNING_ON), "recording": ("run", RECORDING), "hopping": ("hop", HOPPING)}


@dataclass(frozen=True)
class Aftermath:
    """What a group left behind, once every attachment had ended."""

    plant: Plant
    server: MediaServer
    records: dict[str, Record]
    deaths: dict[str, bool]

    def events(self, media_id: str) -> list[str]:
        """The ids of the events that announced it."""
        posts = [request for request in self.server.requests if request.method == "POST"]
        return [request.headers["webhook-id"] for request in posts if json.loads(request.body)["id"] == media_id]


def new_plant(group: str, folder: Path, redis_url: str, server: MediaServer) -> Plant:
    settings = {"CHAIN": GROUPS[group][0], "MEDIA_BACKOFF_MS": "50", "SANDBOX_PROCESSES": "1"}
    return Plant(folder, redis_url, settings | {"WEBHOOK_URL": server.url("hook"), "WEBHOOK_SECRET": SECRET})


def go_through(group: str, plant: Plant, server: MediaServer) -> Aftermath:
    crashes = GROUPS[group][1]
    deaths = {}
    for number, crash in enumerate(crashes):
        attachment = plant.attachment(**fields(crash, server, f"{plant.folder.name}-{number}"))
        crash.id = attachment.id
        marker = plant.folder / f"crash-{number}"
        plant.env |= {"CRASH_AT": crash.at, "CRASH_ID": crash.id, "CRASH_MARKER": str(marker)}
        with plant.workers(module="tests.support.crashing", threads=1) as workers:
            plant.hook.take(attachment)  # now, for Dramatiq's master waits half a minute for a worker that dies at once
            workers.process.wait(30)
        deaths[crash.id] = marker.exists()
        plant.bury_the_dead()
    with plant.workers():
        records = plant.ended(*(crash.id for crash in crashes))
    plant.bury_the_dead()
    return Aftermath(plant, server, {record.id: record for record in records}, deaths)


@pytest.fixture(scope="module")
def aftermaths(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Aftermath]]:
    """All groups at once, each in a database of its own within one Valkey."""
    with running_valkey() as valkey, MediaServer() as server, ThreadPoolExecutor(len(GROUPS)) as pool:
        plants = {
            group: new_plant(group, tmp_path_factory.mktemp(f"g{number}"), f"{valkey.url[:-1]}{number}", server)
            for number, group in enumerate(GROUPS)
        }
        running = {group: pool.submit(go_through, group, plant, server) for group, plant in plants.items()}
        yield {group: future.result() for group, future in running.items()}
        for plant in plants.values():
            plant.close()


CASES = [pytest.param(group, crash, id=f"{group}: {crash}") for group, (_, all_) in GROUPS.items() for crash in all_]


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize(("group", "crash"), CASES)
def test_killed_at_any_boundary_it_ends_once_as_it_must(
    aftermaths: dict[str, Aftermath], group: str, crash: Crash
) -> None:
    found = aftermaths[group]
    record = found.records[crash.id]
    assert found.deaths[crash.id], "the worker has not died"
    refused = crash.of == "page"
    assert (record.status, record.error_code) == (
        (Status.REJECTED, "type_not_allowed") if refused else (Status.DONE, None)
    )
    assert record.attempts == (1 if refused else 0)
    assert record.announced_at
    sha256 = hashlib.sha256(crash.plain).hexdigest()
    stored = [path.read_bytes() for path in found.plant.stored_files() if path.name == sha256]
    assert stored == ([] if refused else [crash.plain])
    events = found.events(crash.id)
    assert len(set(events)) == 1
    assert len(events) <= 2
    hits = found.server.hits(f"{found.plant.folder.name}-{GROUPS[group][1].index(crash)}.bin")
    assert min(1, crash.downloads) <= hits <= crash.downloads


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("group", GROUPS)
def test_all_the_crashes_of_a_group_leave_nothing_behind(aftermaths: dict[str, Aftermath], group: str) -> None:
    found = aftermaths[group]
    crashes = GROUPS[group][1]
    endings = Counter("rejected" if crash.of == "page" else "done" for crash in crashes)
    totals = found.plant.services.catalogue.totals()
    assert {name: totals[name] for name in ("received", "done", "rejected", "failed")} == {
        "received": len(crashes),
        "failed": 0,
        "done": endings["done"],
        "rejected": endings["rejected"],
    }
    assert totals["stored"] == endings["done"]
    for name in found.plant.staged_files():  # what was being written; the workers clear it after twenty seconds
        assert name.endswith(".part")
        os.utime(found.plant.settings.staging / name, (time.time() - 60,) * 2)
    clear(found.plant.services)
    assert found.plant.staged_files() == []
    assert len(found.plant.stored_files()) == endings["done"]
    belt = found.plant.belt
    assert belt.missing(list(found.records)) == list(found.records)
    assert belt.client.hlen(belt.keys.messages) == belt.client.hlen(belt.keys.crashes) == 0
    assert all(counts == dict.fromkeys(counts, 0) for counts in belt.counts().values())
