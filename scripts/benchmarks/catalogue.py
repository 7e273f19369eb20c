"""Whether a catalogue of millions makes an attachment dearer."""

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
from scripts.benchmarks.bulk import fill
from scripts.benchmarks.findings import Chart, Finding, Line, json_option, ratio, tell_and_keep
from scripts.benchmarks.trials import ON_DISK, tell

T = TypeVar("T")
Took = dict[str, list[tuple[float, float]]]
"""Of each move the µs by the clock and of the processor, a file."""

MOVES = ("hook insert", "claim", "stored", "finish")
CREW = 16  # files that are stored and finished together
TURN = 4 * CREW  # files in one catalogue, before the other has its turn
WARM_UP = 8 * TURN
EXAMPLES = examples(
    "scripts/bench catalogue --rows 1000000    half a minute",
    "scripts/bench catalogue                   ten million rows: four minutes, and 10 GB on the disk meanwhile",
)


@click.command(epilog=EXAMPLES)
@click.option("--rows", type=click.IntRange(1000, 100_000_000), default=10_000_000, show_default=True, help="So many.")
@click.option("--count", type=click.IntRange(TURN, 100_000), default=2048, show_default=True, help="Files in each.")
@click.option(
    "--folder",
    default=ON_DISK,
    show_default=True,
    type=click.Path(exists=True, file_okay=False),
    help="Where they lie.",
)
@json_option
def catalogue(rows: int, count: int, folder: str, json_file: Path | None) -> None:
    """What an attachment costs in an empty catalogue and in one of millions of rows, on SQLite.

    A single thread hands over and claims file by file, and stores and finishes sixteen at once, as workers do.
    """
    tell_and_keep(measure(rows, count, folder), json_file)


def measure(rows: int, count: int, folder: str = ON_DISK) -> Finding:
    with tempfile.TemporaryDirectory(prefix="esteira-bench-", dir=folder) as place:
        runs = {f"{number:,} rows": _run(Path(place, f"{number}.db"), number) for number in (0, rows)}
        tell("in turns, the empty one and the large one")
        for _ in range(0, count, TURN):
            for run in runs.values():
                run.carry(TURN)
        for run in runs.values():
            run.close()
    took = {name: run.took for name, run in runs.items()}
    table = described(*took.items())
    charts = [Chart("catalogue", "A file's four moves in the catalogue", "CPU µs", _bars(took), parts=MOVES)]
    return Finding("catalogue", f"What {count:,} files take in each catalogue", table, charts, figures=took)


def described(empty: tuple[str, Took], large: tuple[str, Took]) -> list[Line]:
    """A row for each move: medians by the clock, and means of the processor's time, in which checkpoints count."""
    lines: list[Line] = []
    for move in MOVES:
        clock, busy = ([_figures(took)[move][which] for _, took in (empty, large)] for which in (0, 1))
        lines.append(
            {
                "": move,
                f"median µs, {empty[0]}": clock[0],
                large[0]: clock[1],
                "ratio": ratio(clock[1], clock[0]),
                f"mean CPU µs, {empty[0]}": busy[0],
                f"CPU, {large[0]}": busy[1],
                "CPU ratio": ratio(busy[1], busy[0]),
            }
        )
    return lines


def _figures(took: Took) -> dict[str, tuple[float, float]]:
    return {
        move: (statistics.median(clock for clock, _ in times), statistics.fmean(busy for _, busy in times))
        for move, times in took.items()
    }


def _bars(took: dict[str, Took]) -> list[tuple[str, list[float]]]:
    return [(name, [_figures(one)[move][1] for move in MOVES]) for name, one in took.items()]


class Run:
    """Attachments on their way through one catalogue, and what each move of each has taken."""

    def __init__(self, path: Path) -> None:
        self._catalogue = Catalogue(f"sqlite:///{path}")
        self._intake = Catalogue(f"sqlite:///{path}", durable=True)
        self._number = 0
        self.took: Took = {move: [] for move in MOVES}

    def carry(self, count: int) -> None:
        """Takes so many new files through their four moves."""
        for _ in range(0, count, CREW):
            ids = [self._timed("hook insert", partial(self._intake.accept, self._next())).id for _ in range(CREW)]
            claims = [self._timed("claim", partial(self._catalogue.claim, one, lease_s=60)) for one in ids]
            held = [claim for claim in claims if not isinstance(claim, Refusal)]
            contents = [(claim, _stored(claim)) for claim in held]
            records = self._timed("stored", partial(self._catalogue.mark_stored_many, contents), files=CREW)
            known = [claim.model_copy(update={"record": record}) for claim, record in zip(held, records, strict=True)]
            moves = [FinishRequest(claim, announced=True) for claim in known]
            done = self._timed("finish", partial(self._catalogue.finish_many, moves), files=CREW)
            assert sum(isinstance(record, Record) for record in done) == CREW, done

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

    def _timed(self, move: str, work: Callable[[], T], *, files: int = 1) -> T:
        began, busy = time.perf_counter(), time.thread_time()
        result = work()
        took = time.perf_counter() - began, time.thread_time() - busy
        self.took[move].append((1e6 * took[0] / files, 1e6 * took[1] / files))
        return result


def _run(path: Path, rows: int) -> Run:
    fill(path, rows)
    run = Run(path)
    run.carry(WARM_UP)
    run.took = {move: [] for move in MOVES}
    return run


def _digits(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()


def _stored(claim: Claim) -> Stored:
    sha256 = _digits(hash(claim.id))
    detected = Detected(fetched=Fetched(size=50_000, sha256=sha256), kind=Kind.IMAGE, mime="image/jpeg", ext="jpeg")
    validated = Validated(detected=detected, facts=Facts(width=1080, height=810, animated=False))
    return Stored(validated=validated, storage_key=f"{sha256[:2]}/{sha256}", name=f"1700000000_{sha256[:6]}.jpeg")
