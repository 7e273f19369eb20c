"""The measured systems: Esteira, and two baselines that do the same work with less around it.

Each has its own folder and Valkey for one trial. `fill` enqueues rows, `worker_command` starts the workers, `done` is
the number of finished files, `stored` the number of files in storage. Systems with a queue also have `caller_command`,
a program that hands rows over one by one, and `announcements`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import redis

from pipeline.config.settings import Settings
from pipeline.notifiers.live import EVENTS_KEY
from scripts.benchmarks.baselines.bare import table
from scripts.benchmarks.environment import ROOT
from scripts.benchmarks.machine import BenchmarkError, run_command
from scripts.benchmarks.media import Row

BIN = Path(sys.executable).parent
CATALOGUE = "esteira.db"
ANNOUNCEMENT_TIMEOUT_S = 30.0
SETTING_NAMES = frozenset(name.upper() for name in Settings.model_fields)


@dataclass(frozen=True)
class TrialSetup:
    """What one trial runs on: its own folder, its own Redis, the number of processes and threads."""

    folder: Path
    redis_url: str
    processes: int = 2
    threads: int = 8
    extra_settings: Mapping[str, str] = field(default_factory=dict)  # of Esteira

    @cached_property
    def env(self) -> dict[str, str]:
        """The environment without settings of Esteira, with this project's commands in PATH."""
        kept = {name: value for name, value in os.environ.items() if name not in SETTING_NAMES}
        return kept | {"PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}", "PYTHONPATH": str(ROOT)}

    def connect(self) -> redis.Redis:
        return redis.Redis.from_url(self.redis_url, socket_timeout=ANNOUNCEMENT_TIMEOUT_S)


class Esteira:
    """This project, run by its own commands: the lines of the Procfile, `esteira submit`, process_media()."""

    def __init__(self, setup: TrialSetup) -> None:
        self.setup = setup
        own = {"VAR_DIR": str(setup.folder), "REDIS_URL": setup.redis_url, "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"}
        own |= {"WEB_CONCURRENCY": str(setup.processes), "WORKER_THREADS": str(setup.threads)}
        self.env = {**setup.env, **own, **setup.extra_settings}
        self._concurrent_rows = setup.folder / "concurrent.jsonl"
        (setup.folder / CATALOGUE).write_bytes(empty_catalogue())

    def fill(self, rows: Sequence[Row]) -> None:
        source = self.setup.folder / f"{rows[0]['message_id']}.jsonl"
        source.write_text("".join(json.dumps(row) + "\n" for row in rows))
        run_command([str(BIN / "esteira"), "submit", "--jsonl", str(source)], env=self.env, cwd=self.setup.folder)

    def fill_concurrently(self, rows: Sequence[Row]) -> None:
        """As `fill`, for very many rows: process_media() in eight threads, which share transactions."""
        self._concurrent_rows.write_text("".join(json.dumps(row) + "\n" for row in rows))
        script = f'"{sys.executable}" -m {CALLER_MODULE} 8 < "{self._concurrent_rows}" > /dev/null'
        run_command(["/bin/sh", "-c", script], env=self.env, cwd=self.setup.folder)

    def worker_command(self) -> list[str]:
        return ["/bin/sh", "-c", procfile("worker")]

    def caller_command(self) -> list[str]:
        return [sys.executable, "-m", CALLER_MODULE]

    @contextlib.contextmanager
    def announcements(self) -> Iterator[Iterator[int]]:
        """Yields the times (monotonic ns) at which results are announced from now on."""
        with contextlib.closing(self.setup.connect()) as client:
            newest: Any = client.xrevrange(EVENTS_KEY, count=1)
            yield self._announcement_times(client, newest[0][0] if newest else b"0")

    def _announcement_times(self, client: redis.Redis, last: bytes) -> Iterator[int]:
        while True:
            entries: Any = client.xread({EVENTS_KEY: last}, count=1, block=int(ANNOUNCEMENT_TIMEOUT_S * 1000 / 2))
            if not entries:
                raise BenchmarkError("a result was not announced")
            [(_, [(last, event)])] = entries
            if b'"media.done"' not in event[b"event"]:
                raise BenchmarkError(f"result is not done: {event[b'event'][:500].decode()}")
            yield time.monotonic_ns()

    @cached_property
    def _catalogue(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.setup.folder / CATALOGUE}?mode=ro", uri=True, timeout=5)

    def done(self) -> int:
        return int(self._catalogue.execute("SELECT count(*) FROM media WHERE status = 'done'").fetchone()[0])

    def other_statuses(self) -> str:
        """The attachments by status and error code, for an error message."""
        rows = self._catalogue.execute("SELECT status, error_code, count(*) FROM media GROUP BY 1, 2").fetchall()
        return ", ".join(f"{count} {status}{f' ({code})' if code else ''}" for status, code, count in rows)

    def stored(self) -> int:
        return sum(1 for path in (self.setup.folder / "media").rglob("*") if path.is_file() and not path.suffix)


class BareLoop:
    """The bare loop (bare.py), without a queue."""

    def __init__(self, setup: TrialSetup) -> None:
        self.setup = setup
        self.env = setup.env
        self._out = setup.folder / "out"
        self._out.mkdir()
        self._rows = setup.folder / "rows.jsonl"
        self._table = table(self._out)

    def fill(self, rows: Sequence[Row]) -> None:
        self._rows.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def worker_command(self) -> list[str]:
        arguments = (self._rows, self._out, self.setup.processes, self.setup.threads)
        return [sys.executable, "-m", "scripts.benchmarks.baselines.bare", *map(str, arguments)]

    def done(self) -> int:
        return int(self._table.execute("SELECT count(*) FROM media").fetchone()[0])

    def stored(self) -> int:
        return sum(1 for path in self._out.iterdir() if not path.name.startswith("."))


class StockDramatiq(BareLoop):
    """The same work in one actor on an unmodified Dramatiq (stock.py)."""

    def __init__(self, setup: TrialSetup) -> None:
        super().__init__(setup)
        self.env = setup.env | {"BENCH_REDIS": setup.redis_url, "BENCH_OUT": str(self._out)}

    def fill(self, rows: Sequence[Row]) -> None:
        super().fill(rows)
        run_command(["/bin/sh", "-c", f'"{sys.executable}" -m {STOCK_MODULE} < "{self._rows}"'], env=self.env, cwd=ROOT)

    def worker_command(self) -> list[str]:
        shape = ["--processes", str(self.setup.processes), "--threads", str(self.setup.threads)]
        return [str(BIN / "dramatiq"), STOCK_MODULE, *shape]

    def caller_command(self) -> list[str]:
        return [sys.executable, "-m", STOCK_MODULE]

    @contextlib.contextmanager
    def announcements(self) -> Iterator[Iterator[int]]:
        """Yields the times (monotonic ns) at which results are announced from now on."""
        with contextlib.closing(self.setup.connect()) as client:
            channel: Any = client.pubsub(ignore_subscribe_messages=True)  # type: ignore[no-untyped-call]
            channel.subscribe("stock:done")
            channel.get_message(timeout=1)
            yield self._announcement_times(channel)

    @staticmethod
    def _announcement_times(channel: Any) -> Iterator[int]:
        while True:
            if not channel.get_message(timeout=ANNOUNCEMENT_TIMEOUT_S / 2):
                raise BenchmarkError("a result was not announced")
            yield time.monotonic_ns()


CALLER_MODULE = "scripts.benchmarks.caller"
STOCK_MODULE = "scripts.benchmarks.baselines.stock"
System = Esteira | BareLoop
QueueSystem = Esteira | StockDramatiq
SYSTEMS: dict[str, type[Esteira] | type[BareLoop]] = {
    "bare loop": BareLoop,
    "stock Dramatiq": StockDramatiq,
    "Esteira": Esteira,
}


@lru_cache(maxsize=1)
def empty_catalogue() -> bytes:
    """The database that the Procfile's release line creates, made once for all trials because it takes a second."""
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        run_command(
            ["/bin/sh", "-c", procfile("release")],
            env=TrialSetup(folder, "").env | {"VAR_DIR": folder_name},
            cwd=folder,
        )
        return (folder / CATALOGUE).read_bytes()


def procfile(name: str) -> str:
    """The command in a line of the Procfile."""
    match = re.search(rf"^{name}:[ \t]*(\S.*)$", (ROOT / "Procfile").read_text(), re.MULTILINE)
    assert match
    return match[1]
