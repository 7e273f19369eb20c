"""From hand-over to announcement on an idle system."""

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
from scripts.benchmarks.baselines import Queued
from scripts.benchmarks.findings import Chart, Finding, json_option, ratio, tell_and_keep
from scripts.benchmarks.media_server import MediaServer, media_server
from scripts.benchmarks.trials import Sender, trial

NAMES = ("stock Dramatiq", "Esteira")
WARM = 16
EXAMPLES = examples(
    "scripts/bench idle               20 voice notes each: a minute and a half",
    "scripts/bench idle --notes 50    for a maximum that says more",
)


@click.command(epilog=EXAMPLES)
@click.option("--notes", type=click.IntRange(1, 1000), default=20, show_default=True, help="Voice notes of each.")
@click.option("--pause", type=click.FloatRange(0.1, 60), default=2.0, show_default=True, help="Between two, s.")
@json_option
def idle(notes: int, pause: float, json_file: Path | None) -> None:
    """From hand-over to announcement of one voice note at a time; stock Dramatiq beside."""
    tell_and_keep(measure(notes, pause_s=pause), json_file)


def measure(notes: int, *, pause_s: float) -> Finding:
    """Both systems stand beside each other and are given a note in turn."""
    took = heard(media.of_kind("voice note", notes), pause_s)
    middle = {name: statistics.median(took[name]) for name in NAMES}
    rows = [
        {
            "": name,
            "median ms": middle[name],
            "at most ms": max(took[name]),
            "of stock Dramatiq": ratio(middle[name], middle[NAMES[0]]),
        }
        for name in NAMES
    ]
    chart = Chart("idle", "From hand-over to announcement, median", "ms", [(name, [middle[name]]) for name in NAMES])
    return Finding("idle", f"One voice note on an idle system, {notes} times", rows, [chart], figures=took)


def heard(notes: Sequence[Path], pause_s: float) -> dict[str, list[float]]:
    """Milliseconds from the call that hands a note over to its announcement, of each contestant."""
    took: dict[str, list[float]] = {name: [] for name in NAMES}
    with media_server(media.KEPT) as server, ExitStack() as systems:
        ready = {name: systems.enter_context(_system(name, server)) for name in NAMES}
        for number, note in enumerate(notes):
            for name, (sender, endings) in ready.items():
                time.sleep(random.uniform(0.75, 1.25) * pause_s)  # noqa: S311  (no timer of anybody's is in step)
                sender.send(media.row(note, server.url, f"n{number}"))
                at = next(endings)
                took[name].append((at - int(str(sender.answer()["started"]))) / 1e6)
    return took


class _system:  # noqa: N801  (used as a function)
    """A warm system at rest: its listener, and the endings that it announces."""

    def __init__(self, name: str, server: MediaServer) -> None:
        self._name, self._server = name, server
        self._held = ExitStack()

    def __enter__(self) -> tuple[Sender, Iterator[int]]:
        run = self._held.enter_context(trial(self._name, on_disk=True))
        workers = self._held.enter_context(run.working())
        sender = self._held.enter_context(run.sending())
        run.warm(workers, sender, media.rows(media.load(WARM), self._server.url, prefix="w"))
        assert isinstance(run.contestant, Queued)
        return sender, self._held.enter_context(run.contestant.hearing())

    def __exit__(self, *_: object) -> None:
        self._held.close()
