"""Parallel runs, each in its own process. A run spends most of its time waiting."""

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
    """Runs each fault for its number of rounds. The outcomes have the order of `runs`.

    Raises:
        BrokenProcessPool: one of the processes was killed.
    """
    if at_once == 1:
        return [run_fault(fault, rounds, order, progress) for fault, rounds in runs]
    with ProcessPoolExecutor(at_once, mp_context=get_context("spawn"), initializer=_leave_signals_to_parent) as pool:
        futures = [pool.submit(_run, fault, rounds, order) for fault, rounds in runs]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for process in active_children():
                process.terminate()
            raise


def _run(fault: Fault, rounds: int, order: Order) -> Outcome:
    return run_fault(fault, rounds, order, lambda text: print(text, flush=True))


def _leave_signals_to_parent() -> None:
    """Ignores Ctrl-C, which reaches all processes: the parent sends SIGTERM, and cleanup is not interrupted."""
    # Not SIG_IGN: the processes of a run would inherit it.
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
