"""A listener that does the work itself against one that hands it over."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, tell_and_keep
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.trials import Figures, trial

ITSELF, QUEUE = "does it itself", "hands it over"
WARM = 16
EXAMPLES = examples(
    "scripts/bench listener                   200 files from a server of 100 ms: about 40 s",
    "scripts/bench listener --delay-ms 500    from a server far away",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(10, 10_000), default=200, show_default=True, help="Files.")
@click.option("--delay-ms", type=click.FloatRange(0, 5000), default=100.0, show_default=True, help="Of their server.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Threads of each.")
@json_option
def listener(count: int, delay_ms: float, processes: int, threads: int, json_file: Path | None) -> None:
    """A listener that fetches, checks and keeps one file after the other itself, against one that hands them over."""
    found = measure(count, delay_s=delay_ms / 1000, processes=processes, threads=threads)
    tell_and_keep(found, json_file)


def measure(count: int, *, delay_s: float, processes: int, threads: int) -> Finding:
    paths = media.load(count + WARM)
    with media_server(media.KEPT, delay_s=delay_s) as server:
        figures = {
            ITSELF: itself(paths[:count], server),
            QUEUE: handed_over(paths, server, processes=processes, threads=threads),
        }
    factor = figures[QUEUE]["files/s"] / figures[ITSELF]["files/s"]
    rows: list[Line] = [
        {
            "the listener": name,
            "files/s": one["files/s"],
            "factor": one["files/s"] / figures[ITSELF]["files/s"],
            "held for a file, ms": one["held ms"],
        }
        for name, one in figures.items()
    ]
    title = f"{count} files from a server that answers after {1000 * delay_s:g} ms"
    bars = [(name, [one["files/s"]]) for name, one in figures.items()]
    chart = Chart("listener", f"{title}: files a second", "files/s", bars, ours=QUEUE)
    return Finding("listener", title, rows, [chart], [f"{factor:.1f} times the files a second."], figures)


def itself(paths: list[Path], server: MediaServer) -> Figures:
    """The bare loop in one thread."""
    with trial("bare loop", processes=1, threads=1, on_disk=True) as run:
        run.contestant.fill(media.rows(paths, server.url))
        with run.working() as workers:
            first = run.reach(workers, 1)
            last = run.reach(workers, len(paths))
    rate = (last.done - first.done) / (last.at - first.at)
    return {"files/s": rate, "held ms": 1000 / rate}


def handed_over(paths: list[Path], server: MediaServer, *, processes: int, threads: int) -> Figures:
    """From the first call of process_media() to the last file done, with workers that are warm."""
    rows = media.rows(paths, server.url)
    with (
        trial(processes=processes, threads=threads, on_disk=True) as run,
        run.working() as workers,
        run.sending() as sender,
    ):
        run.warm(workers, sender, rows[-WARM:])
        began = time.monotonic()
        answers = sender.hand_over(rows[:-WARM])
        last = run.reach(workers, len(rows))
    held = statistics.median(float(answer["ns"]) for answer in answers)
    return {"files/s": len(answers) / (last.at - began), "held ms": held / 1e6}
