"""The command `esteira` as a user runs it: in processes of its own, on a VAR_DIR of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.config.settings import Settings
from tests.support.cli_forkserver import Zygote

BIN = Path(sys.executable).parent
START_S = 60
STOP_S = 60


@dataclass(frozen=True)
class Site:
    """Settings for one test: a folder, and the environment that names it."""

    folder: Path
    env: dict[str, str]
    zygote: Zygote | None = None

    def run(self, *arguments: str | Path, stdin: str | None = None, timeout: float = 60) -> Finished:
        """Runs `esteira` with these arguments to its end."""
        if self.zygote:
            place = {"cwd": self.folder, "env": self.env}
            return Finished(*self.zygote.run([*map(str, arguments)], **place, stdin=stdin or "", timeout=timeout))
        command = [str(BIN / "esteira"), *map(str, arguments)]
        return self._finish(command, stdin or "", timeout)

    def python(self, code: str, *arguments: str, timeout: float = 60) -> Finished:
        """Runs Python code as a listener's own process would."""
        command = [sys.executable, "-c", code, *arguments]
        return self._finish(command, "", timeout)

    def _finish(self, command: list[str], stdin: str, timeout: float) -> Finished:
        place = {"cwd": self.folder, "env": self.env}
        finished = subprocess.run(
            command, **place, input=stdin, capture_output=True, text=True, timeout=timeout, check=False
        )
        return Finished(finished.returncode, finished.stdout, finished.stderr)

    def with_settings(self, **settings: str) -> Site:
        """The same site with these settings too."""
        return Site(self.folder, self.env | settings, self.zygote)

    def media(self) -> list[Path]:
        """What stands in storage, in its final place, without what was made of it for the eye."""
        return [path for path in (self.folder / "media").rglob("*") if path.is_file() and not path.suffix]


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """One JSON value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


@contextlib.contextmanager
def site(zygote: Zygote | None = None, **settings: str) -> Iterator[Site]:
    """A site without any setting but these; its path is short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="esteira-"))
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    defaults = {"VAR_DIR": str(folder), "FETCH_ALLOW_PRIVATE": "127.0.0.0/8", "WORKER_THREADS": "4"}
    try:
        yield Site(folder, kept | defaults | settings, zygote)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Running:
    """`esteira start` in the background."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self.process = process
        self.log = log

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def end(self, how: signal.Signals = signal.SIGINT) -> int:
        """Ends it as Ctrl-C does; its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(STOP_S)


@contextlib.contextmanager
def started(place: Site, *arguments: str) -> Iterator[Running]:
    """`esteira start` for the length of the block, ready for work."""
    log = Path(tempfile.mkdtemp(dir=place.folder)) / "start.log"  # one for each start
    command = [str(BIN / "esteira"), "start", *arguments]
    with log.open("ab") as out:
        process: subprocess.Popen[Any] = subprocess.Popen(
            command, cwd=place.folder, env=place.env, stdout=out, stderr=out, start_new_session=True
        )
    running = Running(process, log)
    try:
        wait_for(lambda: "Ctrl-C ends it" in running.output() or process.poll() is not None, timeout_s=START_S)
        assert process.poll() is None, running.output()
        yield running
    finally:
        try:
            running.end()
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_for(condition: Callable[[], Any], *, timeout_s: float = 30, every_s: float = 0.05) -> Any:
    """Waits until the condition holds and returns what it gave."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not come to pass in time"
        time.sleep(every_s)
    return value


def write_jsonl(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    """Writes the rows one a line."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
