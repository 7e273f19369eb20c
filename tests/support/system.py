"""A whole system for one test: catalogue, storage and staging in a folder, a real Valkey, workers as real processes."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from actors.hook import Hook, Receipt
from actors.intake.requeue_scan import requeue_lost
from actors.redis_queue.queue import QUICK_TIMEOUT_S, RedisQueue, open_queue
from pipeline.config.settings import Settings, load_settings
from pipeline.models import Attachment, Record
from pipeline.services import build_services
from tests.support.waiting import wait_until

DRAMATIQ = Path(sys.executable).parent / "dramatiq"
ROOT = Path(__file__).parents[2]
SMALL_BYTES = 1000
_number = itertools.count()


def photo(*, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG that differs from every other photo of this process."""
    noise = random.Random(next(_number) * 7919 + 1).randbytes(size[0] * size[1] * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", size, noise).save(out, "JPEG", quality=60)
    return out.getvalue()


class Workers:
    """`dramatiq actors.stages` in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The log entries with this event, in order."""
        lines = (line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{"))
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    def kill(self) -> None:
        """Sends SIGKILL to all processes at once, as when a machine goes away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """Sends SIGTERM to the whole group, as honcho, Heroku and systemd do; returns the exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(30)


class RunningSystem:
    """Services, queue and `process_media()` in this process, and workers on demand.

    `env` has settings by their names. `folder` and `redis_url` are used by no other system.
    """

    def __init__(self, folder: Path, redis_url: str, env: Mapping[str, str]) -> None:
        self.folder = folder
        names = {name.upper() for name in Settings.model_fields}
        self.env = {name: value for name, value in os.environ.items() if name not in names}
        settings = {"VAR_DIR": str(folder), "REDIS_URL": redis_url, "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"}
        # Previews are off because most tests count files and queue entries; many read starts from the debug log.
        settings |= {"PREVIEWS": "false", "LOG_LEVEL": "debug", **env}
        self.env |= settings
        self.settings = load_settings(_env_file=None, **{name.lower(): value for name, value in settings.items()})
        self.services = build_services(self.settings)
        self.services.catalogue.migrate()
        self.queue: RedisQueue = open_queue(self.settings)
        self.hook = Hook(self.services, open_queue(self.settings, timeout_s=QUICK_TIMEOUT_S))

    def with_redis(self, url: str) -> RunningSystem:
        """A system with the same catalogue and storage, and Redis at another address."""
        names = {name.upper() for name in Settings.model_fields} - {"REDIS_URL"}
        return RunningSystem(self.folder, url, {name: value for name, value in self.env.items() if name in names})

    def attachment(self, **fields: Any) -> Attachment:
        """An attachment of the session s1. A small size is declared, because files of unknown size count as large."""
        if "data" not in fields and "media_key" not in fields:
            fields = {"size": SMALL_BYTES, **fields}
        return Attachment.model_validate({"session": "s1", "message_id": f"m{next(_number)}", **fields})

    def submit(self, **fields: Any) -> Receipt:
        return self.hook.accept(self.attachment(**fields))

    @contextlib.contextmanager
    def workers(
        self,
        *,
        processes: int = 1,
        threads: int = 4,
        queues: tuple[str, ...] = (),
        module: str = "actors.stages",
        grace_s: float = 20,
    ) -> Iterator[Workers]:
        """Runs workers for the length of the block and kills them at its end; a test of a clean stop calls `stop()`."""
        log = self.folder / f"workers-{next(_number)}.log"
        command = [str(DRAMATIQ), module, "--processes", str(processes), "--threads", str(threads)]
        command += ["--worker-shutdown-timeout", str(int(grace_s * 1000)), "--worker-fork-timeout", "2000"]
        command += ["--queues", *queues] if queues else []
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=out, stderr=out, start_new_session=True)
        running = Workers(process, log)
        try:
            # A worker whose first message kills it ends the master too, perhaps before that line.
            wait_until(lambda: process.poll() is not None or "booting up" in log.read_text(errors="replace"), 30)
            yield running
        finally:
            if process.poll() is None:
                running.kill()

    def sweep(self) -> int:
        """Requeues all lost attachments, however young; returns their number."""
        return requeue_lost(self.services.catalogue, self.queue, older_than_s=0)

    def reap_dead_workers(self) -> int:
        """Takes back at once the messages of dead workers, as live workers do after twelve seconds of silence."""
        workers = [name.decode() for name in self.queue.client.zrange(self.queue.keys.workers, 0, -1)]
        return sum(max(0, self.queue.reap(worker, silence_ms=0, crash=True)) for worker in workers)

    def record(self, media_id: str) -> Record:
        record = self.services.catalogue.get(media_id)
        assert record
        return record

    def wait_finished(self, *ids: str, within_s: float = 30) -> list[Record]:
        """The records of these attachments, once all of them are finished."""
        wait_until(lambda: all(self.record(media_id).finished_at for media_id in ids), within_s)
        return [self.record(media_id) for media_id in ids]

    def stored_files(self) -> list[Path]:
        return [path for path in (self.folder / "media").rglob("*") if path.is_file()]

    def staged_files(self) -> list[str]:
        folder = self.settings.staging
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def close(self) -> None:
        self.hook.close()
        self.services.close()
        self.queue.client.close()
        self.hook.queue.client.close()
