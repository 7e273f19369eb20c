"""Settings, services and workers for the measures that run in this process, and their tables."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from esteira.cli.embedded_valkey import embedded_valkey
from pipeline.config.settings import Settings, load_settings
from pipeline.services import Services, build_services

ROOT = Path(__file__).parents[2]
PHOTOS = 200  # different photos that the server offers
console = Console()


@contextlib.contextmanager
def isolated_services(**overrides: Any) -> Iterator[tuple[Settings, Services]]:
    """Yields settings and services with a temporary folder on disk and a running Valkey."""
    with tempfile.TemporaryDirectory(prefix="esteira-bench-", dir="/var/tmp") as folder:
        settings = load_settings(
            _env_file=None, var_dir=folder, fetch_allow_private="127.0.0.0/8", valkey_server="bundled", **overrides
        )
        services = build_services(settings, durable=True)
        services.catalogue.migrate()
        with embedded_valkey(settings):
            yield settings, services
        services.close()


@contextlib.contextmanager
def running_workers(settings: Settings, options: list[str], **overrides: str) -> Iterator[psutil.Process]:
    """Runs workers for the duration of the block, with these settings in addition."""
    env = os.environ | {"VAR_DIR": str(settings.var_dir), "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"}
    env |= {
        "ALLOW_DEBUGGERS": "true"
    } | overrides  # another user than root could not measure the memory of the processes
    dramatiq = str(Path(sys.executable).parent / "dramatiq")
    workers = subprocess.Popen([dramatiq, "actors.stages", *options], env=env, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(workers.pid)
    finally:
        workers.terminate()
        workers.wait(30)


def show(title: str, rows: Sequence[tuple[str, ...]], *columns: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
