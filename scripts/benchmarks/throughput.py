"""Files a second through the five stages, beside a bare loop and stock Dramatiq."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media, stages
from scripts.benchmarks.baselines import CONTESTANTS
from scripts.benchmarks.findings import Chart, Finding, json_option, ratio, tell_and_keep
from scripts.benchmarks.machine import Trouble
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.trials import Figures, carry, in_turns, medians, tell, trial

PROFILED = 50  # files of each kind
BASE = "bare loop"
EXAMPLES = examples(
    "scripts/bench throughput                                     1500 files, 3 rounds: some two minutes",
    "scripts/bench throughput --rounds 7 --json var/bench.json    for docs/performance.md",
    "scripts/bench throughput --only Esteira --processes 4        on a machine with more cores",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(30, 100_000), default=1500, show_default=True, help="Files of the load.")
@click.option("--rounds", type=click.IntRange(1, 50), default=3, show_default=True, help="Of each, in turns.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes of each.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Threads of each process.")
@click.option("--only", type=click.Choice(list(CONTESTANTS)), multiple=True, help="Without the others.")
@click.option("--profile", type=click.Path(dir_okay=False, path_type=Path), help="Then write a profile of each stage.")
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
    """Files a second from a full queue, and what one costs; beside a bare loop and stock Dramatiq.

    The profile is that of `scripts/bench stages`: the same stages in a single thread, so that each function's own
    processor time is seen.
    """
    names = [name for name in CONTESTANTS if not only or name in only]
    tell_and_keep(measure(names, count, rounds, processes=processes, threads=threads), json_file)
    if profile:
        stages.measure(PROFILED, profile)


def measure(names: list[str], count: int, rounds: int, *, processes: int, threads: int) -> Finding:
    """The queue is filled, then the workers start; counted between a tenth of the files and all of them."""
    tell(f"making {count} files, once, in {media.KEPT}")
    paths = media.load(count)
    with media_server(media.KEPT) as server:

        def once(name: str) -> Figures:
            return carried(name, server, paths, processes=processes, threads=threads)

        runs = in_turns(names, rounds, once)
    found = {name: medians(runs[name]) for name in names}
    base = found.get(BASE, {}).get("files/s")
    rows = [
        {
            "": name,
            "files/s": one["files/s"],
            "of the bare loop": ratio(one["files/s"], base),
            "workers' CPU ms a file": one["worker ms"],
            "Redis' CPU ms a file": one["redis ms"] if name != BASE else None,
            "others' CPU %": one["others %"],
        }
        for name, one in found.items()
    ]
    return Finding(
        "throughput",
        f"From a full queue: {count} files, {processes} processes of {threads} threads, medians of {rounds}",
        rows,
        [
            Chart("throughput", "Files a second", "files/s", [(name, [one["files/s"]]) for name, one in found.items()]),
            Chart(
                "cpu",
                "Processor time for a file",
                "ms",
                [(name, [one["worker ms"], one["redis ms"] * (name != BASE)]) for name, one in found.items()],
                parts=("workers", "Redis"),
            ),
        ],
        figures=runs,
    )


def carried(name: str, server: MediaServer, paths: list[Path], *, processes: int, threads: int) -> Figures:
    """One trial of one contestant over these files.

    Raises:
        Trouble: it calls more files done than it has stored.
    """
    rows = media.rows(paths, server.url)
    with trial(name, processes=processes, threads=threads) as run:
        figures = carry(run, rows, len(rows))
        if (stored := run.contestant.stored()) < len(rows):
            raise Trouble(f"{name} calls {len(rows)} files done and has stored {stored}")
    return figures
