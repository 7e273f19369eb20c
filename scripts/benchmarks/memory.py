"""How far the workers grow while one large file goes through."""

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
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, tell_and_keep
from scripts.benchmarks.machine import Running, Trouble, memory_mb
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.trials import Figures, folder_for, tell, trial

MB = 1_000_000
EVERY_S = 0.02
REST_S = 1.0
COPIES = 3  # served, staged, stored
EXAMPLES = examples(
    "scripts/bench memory                documents of 10, 100 and 1000 MB: about a minute, 4 GB of room",
    "scripts/bench memory --mb 500       one of 500 MB",
)

Seen = list[tuple[float, float]]


@click.command(epilog=EXAMPLES)
@click.option(
    "--mb",
    "sizes",
    type=click.IntRange(1, 1990),
    multiple=True,
    default=(10, 100, 1000),
    show_default=True,
    help="Size of a document; may be given several times.",
)
@json_option
def memory(sizes: tuple[int, ...], json_file: Path | None) -> None:
    """How far the workers' memory grows while one large document goes through."""
    tell_and_keep(measure(sizes), json_file)


def measure(sizes: Sequence[int]) -> Finding:
    figures = {size: grown(size) for size in sizes}
    rows: list[Line] = [
        {
            "document": f"{size:,} MB",
            "before, RSS MB": one["rss"],
            "RSS grows by MB": one["rss growth"],
            "PSS grows by MB": one["pss growth"],
            "seconds": one["seconds"],
        }
        for size, one in figures.items()
    ]
    bars = [(f"{size:,} MB", [max(0.0, one["pss growth"])]) for size, one in figures.items()]
    chart = Chart("memory", "Growth of the workers (PSS) while one document goes through", "MB", bars)
    title = "One large document through warm workers"
    return Finding("memory", title, rows, [chart], figures={str(size): one for size, one in figures.items()})


def grown(size: int) -> Figures:
    """Peak of the workers' memory while a document of this size goes through, above what they held at rest.

    Raises:
        Trouble: there is no room for the document.
    """
    room = (COPIES + 1) * size * MB
    with folder_for(room=room) as folder:
        if shutil.disk_usage(folder).free < room:
            raise Trouble(f"a document of {size} MB needs {room / 1e9:.1f} GB in {folder.parent}")
        tell(f"a document of {size} MB")
        small, large = (media.large_paper(folder / f"{mb}.pdf", mb * MB) for mb in (1, size))
        sounds = media.tiny_sounds(folder, 8)
        with media_server(folder) as server, trial(room=room) as run, run.working() as workers, run.sending() as sender:
            run.warm(workers, sender, media.rows([*sounds, small], server.url))
            with sampled(workers) as rest:
                time.sleep(REST_S)
            began = time.monotonic()
            with sampled(workers) as busy:
                sender.hand_over([media.row(large, server.url, "large")])
                run.reach(workers, len(sounds) + 2)
    return described(rest, busy) | {"seconds": time.monotonic() - began}


def described(rest: Seen, busy: Seen) -> Figures:
    """What was held at rest (median), and how far the peak lies above it; MB."""
    rss, pss = (statistics.median(column) for column in zip(*rest, strict=True))
    most_rss, most_pss = (max(column) for column in zip(*busy, strict=True))
    return {"rss": rss, "pss": pss, "rss growth": most_rss - rss, "pss growth": most_pss - pss}


@contextlib.contextmanager
def sampled(workers: Running) -> Iterator[Seen]:
    """RSS and PSS of the workers while the block runs, every 20 ms."""
    seen = [memory_mb(workers.leaders)]
    over = threading.Event()

    def look() -> None:
        while not over.wait(EVERY_S):
            seen.append(memory_mb(workers.leaders))

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield seen
    finally:
        over.set()
        looking.join()
