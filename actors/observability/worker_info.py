"""The description of a worker process that each heartbeat stores in Redis."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version

from pipeline.errors import Code
from pipeline.models import Model, Stage


class RunningAttachment(Model):
    """An attachment that a thread is processing; `since_ms` is the start of the stage (Unix ms, the worker's clock)."""

    id: str
    stage: Stage
    since_ms: int


class LastError(Model):
    """The latest error of a worker, also if a retry succeeded; `at` is in Unix ms of the worker's clock."""

    code: Code
    stage: Stage
    at: int


class WorkerInfo(Model):
    """A worker process. `started_at` is in Unix ms; `sandbox_deaths` counts the dead decoder processes since then."""

    host: str = ""
    pid: int = 0
    threads: int = 0
    version: str = ""
    queues: tuple[str, ...] = ()
    started_at: int | None = None
    running: tuple[RunningAttachment, ...] = ()
    sandbox_deaths: int = 0
    last_error: LastError | None = None


class WorkerActivity:
    """The attachments that this process is processing, and its latest error."""

    def __init__(self) -> None:
        self._running: dict[str, tuple[Stage, int]] = {}
        self._last_error: LastError | None = None

    @contextmanager
    def working_on(self, keys: Sequence[str], stage: Stage) -> Iterator[None]:
        """Marks attachments as being processed at a stage for the duration of the block."""
        now = _now_ms()
        for key in keys:
            self._running[key] = stage, now
        try:
            yield
        finally:
            for key in keys:
                self._running.pop(key, None)

    def record_error(self, code: Code, stage: Stage) -> None:
        self._last_error = LastError(code=code, stage=stage, at=_now_ms())

    @property
    def running(self) -> tuple[RunningAttachment, ...]:
        """The attachments in progress, the longest running first."""
        running = sorted(self._running.copy().items(), key=lambda item: item[1][1])
        return tuple(
            RunningAttachment.model_construct(id=key, stage=stage, since_ms=since) for key, (stage, since) in running
        )

    @property
    def last_error(self) -> LastError | None:
        return self._last_error


ACTIVITY = WorkerActivity()


class WorkerIdentity:
    """Describes this worker process: facts that are set at its start, and its current activity."""

    def __init__(self, *, threads: int, queues: Sequence[str]) -> None:
        self._fixed = WorkerInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            threads=threads,
            version=version("esteira"),
            queues=tuple(queues),
            started_at=_now_ms(),
        )

    def current_info(self, *, sandbox_deaths: int) -> WorkerInfo:
        """The description to send with a heartbeat."""
        current = {
            "running": ACTIVITY.running,
            "sandbox_deaths": sandbox_deaths,
            "last_error": ACTIVITY.last_error,
        }
        return self._fixed.model_copy(update=current)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
