"""Media server and webhook receiver of a run; both run in this process."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from standardwebhooks import Webhook

from scripts.faults.files import File
from scripts.faults.http_server import QuietHandler, QuietServer

SLOWEST_S = 0.6  # so that downloads are in progress whenever a process is killed
REFUSALS = {"refusing": 500, "gone": 410, "redirecting": 302}
FAILURES = ("500", "429", "reset", "short", "silent")


class MediaAndSink(QuietServer):
    """One HTTP server: GET serves `files` by number, POST receives events.

    `failure_share`: share of GETs that fail. `disturbance`: of the receiver. With a `secret`, the receiver refuses
    events that are not signed with it.
    """

    def __init__(self, seed: int) -> None:
        self.files: dict[int, File] = {}
        self.failure_share = 0.0
        self.disturbance = "none"  # none, refusing, gone, redirecting, slow or reset
        self.secret = ""
        self.refused = 0
        self.event_ids: dict[str, set[str]] = {}  # attachment id → event ids
        self.event_types: dict[str, set[str]] = {}  # event id → event types
        self.deliveries = 0
        self.failures: Counter[str] = Counter()
        self.rng = random.Random(seed)  # noqa: S311
        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def record_event(self, event_id: str, payload: dict[str, Any]) -> None:
        self.deliveries += 1
        self.event_ids.setdefault(payload["id"], set()).add(event_id)
        self.event_types.setdefault(event_id, set()).add(payload["type"])


class Handler(QuietHandler):
    server: MediaAndSink

    def do_GET(self) -> None:
        servers = self.server
        number = self.path.rpartition("/")[2].partition("?")[0]
        file = servers.files.get(int(number)) if number.isdigit() else None
        if file is None:
            self._respond(404)
            return
        time.sleep(servers.rng.uniform(0.02, SLOWEST_S))
        if servers.rng.random() < servers.failure_share:
            self._fail(servers.rng.choice(FAILURES), file.content)
        else:
            self._respond(200, file.content)

    def do_POST(self) -> None:
        servers = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if servers.disturbance == "reset":
            self.reset()
            return
        if servers.disturbance == "slow":
            time.sleep(3)
        if servers.disturbance in REFUSALS:
            self._respond(REFUSALS[servers.disturbance])
            return
        if servers.secret and not self._signed(body):
            servers.refused += 1
            self._respond(401)
            return
        servers.record_event(self.headers["webhook-id"], json.loads(body))
        self._respond(204)

    def _signed(self, body: bytes) -> bool:
        """Whether the signature is valid. Its age is not checked, because a fault shifts clocks."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        due = Webhook(self.server.secret).sign(self.headers["webhook-id"], at, body.decode())
        return due in self.headers["webhook-signature"].split(" ")

    def _fail(self, how: str, content: bytes) -> None:
        self.server.failures[how] += 1
        if how == "reset":
            self.reset()
        elif how == "short":
            self._respond(200, content[: len(content) // 2], announced=len(content))
            self.close_connection = True
        elif how == "silent":
            time.sleep(4)
            self._respond(503)
        else:
            self._respond(int(how), retry_after="1")

    def _respond(
        self, status: int, content: bytes = b"", *, announced: int | None = None, retry_after: str = ""
    ) -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content) if announced is None else announced))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)
