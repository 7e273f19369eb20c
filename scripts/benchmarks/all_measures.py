"""Runs the measures one after the other."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import backlog, duplicates, hook, idle, listener, memory, slow, stages, throughput
from scripts.benchmarks.baselines import SYSTEMS
from scripts.benchmarks.results import BenchmarkResult, json_option, show_and_save
from scripts.benchmarks.slow import Shape
from scripts.benchmarks.trials import log_progress

SHAPE = {"processes": 2, "threads": 8}
NAMES = list(SYSTEMS)
FULL: dict[str, Callable[[], BenchmarkResult]] = {
    "throughput": partial(throughput.measure, NAMES, 1500, 3, **SHAPE),
    "idle": partial(idle.measure, 20, pause_s=2),
    "hook": partial(hook.measure, 2000, 30, delay_ms=100),
    "listener": partial(listener.measure, 200, delay_s=0.1, **SHAPE),
    "slow": partial(slow.measure, 400, 1, Shape(hosts=8, per_host=8, **SHAPE)),
    "memory": partial(memory.measure, (10, 100, 1000)),
    "backlog": partial(backlog.measure, (1000, 100_000), 500, 2),
    "duplicates": partial(duplicates.measure, 1000, 100, delay_s=0.05),
    "stages": partial(stages.measure, 100),
}
SHORT: dict[str, Callable[[], BenchmarkResult]] = {
    "throughput": partial(throughput.measure, NAMES, 200, 1, **SHAPE),
    "idle": partial(idle.measure, 3, pause_s=0.4),
    "hook": partial(hook.measure, 200, 5, delay_ms=100),
    "listener": partial(listener.measure, 30, delay_s=0.1, **SHAPE),
    "duplicates": partial(duplicates.measure, 100, 10, delay_s=0.05),
}
EXAMPLES = examples(
    "scripts/bench all --json var/bench.json    about ten minutes, saved for scripts/bench report",
    "scripts/bench all --short                  half a minute: only the fast measures",
)


@click.command("all", epilog=EXAMPLES)
@click.option("--short", is_flag=True, help="Few files, one round, and only fast measures.")
@json_option
def all_measures(*, short: bool, json_file: Path | None) -> None:
    """Most measures one after the other. Figures are not judged; exit status 1 means that a measure failed."""
    failed = []
    for name, measure in (SHORT if short else FULL).items():
        began = time.monotonic()
        try:
            show_and_save(measure(), json_file)
        except click.ClickException as error:
            failed.append(name)
            log_progress(f"{name} failed: {error.message}")
        log_progress(f"{name} took {time.monotonic() - began:.0f} s")
    if failed:
        raise click.ClickException(f"failed: {', '.join(failed)}")
