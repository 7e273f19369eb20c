"""Measures files per second through the five stages, compared with a bare loop and stock Dramatiq."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media, stages
from scripts.benchmarks.baselines import SYSTEMS
from scripts.benchmarks.machine import BenchmarkError
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.results import BenchmarkResult, Chart, json_option, ratio, show_and_save
from scripts.benchmarks.trials import Figures, log_progress, measure_trial, medians, run_rounds, trial

PROFILED = 50  # files of each kind
BASE = "bare loop"
EXAMPLES = examples(
    "scripts/bench throughput                                     1500 files, 3 rounds: about two minutes",
    "scripts/bench throughput --rounds 7 --json var/bench.json    for docs/performance.md",
    "scripts/bench throughput --only Esteira --processes 4        on a machine with more cores",
)


@click.command(epilog=EXAMPLES)
@click.option(
    "--count", type=click.IntRange(30, 100_000), default=1500, show_default=True, help="Files of the standard load."
)
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True, help="Rounds of each, in turn.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes of each.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Threads of each process.")
@click.option("--only", type=click.Choice(list(SYSTEMS)), multiple=True, help="Measure only this system; repeatable.")
@click.option("--profile", type=click.Path(dir_okay=False, path_type=Path), help="Also write a profile of each stage.")
@json_option
def throughput(
    count: int,
    rounds: int,
    processes: int,
    threads: int,
    only: tuple[str, ...],
    profile: Path | None,
    json_file: Path | None,
) -> None:
    """Files per second from a full queue and cost of a file, compared with a bare loop and stock Dramatiq.

    The profile is the one of `scripts/bench stages`: the same stages in a single thread.
    """
    names = [name for name in SYSTEMS if not only or name in only]
    show_and_save(measure(names, count, rounds, processes=processes, threads=threads), json_file)
    if profile:
        stages.measure(PROFILED, profile)


def measure(names: list[str], count: int, rounds: int, *, processes: int, threads: int) -> BenchmarkResult:
    """Fills the queue, then starts the workers. Measures between a tenth of the files and all of them."""
    log_progress(f"creating {count} files in {media.LOAD_FOLDER}, unless they exist")
    paths = media.standard_load(count)
    with media_server(media.LOAD_FOLDER) as server:

        def run_once(name: str) -> Figures:
            return run_trial(name, server, paths, processes=processes, threads=threads)

        runs = run_rounds(names, rounds, run_once)
    figures_by_name = {name: medians(runs[name]) for name in names}
    base = figures_by_name.get(BASE, {}).get("files/s")
    rows = [
        {
            "": name,
            "files/s": figures["files/s"],
            "ratio to bare loop": ratio(figures["files/s"], base),
            "workers' CPU, ms per file": figures["worker ms"],
            "Redis' CPU, ms per file": figures["redis ms"] if name != BASE else None,
            "other CPU load, %": figures["other %"],
        }
        for name, figures in figures_by_name.items()
    ]
    return BenchmarkResult(
        "throughput",
        f"From a full queue: {count} files, {processes} processes of {threads} threads, medians of {rounds}",
        rows,
        [
            Chart(
                "throughput",
                "Files per second",
                "files/s",
                [(name, [figures["files/s"]]) for name, figures in figures_by_name.items()],
            ),
            Chart(
                "cpu",
                "Processor time per file",
                "ms",
                [
                    (name, [figures["worker ms"], figures["redis ms"] * (name != BASE)])
                    for name, figures in figures_by_name.items()
                ],
                parts=("workers", "Redis"),
            ),
        ],
        figures=runs,
    )


def run_trial(name: str, server: MediaServer, paths: list[Path], *, processes: int, threads: int) -> Figures:
    """Runs one trial of a system with these files.

    Raises:
        BenchmarkError: Fewer files are stored than done.
    """
    rows = media.rows(paths, server.url)
    with trial(name, processes=processes, threads=threads) as run:
        figures = measure_trial(run, rows, len(rows))
        if (stored := run.system.stored()) < len(rows):
            raise BenchmarkError(f"{name}: {len(rows)} files are done, but {stored} are stored")
    return figures
