"""The command `esteira` as a user runs it: in processes of its own, with a VAR_DIR of its own."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings
from tests.support.cli_forkserver import CliForkserver
from tests.support.terminals import Terminal
from tests.support.waiting import wait_until

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BIN = Path(sys.executable).parent
START_S = 60
STOP_S = 60


@dataclass(frozen=True)
class Installation:
    """An installation of Esteira for one test: a folder, and the environment with its settings."""

    folder: Path
    env: dict[str, str]
    forkserver: CliForkserver | None = None

    def run(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 60) -> CommandResult:
        """Runs `esteira` with these arguments and waits for its end."""
        words = [*map(str, arguments)]
        if self.forkserver:
            finished = self.forkserver.run(words, cwd=self.folder, env=self.env, stdin=stdin or "", timeout=timeout)
            return CommandResult(*finished)
        return self._run([str(BIN / "esteira"), *words], stdin or "", timeout)

    def run_in_terminal(self, *arguments: str | Path, width: int = 80, **environment: str) -> CommandResult:
        """Runs `esteira` with stdout on a terminal of this width; `out` is without the codes for colours."""
        assert self.forkserver, "only installations with a fork server have terminals"
        env = {name: value for name, value in self.env.items() if name != "COLUMNS"} | environment
        words = [*map(str, arguments)]
        terminal = Terminal(width=width)
        code, out, err = self.forkserver.run(words, cwd=self.folder, env=env, stdin="", timeout=60, terminal=terminal)
        return CommandResult(code, COLOUR.sub("", out), err)

    def python(self, code: str, *arguments: str, timeout: float = 60) -> CommandResult:
        """Runs Python code in a process of its own, as a bot would."""
        return self._run([sys.executable, "-c", code, *arguments], "", timeout)

    def _run(self, command: list[str], stdin: str, timeout: float) -> CommandResult:
        finished = subprocess.run(
            command,
            cwd=self.folder,
            env=self.env,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        return CommandResult(finished.returncode, finished.stdout, finished.stderr)

    def with_settings(self, **settings: str) -> Installation:
        """The same installation with these settings in addition."""
        return Installation(self.folder, self.env | settings, self.forkserver)

    def stored_files(self) -> list[Path]:
        """The stored originals, without previews (their names have a suffix)."""
        return [path for path in (self.folder / "media").rglob("*") if path.is_file() and not path.suffix]


@dataclass(frozen=True)
class CommandResult:
    """Exit code and output of a command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """The JSON value of each line of stdout."""
        return [json.loads(line) for line in self.out.splitlines()]


@contextlib.contextmanager
def new_installation(forkserver: CliForkserver | None = None, **settings: str) -> Iterator[Installation]:
    """An installation with no other settings than these; its path is short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="esteira-"))
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    defaults = {"VAR_DIR": str(folder), "FETCH_ALLOW_PRIVATE": "127.0.0.0/8", "WORKER_THREADS": "4"}
    try:
        yield Installation(folder, kept | defaults | settings, forkserver)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class RunningEsteira:
    """`esteira start` in the background."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def stop(self, sent: signal.Signals = signal.SIGINT) -> int:
        """Stops it as Ctrl-C does, or with another signal; returns the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(sent)
        return self.process.wait(STOP_S)


@contextlib.contextmanager
def start_esteira(installation: Installation, *arguments: str) -> Iterator[RunningEsteira]:
    """Runs `esteira start` for the length of the block; it is ready for work when the block begins."""
    log = Path(tempfile.mkdtemp(dir=installation.folder)) / "start.log"  # one for each start
    command = [str(BIN / "esteira"), "start", *arguments]
    with log.open("ab") as out:
        process: subprocess.Popen[Any] = subprocess.Popen(
            command, cwd=installation.folder, env=installation.env, stdout=out, stderr=out, start_new_session=True
        )
    running = RunningEsteira(process, log)
    try:
        wait_until(lambda: "Press Ctrl-C to stop" in running.output() or process.poll() is not None, START_S)
        assert process.poll() is None, running.output()
        yield running
    finally:
        try:
            running.stop()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes each row as one line of JSON."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
