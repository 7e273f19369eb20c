"""Measures how soon a gateway's webhooks are answered."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict

import psutil
import rich_click as click

from pipeline.config.settings import Settings
from pipeline.services import Services
from scripts.benchmarks.environment import PHOTOS, isolated_services, running_workers, show
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.webhook_load import Figures, Load
from tests.support.system import photo
from tests.support.valkey import free_port

START_TIMEOUT_S = 60


@click.command()
@click.option("--rate", default=300.0, show_default=True, help="Webhooks per second, of one photo each.")
@click.option("--seconds", default=60.0, show_default=True, help="Duration.")
@click.option("--sessions", default=20, show_default=True, help="Sessions, in turn.")
@click.option("--web-workers", default=1, show_default=True, help="Processes of the web app.")
@click.option("--processes", default=2, show_default=True, help="Worker processes.")
@click.option("--threads", default=8, show_default=True, help="Threads of each worker process.")
@click.option("--workers", "modes", type=click.Choice(["without", "with"]), multiple=True, help="Only this case.")
def hooks(
    rate: float, seconds: float, sessions: int, web_workers: int, processes: int, threads: int, modes: tuple[str, ...]
) -> None:
    """Response times of Evolution API webhooks that arrive at a fixed rate, counted from the time when each was due.

    Measured without workers, and with workers on the same machine.
    """
    load = Load(0, rate, seconds, sessions, secrets.token_hex(16), "", PHOTOS)
    options = [f"--processes={processes}", f"--threads={threads}"]
    rows = [
        (mode, *measure_load(load, options if mode == "with" else [], web_workers=web_workers))
        for mode in modes or ("without", "with")
    ]
    columns = ("workers", "sent", "errors", "median ms", "p99 ms", "max ms", "sent late, p99 ms", "CPU ms each", "done")
    show(f"{rate:g} webhooks per second for {seconds:g} s", rows, *columns)


def measure_load(load: Load, options: list[str], *, web_workers: int) -> tuple[str, ...]:
    """The figures of one load. Workers run at the same time if `options` are given."""
    with isolated_services() as (settings, services), contextlib.ExitStack() as stack:
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(load.files):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        media = stack.enter_context(media_server(folder)).url + "/{}.jpg"
        port = free_port()
        web = stack.enter_context(web_app(settings, port, EVOLUTION_JWT_KEY=load.jwt_key, WEB_WORKERS=str(web_workers)))
        if options:
            stack.enter_context(running_workers(settings, options))
            time.sleep(5)  # until the workers have started
        before = cpu_s(web)
        figures = run_load(Load(**{**asdict(load), "port": port, "media": media}))
        spent = cpu_s(web) - before
        return *latency_columns(figures), f"{1000 * spent / figures.sent:.2f}", accepted_and_done(services, figures)


def run_load(load: Load) -> Figures:
    command = [sys.executable, "-m", "scripts.benchmarks.webhook_load"]
    finished = subprocess.run(command, input=json.dumps(asdict(load)), capture_output=True, text=True, check=True)
    return Figures(**json.loads(finished.stdout))


@contextlib.contextmanager
def web_app(settings: Settings, port: int, **settings_env: str) -> Iterator[psutil.Process]:
    """Runs the web app for the duration of the block, with these settings in addition."""
    env = os.environ | {"VAR_DIR": str(settings.var_dir), "PORT": str(port), "LOG_LEVEL": "info"} | settings_env
    with (settings.var_dir / "web.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "esteira.web"], env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready(port):
            if time.monotonic() > deadline:
                raise RuntimeError((settings.var_dir / "web.log").read_text()[-2000:])
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def is_ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False


def cpu_s(process: psutil.Process) -> float:
    """Processor time of a process and its descendants, in seconds."""
    times = [child.cpu_times() for child in (process, *process.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


def latency_columns(figures: Figures) -> tuple[str, ...]:
    errors = ", ".join(f"{count} {name}" for name, count in figures.errors.items()) or "0"
    milliseconds = (figures.median_ms, figures.p99_ms, figures.max_ms, figures.late_p99_ms)
    return str(figures.sent), errors, *(f"{value:.1f}" for value in milliseconds)


def accepted_and_done(services: Services, figures: Figures) -> str:
    """The number of files done so far. Raises RuntimeError if an accepted webhook is not in the catalogue."""
    totals = services.catalogue.totals()
    refused = sum(figures.errors.values())
    if totals["received"] < figures.sent - refused:
        raise RuntimeError(f"{figures.sent} were sent, {refused} refused, {totals['received']} in the catalogue")
    return str(totals["done"])
