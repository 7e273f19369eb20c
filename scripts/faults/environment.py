"""A plant in a folder of its own, as faults see it: Valkey, workers, an intake, and what stands around them."""

from __future__ import annotations

import os
import random
import shutil
import signal
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
from scripts.faults.servers import MediaAndSink
from scripts.faults.store import StoreProxy
from scripts.faults.supervisor import Part, Supervisor
from tests.support.valkey import ValkeyServer

ROOT = Path(__file__).parents[2]
WORKERS, THREADS = 2, 2


class SkippedError(Exception):
    """Raised by a fault that this machine does not allow; the message says why."""


@dataclass(frozen=True)
class RunTerms:
    """What a run is made of. `env` are settings by name, `poison` the share of files that crash their decoder.

    `module` is what the workers run, `store` puts object storage in the disk's place, and every `named`-th URL names
    its host. After the last round the plant has `drain_s` to come to rest. Where workers are `mortal`, those that die
    by themselves are told, and not held against it.
    """

    seed: int = 1
    rate: float = 5.0
    aof: bool = True
    poison: float = 0.0
    module: str = "actors.stages"
    store: bool = False
    named_every: int = 0
    drain_s: float = 120.0
    deaths_allowed: bool = False
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Observations:
    """When what was done to the plant, in Unix seconds, for the times of recovery."""

    kills: list[tuple[float, Path]] = field(default_factory=list)  # with the log of the life that ended
    returns: list[float] = field(default_factory=list)  # of Valkey, or of all workers
    stops_s: list[float] = field(default_factory=list)  # from SIGTERM to the end
    broken: list[str] = field(default_factory=list)  # what a fault itself found that must not be
    figures: list[str] = field(default_factory=list)  # what a fault itself measured, for the row


class Target(Protocol):
    """How one product is driven. `parts` without an intake of its own is handed files by `handover` alone."""

    def parts(self, testbed: Testbed) -> list[Part]: ...

    def prepare(self, testbed: Testbed) -> None: ...

    def wait_until_ready(self) -> None: ...

    def handover(self, number: int, file: File) -> Answer: ...

    def rows(self, testbed: Testbed) -> list[Row]: ...

    def unannounced(self, testbed: Testbed) -> int: ...

    def stored_files(self, testbed: Testbed) -> StoredFiles: ...

    def clean_up(self, testbed: Testbed) -> None: ...


class Testbed:
    """Folder, servers, parts and load of one run."""

    def __init__(self, target: Target, terms: RunTerms) -> None:
        self.target = target
        self.terms = terms
        self.rng = random.Random(terms.seed)  # noqa: S311
        self.observations = Observations()
        self.mounts: list[Path] = []
        self.folder = Path(tempfile.mkdtemp(prefix="esteira-chaos-"))
        self.servers = MediaAndSink(terms.seed)
        self.store = StoreProxy(terms.seed) if terms.store else None
        arguments = ("--enable-debug-command", "local")
        self.valkey = ValkeyServer(self.folder / "valkey", aof=terms.aof, arguments=arguments)
        self.load = Load(
            target.handover,
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
        """Everything up and the load running."""
        self.valkey.start()
        self.target.prepare(self)
        self.parts.extend(self.target.parts(self))
        self.supervisor.start()
        self.wait_for_workers()
        self.target.wait_until_ready()
        self.load.start()
        time.sleep(2)

    def python(self, name: str, *command: str, env: Mapping[str, str]) -> Part:
        """A part that runs a Python module, and that ends with this process whatever becomes of it."""
        leash = [sys.executable, "-m", "esteira.cli.parent_guard", *command]
        return Part(name, leash, env=dict(env), folder=self.folder, cwd=ROOT)

    def environment(self, own: Mapping[str, str]) -> dict[str, str]:
        """The environment without any setting of the product but these."""
        known = {name.upper() for name in Settings.model_fields}
        stored_files = {name: value for name, value in os.environ.items() if name not in known}
        return stored_files | {"PYTHONPATH": str(ROOT), **own, **self.terms.env}

    def kill(self, part: Part) -> None:
        """SIGKILL to a part, noted for the time that its work takes to come back."""
        at = time.time()
        log = part.kill()
        if part in self.workers:
            self.observations.kills.append((at, log))

    def record_return(self) -> None:
        """Notes that what was away is there again."""
        self.observations.returns.append(time.time())

    def undo_faults(self) -> None:
        """Whatever a fault left behind that was interrupted."""
        self.servers.disturbance, self.servers.failure_share = "well", 0.0
        if self.store:
            self.store.disturbance = "well"
        if self.valkey.running:
            self.valkey.resume()
        else:
            self.valkey.start()
            self.record_return()
        for part in self.parts:
            part.signal(signal.SIGCONT)
            part.held = False

    def end(self, *, keep: bool) -> None:
        """Ends all that it started and removes its folder."""
        with ExitStack() as last:  # every step is taken, whatever another one raises
            if not keep:
                last.callback(shutil.rmtree, self.folder, ignore_errors=True)
            for mount in self.mounts:
                last.callback(subprocess.run, ["umount", "-l", str(mount)], check=False)
            if self.store:
                last.callback(self.store.end)
            last.callback(self.servers.end)
            last.callback(self.valkey.kill)
            last.callback(self.supervisor.end)
            last.callback(self.load.end)

    def wait_for_workers(self) -> None:
        """Returns once every worker has booted."""
        deadline = time.monotonic() + 60
        most = max(len(part.lives) for part in self.parts) + 3
        while not all(self._booted(part) for part in self.workers):
            if time.monotonic() > deadline or any(len(part.lives) > most for part in self.parts):
                logs = "\n".join(part.lives[-1].read_text()[-1500:] for part in self.parts if part.lives)
                raise RuntimeError(f"the plant does not start:\n{logs}")
            time.sleep(0.1)

    @staticmethod
    def _booted(part: Part) -> bool:
        return part.alive and "booting up" in part.lives[-1].read_text(errors="replace")
