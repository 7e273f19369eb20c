"""Measures downloads of the same content when its hash is declared."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.machine import BenchmarkError
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.results import BenchmarkResult, json_option, show_and_save
from scripts.benchmarks.trials import trial

EXAMPLES = examples(
    "scripts/bench duplicates                              1000 attachments of 100 contents: about 20 s",
    "scripts/bench duplicates --contents 1 --count 200     one picture of a campaign, sent to 200 sessions",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Attachments.")
@click.option("--contents", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Different files.")
@click.option(
    "--delay-ms", type=click.FloatRange(0, 5000), default=50.0, show_default=True, help="Delay of the media server."
)
@json_option
def duplicates(count: int, contents: int, delay_ms: float, json_file: Path | None) -> None:
    """Many attachments of few contents with declared hashes: how often each content is downloaded."""
    show_and_save(measure(count, contents, delay_s=delay_ms / 1000), json_file)


def measure(count: int, contents: int, *, delay_s: float) -> BenchmarkResult:
    """Raises BenchmarkError unless each content is stored once."""
    paths = media.standard_load(contents)
    with media_server(media.LOAD_FOLDER, delay_s=delay_s) as server, trial() as run:
        rows = [hashed(path, server.url, n) for n, path in enumerate(paths[n % contents] for n in range(count))]
        random.Random(1).shuffle(rows)  # noqa: S311
        run.system.fill(rows)
        with run.workers() as workers:
            first, last = run.wait_until_done(workers, max(1, count // 10)), run.wait_until_done(workers, count)
        counts, stored = server.counts(), run.system.stored()
    if stored != contents:
        raise BenchmarkError(f"{contents} contents, {stored} stored")
    row = {
        "attachments": count,
        "contents": contents,
        "downloads": sum(counts.values()),
        "max per content": max(counts.values()),
        "stored": stored,
        "files/s": (last.done - first.done) / (last.at - first.at),
    }
    title = f"{count} attachments of {contents} contents, with declared hashes"
    return BenchmarkResult("duplicates", title, [row], figures=row)


def hashed(path: Path, url: str, number: int) -> media.Row:
    """An attachment with the declared hash of its content."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return media.row(path, url, f"d{number:06d}", f"s{number % 20:02d}") | {"file_sha256": sha256}
