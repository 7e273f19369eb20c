"""The test system of one run: Valkey, workers, web app, media server and webhook receiver in a folder of its own."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pipeline.config.settings import Settings
from scripts.faults.files import File
from scripts.faults.leftovers import Row, StoredFiles
from scripts.faults.load import Answer, Load
from scripts.faults.postgres import open_postgres
from scripts.faults.servers import MediaAndSink
from scripts.faults.store import StoreProxy
from scripts.faults.supervisor import Part, Supervisor
from tests.support.valkey import ValkeyServer

ROOT = Path(__file__).parents[2]
WORKERS, THREADS = 2, 2


class SkippedError(Exception):
    """Raised by a fault that this machine does not allow. The message gives the reason."""


@dataclass(frozen=True)
class RunTerms:
    """The configuration of a run.

    `aof`: Valkey with an append-only file. `poison`: share of files that crash their decoder. `module`: entry point of
    the workers. `store`: object storage instead of local storage. `named_every`: every n-th URL has a host name instead
    of an address. `postgres`: PostgreSQL as the catalogue instead of SQLite. `keeps_socket`: the web app listens on a
    socket that outlives it. `drain_timeout_s`: time after the last round until everything must be finished.
    `worker_exits_allowed`: exits of worker processes are reported and are not an error. `env`: settings by name.
    """

    seed: int = 1
    rate: float = 5.0
    aof: bool = True
    poison: float = 0.0
    module: str = "actors.stages"
    store: bool = False
    named_every: int = 0
    postgres: bool = False
    keeps_socket: bool = False
    drain_timeout_s: float = 120.0
    worker_exits_allowed: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Observations:
    """What faults did and measured. Points in time are in Unix seconds."""

    kills: list[tuple[float, Path]] = field(default_factory=list)  # of workers, each with the log of the killed process
    recoveries: list[float] = field(default_factory=list)  # when Valkey, or all workers, or another service were back
    exit_times_s: list[float] = field(default_factory=list)  # from SIGTERM to the exit
    problems: list[str] = field(default_factory=list)  # errors found by a fault itself
    figures: list[str] = field(default_factory=list)  # measurements of a fault itself, for the table


class Target(Protocol):
    """Adapter for one product under test: starts it, sends files to it and reads its results."""

    def parts(self, testbed: Testbed) -> list[Part]: ...

    def prepare(self, testbed: Testbed) -> None: ...

    def wait_until_ready(self) -> None: ...

    def hand_over(self, number: int, file: File) -> Answer: ...

    def rows(self, testbed: Testbed) -> list[Row]: ...

    def pending_events(self, testbed: Testbed) -> int: ...

    def stored_files(self, testbed: Testbed) -> StoredFiles: ...

    def clean_up(self, testbed: Testbed) -> None: ...


class Testbed:
    """The folder, servers, processes and load of one run."""

    def __init__(self, target: Target, terms: RunTerms) -> None:
        self.target = target
        self.terms = terms
        self.rng = random.Random(terms.seed)  # noqa: S311
        self.observations = Observations()
        self.mounts: list[Path] = []
        self.folder = Path(tempfile.mkdtemp(prefix="esteira-chaos-"))
        self.servers = MediaAndSink(terms.seed)
        self.store = StoreProxy(terms.seed) if terms.store else None
        self.postgres = open_postgres() if terms.postgres else None
        arguments = ("--enable-debug-command", "local")
        self.valkey = ValkeyServer(self.folder / "valkey", aof=terms.aof, arguments=arguments)
        self.load = Load(
            target.hand_over,
            self.servers.files,
            self.folder / "submit.jsonl",
            rate=terms.rate,
            seed=terms.seed,
            poison=terms.poison,
        )
        self.parts: list[Part] = []
        self.supervisor = Supervisor(self.parts)

    @property
    def workers(self) -> list[Part]:
        return [part for part in self.parts if part.name.startswith("worker")]

    def part(self, name: str) -> Part:
        return next(part for part in self.parts if part.name == name)

    def start(self) -> None:
        """Starts everything, then the load."""
        self.valkey.start()
        self.target.prepare(self)
        self.parts.extend(self.target.parts(self))
        self.supervisor.start()
        self.wait_for_workers()
        self.target.wait_until_ready()
        self.load.start()
        time.sleep(2)

    def python_part(
        self, name: str, *command: str, env: Mapping[str, str], listener: socket.socket | None = None
    ) -> Part:
        """A part that runs a Python module and ends when this process ends, even if it is killed.

        It gets the socket `listener`, which outlives it.
        """
        guarded_command = [sys.executable, "-m", "esteira.cli.supervisor.parent_guard", *command]
        return Part(name, guarded_command, env=dict(env), folder=self.folder, cwd=ROOT, listener=listener)

    def environment(self, product_settings: Mapping[str, str]) -> dict[str, str]:
        """The environment of this process without product settings, plus these settings."""
        known = {name.upper() for name in Settings.model_fields}
        other_variables = {name: value for name, value in os.environ.items() if name not in known}
        return other_variables | {"PYTHONPATH": str(ROOT), **product_settings, **self.terms.env}

    def kill(self, part: Part) -> None:
        """Sends SIGKILL to a part and records the time, if it is a worker."""
        at = time.time()
        log = part.kill()
        if part in self.workers:
            self.observations.kills.append((at, log))

    def record_recovery(self) -> None:
        """Records that an unavailable service is available again."""
        self.observations.recoveries.append(time.time())

    def undo_faults(self) -> None:
        """Undoes faults that were interrupted."""
        self.servers.disturbance, self.servers.failure_share = "none", 0.0
        if self.store:
            self.store.disturbance = "none"
        if self.postgres:
            self.postgres.start()
        if self.valkey.running:
            self.valkey.resume()
        else:
            self.valkey.start()
            self.record_recovery()
        for part in self.parts:
            part.signal(signal.SIGCONT)
            part.keep_down = False

    def end(self, *, keep: bool) -> None:
        """Ends everything that was started and removes the folder, unless `keep`."""
        with ExitStack() as last:  # every step runs even if another one raises
            if not keep:
                last.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for mount in self.mounts:
                last.callback(subprocess.run, ["umount", "-l", str(mount)], check=False)
            if self.store:
                last.callback(self.store.end)
            if self.postgres:
                last.callback(self.postgres.end)
            last.callback(self.servers.end)
            last.callback(self.valkey.kill)
            last.callback(self.supervisor.end)
            last.callback(self.load.end)

    def wait_for_workers(self) -> None:
        """Returns once every worker has booted."""
        deadline = time.monotonic() + 60
        max_logs = max(len(part.logs) for part in self.parts) + 3
        while not all(self._booted(part) for part in self.workers):
            if time.monotonic() > deadline or any(len(part.logs) > max_logs for part in self.parts):
                logs = "\n".join(part.logs[-1].read_text()[-1500:] for part in self.parts if part.logs)
                raise RuntimeError(f"the test system does not start:\n{logs}")
            time.sleep(0.1)

    @staticmethod
    def _booted(part: Part) -> bool:
        return part.alive and "booting up" in part.logs[-1].read_text(errors="replace")
