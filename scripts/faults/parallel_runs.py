"""Several runs at once, each in a process of its own: most of a run is waiting."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import active_children, get_context

from scripts.faults.run import Order, Outcome, Progress, run_fault
from scripts.faults.table import Fault

Run = tuple[Fault, int]


def run_faults(runs: Sequence[Run], order: Order, progress: Progress, *, at_once: int) -> list[Outcome]:
    """Each fault so many rounds; the outcomes are in the order of the runs, whichever ended first.

    Raises:
        BrokenProcessPool: one of the processes was killed.
    """
    if at_once == 1:
        return [run_fault(fault, rounds, order, progress) for fault, rounds in runs]
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn"), initializer=_end_with_the_others) as pool:
        under_way = [pool.submit(_run, fault, rounds, order) for fault, rounds in runs]
        try:
            return [one.result() for one in under_way]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _run(fault: Fault, rounds: int, order: Order) -> Outcome:
    return run_fault(fault, rounds, order, lambda text: print(text, flush=True))


def _end_with_the_others() -> None:
    """Ctrl-C reaches all processes at once; the first one hands it on, or a run's end would be interrupted by it."""
    # Not SIG_IGN: what a run starts would inherit it.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
