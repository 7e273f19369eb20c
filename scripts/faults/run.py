"""One run: a plant, a load, rounds of a fault, the way back, the count."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.faults.control import Stock
from scripts.faults.count import Tally, count, drain
from scripts.faults.product import Esteira
from scripts.faults.site import Plant, Site, Terms
from scripts.faults.surroundings import SkippedError
from scripts.faults.table import FAULTS, Fault

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """What to run. `arm` is "esteira" or "stock"."""

    seed: int
    rate: float
    arm: str = "esteira"
    keep: bool = False


@dataclass(frozen=True)
class Outcome:
    """A run's figures; `skipped` says why there are none, `broken` what else went wrong."""

    name: str
    title: str
    rounds: int
    order: Order
    tally: Tally
    took_s: float
    skipped: str = ""
    broken: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def held(self) -> bool:
        return not (self.tally.faults or self.broken)

    def to_json(self) -> dict[str, Any]:
        about = {"fault": self.name, "title": self.title, "arm": self.order.arm, "rounds": self.rounds}
        figures = {"seed": self.order.seed, "rate": self.order.rate, "took_s": round(self.took_s, 1)}
        return {**about, **figures, "skipped": self.skipped, "broken": self.broken, **self.tally.to_json()}


def run_fault(fault: Fault, rounds: int, order: Order, tell: Tell) -> Outcome:
    """So many rounds of one fault."""

    def faults(site: Site) -> int:
        for turn in range(rounds):
            tell(f"{fault.id} {turn + 1}/{rounds}: {_progress(site)}")
            fault.once(site, turn)
        return rounds

    return _run(fault.id, fault.title, replace(fault.terms, seed=order.seed, rate=order.rate), order, tell, faults)


def run_soak(seconds: float, every_s: float, order: Order, tell: Tell) -> Outcome:
    """Random faults, one every so many seconds, on one plant."""
    fit = [fault for fault in FAULTS.values() if fault.terms == Terms() and fault.id != "F00"]

    def faults(site: Site) -> int:
        deadline, turn = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            fault = site.chance.choice(fit)
            next_at = time.monotonic() + every_s
            tell(f"soak, {deadline - time.monotonic():.0f} s to go, {fault.id}: {_progress(site)}")
            site.marks.notes.append(fault.id)
            fault.once(site, site.chance.randrange(12))
            turn += 1
            time.sleep(max(0.0, min(next_at, deadline) - time.monotonic()))
        return turn

    return _run(
        "soak", f"random faults for {seconds:.0f} s", Terms(seed=order.seed, rate=order.rate), order, tell, faults
    )


def _run(name: str, title: str, terms: Terms, order: Order, tell: Tell, faults: Callable[[Site], int]) -> Outcome:
    started = time.monotonic()
    site = Site(_plant(order.arm, terms), terms)
    tally, rounds, skipped, keep = Tally(), 0, "", order.keep
    try:
        tell(f"{name}: starting")
        site.start()
        try:
            rounds = faults(site)
        except SkippedError as error:
            skipped = str(error)
        site.heal()
        site.load.end()
        tell(f"{name}: draining: {_progress(site)}")
        drained = drain(site)
        tally = count(site)
        tally.drained_s = round(drained, 1)
        keep = keep or (bool(tally.faults) and order.arm != "stock")
    finally:
        site.end(keep=keep)
    folder = site.folder if site.folder.exists() else None
    took = time.monotonic() - started
    return Outcome(name, title, rounds, order, tally, took, skipped, tuple(site.marks.broken), folder)


def _plant(arm: str, terms: Terms) -> Plant:
    return Stock() if arm == "stock" else Esteira(poisoned=terms.poison > 0)


def _progress(site: Site) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(site.load.outcomes().items()))
