"""Measures the cost of a file in a short and in a long queue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.baselines import Esteira
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, json_option, ratio, show_and_save
from scripts.benchmarks.trials import Figures, log_progress, medians, rates, run_rounds, temporary_folder, trial

EXAMPLES = examples(
    "scripts/bench backlog                                1,000 and 100,000 waiting files: about four minutes",
    "scripts/bench backlog --waiting 500 --waiting 50000 --rounds 1",
)


@click.command(epilog=EXAMPLES)
@click.option(
    "--waiting",
    "sizes",
    type=click.IntRange(100, 1_000_000),
    multiple=True,
    default=(1000, 100_000),
    show_default=True,
    help="Waiting files; repeatable. The first value is the basis of the ratios.",
)
@click.option("--first", type=click.IntRange(30, 10_000), default=500, show_default=True, help="Files measured.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Rounds of each, in turn.")
@json_option
def backlog(sizes: tuple[int, ...], first: int, rounds: int, json_file: Path | None) -> None:
    """Cost of a file with few and with many files waiting behind it."""
    if min(sizes) < first:
        raise click.UsageError(f"--waiting must be at least --first, {first}")
    show_and_save(measure(sizes, first, rounds), json_file)


def measure(sizes: Sequence[int], first: int, rounds: int) -> BenchmarkResult:
    with temporary_folder() as folder:
        paths = media.tiny_wav_files(folder, 2 * first)
        with media_server(folder) as server:

            def run_once(name: str) -> Figures:
                rows = media.rows(paths, server.url)
                count = int(name.partition(" ")[0].replace(",", ""))
                waiting = [{**rows[n % len(rows)], "message_id": f"b{n:07d}"} for n in range(count)]
                return run_first_files(waiting, first)

            runs = run_rounds([f"{size:,} waiting" for size in sizes], rounds, run_once)
    figures_by_name = {name: medians(runs[name]) for name in runs}
    return BenchmarkResult(
        "backlog",
        f"The first {first} tiny files of a queue, medians of {rounds}",
        *rows_and_charts(figures_by_name),
        (),
        runs,
    )


def run_first_files(waiting: Sequence[media.Row], first: int) -> Figures:
    """Figures of the first files of a queue, from a third of them on, when both processes run with warm caches."""
    with trial() as run:
        assert isinstance(run.system, Esteira)
        log_progress(f"enqueueing {len(waiting):,} files")
        run.system.fill_concurrently(waiting)
        with run.workers() as workers:
            return rates(run.wait_until_done(workers, first // 3), run.wait_until_done(workers, first))


def rows_and_charts(figures_by_name: dict[str, Figures]) -> tuple[list[TableRow], list[Chart]]:
    """The rows and the chart."""
    base = next(iter(figures_by_name.values()))
    rows: list[TableRow] = []
    for name, figures in figures_by_name.items():
        cost, first_cost = (side["worker ms"] + side["redis ms"] for side in (figures, base))
        rows.append(
            {
                "": name,
                "files/s": figures["files/s"],
                "CPU incl. Redis, ms per file": cost,
                "ratio to first": ratio(cost, first_cost),
                "other CPU load, %": figures["other %"],
            }
        )
    bars = [(name, [figures["worker ms"], figures["redis ms"]]) for name, figures in figures_by_name.items()]
    return rows, [Chart("backlog", "Processor time per tiny file", "ms", bars, parts=("workers", "Redis"))]
