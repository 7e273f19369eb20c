"""Runs the parts of Esteira side by side, their output line by line under the name of each."""

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

from actors.middleware.orphans import end_with_parent
from esteira.cli.parent_guard import HOLDER

GRACE_S = 30  # how long a part may take to finish what it has begun before it is killed
# A worker that dies while it boots would keep its master waiting for 30 s. What Dramatiq says in its own format, before
# and beside our logs, we say ourselves.
BOOT = ("--worker-fork-timeout", "2000", "--skip-logging")
HAND_BACK_S = 20  # after which workers hand back what they have not finished, as in the Procfile
ASKED_TO_END = {128 + signal.SIGINT, 128 + signal.SIGTERM}  # honcho's return codes for them
STARTED = re.compile(r"\S+ started \(pid=\d+\)")
STOPPED = re.compile(r"(\S+) stopped \(rc=(-?\d+)\)")


def worker_command(*, processes: int, threads: int) -> list[str]:
    """The command of the workers."""
    size = ("--processes", str(processes), "--threads", str(threads))
    return _command("dramatiq", "actors.stages", *size, "--worker-shutdown-timeout", str(HAND_BACK_S * 1000), *BOOT)


def web_command() -> list[str]:
    """The command of the web app."""
    return _command("esteira.web")


def _command(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", "esteira.cli.parent_guard", module, *arguments]


class DirectOutput:
    """Standard output without a buffer: honcho prints from its signal handler too, and Python's buffers are not
    re-entrant: a Ctrl-C in the middle of a line would be lost in a RuntimeError.
    """

    def write(self, text: str) -> None:
        data = text.encode("utf-8", "replace")
        while data:
            data = data[os.write(sys.stdout.fileno(), data) :]

    def flush(self) -> None:
        """Nothing is held back."""

    def isatty(self) -> bool:
        return sys.stdout.isatty()


class ListeningPrinter(Printer):  # type: ignore[misc]  # honcho has no types
    """honcho's printer, which also hears when all parts have started, and remembers the first that ended.

    honcho tells of it nowhere else.
    """

    def __init__(self, output: DirectOutput, *, parts: int, when_started: Callable[[], object]) -> None:
        super().__init__(output)
        self.first_ended: str | None = None
        self._to_start = parts
        self._when_started = when_started

    def write(self, message: Any) -> None:
        super().write(message)
        if message.name != honcho.manager.SYSTEM_PRINTER_NAME:
            return
        if self.first_ended is None and (found := STOPPED.match(message.data)):
            self.first_ended = f"{found[1]} (exit status {found[2]})"
        if STARTED.match(message.data):
            self._to_start -= 1
            if not self._to_start:
                self._when_started()


class PatientManager(honcho.manager.Manager):  # type: ignore[misc]  # honcho has no types
    """honcho's manager, which may be told to end while its parts are starting.

    honcho 2.0 raises KeyError then, for it learns a part's process id a moment later, and never ends.
    """

    def terminate(self) -> None:
        """Ends all parts, as soon as all have started."""
        if all("pid" in part for part in self._processes.values()):
            super().terminate()
        else:
            threading.Timer(0.05, self.terminate).start()


def run_parts(
    commands: Mapping[str, Sequence[str]],
    *,
    environment: Mapping[str, str],
    when_started: Callable[[], object] = lambda: None,
) -> str | None:
    """Runs until SIGINT or SIGTERM, then ends all parts and returns None; or until one ends: then returns its name."""
    honcho.manager.KILL_WAIT = GRACE_S
    printer = ListeningPrinter(DirectOutput(), parts=len(commands), when_started=when_started)
    manager = PatientManager(printer)
    # honcho puts a process of ours between us and each part; killed with us, it takes the part's leash with it.
    os.register_at_fork(after_in_child=partial(end_with_parent, signal.SIGKILL, parent=os.getpid()))
    for name, command in commands.items():
        # exec, so that signals reach the part itself and not the shell that honcho puts around it.
        manager.add_process(name, f"{HOLDER}=$PPID exec {shlex.join(command)}", env=dict(environment))
    manager.loop()
    return None if manager.returncode in ASKED_TO_END else printer.first_ended or "a part"


@contextmanager
def ending_with(process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Ends this process in order, as SIGTERM does, if the other one ends within the block; then the event is set."""
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
