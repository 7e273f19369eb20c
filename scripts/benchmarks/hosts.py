"""Measures workers on several hosts: network namespaces of this machine, with PostgreSQL and an S3 API."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media, networks
from scripts.benchmarks.host_cluster import HostCluster, measure_files, start_cluster
from scripts.benchmarks.outages import OUTAGES, run_outage
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, format_figure, json_option, show_and_save
from scripts.benchmarks.shared_servers import STORES
from scripts.benchmarks.trials import Figures, log_progress, medians, run_rounds

SERVERS = ("Redis", "PostgreSQL", "S3")
EXAMPLES = examples(
    "scripts/bench hosts                              three hosts, one of which is killed",
    "scripts/bench hosts --hosts 1 --hosts 2          one host and two hosts in turn",
    "scripts/bench hosts --stores s3 --stores sqlite  also one host with SQLite and a folder",
    "scripts/bench hosts --outage cut                 a host loses its network for a while",
)


@dataclass(frozen=True)
class Layout:
    """Number of hosts, worker processes of each, and their stores."""

    hosts: int
    processes: int
    stores: str

    def __str__(self) -> str:
        return f"{self.hosts} host{'s' if self.hosts > 1 else ''}, {STORES[self.stores]}"


@click.command(epilog=EXAMPLES)
@click.option(
    "--hosts",
    "counts",
    type=click.IntRange(1, 16),
    multiple=True,
    default=(3,),
    show_default=True,
    help="Number of hosts.",
)
@click.option(
    "--stores",
    type=click.Choice(list(STORES)),
    multiple=True,
    default=("s3",),
    show_default=True,
    help="PostgreSQL with an S3 API or with a shared folder; or SQLite and a folder, for one host.",
)
@click.option("--files", type=click.IntRange(30, 100_000), default=600, show_default=True, help="Files of each round.")
@click.option("--rounds", type=click.IntRange(1, 50), default=1, show_default=True, help="Rounds of each, in turn.")
@click.option("--processes", type=click.IntRange(1, 16), default=2, show_default=True, help="Worker processes a host.")
@click.option(
    "--outage",
    type=click.Choice([*OUTAGES, "none"]),
    default="kill",
    show_default=True,
    help="Fault of one of several hosts, with as many files again: it is killed, or its network is cut.",
)
@json_option
def hosts(
    counts: tuple[int, ...],
    stores: tuple[str, ...],
    files: int,
    rounds: int,
    processes: int,
    outage: str,
    json_file: Path | None,
) -> None:
    """Files per second with workers on several hosts, their shares, and the recovery after the fault of one host.

    Each host is a network namespace of this machine with its own folder. Valkey, PostgreSQL, the S3 API (moto, which
    takes more processor time than our workers) and the media server run on a host of their own, and so does the
    listener. All share the cores of this machine, so the figures show the cost of a file, not how much faster several
    machines are. Previews are off. Needs root, or user namespaces.
    """
    networks.enter(sys.argv[1:])
    # SQLite is a file of one host.
    pairs = [(1 if name == "sqlite" else count, name) for name in stores for count in counts]
    layouts = [Layout(count, processes, name) for count, name in dict.fromkeys(pairs)]
    show_and_save(measure(layouts, files, rounds, outage=outage), json_file)


def measure(layouts: Sequence[Layout], files: int, rounds: int, *, outage: str) -> BenchmarkResult:
    """Fills the queue while the stage is paused and the workers are idle. Measures from a tenth of the files on.

    Raises:
        BenchmarkError: A file was not done, or was done twice.
    """
    log_progress(f"creating {2 * files} files in {media.LOAD_FOLDER}, unless they exist")
    paths = media.standard_load(2 * files)
    by_name = {str(layout): layout for layout in layouts}
    notes: list[str] = []

    def run_once(name: str) -> Figures:
        layout = by_name[name]
        with start_cluster(layout.hosts, layout.processes, stores=layout.stores) as cluster:
            figures = measure_files(cluster, media.rows(paths[:files], cluster.servers.media.url))
            notes.append(_shares_note(cluster, name))
            if layout.hosts > 1 and outage != "none":
                rows = media.rows(paths[files:], cluster.servers.media.url, prefix="o")
                notes.append(f"{name}: {run_outage(cluster, rows, outage)}")
        return figures

    runs = run_rounds(list(by_name), rounds, run_once)
    figures_by_name = {name: medians(runs[name]) for name in by_name}
    rows = [_row(name, figures) for name, figures in figures_by_name.items()]
    parts = ("workers", *SERVERS)
    bars = [(name, [figures.get(f"{part} ms", 0.0) for part in parts]) for name, figures in figures_by_name.items()]
    title = f"Workers on several hosts of one machine: {files} files, medians of {rounds}"
    chart = Chart("hosts", "Processor time per file", "ms", bars, parts=parts)
    sizes = [_sizes(name, figures) for name, figures in figures_by_name.items()]
    return BenchmarkResult("hosts", title, rows, [chart], notes + sizes, figures={"rounds": runs, "notes": notes})


def _row(name: str, figures: Figures) -> TableRow:
    servers = {f"{part} CPU, ms per file": figures.get(f"{part} ms") for part in SERVERS}
    return {
        "": name,
        "files/s": figures["files/s"],
        "workers CPU, ms per file": figures["workers ms"],
        **servers,
        "other CPU load, %": figures["other %"],
    }


def _sizes(name: str, figures: Figures) -> str:
    return (
        f"{name}: a file takes {format_figure(figures['waiting, Redis bytes'])} bytes of Redis while it waits, and "
        f"{format_figure(figures['done, catalogue bytes'])} of the catalogue when it is done; a host's workers take "
        f"{format_figure(figures['host at rest MB'])} MB at rest and {format_figure(figures['host MB'])} MB after the "
        "load (PSS)."
    )


def _shares_note(cluster: HostCluster, name: str) -> str:
    finished = cluster.finished()
    shares = ", ".join(f"{host} {len(ids)}" for host, ids in finished.items())
    return f"{name}: {cluster.servers.done()} files done, each once; {shares}."
