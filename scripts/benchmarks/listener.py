"""Compares a listener that processes files itself with one that hands them over."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, json_option, show_and_save
from scripts.benchmarks.trials import Figures, trial

BARE_LOOP, WITH_QUEUE = "processes itself", "hands over"
WARM = 16
EXAMPLES = examples(
    "scripts/bench listener                   200 files from a server of 100 ms: about 40 s",
    "scripts/bench listener --delay-ms 500    from a distant server",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(10, 10_000), default=200, show_default=True, help="Files.")
@click.option(
    "--delay-ms", type=click.FloatRange(0, 5000), default=100.0, show_default=True, help="Delay of the media server."
)
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Threads of each.")
@json_option
def listener(count: int, delay_ms: float, processes: int, threads: int, json_file: Path | None) -> None:
    """A listener that fetches, checks and stores each file itself, compared with one that hands them over."""
    result = measure(count, delay_s=delay_ms / 1000, processes=processes, threads=threads)
    show_and_save(result, json_file)


def measure(count: int, *, delay_s: float, processes: int, threads: int) -> BenchmarkResult:
    paths = media.standard_load(count + WARM)
    with media_server(media.LOAD_FOLDER, delay_s=delay_s) as server:
        figures = {
            BARE_LOOP: run_bare_loop(paths[:count], server),
            WITH_QUEUE: run_with_queue(paths, server, processes=processes, threads=threads),
        }
    factor = figures[WITH_QUEUE]["files/s"] / figures[BARE_LOOP]["files/s"]
    rows: list[TableRow] = [
        {
            "the listener": name,
            "files/s": system_figures["files/s"],
            "factor": system_figures["files/s"] / figures[BARE_LOOP]["files/s"],
            "blocked per file, ms": system_figures["held ms"],
        }
        for name, system_figures in figures.items()
    ]
    title = f"{count} files from a server that answers after {1000 * delay_s:g} ms"
    bars = [(name, [system_figures["files/s"]]) for name, system_figures in figures.items()]
    chart = Chart("listener", f"{title}: files per second", "files/s", bars, ours=WITH_QUEUE)
    return BenchmarkResult("listener", title, rows, [chart], [f"{factor:.1f} times as many files per second."], figures)


def run_bare_loop(paths: list[Path], server: MediaServer) -> Figures:
    """Measures the bare loop in one thread."""
    with trial("bare loop", processes=1, threads=1, on_disk=True) as run:
        run.system.fill(media.rows(paths, server.url))
        with run.workers() as workers:
            first = run.wait_until_done(workers, 1)
            last = run.wait_until_done(workers, len(paths))
    rate = (last.done - first.done) / (last.at - first.at)
    return {"files/s": rate, "held ms": 1000 / rate}


def run_with_queue(paths: list[Path], server: MediaServer, *, processes: int, threads: int) -> Figures:
    """Measures from the first call of process_media() to the last file done, with warm workers."""
    rows = media.rows(paths, server.url)
    with (
        trial(processes=processes, threads=threads, on_disk=True) as run,
        run.workers() as workers,
        run.caller() as caller,
    ):
        run.warm(workers, caller, rows[-WARM:])
        began = time.monotonic()
        answers = caller.hand_over(rows[:-WARM])
        last = run.wait_until_done(workers, len(rows))
    held = statistics.median(float(answer["ns"]) for answer in answers)
    return {"files/s": len(answers) / (last.at - began), "held ms": held / 1e6}
