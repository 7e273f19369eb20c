"""Who a worker process is and what it does at the moment, as it says with each heartbeat."""

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
    """An attachment that a thread works on: its id, the stage, since when (Unix ms, by the worker's clock)."""

    id: str
    stage: Stage
    since_ms: int


class LastError(Model):
    """The newest error of a worker, whatever followed from it; `at` in Unix ms, by the worker's clock."""

    code: Code
    stage: Stage
    at: int


class WorkerInfo(Model):
    """A worker process as it describes itself. `started_at` is in Unix ms, `sandbox_deaths` counts since then."""

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
    """What this process works on."""

    def __init__(self) -> None:
        self._runs: dict[str, tuple[Stage, int]] = {}
        self._last_error: LastError | None = None

    @contextmanager
    def working_on(self, keys: Sequence[str], stage: Stage) -> Iterator[None]:
        """This stage of these attachments runs within the block."""
        now = _now_ms()
        for key in keys:
            self._runs[key] = stage, now
        try:
            yield
        finally:
            for key in keys:
                self._runs.pop(key, None)

    def record_error(self, code: Code, stage: Stage) -> None:
        """Notes an error."""
        self._last_error = LastError(code=code, stage=stage, at=_now_ms())

    @property
    def running(self) -> tuple[RunningAttachment, ...]:
        """The longest first."""
        found = sorted(self._runs.copy().items(), key=lambda run: run[1][1])
        return tuple(
            RunningAttachment.model_construct(id=key, stage=stage, since_ms=since) for key, (stage, since) in found
        )

    @property
    def last_error(self) -> LastError | None:
        return self._last_error


ACTIVITY = WorkerActivity()


class WorkerIdentity:
    """This worker process: what stays the same from its start on, and what it does in this moment."""

    def __init__(self, *, threads: int, queues: Sequence[str]) -> None:
        self._same = WorkerInfo(
            host=socket.gethostname(),
            pid=os.getpid(),
            threads=threads,
            version=version("esteira"),
            queues=tuple(queues),
            started_at=_now_ms(),
        )

    def current_info(self, *, sandbox_deaths: int) -> WorkerInfo:
        changing = {
            "running": ACTIVITY.running,
            "sandbox_deaths": sandbox_deaths,
            "last_error": ACTIVITY.last_error,
        }
        return self._same.model_copy(update=changing)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
