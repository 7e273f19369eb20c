"""Process groups of a test system, restarted when they exit, as systemd or a platform does."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from esteira.cli.supervisor.parent_guard import SOCKETS

CHECK_S = 0.1
STOP_S = 40.0


@dataclass(frozen=True)
class LogLine:
    """One line of a log. `at`: Unix seconds; `facts`: all its fields."""

    at: float
    event: str
    facts: dict[str, Any]


class Part:
    """One command in its own session. Each process that runs it has its own log in `logs`.

    With a `listener` it runs behind a parent guard, which passes it the socket.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        *,
        env: dict[str, str],
        folder: Path,
        cwd: Path,
        listener: socket.socket | None = None,
    ) -> None:
        self.name = name
        self.command = command
        self.env = env
        self.folder = folder
        self.cwd = cwd
        self.listener = listener
        self.keep_down = False  # stopped on purpose: not restarted
        self.logs: list[Path] = []
        self.expected_exits = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def unexpected_exits(self) -> int:
        """The number of exits without a signal from this run."""
        return len(self.logs) - self.expected_exits - (1 if self.alive else 0)

    def start(self) -> None:
        log = self.folder / f"{self.name}-{len(self.logs)}.log"
        with log.open("wb") as out:
            passed = [self.listener.fileno()] if self.listener else []
            self.process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=self.env | {SOCKETS: ",".join(map(str, passed))},
                stdout=out,
                stderr=out,
                start_new_session=True,
                pass_fds=passed,
            )
        self.logs.append(log)

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal to the whole process group, as a platform or a shell does."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)

    def kill(self) -> Path:
        """Sends SIGKILL and returns the log of the killed process."""
        process, log = self.process, self.logs[-1]
        assert process
        if process.poll() is None:
            self.expected_exits += 1
            self.signal(signal.SIGKILL)
        process.wait(STOP_S)  # not self.process: the supervisor may have started the next one
        return log

    def stop(self) -> float:
        """Sends SIGTERM and returns the seconds until the exit. Kills the process after 40 s."""
        process = self.process
        assert process
        started = time.monotonic()
        if process.poll() is None:
            self.expected_exits += 1
            self.signal(signal.SIGTERM)
            self.signal(signal.SIGCONT)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_S)
        return time.monotonic() - started


class Supervisor:
    """Restarts parts that exited, unless they are kept down."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        """Stops all parts in parallel and ends the supervision."""
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
                if not part.keep_down and not part.alive:
                    part.start()


def log_lines(log: Path) -> list[LogLine]:
    """Reads the JSON lines of a log, in order."""
    lines = []
    for line in log.read_text(errors="replace").splitlines():
        if line.startswith("{"):
            with suppress(ValueError, KeyError):
                facts = json.loads(line)
                lines.append(LogLine(datetime.fromisoformat(facts["timestamp"]).timestamp(), facts["event"], facts))
    return lines
