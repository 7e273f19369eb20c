"""What the measures work on: settings, servers and workers of their own; and how figures are shown."""

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
VARIETY = 200  # different files: more need not lie on the disk
console = Console()


@contextlib.contextmanager
def site(**given: Any) -> Iterator[tuple[Settings, Services]]:
    """Settings and services on a folder of their own, on disk, with the embedded Valkey running."""
    with tempfile.TemporaryDirectory(prefix="esteira-bench-", dir="/var/tmp") as folder:
        settings = load_settings(_env_file=None, var_dir=folder, fetch_allow_private="127.0.0.0/8", **given)
        services = build_services(settings, durable=True)
        services.catalogue.migrate()
        with embedded_valkey(settings):
            yield settings, services
        services.close()


@contextlib.contextmanager
def running_workers(settings: Settings, options: list[str], **given: str) -> Iterator[psutil.Process]:
    """Workers for the length of the block, with these settings beside the site's own."""
    env = os.environ | {"VAR_DIR": str(settings.var_dir), "FETCH_ALLOW_PRIVATE": "127.0.0.0/8"} | given
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
