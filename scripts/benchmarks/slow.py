"""Measures downloads from slow media servers."""

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
from scripts.benchmarks.machine import cpu_s
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.results import BenchmarkResult, json_option, show_and_save
from scripts.benchmarks.trials import trial

WARM = 16
EXAMPLES = examples(
    "scripts/bench slow                                  400 files from servers of 1 s: about 40 s",
    "scripts/bench slow --hosts 1 --count 100            a single host, bound by FETCH_PER_HOST",
    "scripts/bench slow --per-host 64 --threads 64       with more threads",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(10, 10_000), default=400, show_default=True, help="Files.")
@click.option(
    "--delay-ms", type=click.FloatRange(10, 10_000), default=1000.0, show_default=True, help="Delay of a server."
)
@click.option("--hosts", type=click.IntRange(1, 64), default=8, show_default=True, help="Servers, used in turn.")
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
    """Files from several slow servers: the time compared with the least that FETCH_PER_HOST and threads allow."""
    per_host = per_host or int(Settings.model_fields["fetch_per_host"].default)
    shape = Shape(hosts=hosts, per_host=per_host, processes=processes, threads=threads)
    show_and_save(measure(count, delay_ms / 1000, shape), json_file)


class Shape:
    """The number of servers, and of simultaneous downloads."""

    def __init__(self, *, hosts: int, per_host: int, processes: int, threads: int) -> None:
        self.hosts, self.per_host, self.processes, self.threads = hosts, per_host, processes, threads

    def bound_s(self, count: int, delay_s: float) -> float:
        """The least time for `count` files from the hosts in turn, with as many downloads at once as allowed."""
        by_threads = math.ceil(count / (self.processes * self.threads))
        by_hosts = math.ceil(math.ceil(count / self.hosts) / (self.processes * self.per_host))
        return max(by_threads, by_hosts) * delay_s


def measure(count: int, delay_s: float, shape: Shape) -> BenchmarkResult:
    paths = media.standard_load(count + WARM)
    took, cpu = time_files(paths, delay_s, shape)
    bound = shape.bound_s(count, delay_s)
    row = {
        "hosts": shape.hosts,
        "FETCH_PER_HOST": shape.per_host,
        "total threads": shape.processes * shape.threads,
        "seconds": took,
        "bound, s": bound,
        "ratio to bound": took / bound,
        "workers' CPU, % of all cores": 100 * cpu / took / (os.cpu_count() or 1),
    }
    title = f"{count} files from servers that take {1000 * delay_s:g} ms each"
    return BenchmarkResult("slow", title, [row], figures=row)


def time_files(paths: Sequence[Path], delay_s: float, shape: Shape) -> tuple[float, float]:
    """Seconds from the first hand-over to the last file done, and the workers' processor time."""
    hosts = [f"127.0.0.{2 + number}" for number in range(shape.hosts)]
    with (
        media_server(media.LOAD_FOLDER, delay_s=delay_s, hosts=hosts) as server,
        trial(processes=shape.processes, threads=shape.threads, FETCH_PER_HOST=str(shape.per_host)) as run,
        run.workers() as workers,
    ):
        rows = [
            media.row(path, server.urls[n % shape.hosts], f"m{n:06d}", f"s{n % 20:02d}") for n, path in enumerate(paths)
        ]
        with run.caller() as caller:
            run.warm(workers, caller, rows[-WARM:])
            before, began = cpu_s(workers.session_ids), time.monotonic()
            caller.hand_over(rows[:-WARM])
            last = run.wait_until_done(workers, len(rows))
    return last.at - began, last.worker_cpu - before
