"""Stock Dramatiq as the product under test, with the same load, faults and checks."""

from __future__ import annotations

import hashlib
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker

from scripts.faults.environment import THREADS, WORKERS, Testbed
from scripts.faults.files import File
from scripts.faults.leftovers import Row, StoredFiles, stock_table
from scripts.faults.load import ACCEPTED, UNKNOWN, Answer
from scripts.faults.supervisor import Part

STAGES = ("fetch", "detect", "validate", "persist", "notify")


class StockDramatiq:
    """Adapter for the actors of scripts.faults.stock. A job counts as accepted if `run()` raised no error."""

    def __init__(self) -> None:
        self.media = ""
        self.received: dict[int, float] = {}
        self.broker: RedisBroker | None = None

    def prepare(self, testbed: Testbed) -> None:
        self.media = testbed.servers.address
        (testbed.folder / "stock" / "media").mkdir(parents=True)
        stock_table(testbed.folder / "stock").close()
        self.broker = RedisBroker(url=testbed.valkey.url)  # type: ignore[no-untyped-call]

    def parts(self, testbed: Testbed) -> list[Part]:
        own = {
            "CONTROL_REDIS": testbed.valkey.url,
            "CONTROL_DIR": str(testbed.folder / "stock"),
            "CONTROL_SINK": f"{testbed.servers.address}/sink",
        }
        env = testbed.environment(own)
        command = ("dramatiq", "scripts.faults.stock", "--processes", "1", "--threads", str(THREADS))
        return [testbed.python_part(f"worker{number}", *command, env=env) for number in range(1, WORKERS + 1)]

    def clean_up(self, testbed: Testbed) -> None:
        """Nothing to clean up."""

    def wait_until_ready(self) -> None:
        """Nothing to wait for: jobs are sent to Redis directly."""

    def hand_over(self, number: int, file: File) -> Answer:  # noqa: ARG002  the actor downloads the file
        assert self.broker
        received = self.received.setdefault(number, time.time())
        job = {"number": number, "url": f"{self.media}/media/{number}", "received": received}
        stages = [self._message(stage, (job,) if stage == "fetch" else ()) for stage in STAGES]
        try:
            dramatiq.pipeline(stages, broker=self.broker).run()  # type: ignore[no-untyped-call]
        except Exception as error:  # noqa: BLE001  after any error the sender cannot know whether the job was enqueued
            return Answer(UNKNOWN, detail=type(error).__name__)
        return Answer(ACCEPTED, str(number))

    def rows(self, testbed: Testbed) -> list[Row]:
        """Returns the recorded results, and jobs without a result as unfinished."""
        with closing(sqlite3.connect(testbed.folder / "stock" / "stock.db", timeout=30)) as table:
            recorded = {row[0]: row for row in table.execute("SELECT number, status, sha256, ended FROM media")}
        sent = {attempt.number for attempt in testbed.load.attempts if attempt.answer.outcome == ACCEPTED}
        media = testbed.folder / "stock" / "media"
        return [self._row(number, recorded.get(number), media) for number in sorted(sent | recorded.keys())]

    def pending_events(self, testbed: Testbed) -> int:  # noqa: ARG002
        """Always 0: events are sent by the actors themselves."""
        return 0

    def stored_files(self, testbed: Testbed) -> StoredFiles:
        folder = testbed.folder / "stock"
        objects = [path for path in (folder / "media").iterdir() if path.is_file()]
        staged = {path.name[1:]: path for path in folder.glob(".*") if path.is_file()}
        return StoredFiles([(path, hashlib.sha256(path.read_bytes()).hexdigest()) for path in objects], staged)

    def _row(self, number: int, recorded: Any, media: Path) -> Row:
        status, sha256, ended = recorded[1:] if recorded else ("received", None, None)
        return Row(
            id=str(number),
            number=number,
            status=status,
            stage="",
            code=None,
            sha256=sha256,
            object=media / sha256 if sha256 and status == "done" else None,
            event_id=f"{number}.{status}",
            received_at=self.received[number],
            finished_at=ended,
            announced=status != "failed",
        )

    @staticmethod
    def _message(stage: str, args: tuple[Any, ...]) -> dramatiq.Message[Any]:
        return dramatiq.Message(queue_name=stage, actor_name=stage, args=args, kwargs={}, options={})
