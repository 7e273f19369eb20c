"""How long process_media() holds its caller."""

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
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, tell_and_keep
from scripts.benchmarks.machine import Trouble
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.trials import trial
from tests.support.valkey import free_port

AT_A_TIME = 50
CALL, SEND = "process_media(), queued", "send() of stock Dramatiq"
PING, SYNC = "PING", "fsync"
INLINE = "process_media(), no queue"
EXAMPLES = examples(
    "scripts/bench hook                 2000 calls: about 20 s",
    "scripts/bench hook --inline 100    more of those that process the file in the caller's thread",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(AT_A_TIME, 100_000), default=2000, show_default=True, help="Calls.")
@click.option("--inline", type=click.IntRange(1, 1000), default=30, show_default=True, help="Files processed inline.")
@click.option("--delay-ms", type=click.FloatRange(0, 5000), default=100.0, show_default=True, help="Of their server.")
@json_option
def hook(count: int, inline: int, delay_ms: float, json_file: Path | None) -> None:
    """How long process_media() holds its caller: with a queue, and without one.

    Beside it a PING of the same Redis from Python, one synced write to the same disk, and send() of stock Dramatiq,
    which writes nothing to disk.
    """
    tell_and_keep(measure(count, inline, delay_ms=delay_ms), json_file)


def measure(count: int, inline: int, *, delay_ms: float) -> Finding:
    took = calls(count)
    took[INLINE] = inline_calls(inline, delay_ms / 1000)
    middle = {name: statistics.median(one) for name, one in took.items()}
    rows: list[Line] = [
        {"": name, "calls": len(one), "median µs": middle[name], "p99 µs": sorted(one)[int(len(one) * 0.99)]}
        for name, one in took.items()
    ]
    saved = 100 * (1 - middle[CALL] / middle[INLINE])
    notes = [
        f"Queueing saves the listener {saved:.2f} % of what processing at once takes with a media server that answers "
        f"after {delay_ms:g} ms.",
    ]
    chart = Chart(
        "hook",
        "How long a listener is held, median",
        "µs",
        [(name, [middle[name]]) for name in (CALL, SYNC, PING, SEND)],
        ours=CALL,
    )
    return Finding("hook", "How long the listener is held", rows, [chart], notes, figures=middle)


def calls(count: int) -> dict[str, list[float]]:
    """Microseconds of each call, its neighbours taken in turn with it. Nobody works on what is handed over."""
    url = f"http://127.0.0.1:{free_port()}"
    fields = {"kind": "image", "mimetype": "image/jpeg", "size": 100_000}
    rows = [
        {"session": f"s{n % 20:02d}", "message_id": f"h{n:06d}", "url": f"{url}/{n}.jpg", **fields}
        for n in range(count)
    ]
    took: dict[str, list[float]] = {name: [] for name in (CALL, SYNC, PING, SEND)}
    with ExitStack() as held:
        ours, theirs = (held.enter_context(trial(name, on_disk=True)) for name in ("Esteira", "stock Dramatiq"))
        senders = {name: held.enter_context(run.sending()) for name, run in ((CALL, ours), (SEND, theirs))}
        client = held.enter_context(ours.contestant.place.connect())
        out = held.enter_context((ours.contestant.place.folder / "synced").open("wb", buffering=0))

        def sync() -> None:
            out.write(bytes(4096))
            os.fsync(out.fileno())

        for first in range(0, count, AT_A_TIME):
            for name, sender in senders.items():
                took[name] += [answer["ns"] / 1e3 for answer in sender.hand_over(rows[first : first + AT_A_TIME])]
            took[PING] += micros(client.ping, AT_A_TIME)
            took[SYNC] += micros(sync, AT_A_TIME // 5)
    return took


def inline_calls(count: int, delay_s: float) -> list[float]:
    """Microseconds of each call with the queue away, so that the file is processed in the caller's thread.

    Raises:
        Trouble: one was taken otherwise.
    """
    away = f"redis://127.0.0.1:{free_port()}/0"
    paths = media.load(count)
    with (
        media_server(media.KEPT, delay_s=delay_s) as server,
        trial(on_disk=True, REDIS_URL=away) as run,
        run.sending() as sender,
    ):
        answers = sender.hand_over(media.rows(paths, server.url))
    modes = Counter(answer["mode"] for answer in answers)
    if modes["inline"] != count:
        raise Trouble(f"{count} files were taken as {dict(modes)}")
    return [answer["ns"] / 1e3 for answer in answers]


def micros(call: Callable[[], object], count: int) -> list[float]:
    """How long each of so many calls took, in µs."""
    took = []
    for _ in range(count):
        started = time.perf_counter_ns()
        call()
        took.append((time.perf_counter_ns() - started) / 1000)
    return took
