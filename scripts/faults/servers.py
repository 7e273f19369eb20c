"""What stands around the plant, in this process: the server that media come from, the sink that endings are told to."""

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
from scripts.faults.listening import Answering, Listening

SLOWEST_S = 0.6  # so that something is under way whenever something dies
REFUSALS = {"refusing": 500, "gone": 410, "redirecting": 302}
TROUBLES = ("500", "429", "reset", "short", "silent")


class Around(Listening):
    """One HTTP server for both. `files` by number; `trouble` is the share of GETs that go wrong; `mood` of the sink.

    With a `secret` the sink refuses what is not signed with it.
    """

    def __init__(self, seed: int) -> None:
        self.files: dict[int, File] = {}
        self.trouble = 0.0
        self.mood = "well"  # well, refusing, gone, redirecting, slow or deaf
        self.secret = ""
        self.refused = 0
        self.told: dict[str, set[str]] = {}  # attachment's id → event ids
        self.types: dict[str, set[str]] = {}  # event id → what it was said to be
        self.deliveries = 0
        self.troubles: Counter[str] = Counter()
        self.chance = random.Random(seed)  # noqa: S311
        super().__init__(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self.thread.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def note(self, event_id: str, told: dict[str, Any]) -> None:
        self.deliveries += 1
        self.told.setdefault(told["id"], set()).add(event_id)
        self.types.setdefault(event_id, set()).add(told["type"])


class Handler(Answering):
    server: Around

    def do_GET(self) -> None:
        around = self.server
        number = self.path.rpartition("/")[2].partition("?")[0]
        file = around.files.get(int(number)) if number.isdigit() else None
        if file is None:
            self._say(404)
            return
        time.sleep(around.chance.uniform(0.02, SLOWEST_S))
        if around.chance.random() < around.trouble:
            self._go_wrong(around.chance.choice(TROUBLES), file.content)
        else:
            self._say(200, file.content)

    def do_POST(self) -> None:
        around = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if around.mood == "deaf":
            self.reset()
            return
        if around.mood == "slow":
            time.sleep(3)
        if around.mood in REFUSALS:
            self._say(REFUSALS[around.mood])
            return
        if around.secret and not self._signed(body):
            around.refused += 1
            self._say(401)
            return
        around.note(self.headers["webhook-id"], json.loads(body))
        self._say(204)

    def _signed(self, body: bytes) -> bool:
        """Whether the signature is right. How old it is, is not asked: here clocks are set wrong on purpose."""
        at = datetime.fromtimestamp(int(self.headers["webhook-timestamp"]), UTC)
        due = Webhook(self.server.secret).sign(self.headers["webhook-id"], at, body.decode())
        return due in self.headers["webhook-signature"].split(" ")

    def _go_wrong(self, how: str, content: bytes) -> None:
        self.server.troubles[how] += 1
        if how == "reset":
            self.reset()
        elif how == "short":
            self._say(200, content[: len(content) // 2], announced=len(content))
            self.close_connection = True
        elif how == "silent":
            time.sleep(4)
            self._say(503)
        else:
            self._say(int(how), retry_after="1")

    def _say(self, status: int, content: bytes = b"", *, announced: int | None = None, retry_after: str = "") -> None:
        self.send_response(status)
        if status != 204:
            self.send_header("Content-Length", str(len(content) if announced is None else announced))
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(content)
