"""How soon a client hears of a stored file, and what telling costs the belt."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import redis
import rich_click as click
from pydantic import SecretStr

from actors.hook import Hook
from actors.redis_queue.queue import QUICK_TIMEOUT_S, open_queue
from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Attachment
from pipeline.notifiers.live import build
from pipeline.security.tokens import TokenSigner
from pipeline.services import Services
from scripts.benchmarks.environment import running_workers, show, site
from scripts.benchmarks.hooks import cpu_s, web_app
from scripts.benchmarks.media_server import media_server
from tests.support.events import outcome
from tests.support.system import photo
from tests.support.valkey import free_port

TOKEN = "the-token-of-the-benchmark"  # noqa: S105
BOOT_S = 5.0
EVENTS, WARM = 5000, 1000


@click.command()
@click.option("--clients", default=200, show_default=True, help="Connected clients.")
@click.option("--rate", default=10.0, show_default=True, help="Files a second.")
@click.option("--seconds", default=20.0, show_default=True, help="For so long.")
@click.option("--rounds", default=3, show_default=True, help="Of the belt with live events and without, in turn.")
@click.option("--count", default=600, show_default=True, help="Photos of each of these rounds.")
def live(clients: int, rate: float, seconds: float, rounds: int, count: int) -> None:
    """How soon clients hear of a file once it is stored, and what telling costs the belt.

    All clients hear of everything in the first row; in the second they are of 20 sessions, each of which hears of its
    own. A time is that from the catalogue's note that the file is stored to the event in a client.
    """
    rows = [
        (who, *told(clients, rate, seconds, sessions=sessions))
        for who, sessions in (("everything", 0), ("their session", 20))
    ]
    title = f"{clients} clients, {rate:g} files a second for {seconds:g} s"
    show(title, rows, "clients hear", "events", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU ms of the web app")
    show("What telling costs", cost(rounds, count), "", "with", "without", "more")


def told(clients: int, rate: float, seconds: float, *, sessions: int) -> tuple[str, ...]:
    """The figures of one row; with no sessions all clients hear of everything."""
    signer = TokenSigner(SecretStr(TOKEN))
    tokens = [signer.session_token(f"s{number % sessions}", days=1) if sessions else TOKEN for number in range(clients)]
    with site() as (settings, services), contextlib.ExitStack() as beside:
        url = beside.enter_context(media_server(served(settings, 1))).url
        port = free_port()
        web = beside.enter_context(web_app(settings, port, API_TOKEN=TOKEN))
        beside.enter_context(running_workers(settings, ["--processes=2", "--threads=8"]))
        time.sleep(BOOT_S)
        number = int(rate * seconds)
        wanted = number * clients // (sessions or 1)
        with listening(port, wanted, tokens) as listeners:
            before = cpu_s(web)
            hand_over(settings, services, f"{url}/0.jpg", rate, number)
            assert listeners.stdout
            took = sorted(float(line) for line in listeners.stdout)
            spent = 1000 * (cpu_s(web) - before) / number
    shown = (statistics.median(took), *(took[int(len(took) * part)] for part in (0.95, 0.99)), took[-1], spent)
    return f"{len(took)} of {wanted}", *(f"{value:.1f}" for value in shown)


def served(settings: Settings, count: int) -> Path:
    """A folder with so many different photos."""
    folder = settings.var_dir / "served"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
    return folder


@contextlib.contextmanager
def listening(port: int, events: int, tokens: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Clients with these tokens for the length of the block, all of them let in."""
    command = [sys.executable, "-m", "scripts.benchmarks.listeners", str(port), str(events)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n".join(tokens))
        process.stdin.close()
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the clients are not let in")
        yield process
    finally:
        process.kill()
        process.wait()


def hand_over(settings: Settings, services: Services, url: str, rate: float, total: int) -> None:
    """So many files at a fixed rate, of twenty sessions in turn."""
    taker = Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
    started = time.monotonic()
    for number in range(total):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        taker.take(Attachment(session=f"s{number % 20}", message_id=str(number), url=url, kind="image"))


def cost(rounds: int, count: int) -> list[tuple[str, ...]]:
    """Files a second and processor time of each, with and without; and what one event costs by itself."""
    measured = [(carried(count, EVENT_HISTORY="1000"), carried(count, EVENT_HISTORY="0")) for _ in range(rounds)]
    rows = []
    for name, place in (("files/s, median", 0), ("workers' CPU for a file, ms, median", 1)):
        own, none = (statistics.median(pair[side][place] for pair in measured) for side in (0, 1))
        rows.append((name, f"{own:.1f}", f"{none:.1f}", f"{100 * (own / none - 1):+.1f} %"))
    worker, server = event_ms()
    rows.append(("a worker's CPU for one event, ms", f"{worker:.3f}", "", ""))
    rows.append(("Redis' CPU for one event, ms", f"{server:.3f}", "", ""))
    return rows


def carried(count: int, **given: str) -> tuple[float, float]:
    """Files a second from a full queue, and milliseconds of the workers' processor time for a file."""
    with site() as (settings, services), media_server(served(settings, count)) as server:
        taker = Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
        for number in range(count):
            taker.take(
                Attachment(session="bench", message_id=str(number), url=f"{server.url}/{number}.jpg", kind="image")
            )
        with running_workers(settings, ["--processes=2", "--threads=8"], **given) as workers:
            first = done_of(services, count // 10)
            began, spent = time.perf_counter(), cpu_s(workers)
            last = done_of(services, count)
            took, spent = time.perf_counter() - began, cpu_s(workers) - spent
    return (last - first) / took, 1000 * spent / (last - first)


def done_of(services: Services, wanted: int) -> int:
    """How many are done, once they are so many."""
    while (done := services.catalogue.totals()["done"]) < wanted:
        time.sleep(0.02)
    return done


def event_ms() -> tuple[float, float]:
    """Milliseconds of processor time for one event: of the thread that tells it, and of Redis."""
    with site() as (settings, _):
        tell = build(settings, HttpClient())
        assert tell
        events = [outcome(name="1640995200_ababab.jpeg", caption="look at this", size=12345) for _ in range(EVENTS)]
        for event in events[:WARM]:  # the history is full then
            tell(event)
        client = open_queue(settings).client
        before, began = redis_cpu_s(client), time.thread_time()
        for event in events[WARM:]:
            tell(event)
        told = EVENTS - WARM
        return 1000 * (time.thread_time() - began) / told, 1000 * (redis_cpu_s(client) - before) / told


def redis_cpu_s(client: redis.Redis) -> float:
    found = dict(client.info("cpu"))
    return float(found["used_cpu_user"]) + float(found["used_cpu_sys"])
