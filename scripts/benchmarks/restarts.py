"""Measures hooks while `esteira start` reloads and while its web app is killed."""

from __future__ import annotations

import secrets
import time

import psutil
import rich_click as click

from scripts.benchmarks.environment import show
from scripts.benchmarks.hooks import is_ready
from scripts.benchmarks.machine import BenchmarkError, wait_for
from tests.support.esteira import Installation, RunningEsteira, new_installation, start_esteira
from tests.support.hook_stream import KEPT, NEW, HookStream, Outcomes
from tests.support.media_server import MediaServer
from tests.support.system import photo
from tests.support.valkey import free_port

SETTLE_S = 3.0  # before the first restart and after the last one
READY_S = 60.0
DONE_S = 600.0  # until all attachments are processed


@click.command()
@click.option("--rate", default=50.0, show_default=True, help="Hooks per second, half of them on kept connections.")
@click.option("--reloads", default=10, show_default=True, help="How often `esteira reload` runs.")
@click.option("--kills", default=10, show_default=True, help="How often the web app is killed with SIGKILL.")
@click.option("--pause", default=12.0, show_default=True, help="Seconds from one restart to the next.")
def restarts(rate: float, reloads: int, kills: int, pause: float) -> None:
    """Hooks at a fixed rate through restarts: how many are refused, reset or lost, and the times of the answers."""
    token = secrets.token_hex(16)
    settings = {"PORT": str(free_port()), "API_TOKEN": token, "WEB_CONCURRENCY": "1", "LOG_LEVEL": "warning"}
    with (
        MediaServer({"photo.jpg": photo(size=(64, 64))}) as media,
        new_installation(**settings) as installation,
        start_esteira(installation) as running,
    ):
        port = int(settings["PORT"])
        wait_for("the web app answers", lambda: is_ready(port), within_s=READY_S)
        headers = {"Authorization": f"Bearer {token}"}
        with HookStream(port, media.url("photo.jpg"), rate=rate, headers=headers) as stream:
            time.sleep(SETTLE_S)
            resets = {"reloads": 0, "SIGKILLs": 0}
            for number in range(max(reloads, kills)):
                for name, count, restart in (
                    ("reloads", reloads, lambda: _reload(installation)),
                    ("SIGKILLs", kills, lambda: _kill(running, stream.outcomes)),
                ):
                    if number < count:
                        before = _resets(stream.outcomes)
                        restart()
                        time.sleep(pause)
                        resets[name] += _resets(stream.outcomes) - before
        outcomes = stream.outcomes
        _wait_until_done(installation, len(outcomes.ids))
    _show(outcomes, f"{rate:g} hooks per second through {reloads} reloads and {kills} SIGKILLs of the web app")
    click.echo(f"reset in reloads: {resets['reloads']}, in SIGKILLs: {resets['SIGKILLs']}")


def _reload(installation: Installation) -> None:
    reloaded = installation.run("reload", timeout=120)
    if reloaded.code:
        raise BenchmarkError(reloaded.err)


def _kill(running: RunningEsteira, outcomes: Outcomes) -> None:
    for process in psutil.Process(running.process.pid).children(recursive=True):
        if process.cmdline()[-2:] == ["-m", "esteira.web"]:  # its guard has another module
            process.kill()
    answered = outcomes.statuses.total()
    wait_for("hooks are answered again", lambda: outcomes.statuses.total() > answered, within_s=READY_S)


def _resets(outcomes: Outcomes) -> int:
    return outcomes.errors[f"reset {NEW}"] + outcomes.errors[f"reset {KEPT}"]


def _wait_until_done(installation: Installation, count: int) -> None:
    """Waits until all accepted attachments are processed.

    Raises:
        BenchmarkError: one of them was lost.
    """

    def done() -> bool:
        totals = installation.run("stats", "--json").json["totals"]
        return bool(totals["done"] == totals["received"] == count)

    wait_for(f"{count} accepted attachments are done", done, within_s=DONE_S)


def _show(outcomes: Outcomes, title: str) -> None:
    errors = outcomes.errors
    answered = sum(outcomes.statuses.values())
    accepted = outcomes.statuses[202]
    rows = [
        (
            name,
            str(sum(len(outcomes.times[kind]) for kind in kinds)),
            str(errors["refused"]) if len(kinds) > 1 else "",
            str(sum(errors[f"reset {kind}"] for kind in kinds)),
            *(f"{1000 * outcomes.percentile(share, kinds):.0f}" for share in (0.5, 0.95, 0.99, 1)),
        )
        for name, kinds in (("all", (NEW, KEPT)), ("new", (NEW,)), ("kept", (KEPT,)))
    ]
    show(title, rows, "connections", "answered", "refused", "reset", "p50 ms", "p95 ms", "p99 ms", "max ms")
    lost = outcomes.sent - len(outcomes.ids)
    click.echo(f"{outcomes.sent} sent, {answered} answered, {accepted} with 202, {errors['late']} late, {lost} lost")
