"""Parts of a plant as process groups, started again when they die, as systemd or a platform does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

CHECK_S = 0.1
STOP_S = 40.0


@dataclass(frozen=True)
class LogLine:
    """One line of a part's log. `at` is in Unix seconds."""

    at: float
    event: str
    facts: dict[str, Any]


class Part:
    """One command in a session of its own; every life of it has a log of its own."""

    def __init__(self, name: str, command: list[str], *, env: dict[str, str], folder: Path, cwd: Path) -> None:
        self.name = name
        self.command = command
        self.env = env
        self.folder = folder
        self.cwd = cwd
        self.held = False  # down on purpose
        self.lives: list[Path] = []
        self.asked_to_die = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def died_by_itself(self) -> int:
        """How often it ended although nobody ended it."""
        return len(self.lives) - self.asked_to_die - (1 if self.alive else 0)

    def start(self) -> None:
        log = self.folder / f"{self.name}-{len(self.lives)}.log"
        with log.open("wb") as out:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.env, stdout=out, stderr=out, start_new_session=True
            )
        self.lives.append(log)

    def signal(self, how: signal.Signals) -> None:
        """To the whole group, as a platform or a shell sends it."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, how)

    def kill(self) -> Path:
        """SIGKILL; the log of the life that ended."""
        process, log = self.process, self.lives[-1]
        assert process
        if process.poll() is None:
            self.asked_to_die += 1
            self.signal(signal.SIGKILL)
        process.wait(STOP_S)  # not self.process: the supervisor may have put the next one there
        return log

    def stop(self) -> float:
        """SIGTERM; how many seconds it took to end. What does not end in 40 s is killed."""
        process = self.process
        assert process
        started = time.monotonic()
        if process.poll() is None:
            self.asked_to_die += 1
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)
        return time.monotonic() - started


class Supervisor:
    """Starts again what died and is not held down."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stops every part, at once and for good."""
        self._ending.set()
        if self._thread.ident:
            self._thread.join(5)
        for part in self.parts:
            if part.alive:
                part.signal(signal.SIGTERM)
                part.signal(signal.SIGCONT)
        for part in self.parts:
            if part.process is not None:
                part.stop() if part.alive else part.signal(signal.SIGKILL)

    def _watch(self) -> None:
        while not self._ending.wait(CHECK_S):
            for part in self.parts:
                if not part.held and not part.alive:
                    part.start()


def log_lines(log: Path) -> list[LogLine]:
    """What a log says, in order."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            with suppress(ValueError, KeyError):
                facts = json.loads(line)
                found.append(LogLine(datetime.fromisoformat(facts["timestamp"]).timestamp(), facts["event"], facts))
    return found
