"""Measures how long process_media() blocks its caller."""

from __future__ import annotations

import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.machine import BenchmarkError
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, json_option, show_and_save
from scripts.benchmarks.trials import trial
from tests.support.valkey import free_port

CALLS_PER_TURN = 50
CALL, SEND = "process_media(), queued", "send() of stock Dramatiq"
PING, SYNC = "PING", "fsync"
INLINE = "process_media(), no queue"
EXAMPLES = examples(
    "scripts/bench hook                 2000 calls: about 20 s",
    "scripts/bench hook --inline 100    more files that are processed in the caller's thread",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(CALLS_PER_TURN, 100_000), default=2000, show_default=True, help="Calls.")
@click.option("--inline", type=click.IntRange(1, 1000), default=30, show_default=True, help="Files processed inline.")
@click.option(
    "--delay-ms", type=click.FloatRange(0, 5000), default=100.0, show_default=True, help="Delay of the media server."
)
@json_option
def hook(count: int, inline: int, delay_ms: float, json_file: Path | None) -> None:
    """How long process_media() blocks its caller, with a queue and without one.

    Compared with a PING of the same Redis from Python, one synced write to the same disk, and send() of stock
    Dramatiq, which writes nothing to disk.
    """
    show_and_save(measure(count, inline, delay_ms=delay_ms), json_file)


def measure(count: int, inline: int, *, delay_ms: float) -> BenchmarkResult:
    timings = calls(count)
    timings[INLINE] = inline_calls(inline, delay_ms / 1000)
    medians = {name: statistics.median(timings) for name, timings in timings.items()}
    rows: list[TableRow] = [
        {
            "": name,
            "calls": len(timings),
            "median µs": medians[name],
            "p99 µs": sorted(timings)[int(len(timings) * 0.99)],
        }
        for name, timings in timings.items()
    ]
    saved = 100 * (1 - medians[CALL] / medians[INLINE])
    notes = [
        f"Queueing saves the listener {saved:.2f} % of the time of inline processing with a media server that answers "
        f"after {delay_ms:g} ms.",
    ]
    chart = Chart(
        "hook",
        "How long a listener is blocked, median",
        "µs",
        [(name, [medians[name]]) for name in (CALL, SYNC, PING, SEND)],
        ours=CALL,
    )
    return BenchmarkResult("hook", "How long the listener is blocked", rows, [chart], notes, figures=medians)


def calls(count: int) -> dict[str, list[float]]:
    """Microseconds of each call, measured in turns. No workers run."""
    url = f"http://127.0.0.1:{free_port()}"
    fields = {"kind": "image", "mimetype": "image/jpeg", "size": 100_000}
    rows = [
        {"session": f"s{n % 20:02d}", "message_id": f"h{n:06d}", "url": f"{url}/{n}.jpg", **fields}
        for n in range(count)
    ]
    timings: dict[str, list[float]] = {name: [] for name in (CALL, SYNC, PING, SEND)}
    with ExitStack() as stack:
        ours, theirs = (stack.enter_context(trial(name, on_disk=True)) for name in ("Esteira", "stock Dramatiq"))
        callers = {name: stack.enter_context(run.caller()) for name, run in ((CALL, ours), (SEND, theirs))}
        client = stack.enter_context(ours.system.setup.connect())
        out = stack.enter_context((ours.system.setup.folder / "synced").open("wb", buffering=0))

        def sync() -> None:
            out.write(bytes(4096))
            os.fsync(out.fileno())

        for first in range(0, count, CALLS_PER_TURN):
            for name, caller in callers.items():
                timings[name] += [
                    answer["ns"] / 1e3 for answer in caller.hand_over(rows[first : first + CALLS_PER_TURN])
                ]
            timings[PING] += time_calls(client.ping, CALLS_PER_TURN)
            timings[SYNC] += time_calls(sync, CALLS_PER_TURN // 5)
    return timings


def inline_calls(count: int, delay_s: float) -> list[float]:
    """Microseconds of each call without Redis, when the file is processed in the caller's thread.

    Raises:
        BenchmarkError: A call used another mode.
    """
    away = f"redis://127.0.0.1:{free_port()}/0"
    paths = media.standard_load(count)
    with (
        media_server(media.LOAD_FOLDER, delay_s=delay_s) as server,
        trial(on_disk=True, REDIS_URL=away) as run,
        run.caller() as caller,
    ):
        answers = caller.hand_over(media.rows(paths, server.url))
    modes = Counter(answer["mode"] for answer in answers)
    if modes["inline"] != count:
        raise BenchmarkError(f"{count} files had the modes {dict(modes)}")
    return [answer["ns"] / 1e3 for answer in answers]


def time_calls(function: Callable[[], object], count: int) -> list[float]:
    """Calls a function `count` times. Returns the µs of each call."""
    timings = []
    for _ in range(count):
        started = time.perf_counter_ns()
        function()
        timings.append((time.perf_counter_ns() - started) / 1000)
    return timings
