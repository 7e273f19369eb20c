"""Measures how soon the dashboard is painted."""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rich_click as click
from playwright.sync_api import Page, sync_playwright

from pipeline.config.settings import Settings
from scripts.benchmarks.environment import isolated_services, show
from scripts.benchmarks.hooks import START_TIMEOUT_S, is_ready
from scripts.benchmarks.rows import fill
from tests.support.valkey import free_port

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
FLAGS = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
CACHES = ("first visit", "again")


@click.command()
@click.option("--rows", default=100_000, show_default=True, help="Rows in the catalogue.")
@click.option(
    "--loads", default=10, show_default=True, help="Loads of each page, with an empty and with a filled cache."
)
@click.option("--path", "paths", multiple=True, help="Measure only this page.")
def dashboard(rows: int, loads: int, paths: tuple[str, ...]) -> None:
    """Time from the start of navigation to the first contentful paint in Chromium, for each page."""
    token = secrets.token_hex(16)
    with isolated_services(api_token=token) as (settings, services):
        fill(services, rows)
        port = free_port()
        with web_app(settings, port, token):
            figures = [
                (
                    path,
                    cache,
                    *median_and_max(
                        paint_times(f"http://127.0.0.1:{port}", path, token, loads, warm_cache=cache == "again")
                    ),
                )
                for path in paths or _pages()
                for cache in CACHES
            ]
    show(f"first contentful paint with {rows} rows, {loads} loads each", figures, "page", "cache", "p50 ms", "max ms")


def _pages() -> list[str]:
    from esteira.web.dashboard.pages import PAGES  # noqa: PLC0415  NiceGUI is imported only where it is needed

    return [page.path for page in PAGES if page.in_navigation]


@contextmanager
def web_app(settings: Settings, port: int, token: str) -> Iterator[None]:
    """Runs the web app with its dashboard for the duration of the block."""
    settings_env = {"VAR_DIR": str(settings.var_dir), "PORT": str(port), "API_TOKEN": token, "DASHBOARD": "true"}
    with (settings.var_dir / "web.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "esteira.web"], env=os.environ | settings_env, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_ready(port):
            if time.monotonic() > deadline:
                raise RuntimeError((settings.var_dir / "web.log").read_text()[-2000:])
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def paint_times(host: str, path: str, token: str, loads: int, *, warm_cache: bool) -> list[float]:
    """The paint times of `loads` loads in ms, each with a new browser context unless `warm_cache`."""
    if not Path(CHROMIUM).exists():
        raise click.ClickException(f"{CHROMIUM} is missing: install Chromium, or set CHROMIUM")
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        context = chromium.new_context()
        log_in(context.new_page(), host, token)
        cookies = context.cookies()
        paints = []
        for _ in range(loads + warm_cache):
            if not warm_cache:
                context = chromium.new_context()
                context.add_cookies(cookies)  # type: ignore[arg-type]
            page = context.new_page()
            answer = page.goto(host + path, wait_until="load")
            if answer is None or answer.status != 200:
                raise click.ClickException(f"{path} was not found")
            page.wait_for_selector("main h1")
            paints.append(float(page.evaluate(PAINTED)))
            page.close()
        chromium.close()
    return paints[warm_cache:]


def log_in(page: Page, host: str, token: str) -> None:
    """Logs in and waits for the first page."""
    page.goto(host + "/login")
    page.fill("#token", token)
    page.press("#token", "Enter")
    page.wait_for_selector("main h1:not(.door h1)")


def median_and_max(paints: list[float]) -> tuple[str, str]:
    return f"{statistics.median(paints):.0f}", f"{max(paints):.0f}"
