"""One run: a plant, a load, rounds of a fault, the way back, the count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.faults.control import Stock
from scripts.faults.count import Tally, count, drain
from scripts.faults.environment import Plant, Site, SkippedError, Terms
from scripts.faults.product import Esteira
from scripts.faults.steady import hold
from scripts.faults.table import FAULTS, USUAL, Fault

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What to run. `arm` is "esteira" or "stock"."""

    seed: int
    rate: float
    arm: str = "esteira"
    keep: bool = False


@dataclass(frozen=True)
class Job:
    """A run to be made. `asked` are the arguments that it was asked for with."""

    name: str
    title: str
    asked: str
    terms: Terms = USUAL


@dataclass(frozen=True)
class Outcome:
    """A run's figures; `skipped` says why there are none, `broken` what else went wrong."""

    job: Job
    rounds: int
    order: Order
    tally: Tally
    took_s: float
    skipped: str = ""
    broken: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def held(self) -> bool:
        return not (self.tally.faults or self.broken)

    def to_json(self) -> dict[str, Any]:
        job, order = self.job, self.order
        about = {"fault": job.name, "title": job.title, "asked": job.asked, "arm": order.arm, "rounds": self.rounds}
        given = {"seed": order.seed, "rate": order.rate, "took_s": round(self.took_s, 1)}
        found = {"skipped": self.skipped, "broken": self.broken, "figures": self.figures}
        return {**about, **given, **found, **self.tally.to_json()}


def run_fault(fault: Fault, rounds: int, order: Order, tell: Tell) -> Outcome:
    """So many rounds of one fault."""

    def faults(site: Site) -> int:
        for turn in range(rounds):
            tell(f"{fault.id} {turn + 1}/{rounds}: {_progress(site)}")
            fault.once(site, turn)
        return rounds

    job = Job(fault.id, fault.title, f"{fault.id} --rounds {rounds}", fault.terms)
    return _run(job, order, tell=tell, faults=faults)


def run_soak(seconds: float, every_s: float, order: Order, tell: Tell) -> Outcome:
    """Random faults, one every so many seconds, on one plant."""
    fit = [fault for fault in FAULTS.values() if fault.terms == USUAL and fault.id != "F00"]

    def faults(site: Site) -> int:
        deadline, turn = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            fault = site.chance.choice(fit)
            next_at = time.monotonic() + every_s
            tell(f"soak, {deadline - time.monotonic():.0f} s to go, {fault.id}: {_progress(site)}")
            fault.once(site, site.chance.randrange(12))
            turn += 1
            time.sleep(max(0.0, min(next_at, deadline) - time.monotonic()))
        return turn

    job = Job("soak", f"random faults for {seconds:.0f} s", f"--soak {seconds:.0f}s --every {every_s:.0f}s")
    return _run(job, order, tell=tell, faults=faults)


def run_steady(seconds: float, order: Order, tell: Tell) -> Outcome:
    """The load alone for so long, and what every process needs meanwhile."""

    def nothing(site: Site) -> int:
        hold(site, seconds, lambda left_s: tell(f"steady, {left_s:.0f} s to go: {_progress(site)}"))
        return 1

    minutes = seconds / 60
    job = Job("steady", f"no fault for {minutes:g} min", f"steady --minutes {minutes:g}")
    return _run(job, order, tell=tell, faults=nothing)


def _run(job: Job, order: Order, *, tell: Tell, faults: Callable[[Site], int]) -> Outcome:
    started = time.monotonic()
    terms = replace(job.terms, seed=order.seed, rate=order.rate)
    site = Site(_plant(order.arm), terms)
    tally, rounds, skipped, keep = Tally(), 0, "", order.keep
    try:
        tell(f"{job.name}: starting")
        site.start()
        try:
            rounds = faults(site)
        except SkippedError as error:
            skipped = str(error)
        site.heal()
        site.load.end()
        tell(f"{job.name}: draining: {_progress(site)}")
        drained = drain(site)
        tally = count(site)
        tally.drained_s = round(drained, 1)
        keep = keep or (bool(tally.faults or site.marks.broken) and order.arm != "stock")
    finally:
        site.end(keep=keep)
    folder = site.folder if site.folder.exists() else None
    took = time.monotonic() - started
    broken, figures = tuple(site.marks.broken), tuple(site.marks.figures)
    return Outcome(job, rounds, order, tally, took, skipped, broken, figures, folder)


def _plant(arm: str) -> Plant:
    return Stock() if arm == "stock" else Esteira()


def _progress(site: Site) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(site.load.outcomes().items()))
