"""One run: starts the test system and the load, injects the fault, waits for recovery, and checks the results."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from scripts.faults.count import Tally, count, drain
from scripts.faults.environment import RunTerms, SkippedError, Target, Testbed
from scripts.faults.esteira import Esteira
from scripts.faults.steady import measure_growth
from scripts.faults.stock_dramatiq import StockDramatiq
from scripts.faults.table import FAULTS, USUAL, Fault

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Order:
    """Options of all runs. `arm` is "esteira" or "stock"."""

    seed: int
    rate: float
    arm: str = "esteira"
    keep: bool = False


@dataclass(frozen=True)
class Job:
    """A run to make. `arguments`: the command line arguments that repeat it."""

    name: str
    title: str
    arguments: str
    terms: RunTerms = USUAL


@dataclass(frozen=True)
class Outcome:
    """The results of a run. `skipped`: reason if it was skipped. `problems`: errors that the fault itself found."""

    job: Job
    rounds: int
    order: Order
    tally: Tally
    took_s: float
    skipped: str = ""
    problems: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    folder: Path | None = None

    @property
    def passed(self) -> bool:
        return not (self.tally.faults or self.problems)

    def to_json(self) -> dict[str, Any]:
        job, order = self.job, self.order
        about = {
            "fault": job.name,
            "title": job.title,
            "arguments": job.arguments,
            "arm": order.arm,
            "rounds": self.rounds,
        }
        settings = {"seed": order.seed, "rate": order.rate, "took_s": round(self.took_s, 1)}
        results = {"skipped": self.skipped, "problems": self.problems, "figures": self.figures}
        return {**about, **settings, **results, **self.tally.to_json()}


def run_fault(fault: Fault, rounds: int, order: Order, progress: Progress) -> Outcome:
    """Runs one fault for this many rounds."""

    def faults(testbed: Testbed) -> int:
        for round_number in range(rounds):
            progress(f"{fault.id} {round_number + 1}/{rounds}: {_progress(testbed)}")
            fault.run_round(testbed, round_number)
        return rounds

    job = Job(fault.id, fault.title, f"{fault.id} --rounds {rounds}", fault.terms)
    return _run(job, order, progress=progress, faults=faults)


def run_soak(seconds: float, every_s: float, order: Order, progress: Progress) -> Outcome:
    """Runs random faults on one test system, one every `every_s` seconds."""
    fit = [fault for fault in FAULTS.values() if fault.terms == USUAL and fault.id != "F00"]

    def faults(testbed: Testbed) -> int:
        deadline, round_number = time.monotonic() + seconds, 0
        while time.monotonic() < deadline:
            fault = testbed.rng.choice(fit)
            next_at = time.monotonic() + every_s
            progress(f"soak, {deadline - time.monotonic():.0f} s to go, {fault.id}: {_progress(testbed)}")
            fault.run_round(testbed, testbed.rng.randrange(12))
            round_number += 1
            time.sleep(max(0.0, min(next_at, deadline) - time.monotonic()))
        return round_number

    job = Job("soak", f"random faults for {seconds:.0f} s", f"--soak {seconds:.0f}s --every {every_s:.0f}s")
    return _run(job, order, progress=progress, faults=faults)


def run_steady(seconds: float, order: Order, progress: Progress) -> Outcome:
    """Runs the load without faults and checks the resource usage of all processes."""

    def nothing(testbed: Testbed) -> int:
        measure_growth(testbed, seconds, lambda left_s: progress(f"steady, {left_s:.0f} s to go: {_progress(testbed)}"))
        return 1

    minutes = seconds / 60
    job = Job("steady", f"no fault for {minutes:g} min", f"steady --minutes {minutes:g}")
    return _run(job, order, progress=progress, faults=nothing)


def _run(job: Job, order: Order, *, progress: Progress, faults: Callable[[Testbed], int]) -> Outcome:
    started = time.monotonic()
    terms = replace(job.terms, seed=order.seed, rate=order.rate)
    testbed = Testbed(_target(order.arm), terms)
    tally, rounds, skipped, keep = Tally(), 0, "", order.keep
    try:
        progress(f"{job.name}: starting")
        testbed.start()
        try:
            rounds = faults(testbed)
        except SkippedError as error:
            skipped = str(error)
        testbed.undo_faults()
        testbed.load.end()
        progress(f"{job.name}: draining: {_progress(testbed)}")
        drained = drain(testbed)
        tally = count(testbed)
        tally.drained_s = round(drained, 1)
        keep = keep or (bool(tally.faults or testbed.observations.problems) and order.arm != "stock")
    finally:
        testbed.end(keep=keep)
    folder = testbed.folder if testbed.folder.exists() else None
    took = time.monotonic() - started
    problems, figures = tuple(testbed.observations.problems), tuple(testbed.observations.figures)
    return Outcome(job, rounds, order, tally, took, skipped, problems, figures, folder)


def _target(arm: str) -> Target:
    return StockDramatiq() if arm == "stock" else Esteira()


def _progress(testbed: Testbed) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(testbed.load.outcomes().items()))
