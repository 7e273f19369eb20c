"""A plant that looks as if it were in use: a day's endings, one file of each type, and a backlog that is worked on."""

from __future__ import annotations

import contextlib
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
from esteira.cli.process_manager import worker_command
from pipeline.config.settings import Settings
from pipeline.models import Attachment
from pipeline.services import Services
from scripts.benchmarks.rows import SESSIONS, fill

ROWS = 24_000
BACKLOG = 12
SLOW_S = 2.0
SETTLES_S = 25
PATIENCE_S = 90
CAPTIONS = ("", "Segue o comprovante", "Bom dia! Pode conferir?", "", "Foto da entrega", "")


class Served(NamedTuple):
    """A path's content, and after how many seconds it is given. Where there is none the server is overloaded."""

    content: bytes | None
    delay_s: float = 0.0


@contextlib.contextmanager
def media_server(files: dict[str, Served]) -> Iterator[str]:
    """These files on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = files.get(self.path, Served(None))
            time.sleep(found.delay_s)
            self.send_response(200 if found.content is not None else 503)
            self.send_header("Content-Length", str(len(found.content or b"")))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(found.content or b"")

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def workers(settings: Settings) -> Iterator[None]:
    """Two worker processes for the length of the block."""
    log = settings.var_dir / "workers.log"
    with log.open("wb") as out:
        process = subprocess.Popen(worker_command(processes=2, threads=4), env=os.environ, stdout=out, stderr=out)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


@contextlib.contextmanager
def busy(settings: Settings, services: Services) -> Iterator[list[str]]:
    """The plant at work; the ids of what was stored of each type, a photo first."""
    fill(services, ROWS)
    made = {f"/{number}": sample for number, sample in enumerate(samples())}
    files = {path: Served(sample.content) for path, sample in made.items()}
    stock = [sample for sample in made.values() if not sample.expected_error and not sample.media_key]
    files |= {f"/slow/{number}": Served(sample.content, SLOW_S) for number, sample in enumerate(stock)}
    with media_server(files) as url, workers(settings):
        ids = [_hand_over(url + path, int(path[1:]), sample) for path, sample in made.items()]
        _wait_for(services, ids)
        stopped = Event()
        feeder = Thread(target=_feed, args=(services, url + "/slow", stock, stopped), daemon=True)
        feeder.start()
        time.sleep(SETTLES_S)
        yield ids
        stopped.set()
        feeder.join()


def _feed(services: Services, url: str, stock: list[Sample], stopped: Event) -> None:
    """Keeps a backlog, until it is stopped; one of twenty finds its server overloaded."""
    belt = open_queue(services.settings)
    number = len(stock)
    while not stopped.wait(0.4):
        while belt.stats.counts()["fetch"]["ready"] < BACKLOG:
            number += 1
            which = number * 7 % len(stock)
            _hand_over(f"{url}/{which}" if number % 20 else f"{url}/gone", number, stock[which])
    belt.client.close()


def _hand_over(url: str, number: int, sample: Sample) -> str:
    attachment = Attachment(
        session=SESSIONS[number * number % 7],
        message_id=f"3EB0{number:016X}",
        url=url,
        kind=sample.kind,
        mimetype=sample.mimetype,
        filename=sample.filename,
        media_key=sample.media_key,
        caption=CAPTIONS[number % len(CAPTIONS)] or None,
        chat="5511987654321@c.us",
    )
    return process_media(attachment).id


def _wait_for(services: Services, ids: list[str]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not all((record := services.catalogue.get(one)) and record.finished_at for one in ids):
        if time.monotonic() > deadline:
            sys.exit("the workers did not come to an end with the samples")
        time.sleep(0.2)


def environment(settings: Settings, folder: Path) -> dict[str, str]:
    """What the workers and this process have to know of the plant."""
    return {
        "VAR_DIR": str(folder),
        "FETCH_ALLOW_PRIVATE": "127.0.0.0/8",
        "LOG_LEVEL": "error",
        "API_TOKEN": settings.api_token.get_secret_value() if settings.api_token else "",
    }
