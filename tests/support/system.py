"""A whole plant for one test: catalogue, storage and staging in a folder, a real Valkey, workers as real processes."""

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
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from actors.hook import Hook, Receipt
from actors.maintenance.requeue_lost import sweep_with
from actors.redis_queue.queue import QUICK_TIMEOUT_S, RedisQueue, open_queue
from pipeline.config.settings import Settings, load_settings
from pipeline.models import Attachment, Record
from pipeline.services import build_services

DRAMATIQ = Path(sys.executable).parent / "dramatiq"
ROOT = Path(__file__).parents[2]
_number = itertools.count()


def photo(*, size: tuple[int, int] = (64, 48)) -> bytes:
    """A JPEG that no other call makes."""
    noise = random.Random(next(_number) * 7919 + 1).randbytes(size[0] * size[1] * 3)
    out = io.BytesIO()
    Image.frombytes("RGB", size, noise).save(out, "JPEG", quality=60)
    return out.getvalue()


class Workers:
    """`dramatiq actors.stages` in a process group of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log

    def said(self, event: str) -> list[dict[str, Any]]:
        """What the logs say under this name, in order."""
        lines = (line for line in self.log.read_text(errors="replace").splitlines() if line.startswith("{"))
        return [found for found in map(json.loads, lines) if found["event"] == event]

    def kill(self) -> None:
        """SIGKILL to all of them at once, as when a machine goes away."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM to the whole group, as honcho, Heroku and systemd send it."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(30)


class Plant:
    """`folder` and `redis_url` are its own; `env` are settings by their names."""

    def __init__(self, folder: Path, redis_url: str, env: Mapping[str, str]) -> None:
        self.folder = folder
        own = {name.upper() for name in Settings.model_fields}
        self.env = {name: value for name, value in os.environ.items() if name not in own}
        given = {"VAR_DIR": str(folder), "REDIS_URL": redis_url, "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"}
        # Most tests are about attachments, and count what is left of them; many read the log of what began when.
        given |= {"PREVIEWS": "false", "LOG_LEVEL": "debug", **env}
        self.env |= given
        self.settings = load_settings(_env_file=None, **{name.lower(): value for name, value in given.items()})
        self.services = build_services(self.settings)
        self.services.catalogue.migrate()
        self.belt: RedisQueue = open_queue(self.settings)
        self.hook = Hook(self.services, open_queue(self.settings, timeout_s=QUICK_TIMEOUT_S))

    def with_redis(self, url: str) -> Plant:
        """The same plant as somebody sees it whose Redis is elsewhere."""
        names = {name.upper() for name in Settings.model_fields} - {"REDIS_URL"}
        return Plant(self.folder, url, {name: value for name, value in self.env.items() if name in names})

    def attachment(self, **fields: Any) -> Attachment:
        given = {"session": "s1", "message_id": f"m{next(_number)}", **fields}
        return Attachment.model_validate(given)

    def submit(self, **fields: Any) -> Receipt:
        return self.hook.take(self.attachment(**fields))

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
        """Workers for the length of the block. They are killed at its end: a test of their end ends them itself."""
        log = self.folder / f"workers-{next(_number)}.log"
        command = [str(DRAMATIQ), module, "--processes", str(processes), "--threads", str(threads)]
        command += ["--worker-shutdown-timeout", str(int(grace_s * 1000)), "--worker-fork-timeout", "2000"]
        command += ["--queues", *queues] if queues else []
        with log.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=self.env, stdout=out, stderr=out, start_new_session=True)
        running = Workers(process, log)
        try:
            # A worker that its first message kills ends all of it, perhaps before that line.
            wait_until(lambda: process.poll() is not None or "booting up" in log.read_text(errors="replace"), 30)
            yield running
        finally:
            if process.poll() is None:
                running.kill()

    def sweep(self) -> int:
        """A sweep that finds everything, however young."""
        return sweep_with(self.services.catalogue, self.belt, older_than_s=0)

    def bury_the_dead(self) -> int:
        """Takes back at once what dead workers held, as the living do after twelve seconds."""
        workers = [name.decode() for name in self.belt.client.zrange(self.belt.keys.workers, 0, -1)]
        return sum(max(0, self.belt.reap(worker, silence_ms=0, crash=True)) for worker in workers)

    def record(self, media_id: str) -> Record:
        found = self.services.catalogue.get(media_id)
        assert found
        return found

    def ended(self, *ids: str, within_s: float = 30) -> list[Record]:
        """The records of these, once they all have ended."""
        wait_until(lambda: all(self.record(media_id).finished_at for media_id in ids), within_s)
        return [self.record(media_id) for media_id in ids]

    def stored_files(self) -> list[Path]:
        return [path for path in (self.folder / "media").rglob("*") if path.is_file()]

    def staged_files(self) -> list[str]:
        folder = self.settings.staging
        return sorted(path.name for path in folder.iterdir()) if folder.exists() else []

    def close(self) -> None:
        self.services.close()
        self.belt.client.close()
        self.hook.belt.client.close()


def wait_until(holds: Callable[[], object], within_s: float) -> None:
    """Returns as soon as it holds; fails when the time is over."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        time.sleep(0.02)
