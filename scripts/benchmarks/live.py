"""Measures the delay of live events, and their cost for the pipeline."""

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
from scripts.benchmarks.environment import isolated_services, running_workers, show
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
@click.option("--rate", default=10.0, show_default=True, help="Files per second.")
@click.option("--seconds", default=20.0, show_default=True, help="Duration.")
@click.option("--rounds", default=3, show_default=True, help="Rounds with and without live events, in turn.")
@click.option("--count", default=600, show_default=True, help="Photos in each of these rounds.")
def live(clients: int, rate: float, seconds: float, rounds: int, count: int) -> None:
    """Delay from storing a file to the event in a client, and the cost of live events for the pipeline.

    In the first row all clients receive all events. In the second row the clients belong to 20 sessions and receive
    the events of their session. The delay starts with the catalogue's timestamp of the stored file.
    """
    rows = [
        (scope, *measure_clients(clients, rate, seconds, sessions=sessions))
        for scope, sessions in (("everything", 0), ("their session", 20))
    ]
    title = f"{clients} clients, {rate:g} files per second for {seconds:g} s"
    show(title, rows, "clients receive", "events", "p50 ms", "p95 ms", "p99 ms", "max ms", "CPU ms of the web app")
    show("Cost of live events", cost(rounds, count), "", "with", "without", "difference")


def measure_clients(clients: int, rate: float, seconds: float, *, sessions: int) -> tuple[str, ...]:
    """The figures of one row. Without sessions all clients receive all events."""
    signer = TokenSigner(SecretStr(TOKEN))
    tokens = [
        signer.session_token(f"s{number % sessions}", gateway="media", days=1) if sessions else TOKEN
        for number in range(clients)
    ]
    with isolated_services() as (settings, services), contextlib.ExitStack() as stack:
        url = stack.enter_context(media_server(photo_folder(settings, 1))).url
        port = free_port()
        web = stack.enter_context(web_app(settings, port, API_TOKEN=TOKEN))
        stack.enter_context(running_workers(settings, ["--processes=2", "--threads=8"]))
        time.sleep(BOOT_S)
        number = int(rate * seconds)
        wanted = number * clients // (sessions or 1)
        with event_clients(port, wanted, tokens) as process:
            before = cpu_s(web)
            hand_over(settings, services, f"{url}/0.jpg", rate, number)
            assert process.stdout
            latencies = sorted(float(line) for line in process.stdout)
            spent = 1000 * (cpu_s(web) - before) / number
    figures = (
        statistics.median(latencies),
        *(latencies[int(len(latencies) * part)] for part in (0.95, 0.99)),
        latencies[-1],
        spent,
    )
    return f"{len(latencies)} of {wanted}", *(f"{value:.1f}" for value in figures)


def photo_folder(settings: Settings, count: int) -> Path:
    """Creates a folder with `count` photos."""
    folder = settings.var_dir / "served"
    folder.mkdir()
    for number in range(count):
        (folder / f"{number}.jpg").write_bytes(photo(size=(320, 240)))
    return folder


@contextlib.contextmanager
def event_clients(port: int, events: int, tokens: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Runs clients with these tokens for the duration of the block. All of them are connected."""
    command = [sys.executable, "-m", "scripts.benchmarks.event_clients", str(port), str(events)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin
        assert process.stdout
        process.stdin.write("\n".join(tokens))
        process.stdin.close()
        if process.stdout.readline() != "ready\n":
            raise RuntimeError("the clients could not connect")
        yield process
    finally:
        process.kill()
        process.wait()


def hand_over(settings: Settings, services: Services, url: str, rate: float, total: int) -> None:
    """Hands over `total` files at a fixed rate, of 20 sessions in turn."""
    hook = Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
    started = time.monotonic()
    for number in range(total):
        time.sleep(max(0.0, started + number / rate - time.monotonic()))
        hook.accept(Attachment(session=f"s{number % 20}", message_id=str(number), url=url, kind="image"))


def cost(rounds: int, count: int) -> list[tuple[str, ...]]:
    """Files per second and processor time per file with and without live events, and the cost of one event."""
    measured = [
        (drain_queue(count, EVENT_HISTORY="1000"), drain_queue(count, EVENT_HISTORY="0")) for _ in range(rounds)
    ]
    rows: list[tuple[str, ...]] = []
    for name, column in (("files/s, median", 0), ("workers' CPU for a file, ms, median", 1)):
        own, none = (statistics.median(pair[side][column] for pair in measured) for side in (0, 1))
        rows.append((name, f"{own:.1f}", f"{none:.1f}", f"{100 * (own / none - 1):+.1f} %"))
    worker, server = event_ms()
    rows.append(("a worker's CPU for one event, ms", f"{worker:.3f}", "", ""))
    rows.append(("Redis' CPU for one event, ms", f"{server:.3f}", "", ""))
    return rows


def drain_queue(count: int, **overrides: str) -> tuple[float, float]:
    """Files per second from a full queue, and the workers' processor time per file in ms."""
    with isolated_services() as (settings, services), media_server(photo_folder(settings, count)) as server:
        hook = Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
        for number in range(count):
            hook.accept(
                Attachment(session="bench", message_id=str(number), url=f"{server.url}/{number}.jpg", kind="image")
            )
        with running_workers(settings, ["--processes=2", "--threads=8"], **overrides) as workers:
            first = done_of(services, count // 10)
            began, spent = time.perf_counter(), cpu_s(workers)
            last = done_of(services, count)
            took, spent = time.perf_counter() - began, cpu_s(workers) - spent
    return (last - first) / took, 1000 * spent / (last - first)


def done_of(services: Services, wanted: int) -> int:
    """Waits until `wanted` files are done. Returns how many are."""
    while (done := services.catalogue.totals()["done"]) < wanted:
        time.sleep(0.02)
    return done


def event_ms() -> tuple[float, float]:
    """Processor time of one event in ms: of the publishing thread, and of Redis."""
    with isolated_services() as (settings, _):
        publish = build(settings, HttpClient())
        assert publish
        events = [outcome(name="1640995200_ababab.jpeg", caption="look at this", size=12345) for _ in range(EVENTS)]
        for event in events[:WARM]:  # afterwards the history is full
            publish(event)
        client = open_queue(settings).client
        before, began = redis_cpu_s(client), time.thread_time()
        for event in events[WARM:]:
            publish(event)
        count = EVENTS - WARM
        return 1000 * (time.thread_time() - began) / count, 1000 * (redis_cpu_s(client) - before) / count


def redis_cpu_s(client: redis.Redis) -> float:
    info = dict(client.info("cpu"))
    return float(info["used_cpu_user"]) + float(info["used_cpu_sys"])
