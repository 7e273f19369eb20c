"""A test system that looks like one in use: the results of a day, one file of each type, and a backlog."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from actors.hook import process_media
from actors.redis_queue.queue import open_queue
from esteira.cli.demo.samples import Sample, samples
from esteira.cli.supervisor.commands import worker_command
from pipeline.catalogue import Action, Actor, AuditOutcome, Via
from pipeline.config.settings import Settings
from pipeline.models import Attachment
from pipeline.services import Services
from scripts.benchmarks.rows import SESSIONS, fill

ROWS = 24_000
BACKLOG = 12
CHAT = "5511987654321@c.us"  # of one file of each type; the backlog is from another chat
TOKEN_ID = "3f9c2ab81d07"  # noqa: S105 -- an id, no secret
SLOW_S = 2.0
WARM_UP_S = 25
SAMPLES_TIMEOUT_S = 90
# Entries of the audit log: user, role, interface, action, target and count.
AUDITED: tuple[tuple[str, str, Via, Action, dict[str, object], int], ...] = (
    ("ana", "operator", Via.DASHBOARD, Action.REPLAY, {"groups": ["fetch_unavailable:fetch"]}, 42),
    ("cli", "admin", Via.CLI, Action.USER_ADD, {"user": "bruno", "role": "viewer"}, 1),
    ("ana", "operator", Via.DASHBOARD, Action.PAUSE, {"session": SESSIONS[1]}, 1),
    ("ana", "operator", Via.DASHBOARD, Action.RESUME, {"session": SESSIONS[1]}, 1),
    ("crm-import", "intake", Via.API, Action.SUBMIT, {"session": SESSIONS[2]}, 1),
    ("carla", "admin", Via.DASHBOARD, Action.DELETE, {"status": "rejected", "session": SESSIONS[0]}, 17),
    ("ana", "operator", Via.API, Action.REDELIVER, {"endpoint": "crm", "status": "undelivered"}, 9),
)
CAPTIONS = ("", "Segue o comprovante", "Bom dia! Pode conferir?", "", "Foto da entrega", "")


class Served(NamedTuple):
    """The content of a path, and the delay of the response in seconds. Without content the server answers 503."""

    content: bytes | None
    delay_s: float = 0.0


@contextlib.contextmanager
def media_server(files: dict[str, Served]) -> Iterator[str]:
    """Serves these files on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer = files.get(self.path, Served(None))
            time.sleep(answer.delay_s)
            self.send_response(200 if answer.content is not None else 503)
            self.send_header("Content-Length", str(len(answer.content or b"")))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(answer.content or b"")

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def workers(settings: Settings) -> Iterator[None]:
    """Runs two worker processes during the block."""
    log = settings.var_dir / "workers.log"
    with log.open("wb") as out:
        process = subprocess.Popen(worker_command(processes=2, threads=4), env=os.environ, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def busy_system(settings: Settings, services: Services) -> Iterator[list[str]]:
    """Runs the system under load. Yields the ids of one attachment of each type; the first is a photo."""
    fill(services, ROWS)
    samples_by_path = {f"/{number}": sample for number, sample in enumerate(samples())}
    files = {path: Served(sample.content) for path, sample in samples_by_path.items()}
    valid_samples = [
        sample for sample in samples_by_path.values() if not sample.expected_error and not sample.media_key
    ]
    files |= {f"/slow/{number}": Served(sample.content, SLOW_S) for number, sample in enumerate(valid_samples)}
    with media_server(files) as url, webhook_endpoints(url), workers(settings):
        _fill_audit_log(services)
        # The pictures last, so that they are on top of the list.
        ids = [_hand_over(url + path, int(path[1:]), sample) for path, sample in reversed(samples_by_path.items())]
        ids.reverse()
        _wait_for(services, ids)
        stopped = Event()
        feeder = Thread(target=_keep_backlog, args=(services, url + "/slow", valid_samples, stopped), daemon=True)
        feeder.start()
        time.sleep(WARM_UP_S)
        yield ids
        stopped.set()
        feeder.join()


@contextlib.contextmanager
def webhook_endpoints(url: str) -> Iterator[None]:
    """Sets a reachable endpoint at this server and an unreachable one, for the processes that are started then."""
    secret = f"whsec_{base64.b64encode(b'a-secret-of-twenty-four-b').decode()}"
    unreachable = {"name": "erp", "url": "http://127.0.0.1:9/esteira", "types": ["media.done"], "secret": secret}
    endpoints = [{"name": "crm", "url": f"{url}/events", "secret": secret}, unreachable]
    os.environ["WEBHOOK_ENDPOINTS"] = json.dumps(endpoints)
    yield
    del os.environ["WEBHOOK_ENDPOINTS"]


def _fill_audit_log(services: Services) -> None:
    for who, role, via, action, target, count in AUDITED:
        actor = Actor(who=who, role=role, token_id=TOKEN_ID, via=via, source="192.0.2.17")
        entry = services.catalogue.audit.begin(actor, action, target)
        services.catalogue.audit.complete(entry, AuditOutcome.DONE, count=count, detail={})


def _keep_backlog(services: Services, url: str, valid_samples: list[Sample], stopped: Event) -> None:
    """Keeps a backlog in the queue until `stopped`. Every twentieth file gets a 503 from its server."""
    queue = open_queue(services.settings)
    number = len(valid_samples)
    while not stopped.wait(0.4):
        while queue.stats.counts()["fetch"]["ready"] < BACKLOG:
            number += 1
            index = number * 7 % len(valid_samples)
            path = index if number % 20 else "gone"
            _hand_over(f"{url}/{path}", number, valid_samples[index], chat="5521999990000@c.us")
    queue.client.close()


def _hand_over(url: str, number: int, sample: Sample, *, chat: str = CHAT) -> str:
    attachment = Attachment(
        session=SESSIONS[number * number % 7],
        message_id=f"3EB0{number:016X}",
        url=url,
        kind=sample.kind,
        mimetype=sample.mimetype,
        filename=sample.filename,
        media_key=sample.media_key,
        caption=CAPTIONS[number % len(CAPTIONS)] or None,
        chat=chat,
    )
    return process_media(attachment).id


def _wait_for(services: Services, ids: list[str]) -> None:
    """Waits for the results and for the previews, which workers make when they have nothing else to do."""
    deadline = time.monotonic() + SAMPLES_TIMEOUT_S
    while not _is_complete(services, ids):
        if time.monotonic() > deadline:
            sys.exit("the workers did not finish the samples in time")
        time.sleep(0.2)


def _is_complete(services: Services, ids: list[str]) -> bool:
    records = [record for media_id in ids if (record := services.catalogue.get(media_id))]
    pictures = [record.sha256 for record in records if record.kind == "image" and record.status == "done"]
    previews = services.catalogue.previews.get_many(sha256 for sha256 in pictures if sha256)
    return all(record.finished_at for record in records) and previews.keys() >= set(filter(None, pictures))


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """Returns the settings of the workers and of this process."""
    return {
        "VAR_DIR": str(folder),
        "FETCH_ALLOW_PRIVATE": "127.0.0.0/8",
        "LOG_LEVEL": "error",
        "API_TOKEN": settings.api_token.get_secret_value() if settings.api_token else "",
    }
