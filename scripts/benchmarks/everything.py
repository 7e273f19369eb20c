"""Every measure in turn."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import rich_click as click

from esteira.cli.output import examples
from scripts.benchmarks import backlog, duplicates, hook, idle, listener, memory, slow, stages, throughput
from scripts.benchmarks.baselines import CONTESTANTS
from scripts.benchmarks.findings import Finding, json_option, tell_and_keep
from scripts.benchmarks.slow import Shape
from scripts.benchmarks.trials import tell

SHAPE = {"processes": 2, "threads": 8}
NAMES = list(CONTESTANTS)
FULL: dict[str, Callable[[], Finding]] = {
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
SHORT: dict[str, Callable[[], Finding]] = {
    "throughput": partial(throughput.measure, NAMES, 200, 1, **SHAPE),
    "idle": partial(idle.measure, 3, pause_s=0.4),
    "hook": partial(hook.measure, 200, 5, delay_ms=100),
    "listener": partial(listener.measure, 30, delay_s=0.1, **SHAPE),
    "duplicates": partial(duplicates.measure, 100, 10, delay_s=0.05),
}
EXAMPLES = examples(
    "scripts/bench all --json var/bench.json    some ten minutes; scripts/bench report makes a document of it",
    "scripts/bench all --short                  half a minute: the ratios of those that take seconds",
)


@click.command("all", epilog=EXAMPLES)
@click.option("--short", is_flag=True, help="Few files, one round, and only what takes seconds.")
@json_option
def everything(*, short: bool, json_file: Path | None) -> None:
    """Every measure in turn. It judges nothing: exit status 1 means that one of them did not work."""
    broken = []
    for name, measure in (SHORT if short else FULL).items():
        began = time.monotonic()
        try:
            tell_and_keep(measure(), json_file)
        except click.ClickException as trouble:
            broken.append(name)
            tell(f"{name} did not work: {trouble.message}")
        tell(f"{name} took {time.monotonic() - began:.0f} s")
    if broken:
        raise click.ClickException(f"did not work: {', '.join(broken)}")
