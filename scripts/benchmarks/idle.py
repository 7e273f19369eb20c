"""Measures the time from hand-over to announcement on an idle system."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import media
from scripts.benchmarks.baselines import QueueSystem
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.results import BenchmarkResult, Chart, json_option, ratio, show_and_save
from scripts.benchmarks.trials import CallerProcess, trial

NAMES = ("stock Dramatiq", "Esteira")
WARM = 16
EXAMPLES = examples(
    "scripts/bench idle               20 voice notes each: a minute and a half",
    "scripts/bench idle --notes 50    for a more reliable maximum",
)


@click.command(epilog=EXAMPLES)
@click.option(
    "--notes", type=click.IntRange(1, 1000), default=20, show_default=True, help="Voice notes for each system."
)
@click.option(
    "--pause", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Pause between two notes, s."
)
@json_option
def idle(notes: int, pause: float, json_file: Path | None) -> None:
    """Time from hand-over to announcement of single voice notes, compared with stock Dramatiq."""
    show_and_save(measure(notes, pause_s=pause), json_file)


def measure(notes: int, *, pause_s: float) -> BenchmarkResult:
    """Both systems run at the same time and receive notes in turn."""
    took = announcement_delays(media.load_of_kind("voice note", notes), pause_s)
    middle = {name: statistics.median(took[name]) for name in NAMES}
    rows = [
        {
            "": name,
            "median ms": middle[name],
            "max ms": max(took[name]),
            "ratio to stock Dramatiq": ratio(middle[name], middle[NAMES[0]]),
        }
        for name in NAMES
    ]
    chart = Chart("idle", "From hand-over to announcement, median", "ms", [(name, [middle[name]]) for name in NAMES])
    return BenchmarkResult("idle", f"One voice note on an idle system, {notes} times", rows, [chart], figures=took)


def announcement_delays(notes: Sequence[Path], pause_s: float) -> dict[str, list[float]]:
    """Milliseconds from the call that hands a note over to its announcement, by system."""
    took: dict[str, list[float]] = {name: [] for name in NAMES}
    with media_server(media.LOAD_FOLDER) as server, ExitStack() as systems:
        ready = {name: systems.enter_context(_system(name, server)) for name in NAMES}
        for number, note in enumerate(notes):
            for name, (caller, announcements) in ready.items():
                time.sleep(random.uniform(0.75, 1.25) * pause_s)  # noqa: S311  (so that no timer of a system is in step)
                caller.send(media.row(note, server.url, f"n{number}"))
                announced_at = next(announcements)
                took[name].append((announced_at - int(str(caller.answer()["started"]))) / 1e6)
    return took


class _system:  # noqa: N801  (used as a function)
    """Starts and warms up a system. Yields its listener process and the times of its announcements."""

    def __init__(self, name: str, server: MediaServer) -> None:
        self._name, self._server = name, server
        self._stack = ExitStack()

    def __enter__(self) -> tuple[CallerProcess, Iterator[int]]:
        run = self._stack.enter_context(trial(self._name, on_disk=True))
        workers = self._stack.enter_context(run.workers())
        caller = self._stack.enter_context(run.caller())
        run.warm(workers, caller, media.rows(media.standard_load(WARM), self._server.url, prefix="w"))
        assert isinstance(run.system, QueueSystem)
        return caller, self._stack.enter_context(run.system.announcements())

    def __exit__(self, *_: object) -> None:
        self._stack.close()
