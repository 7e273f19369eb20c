"""What the measures work on: settings, servers and workers of their own; and how figures are shown."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from cli.valkey import embedded_valkey
from pipeline.services import Services, build_services
from pipeline.settings import Settings, load_settings

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
def file_server(folder: Path, *, delay_s: float = 0) -> Iterator[str]:
    """These files over HTTP on loopback, each after a pause."""

    class Handler(SimpleHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def __init__(self, *args: Any) -> None:
            super().__init__(*args, directory=str(folder))

        def do_GET(self) -> None:
            time.sleep(delay_s)
            super().do_GET()

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextlib.contextmanager
def outside_server(folder: Path) -> Iterator[str]:
    """The files over HTTP from a process of its own, as a media server is one."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert process.stdout
        port = process.stdout.readline().split("port ")[1].split()[0]
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


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


def show(title: str, rows: list[tuple[str, ...]], *columns: str) -> None:
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="left" if column == columns[0] else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)
