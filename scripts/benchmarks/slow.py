"""Servers that take a second for each file."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from pipeline.config.settings import Settings
from scripts.benchmarks import media
from scripts.benchmarks.findings import Finding, json_option, tell_and_keep
from scripts.benchmarks.machine import cpu_s
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.trials import trial

WARM = 16
EXAMPLES = examples(
    "scripts/bench slow                                  400 files from servers of 1 s: about 40 s",
    "scripts/bench slow --hosts 1 --count 100            all of one host: FETCH_PER_HOST bounds it",
    "scripts/bench slow --per-host 64 --threads 64       what more threads bring",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(10, 10_000), default=400, show_default=True, help="Files.")
@click.option("--delay-ms", type=click.FloatRange(10, 10_000), default=1000.0, show_default=True, help="Of a server.")
@click.option("--hosts", type=click.IntRange(1, 64), default=8, show_default=True, help="Servers, in turn.")
@click.option("--per-host", type=click.IntRange(1, 64), help="FETCH_PER_HOST; default: the setting's.")
@click.option("--processes", type=click.IntRange(1, 64), default=2, show_default=True, help="Worker processes.")
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True, help="Threads of each.")
@json_option
def slow(
    count: int,
    delay_ms: float,
    hosts: int,
    per_host: int | None,
    processes: int,
    threads: int,
    json_file: Path | None,
) -> None:
    """Files from several servers that take long: the time against the least that FETCH_PER_HOST and threads allow."""
    per_host = per_host or int(Settings.model_fields["fetch_per_host"].default)
    shape = Shape(hosts=hosts, per_host=per_host, processes=processes, threads=threads)
    tell_and_keep(measure(count, delay_ms / 1000, shape), json_file)


class Shape:
    """So many servers, and so many that may ask them."""

    def __init__(self, *, hosts: int, per_host: int, processes: int, threads: int) -> None:
        self.hosts, self.per_host, self.processes, self.threads = hosts, per_host, processes, threads

    def bound_s(self, count: int, delay_s: float) -> float:
        """The least time for `count` files of these hosts in turn: as many at once as threads and hosts allow."""
        by_threads = math.ceil(count / (self.processes * self.threads))
        by_hosts = math.ceil(math.ceil(count / self.hosts) / (self.processes * self.per_host))
        return max(by_threads, by_hosts) * delay_s


def measure(count: int, delay_s: float, shape: Shape) -> Finding:
    paths = media.load(count + WARM)
    took, cpu = carried(paths, delay_s, shape)
    bound = shape.bound_s(count, delay_s)
    row = {
        "hosts": shape.hosts,
        "FETCH_PER_HOST": shape.per_host,
        "threads in all": shape.processes * shape.threads,
        "seconds": took,
        "bound, s": bound,
        "of the bound": took / bound,
        "workers' CPU, % of all cores": 100 * cpu / took / (os.cpu_count() or 1),
    }
    title = f"{count} files from servers that take {1000 * delay_s:g} ms each"
    return Finding("slow", title, [row], figures=row)


def carried(paths: Sequence[Path], delay_s: float, shape: Shape) -> tuple[float, float]:
    """Seconds from the first hand-over to the last file done, and the workers' processor time meanwhile."""
    hosts = [f"127.0.0.{2 + number}" for number in range(shape.hosts)]
    with (
        media_server(media.KEPT, delay_s=delay_s, hosts=hosts) as server,
        trial(processes=shape.processes, threads=shape.threads, FETCH_PER_HOST=str(shape.per_host)) as run,
        run.working() as workers,
    ):
        rows = [
            media.row(path, server.urls[n % shape.hosts], f"m{n:06d}", f"s{n % 20:02d}") for n, path in enumerate(paths)
        ]
        with run.sending() as sender:
            run.warm(workers, sender, rows[-WARM:])
            before, began = cpu_s(workers.leaders), time.monotonic()
            sender.hand_over(rows[:-WARM])
            last = run.reach(workers, len(rows))
    return last.at - began, last.worker_cpu - before
