"""Starts the demo in a process of its own settings: nothing of it touches a queue, catalogue or storage in use."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import NoReturn

from esteira.cli.demo.source import HOST
from esteira.cli.environment import make_folder
from pipeline.config.settings import Settings


def launch_demo(settings: Settings) -> NoReturn:
    """Becomes the demo: this process goes on as `python -m esteira.cli.demo` under VAR_DIR/demo."""
    folder = settings.var_dir.absolute() / "demo"
    make_folder(folder)
    sys.stdout.flush()
    os.chdir(folder)  # away from a .env, which would name the queue and the catalogue in use
    os.execve(sys.executable, [sys.executable, "-m", "esteira.cli.demo"], demo_environment(folder))  # noqa: S606


def demo_environment(folder: Path) -> dict[str, str]:
    """The environment without any setting of ours, but for those that the demo needs."""
    ours = {name.upper() for name in Settings.model_fields}
    kept = {name: value for name, value in os.environ.items() if name.upper() not in ours}
    return kept | {"VAR_DIR": str(folder), "FETCH_ALLOW_PRIVATE": f"{HOST}/32", "WEB_CONCURRENCY": "2"}
