"""Measures the growth of the workers' memory while they process one large file."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.machine import BenchmarkError, Program, memory_mb
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, json_option, show_and_save
from scripts.benchmarks.trials import Figures, log_progress, temporary_folder, trial

MB = 1_000_000
SAMPLE_INTERVAL_S = 0.02
REST_S = 1.0
COPIES = 3  # the served, the staged and the stored file
EXAMPLES = examples(
    "scripts/bench memory                documents of 10, 100 and 1000 MB: about a minute, needs 4 GB",
    "scripts/bench memory --mb 500       one of 500 MB",
)

Samples = list[tuple[float, float]]


@click.command(epilog=EXAMPLES)
@click.option(
    "--mb",
    "sizes",
    type=click.IntRange(1, 1990),
    multiple=True,
    default=(10, 100, 1000),
    show_default=True,
    help="Size of a document; repeatable.",
)
@json_option
def memory(sizes: tuple[int, ...], json_file: Path | None) -> None:
    """Growth of the workers' memory while they process one large document."""
    show_and_save(measure(sizes), json_file)


def measure(sizes: Sequence[int]) -> BenchmarkResult:
    figures = {size: measure_growth(size) for size in sizes}
    rows: list[TableRow] = [
        {
            "document": f"{size:,} MB",
            "before, RSS MB": figures["rss"],
            "RSS grows by MB": figures["rss growth"],
            "PSS grows by MB": figures["pss growth"],
            "seconds": figures["seconds"],
        }
        for size, figures in figures.items()
    ]
    bars = [(f"{size:,} MB", [max(0.0, figures["pss growth"])]) for size, figures in figures.items()]
    chart = Chart("memory", "Growth of the workers' memory (PSS) with one document", "MB", bars)
    title = "Warm workers that process one large document"
    return BenchmarkResult(
        "memory", title, rows, [chart], figures={str(size): figures for size, figures in figures.items()}
    )


def measure_growth(size: int) -> Figures:
    """Peak of the workers' memory while they process a document of `size` MB, above the memory of idle workers.

    Raises:
        BenchmarkError: There is not enough free space for the document.
    """
    room = (COPIES + 1) * size * MB
    with temporary_folder(room=room) as folder:
        if shutil.disk_usage(folder).free < room:
            raise BenchmarkError(f"a document of {size} MB needs {room / 1e9:.1f} GB in {folder.parent}")
        log_progress(f"a document of {size} MB")
        small, large = (media.large_pdf(folder / f"{mb}.pdf", mb * MB) for mb in (1, size))
        sounds = media.tiny_wav_files(folder, 8)
        with media_server(folder) as server, trial(room=room) as run, run.workers() as workers, run.caller() as caller:
            run.warm(workers, caller, media.rows([*sounds, small], server.url))
            with sampled(workers) as rest:
                time.sleep(REST_S)
            began = time.monotonic()
            with sampled(workers) as busy:
                caller.hand_over([media.row(large, server.url, "large")])
                run.wait_until_done(workers, len(sounds) + 2)
    return growth_figures(rest, busy) | {"seconds": time.monotonic() - began}


def growth_figures(rest: Samples, busy: Samples) -> Figures:
    """The memory of idle workers (median), and the difference to the peak; MB."""
    rss, pss = (statistics.median(column) for column in zip(*rest, strict=True))
    most_rss, most_pss = (max(column) for column in zip(*busy, strict=True))
    return {"rss": rss, "pss": pss, "rss growth": most_rss - rss, "pss growth": most_pss - pss}


@contextlib.contextmanager
def sampled(workers: Program) -> Iterator[Samples]:
    """Samples RSS and PSS of the workers every 20 ms while the block runs."""
    samples = [memory_mb(workers.session_ids)]
    stopped = threading.Event()

    def sample() -> None:
        while not stopped.wait(SAMPLE_INTERVAL_S):
            samples.append(memory_mb(workers.session_ids))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    try:
        yield samples
    finally:
        stopped.set()
        sampler.join()
