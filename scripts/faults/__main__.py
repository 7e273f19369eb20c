"""Breaks what can break under a load of real files, then counts: what was accepted must have ended.

\b
scripts/chaos F06 --rounds 10      one fault, so many times
scripts/chaos --all                every fault, each on a plant of its own
scripts/chaos --soak 30m --seed 7  random faults on one plant
scripts/chaos steady --minutes 30  no fault: does anything grow?
scripts/chaos --short --at-once 3  what runs before every merge
scripts/chaos --control            the same against stock Dramatiq

Exit status: 0 all counts hold, 1 one does not, 2 wrong usage. Everything runs in a temporary folder and on loopback.
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

SOAK_EVERY_S = 60.0
STEADY = "steady"
UNITS = {"s": 1, "m": 60, "h": 3600, "": 1}


class Duration(click.ParamType[float]):
    """Seconds from 90, 90s, 30m or 8h."""

    name = "DURATION"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = re.fullmatch(r"(\d+)([smh]?)", str(value))
        if not found:
            self.fail(f"{value!r} is no duration: use 90s, 30m or 8h", param, ctx)
        return float(found[1]) * UNITS[found[2]]


@click.command(help=__doc__)
@click.argument("names", metavar="[FAULT]…", nargs=-1)
@click.option("--rounds", type=click.IntRange(1, 1000), help="Rounds of each fault; default: its own, see --list.")
@click.option("--all", "everything", is_flag=True, help="Every fault.")
@click.option("--short", is_flag=True, help="Some faults, few rounds.")
@click.option("--at-once", type=click.IntRange(1, 8), default=1, help="Faults side by side; their times get longer.")
@click.option("--soak", type=Duration(), help="Random faults for so long: 90s, 30m, 8h.")
@click.option("--minutes", type=click.FloatRange(1, 24 * 60), default=30.0, show_default=True, help="Of steady.")
@click.option("--every", type=Duration(), default="60", show_default=True, help="Between two faults of a soak.")
@click.option("--control", is_flag=True, help="Stock Dramatiq instead of Esteira; without names: " + ", ".join(CONTROL))
@click.option("--seed", type=int, help="The same seed, the same load and faults; default: a new one, printed.")
@click.option("--rate", type=click.FloatRange(0.5, 100), default=5.0, show_default=True, help="Files a second.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write the figures there.")
@click.option("--docs", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Update the table there.")
@click.option("--keep", is_flag=True, help="Keep the folders of runs that held, too.")
@click.option("--list", "listed", is_flag=True, help="Name the faults.")
def main(  # noqa: PLR0913, PLR0917  one parameter an option
    names: tuple[str, ...],
    rounds: int | None,
    everything: bool,
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
    listed: bool,
) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=180)
    if listed:
        console.print(listing())
        return
    steady = STEADY in names
    names = tuple(name for name in names if name != STEADY)
    chosen = _chosen(names, everything=everything, short=short, control=control)
    if not chosen and soak is None and not steady:
        raise click.UsageError("name a fault (--list shows them), or say --all, --short, --soak or --control")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started is ended
    seed = random.SystemRandom().randrange(1, 10**6) if seed is None else seed
    order = Order(seed=seed, rate=rate, arm="stock" if control else "esteira", keep=keep)
    console.print(f"seed {seed}, {rate:g} files a second, {order.arm}")
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
    sys.exit(0 if all(outcome.held for outcome in outcomes) else 1)


def _chosen(names: tuple[str, ...], *, everything: bool, short: bool, control: bool) -> list[Fault]:
    if unknown := [name for name in names if name.upper() not in FAULTS]:
        raise click.UsageError(f"no such fault: {', '.join(unknown)}; --list shows them")
    if names:
        return [FAULTS[name.upper()] for name in names]
    if short:
        return [fault for fault in FAULTS.values() if fault.short]
    if everything:
        return list(FAULTS.values())
    return [FAULTS[name] for name in CONTROL] if control else []


def _rounds(fault: Fault, asked: int | None, *, short: bool) -> int:
    return asked or (fault.short if short else fault.rounds) or fault.rounds


def _progress_printer(console: Console, update: Progress) -> Progress:
    """A line that changes on a terminal, one a step elsewhere."""
    if console.is_terminal:
        return update
    return lambda text: print(text, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("LOG_LEVEL", "error")
    main(prog_name="scripts/chaos")
