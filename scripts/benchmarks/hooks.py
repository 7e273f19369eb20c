"""How soon a gateway's webhook is answered."""

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
from scripts.benchmarks.environment import VARIETY, running_workers, show, site
from scripts.benchmarks.load import Figures, Load
from scripts.benchmarks.media_server import media_server
from tests.support.system import photo
from tests.support.valkey import free_port

ANSWERS_WITHIN_S = 60


@click.command()
@click.option("--rate", default=300.0, show_default=True, help="Webhooks a second, of one photo each.")
@click.option("--seconds", default=60.0, show_default=True, help="For so long.")
@click.option("--sessions", default=20, show_default=True, help="Sessions that send them in turn.")
@click.option("--web-workers", default=1, show_default=True, help="Processes of the web app.")
@click.option("--processes", default=2, show_default=True, help="Of the workers that run beside.")
@click.option("--threads", default=8, show_default=True, help="Of each worker process.")
@click.option("--workers", "modes", type=click.Choice(["without", "beside"]), multiple=True, help="Only this one.")
def hooks(
    rate: float, seconds: float, sessions: int, web_workers: int, processes: int, threads: int, modes: tuple[str, ...]
) -> None:
    """How soon webhooks of Evolution API are answered that come at a fixed rate, measured from when each was due.

    Without workers and with workers beside that do what they can on the same machine.
    """
    load = Load(0, rate, seconds, sessions, secrets.token_hex(16), "", VARIETY)
    options = [f"--processes={processes}", f"--threads={threads}"]
    rows = [
        (mode, *measured(load, options if mode == "beside" else [], web_workers=web_workers))
        for mode in modes or ("without", "beside")
    ]
    columns = ("workers", "sent", "errors", "median ms", "p99 ms", "max ms", "sent late, p99 ms", "CPU ms each", "done")
    show(f"{rate:g} webhooks a second for {seconds:g} s", rows, *columns)


def measured(load: Load, options: list[str], *, web_workers: int) -> tuple[str, ...]:
    """The figures of one load, with workers of these options beside if there are any."""
    with site() as (settings, services), contextlib.ExitStack() as beside:
        folder = settings.var_dir / "served"
        folder.mkdir()
        for number in range(load.files):
            (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
        media = beside.enter_context(media_server(folder)).url + "/{}.jpg"
        port = free_port()
        web = beside.enter_context(
            web_app(settings, port, EVOLUTION_JWT_KEY=load.jwt_key, WEB_WORKERS=str(web_workers))
        )
        if options:
            beside.enter_context(running_workers(settings, options))
            time.sleep(5)  # until they work
        before = cpu_s(web)
        figures = run_load(Load(**{**asdict(load), "port": port, "media": media}))
        spent = cpu_s(web) - before
        return *described(figures), f"{1000 * spent / figures.sent:.2f}", accepted_and_done(services, figures)


def run_load(load: Load) -> Figures:
    command = [sys.executable, "-m", "scripts.benchmarks.load"]
    finished = subprocess.run(command, input=json.dumps(asdict(load)), capture_output=True, text=True, check=True)
    return Figures(**json.loads(finished.stdout))


@contextlib.contextmanager
def web_app(settings: Settings, port: int, **given: str) -> Iterator[psutil.Process]:
    """The running web app with these settings beside the site's own."""
    env = os.environ | {"VAR_DIR": str(settings.var_dir), "PORT": str(port), "LOG_LEVEL": "info"} | given
    with (settings.var_dir / "web.log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "esteira.web"], env=env, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + ANSWERS_WITHIN_S
        while not answers(port):
            if time.monotonic() > deadline:
                raise RuntimeError((settings.var_dir / "web.log").read_text()[-2000:])
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2):
            return True
    except OSError:
        return False


def cpu_s(process: psutil.Process) -> float:
    """Processor time of a process and its children."""
    times = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return float(sum(time.user + time.system for time in times))


def described(figures: Figures) -> tuple[str, ...]:
    errors = ", ".join(f"{count} {name}" for name, count in figures.errors.items()) or "0"
    shown = (figures.median_ms, figures.p99_ms, figures.max_ms, figures.late_p99_ms)
    return str(figures.sent), errors, *(f"{value:.1f}" for value in shown)


def accepted_and_done(services: Services, figures: Figures) -> str:
    """How many are done just now; fails if one that was answered is not written down."""
    totals = services.catalogue.totals()
    refused = sum(figures.errors.values())
    if totals["received"] < figures.sent - refused:
        raise RuntimeError(f"{figures.sent} were sent, {refused} refused, {totals['received']} written down")
    return str(totals["done"])
