"""The programs of a container, by the first word after the image's name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from esteira.cli.supervisor.commands import web_arguments, worker_arguments
from pipeline.config.settings import current_settings


def command(arguments: Sequence[str]) -> list[str]:
    """The command line for these arguments: `web`, `worker`, or a command of `esteira` (`start` without arguments).

    Raises:
        SettingsError: a worker's settings are wrong.
    """
    role, *options = arguments or ("start",)
    program = ROLES.get(role)
    if program is not None:
        return [sys.executable, "-m", *program(), *options]
    return [str(Path(sys.executable).parent / "esteira"), role, *options]


def _workers() -> list[str]:
    settings = current_settings()
    return worker_arguments(processes=settings.web_concurrency, threads=settings.worker_threads)


ROLES: Mapping[str, Callable[[], list[str]]] = {"web": web_arguments, "worker": _workers}
