"""The same content many times, its hash known beforehand."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.findings import Finding, json_option, tell_and_keep
from scripts.benchmarks.machine import Trouble
from scripts.benchmarks.media_server import media_server
from scripts.benchmarks.trials import trial

EXAMPLES = examples(
    "scripts/bench duplicates                              1000 attachments of 100 contents: about 20 s",
    "scripts/bench duplicates --contents 1 --count 200     one picture that a campaign sends to everybody",
)


@click.command(epilog=EXAMPLES)
@click.option("--count", type=click.IntRange(10, 100_000), default=1000, show_default=True, help="Attachments.")
@click.option("--contents", type=click.IntRange(1, 10_000), default=100, show_default=True, help="Different files.")
@click.option("--delay-ms", type=click.FloatRange(0, 5000), default=50.0, show_default=True, help="Of their server.")
@json_option
def duplicates(count: int, contents: int, delay_ms: float, json_file: Path | None) -> None:
    """Many attachments of few contents whose hash is known beforehand: how often each content is downloaded."""
    tell_and_keep(measure(count, contents, delay_s=delay_ms / 1000), json_file)


def measure(count: int, contents: int, *, delay_s: float) -> Finding:
    """Raises Trouble if storage does not hold each content once."""
    paths = media.load(contents)
    with media_server(media.KEPT, delay_s=delay_s) as server, trial() as run:
        rows = [hashed(path, server.url, n) for n, path in enumerate(paths[n % contents] for n in range(count))]
        random.Random(1).shuffle(rows)  # noqa: S311
        run.contestant.fill(rows)
        with run.working() as workers:
            first, last = run.reach(workers, max(1, count // 10)), run.reach(workers, count)
        counts, stored = server.counts(), run.contestant.stored()
    if stored != contents:
        raise Trouble(f"{contents} contents, {stored} stored")
    row = {
        "attachments": count,
        "contents": contents,
        "downloads": sum(counts.values()),
        "of one content at most": max(counts.values()),
        "stored": stored,
        "files/s": (last.done - first.done) / (last.at - first.at),
    }
    title = f"{count} attachments of {contents} contents, their hashes known beforehand"
    return Finding("duplicates", title, [row], figures=row)


def hashed(path: Path, url: str, number: int) -> media.Row:
    """An attachment that says what its content hashes to."""
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return media.row(path, url, f"d{number:06d}", f"s{number % 20:02d}") | {"file_sha256": sha256}
