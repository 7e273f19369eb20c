"""Injects faults under a load of real files and checks that every accepted attachment was finished.

\b
scripts/chaos F06 --rounds 10      one fault, ten rounds
scripts/chaos --all                every fault, each on its own test system
scripts/chaos --soak 30m --seed 7  random faults on one test system
scripts/chaos steady --minutes 30  no fault; fails if memory grows
scripts/chaos --short --at-once 4  the selection that runs before a merge
scripts/chaos --control            the same faults on stock Dramatiq

Exit status: 0 all checks passed, 1 a check failed, 2 wrong usage. Everything runs in a temporary folder on loopback.
"""

from __future__ import annotations

import os
import random
import re
import signal
import sys
from pathlib import Path

import rich_click as click
from rich.console import Console

from scripts.faults.parallel_runs import run_faults
from scripts.faults.report import listing, show, update_document, write_json
from scripts.faults.run import Order, Outcome, Progress, run_soak, run_steady
from scripts.faults.table import CONTROL, FAULTS, Fault

STEADY = "steady"
UNITS = {"s": 1, "m": 60, "h": 3600, "": 1}


class Duration(click.ParamType[float]):
    """A duration such as 90, 90s, 30m or 8h, converted to seconds."""

    name = "DURATION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        match = re.fullmatch(r"(\d+)([smh]?)", str(value))
        if not match:
            self.fail(f"{value!r} is not a duration: use 90s, 30m or 8h", param, ctx)
        return float(match[1]) * UNITS[match[2]]


@click.command(help=__doc__)
@click.argument("names", metavar="[FAULT]…", nargs=-1)
@click.option("--rounds", type=click.IntRange(1, 1000), help="Rounds of each fault; default: see --list.")
@click.option("--all", "all_faults", is_flag=True, help="Run every fault.")
@click.option("--short", is_flag=True, help="Run a few faults with few rounds.")
@click.option(
    "--at-once",
    type=click.IntRange(1, 8),
    default=1,
    help="Faults that run in parallel; the measured times get longer.",
)
@click.option("--soak", type=Duration(), help="Run random faults for this time: 90s, 30m, 8h.")
@click.option(
    "--minutes", type=click.FloatRange(1, 24 * 60), default=30.0, show_default=True, help="Length of the steady run."
)
@click.option(
    "--every",
    type=Duration(),
    default="60",
    show_default=True,
    help="Time between two faults of a soak, in seconds or as 2m.",
)
@click.option(
    "--control", is_flag=True, help="Test stock Dramatiq instead of Esteira; default faults: " + ", ".join(CONTROL)
)
@click.option("--seed", type=int, help="Seed of the load and the faults; default: a random one, printed.")
@click.option("--rate", type=click.FloatRange(0.5, 100), default=5.0, show_default=True, help="Files per second.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the results to this file."
)
@click.option(
    "--docs", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Update the tables of this document."
)
@click.option("--keep", is_flag=True, help="Keep the folders of passed runs too.")
@click.option("--list", "list_faults", is_flag=True, help="List the faults.")
def main(  # noqa: PLR0913, PLR0917  one parameter per option
    names: tuple[str, ...],
    rounds: int | None,
    all_faults: bool,
    short: bool,
    at_once: int,
    soak: float | None,
    minutes: float,
    every: float,
    control: bool,
    seed: int | None,
    rate: float,
    json_file: Path | None,
    docs: Path | None,
    keep: bool,
    list_faults: bool,
) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=180)
    if list_faults:
        console.print(listing())
        return
    steady = STEADY in names
    names = tuple(name for name in names if name != STEADY)
    chosen = _chosen(names, all_faults=all_faults, short=short, control=control)
    if not chosen and soak is None and not steady:
        raise click.UsageError("name a fault (see --list), or use --all, --short, --soak or --control")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # raises SystemExit, so that all child processes are ended
    seed = random.SystemRandom().randrange(1, 10**6) if seed is None else seed
    order = Order(seed=seed, rate=rate, arm="stock" if control else "esteira", keep=keep)
    console.print(f"seed {seed}, {rate:g} files per second, {order.arm}")
    outcomes: list[Outcome] = []
    with console.status("") as status:
        progress = _progress_printer(console, status.update)
        runs = [(fault, _rounds(fault, rounds, short=short)) for fault in chosen]
        outcomes += run_faults(runs, order, progress, at_once=at_once)
        if soak is not None:
            outcomes.append(run_soak(soak, every, order, progress))
        if steady:
            outcomes.append(run_steady(minutes * 60, order, progress))
    show(outcomes, console)
    if json_file:
        write_json(outcomes, json_file)
    if docs:
        update_document(docs, [outcome.to_json() for outcome in outcomes])
    sys.exit(0 if all(outcome.passed for outcome in outcomes) else 1)


def _chosen(names: tuple[str, ...], *, all_faults: bool, short: bool, control: bool) -> list[Fault]:
    if unknown := [name for name in names if name.upper() not in FAULTS]:
        raise click.UsageError(f"no such fault: {', '.join(unknown)}; see --list")
    if names:
        return [FAULTS[name.upper()] for name in names]
    if short:
        return [fault for fault in FAULTS.values() if fault.short]
    if all_faults:
        return list(FAULTS.values())
    return [FAULTS[name] for name in CONTROL] if control else []


def _rounds(fault: Fault, requested: int | None, *, short: bool) -> int:
    return requested or (fault.short if short else fault.rounds) or fault.rounds


def _progress_printer(console: Console, update: Progress) -> Progress:
    """Updates one status line on a terminal; prints a line per step elsewhere."""
    if console.is_terminal:
        return update
    return lambda text: print(text, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("LOG_LEVEL", "error")
    main(prog_name="scripts/chaos")
