"""Workers on several hosts: network namespaces of this machine, with PostgreSQL, an S3 API and no shared folder."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media, networks
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, shown, tell_and_keep
from scripts.benchmarks.host_cluster import Estate, carried, estate
from scripts.benchmarks.outages import OUTAGES, lived_through
from scripts.benchmarks.shared import STORES
from scripts.benchmarks.trials import Figures, in_turns, medians, tell

SERVERS = ("Redis", "PostgreSQL", "S3")
EXAMPLES = examples(
    "scripts/bench hosts                              three hosts; one of them dies in the middle",
    "scripts/bench hosts --hosts 1 --hosts 2          each in turn",
    "scripts/bench hosts --stores s3 --stores sqlite  one host with SQLite and a folder beside",
    "scripts/bench hosts --outage cut                 a host loses its network, and gets it back",
)


@dataclass(frozen=True)
class Layout:
    """So many hosts of so many worker processes, with these stores."""

    hosts: int
    processes: int
    stores: str

    def __str__(self) -> str:
        return f"{self.hosts} host{'s' if self.hosts > 1 else ''}, {STORES[self.stores]}"


@click.command(epilog=EXAMPLES)
@click.option(
    "--hosts", "counts", type=click.IntRange(1, 16), multiple=True, default=(3,), show_default=True, help="How many."
)
@click.option(
    "--stores",
    type=click.Choice(list(STORES)),
    multiple=True,
    default=("s3",),
    show_default=True,
    help="PostgreSQL with an S3 API, or with a folder that all hosts see; or SQLite and a folder, for one host.",
)
@click.option("--files", type=click.IntRange(30, 100_000), default=600, show_default=True, help="Files of each round.")
@click.option("--rounds", type=click.IntRange(1, 50), default=1, show_default=True, help="Of each, in turns.")
@click.option("--processes", type=click.IntRange(1, 16), default=2, show_default=True, help="Worker processes a host.")
@click.option(
    "--outage",
    type=click.Choice([*OUTAGES, "none"]),
    default="kill",
    show_default=True,
    help="What befalls one of several hosts, with as many files again: it is killed, or its network is cut.",
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
    """Files a second with workers on several hosts, how these share them, and what is left when one of them dies.

    Each host is a network namespace of this machine with a folder of its own; Valkey, PostgreSQL, the S3 API (moto,
    which takes more processor time than our workers) and the media server are on another, and so is the listener. All
    of them share the cores of this machine: what is seen is what a file costs, not how much faster several machines
    are. No previews are made. Needs root, or user namespaces.
    """
    networks.enter(sys.argv[1:])
    # SQLite is a file of one host.
    each = [(1 if name == "sqlite" else count, name) for name in stores for count in counts]
    layouts = [Layout(count, processes, name) for count, name in dict.fromkeys(each)]
    tell_and_keep(measure(layouts, files, rounds, outage=outage), json_file)


def measure(layouts: Sequence[Layout], files: int, rounds: int, *, outage: str) -> Finding:
    """The queue is filled while its stage is paused, with all workers at rest; counted from a tenth of it on.

    Raises:
        Trouble: a file is not done, or one was done twice.
    """
    tell(f"making {2 * files} files, once, in {media.KEPT}")
    paths = media.load(2 * files)
    by_name = {str(layout): layout for layout in layouts}
    notes: list[str] = []

    def once(name: str) -> Figures:
        layout = by_name[name]
        with estate(layout.hosts, layout.processes, stores=layout.stores) as place:
            figures = carried(place, media.rows(paths[:files], place.shared.media.url))
            notes.append(_told(place, name))
            if layout.hosts > 1 and outage != "none":
                rows = media.rows(paths[files:], place.shared.media.url, prefix="o")
                notes.append(f"{name}: {lived_through(place, rows, outage)}")
        return figures

    runs = in_turns(list(by_name), rounds, once)
    found = {name: medians(runs[name]) for name in by_name}
    rows = [_row(name, one) for name, one in found.items()]
    parts = ("workers", *SERVERS)
    bars = [(name, [one.get(f"{part} ms", 0.0) for part in parts]) for name, one in found.items()]
    title = f"Workers on several hosts of one machine: {files} files, medians of {rounds}"
    chart = Chart("hosts", "Processor time for a file", "ms", bars, parts=parts)
    sizes = [_sizes(name, one) for name, one in found.items()]
    return Finding("hosts", title, rows, [chart], notes + sizes, figures={"rounds": runs, "notes": notes})


def _row(name: str, one: Figures) -> Line:
    servers = {f"{part}, CPU ms a file": one.get(f"{part} ms") for part in SERVERS}
    return {
        "": name,
        "files/s": one["files/s"],
        "workers, CPU ms a file": one["workers ms"],
        **servers,
        "others' CPU %": one["others %"],
    }


def _sizes(name: str, one: Figures) -> str:
    return (
        f"{name}: a file takes {shown(one['waiting, Redis bytes'])} bytes of Redis while it waits, and "
        f"{shown(one['done, catalogue bytes'])} of the catalogue when it is done; a host's workers take "
        f"{shown(one['host at rest MB'])} MB at rest and {shown(one['host MB'])} MB after the load (PSS)."
    )


def _told(place: Estate, name: str) -> str:
    finished = place.finished()
    shares = ", ".join(f"{host} {len(ids)}" for host, ids in finished.items())
    return f"{name}: {place.shared.done()} files done, each once; {shares}."
