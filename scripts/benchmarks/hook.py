"""How long process_media() holds its caller."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable

import rich_click as click
from pydantic import SecretStr

from actors.belt import QUICK_TIMEOUT_S, open_belt
from actors.hook import Hook
from pipeline.models import Attachment
from pipeline.settings import Settings
from scripts.benchmarks.site import file_server, show, site
from tests.support.plant import photo


@click.command()
@click.option("--count", default=2000, show_default=True, help="Calls to measure.")
def hook(count: int) -> None:
    """How long process_media() holds its caller."""
    with site() as (settings, services), file_server(settings.var_dir, delay_s=0.1) as url:
        (settings.var_dir / "a.jpg").write_bytes(photo())
        taker = Hook(services, open_belt(settings, timeout_s=QUICK_TIMEOUT_S))
        numbers = iter(range(10**9))

        def take() -> None:
            taker.take(Attachment(session="bench", message_id=str(next(numbers)), url=f"{url}/a.jpg", size=100_000))

        with (settings.var_dir / "synced").open("wb", buffering=0) as out:

            def sync() -> None:
                out.write(bytes(4096))
                os.fsync(out.fileno())

            figures = [("PING", micros(taker.belt.client.ping, count)), ("fsync", micros(sync, 300))]
        figures.append(("process_media(), queued", micros(take, count)))
        taker = Hook(services, open_belt(away(settings), timeout_s=QUICK_TIMEOUT_S))
        figures.append(("process_media(), no queue, server of 100 ms", micros(take, 20)))
    show(
        "How long the listener is held",
        [(name, f"{statistics.median(took):.0f}", f"{took[int(len(took) * 0.99)]:.0f}") for name, took in figures],
        *("call", "median µs", "p99 µs"),
    )


def away(settings: Settings) -> Settings:
    """The same settings with a Redis where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    return settings.model_copy(update={"redis_url": SecretStr(f"redis://127.0.0.1:{port}/0")})


def micros(call: Callable[[], object], count: int) -> list[float]:
    """How long each of so many calls took, in µs, in order of length."""
    took = []
    for _ in range(count):
        started = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - started) / 1000)
    return sorted(took)
