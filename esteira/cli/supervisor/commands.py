"""The commands that run the web app and the workers."""

from __future__ import annotations

import sys

# Seconds after SIGTERM until workers requeue the messages that they have not finished; the same as in the Procfile.
REQUEUE_S = 20
# Dramatiq's master waits 30 s by default for a worker that dies while it starts; 2000 ms are enough. Dramatiq's own log
# lines are plain text in between our JSON lines, which have the same information: --skip-logging turns them off.
# `python -P`, and --path without a folder: modules of the folder in which the commands run do not shadow ours.
BOOT_OPTIONS = ("--worker-fork-timeout", "2000", "--skip-logging")


def worker_arguments(*, processes: int, threads: int) -> list[str]:
    """What `python -m` needs to run the workers."""
    size = ("--processes", str(processes), "--threads", str(threads))
    timeout = ("--worker-shutdown-timeout", str(REQUEUE_S * 1000))
    return ["dramatiq", "actors.stages", *size, *timeout, *BOOT_OPTIONS]


def web_arguments() -> list[str]:
    """What `python -m` needs to run the web app."""
    return ["esteira.web"]


def worker_command(*, processes: int, threads: int) -> list[str]:
    """The command that runs the workers below a supervisor."""
    return _guarded([*worker_arguments(processes=processes, threads=threads), "--path"])


def web_command() -> list[str]:
    """The command that runs the web app below a supervisor."""
    return _guarded(web_arguments())


def preparation_command() -> list[str]:
    """The command that comes before new web apps and workers in a reload."""
    return _guarded(["esteira.cli.preparation"])


def _guarded(arguments: list[str]) -> list[str]:
    return [sys.executable, "-P", "-m", "esteira.cli.supervisor.parent_guard", *arguments]
