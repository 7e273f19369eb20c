"""Measures the cost of an attachment in a catalogue with millions of rows."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import rich_click as click

from esteira.cli.output import examples
from pipeline.catalogue import Catalogue, FinishRequest
from pipeline.models import Attachment, Claim, Detected, Facts, Fetched, Kind, Record, Refusal, Stored, Validated
from scripts.benchmarks.bulk_rows import fill
from scripts.benchmarks.results import BenchmarkResult, Chart, TableRow, json_option, ratio, show_and_save
from scripts.benchmarks.trials import ON_DISK, log_progress

T = TypeVar("T")
Timings = dict[str, list[tuple[float, float]]]
"""For each operation, the wall time and processor time of each call, in µs per file."""

OPERATIONS = ("hook insert", "claim", "stored", "finish")
BATCH = 16  # files per call of `stored` and `finish`
FILES_PER_TURN = 4 * BATCH  # files in one catalogue before the other is measured
WARM_UP_FILES = 8 * FILES_PER_TURN
EXAMPLES = examples(
    "scripts/bench catalogue --rows 1000000    half a minute",
    "scripts/bench catalogue                   ten million rows: four minutes, needs 10 GB of disk",
)


@click.command(epilog=EXAMPLES)
@click.option(
    "--rows",
    type=click.IntRange(1000, 100_000_000),
    default=10_000_000,
    show_default=True,
    help="Rows in the large catalogue.",
)
@click.option(
    "--count",
    type=click.IntRange(FILES_PER_TURN, 100_000),
    default=2048,
    show_default=True,
    help="Files measured in each.",
)
@click.option(
    "--folder",
    default=ON_DISK,
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Folder of the databases.",
)
@json_option
def catalogue(rows: int, count: int, folder: str, json_file: Path | None) -> None:
    """Cost of an attachment in an empty catalogue and in one with millions of rows, on SQLite.

    A single thread inserts and claims one file at a time, and stores and finishes 16 at once, as workers do.
    """
    show_and_save(measure(rows, count, folder), json_file)


def measure(rows: int, count: int, folder: str = ON_DISK) -> BenchmarkResult:
    with tempfile.TemporaryDirectory(prefix="esteira-bench-", dir=folder) as temporary:
        runs = {f"{number:,} rows": _run(Path(temporary, f"{number}.db"), number) for number in (0, rows)}
        log_progress("measuring the empty and the large catalogue in turn")
        for _ in range(0, count, FILES_PER_TURN):
            for run in runs.values():
                run.process(FILES_PER_TURN)
        for run in runs.values():
            run.close()
    timings = {name: run.timings for name, run in runs.items()}
    table = table_rows(*timings.items())
    charts = [Chart("catalogue", "Catalogue operations of a file", "CPU µs", _bars(timings), parts=OPERATIONS)]
    return BenchmarkResult("catalogue", f"Catalogue operations of {count:,} files", table, charts, figures=timings)


def table_rows(empty: tuple[str, Timings], large: tuple[str, Timings]) -> list[TableRow]:
    """One row per operation: medians of wall time, and means of processor time, which include checkpoints."""
    rows: list[TableRow] = []
    for operation in OPERATIONS:
        wall, cpu = ([_figures(timings)[operation][which] for _, timings in (empty, large)] for which in (0, 1))
        rows.append(
            {
                "": operation,
                f"median µs, {empty[0]}": wall[0],
                large[0]: wall[1],
                "ratio": ratio(wall[1], wall[0]),
                f"mean CPU µs, {empty[0]}": cpu[0],
                f"CPU, {large[0]}": cpu[1],
                "CPU ratio": ratio(cpu[1], cpu[0]),
            }
        )
    return rows


def _figures(timings: Timings) -> dict[str, tuple[float, float]]:
    return {
        operation: (statistics.median(wall for wall, _ in times), statistics.fmean(cpu for _, cpu in times))
        for operation, times in timings.items()
    }


def _bars(timings: dict[str, Timings]) -> list[tuple[str, list[float]]]:
    return [(name, [_figures(values)[operation][1] for operation in OPERATIONS]) for name, values in timings.items()]


class Run:
    """Runs attachments through one catalogue and records the timings of each operation."""

    def __init__(self, path: Path) -> None:
        self._catalogue = Catalogue(f"sqlite:///{path}")
        self._intake = Catalogue(f"sqlite:///{path}", durable=True)
        self._number = 0
        self.timings: Timings = {operation: [] for operation in OPERATIONS}

    def process(self, count: int) -> None:
        """Inserts, claims, stores and finishes `count` new files."""
        for _ in range(0, count, BATCH):
            ids = [self._timed("hook insert", partial(self._intake.accept, self._next())).id for _ in range(BATCH)]
            claims = [self._timed("claim", partial(self._catalogue.claim, media_id, lease_s=60)) for media_id in ids]
            held_claims = [claim for claim in claims if not isinstance(claim, Refusal)]
            contents = [(claim, _stored(claim)) for claim in held_claims]
            records = self._timed("stored", partial(self._catalogue.mark_stored_many, contents), files=BATCH)
            stored_claims = [
                claim.model_copy(update={"record": record}) for claim, record in zip(held_claims, records, strict=True)
            ]
            requests = [FinishRequest(claim, announced=True) for claim in stored_claims]
            done = self._timed("finish", partial(self._catalogue.finish_many, requests), files=BATCH)
            assert sum(isinstance(record, Record) for record in done) == BATCH, done

    def close(self) -> None:
        self._catalogue.close()
        self._intake.close()

    def _next(self) -> Attachment:
        self._number += 1
        number = self._number
        return Attachment(
            gateway="wppconnect",
            session=f"s{number % 50}",
            message_id=f"false_5511{number % 9973}@c.us_{_digits(number)[:20].upper()}",
            chat=f"5511{number % 9973}@c.us",
            sender=f"5511{number % 9973}@c.us",
            url=f"https://mmg.whatsapp.net/v/{_digits(number)}.enc?ccb=11-4&oh=01",
            kind=Kind.IMAGE,
            mimetype="image/jpeg",
            size=50_000,
        )

    def _timed(self, operation: str, work: Callable[[], T], *, files: int = 1) -> T:
        began, cpu = time.perf_counter(), time.thread_time()
        result = work()
        timings = time.perf_counter() - began, time.thread_time() - cpu
        self.timings[operation].append((1e6 * timings[0] / files, 1e6 * timings[1] / files))
        return result


def _run(path: Path, rows: int) -> Run:
    fill(path, rows)
    run = Run(path)
    run.process(WARM_UP_FILES)
    run.timings = {operation: [] for operation in OPERATIONS}
    return run


def _digits(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _stored(claim: Claim) -> Stored:
    sha256 = _digits(hash(claim.id))
    detected = Detected(fetched=Fetched(size=50_000, sha256=sha256), kind=Kind.IMAGE, mime="image/jpeg", ext="jpeg")
    validated = Validated(detected=detected, facts=Facts(width=1080, height=810, animated=False))
    return Stored(validated=validated, storage_key=f"{sha256[:2]}/{sha256}", name=f"1700000000_{sha256[:6]}.jpeg")
