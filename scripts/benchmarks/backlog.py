"""Whether a long queue makes each file dearer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.baselines import Esteira
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, ratio, tell_and_keep
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.trials import Figures, between, folder_for, in_turns, medians, tell, trial

EXAMPLES = examples(
    "scripts/bench backlog                                1,000 and 100,000 waiting: some four minutes",
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
    help="Files that wait; may be given several times. The first one is compared with.",
)
@click.option("--first", type=click.IntRange(30, 10_000), default=500, show_default=True, help="Files worked on.")
@click.option("--rounds", type=click.IntRange(1, 20), default=3, show_default=True, help="Of each, in turns.")
@json_option
def backlog(sizes: tuple[int, ...], first: int, rounds: int, json_file: Path | None) -> None:
    """The cost of a file with few and with many waiting behind it."""
    if min(sizes) < first:
        raise click.UsageError(f"--waiting must be at least --first, {first}")
    tell_and_keep(measure(sizes, first, rounds), json_file)


def measure(sizes: Sequence[int], first: int, rounds: int) -> Finding:
    with folder_for() as folder:
        paths = media.tiny_sounds(folder, 2 * first)
        with media_server(folder) as server:

            def once(name: str) -> Figures:
                rows = media.rows(paths, server.url)
                count = int(name.partition(" ")[0].replace(",", ""))
                waiting = [{**rows[n % len(rows)], "message_id": f"b{n:07d}"} for n in range(count)]
                return carried(waiting, first)

            runs = in_turns([f"{size:,} waiting" for size in sizes], rounds, once)
    found = {name: medians(runs[name]) for name in runs}
    return Finding(
        "backlog", f"The first {first} tiny files of a queue, medians of {rounds}", *described(found), (), runs
    )


def carried(waiting: Sequence[media.Row], first: int) -> Figures:
    """Figures of the first files of a queue; after a third of them both processes work, and caches are warm."""
    with trial() as run:
        assert isinstance(run.contestant, Esteira)
        tell(f"{len(waiting):,} are put onto the belt")
        run.contestant.pour(waiting)
        with run.working() as workers:
            return between(run.reach(workers, first // 3), run.reach(workers, first))


def described(found: dict[str, Figures]) -> tuple[list[Line], list[Chart]]:
    """The rows and the chart."""
    base = next(iter(found.values()))
    rows: list[Line] = []
    for name, one in found.items():
        cost, first_cost = (each["worker ms"] + each["redis ms"] for each in (one, base))
        rows.append(
            {
                "": name,
                "files/s": one["files/s"],
                "CPU ms a file, with Redis": cost,
                "against the first": ratio(cost, first_cost),
                "others' CPU %": one["others %"],
            }
        )
    bars = [(name, [one["worker ms"], one["redis ms"]]) for name, one in found.items()]
    return rows, [Chart("backlog", "Processor time for a tiny file", "ms", bars, parts=("workers", "Redis"))]
