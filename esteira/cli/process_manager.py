"""Runs the parts of Esteira (web app, workers) side by side with honcho; and writes their lines."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import honcho.manager
from honcho.printer import Printer

from actors.middleware.parent_death import end_with_parent
from esteira.cli.parent_guard import PARENT_PID
from esteira.cli.part_lines import LineFormat, text_line

# Seconds after SIGTERM until a part is killed. Longer than REQUEUE_S, so that workers can requeue their messages.
GRACE_S = 30
# Seconds after SIGTERM until workers requeue the messages that they have not finished; the same as in the Procfile.
REQUEUE_S = 20
# Dramatiq's master waits 30 s by default for a worker that dies while it starts; 2000 ms are enough. Dramatiq's own log
# lines are plain text in between our JSON lines, which have the same information: --skip-logging turns them off.
BOOT_OPTIONS = ("--worker-fork-timeout", "2000", "--skip-logging")
STOPPED_BY_SIGNAL = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # honcho's return codes for Ctrl-C and SIGTERM
# honcho reports these two events only as text of its system printer.
STARTED = re.compile(r"\S+ started \(pid=\d+\)")
STOPPED = re.compile(r"(\S+) stopped \(rc=(-?\d+)\)")


def worker_command(*, processes: int, threads: int) -> list[str]:
    """The command that runs the workers."""
    size = ("--processes", str(processes), "--threads", str(threads))
    timeout = ("--worker-shutdown-timeout", str(REQUEUE_S * 1000))
    return _command("dramatiq", "actors.stages", *size, *timeout, *BOOT_OPTIONS)


def web_command() -> list[str]:
    """The command that runs the web app."""
    return _command("esteira.web")


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "esteira.cli.parent_guard", module, *arguments]


class DirectOutput:
    """Standard output without a buffer.

    honcho also prints in its signal handler. Python's buffered streams are not reentrant: a Ctrl-C in the middle of a
    write would raise RuntimeError in the handler and be lost.
    """

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    def flush(self) -> None:
        """Does nothing: there is no buffer."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


class EventPrinter(Printer):  # type: ignore[misc]  # honcho has no types
    """honcho's printer with a line format of ours. It reads from honcho's lines which parts started and ended.

    It calls `on_started` when all parts run, and keeps the name of the first that ended. honcho has no other interface
    for these events.
    """

    def __init__(
        self, output: DirectOutput, *, parts: int, on_started: Callable[[], object], format_line: LineFormat
    ) -> None:
        super().__init__(output)
        self.first_ended: str | None = None
        self._format_line = format_line
        self._not_started = parts
        self._on_started = on_started

    def write(self, message: Any) -> None:
        data = message.data.decode("utf-8", "replace") if isinstance(message.data, bytes) else message.data
        colour = message.colour if self.output.isatty() else None
        for line in data.rstrip("\n").split("\n"):
            print(self._format_line(message.name, line, message.time, colour), file=self.output, flush=True)
        if message.name != honcho.manager.SYSTEM_PRINTER_NAME:
            return
        if self.first_ended is None and (match := STOPPED.match(message.data)):
            self.first_ended = f"{match[1]} (exit status {match[2]})"
        if STARTED.match(message.data):
            self._not_started -= 1
            if not self._not_started:
                self._on_started()


class PartManager(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager, which can also be stopped while its parts are starting.

    honcho 2.0 learns the process ID of a part a moment after its start. A stop before that raises KeyError and honcho
    never ends.
    """

    def terminate(self) -> None:
        """Stops all parts, as soon as all have started."""
        if all("pid" in part for part in self._processes.values()):
            super().terminate()
        else:
            threading.Timer(0.05, self.terminate).start()


def run_parts(
    commands: Mapping[str, Sequence[str]],
    *,
    environment: Mapping[str, str],
    on_started: Callable[[], object] = lambda: None,
    format_line: LineFormat = text_line,
) -> str | None:
    """Runs the commands until SIGINT or SIGTERM, or until one of them ends, and then stops all of them.

    Returns None after a signal, else the name and exit status of the part that ended first.
    """
    honcho.manager.KILL_WAIT = GRACE_S
    printer = EventPrinter(DirectOutput(), parts=len(commands), on_started=on_started, format_line=format_line)
    manager = PartManager(printer)
    # honcho forks a process between this one and each part. It dies together with this one, and then the part's guard
    # sees that its parent is gone.
    os.register_at_fork(after_in_child=partial(end_with_parent, signal.SIGKILL, parent=os.getpid()))
    for name, command in commands.items():
        # honcho runs the command in a shell; with exec, signals reach the part itself.
        manager.add_process(name, f"{PARENT_PID}=$PPID exec {shlex.join(command)}", env=dict(environment))
    manager.loop()
    return None if manager.returncode in STOPPED_BY_SIGNAL else printer.first_ended or "a part"


@contextmanager
def stop_when_ended(process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Sends SIGTERM to this process if the other one ends within the block, and sets the event."""
    ended, done = threading.Event(), threading.Event()

    def watch() -> None:
        process.wait()
        if not done.is_set():
            ended.set()
            os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield ended
    finally:
        done.set()
