"""Starts the demo in a process with settings of its own, so that it touches no queue, database or storage in use."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from esteira.cli.demo.file_server import HOST
from esteira.cli.environment import make_folder
from pipeline.config.settings import Settings


def launch_demo(settings: Settings) -> NoReturn:
    """Replaces this process with `python -m esteira.cli.demo`, whose data is stored under VAR_DIR/demo."""
    folder = settings.var_dir.absolute() / "demo"
    make_folder(folder)
    sys.stdout.flush()
    os.chdir(folder)  # a .env in the current folder would name the queue and the database in use
    os.execve(sys.executable, [sys.executable, "-P", "-m", "esteira.cli.demo"], demo_environment(folder))  # noqa: S606


def demo_environment(folder: Path) -> dict[str, str]:
    """The environment without any setting of Esteira, except those that the demo needs."""
    names = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in names}
    return kept | {"VAR_DIR": str(folder), "FETCH_ALLOW_PRIVATE": f"{HOST}/32", "WEB_CONCURRENCY": "2"}
