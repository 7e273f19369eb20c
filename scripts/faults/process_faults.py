"""Faults of processes: killed, stopped, told to end, starved. Each function is one round."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from scripts.faults.environment import Testbed
from scripts.faults.leftovers import integrity

LOW_S, HIGH_S = 4.0, 10.0  # between two kills: a worker takes seconds to boot, and the load must stay below capacity
STARVED_S = 10.0
PAUSES_S = (20, 45, 90)


def kill_a_worker(testbed: Testbed, _round_number: int) -> None:
    time.sleep(testbed.rng.uniform(LOW_S, HIGH_S))
    _keep_busy(testbed)
    testbed.kill(testbed.rng.choice(testbed.workers))


def kill_all_workers(testbed: Testbed, _round_number: int) -> None:
    _keep_busy(testbed)
    for worker in testbed.workers:
        worker.held = True
        worker.kill()
    time.sleep(20)
    for worker in testbed.workers:
        worker.held = False
    testbed.record_return()
    testbed.wait_for_workers()
    time.sleep(10)


def replace_a_worker(testbed: Testbed, round_number: int) -> None:
    """As a deployment does: told to end, then started again, one after the other."""
    _keep_busy(testbed)
    testbed.observations.stops_s.append(testbed.workers[round_number % len(testbed.workers)].stop())
    time.sleep(testbed.rng.uniform(1, 3))


def kill_the_intake(testbed: Testbed, _round_number: int) -> None:
    time.sleep(testbed.rng.uniform(1, 4))
    testbed.load.surge(20)
    time.sleep(testbed.rng.uniform(0.01, 0.1))
    testbed.kill(testbed.part("web"))
    testbed.target.wait_until_ready()


def kill_all_writers(testbed: Testbed, _round_number: int) -> None:
    """Everything that writes to the catalogue, at once; then its file must be sound."""
    time.sleep(testbed.rng.uniform(1, 3))
    _keep_busy(testbed)
    for part in testbed.parts:
        part.held = True
    for part in testbed.parts:
        testbed.kill(part)
    if (verdict := integrity(testbed.folder / "var" / "esteira.db")) != "ok":
        testbed.observations.broken.append(f"catalogue: {verdict}")
    for part in testbed.parts:
        part.held = False
    testbed.target.wait_until_ready()
    time.sleep(3)


def kill_everything(testbed: Testbed, round_number: int) -> None:
    """Redis too. What the kernel holds is written all the same: this is no power cut."""
    testbed.valkey.kill()
    kill_all_writers(testbed, round_number)
    testbed.valkey.start()
    testbed.record_return()
    time.sleep(5)


def starve(testbed: Testbed, _round_number: int) -> None:
    """Four processes that only compute, for ten seconds, beside the plant."""
    spin = f"import time\nend = time.monotonic() + {STARVED_S}\nwhile time.monotonic() < end: pass"
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(4)]
    for process in busy:
        process.wait(STARVED_S * 6)
    time.sleep(testbed.rng.uniform(1, 3))


def pause_a_worker(testbed: Testbed, round_number: int) -> None:
    """Stopped beyond its heartbeat and its claims; the other one takes over; then it goes on as if nothing was."""
    worker = testbed.workers[round_number % len(testbed.workers)]
    _keep_busy(testbed)
    worker.signal(signal.SIGSTOP)
    time.sleep(PAUSES_S[round_number % len(PAUSES_S)])
    worker.signal(signal.SIGCONT)
    time.sleep(testbed.rng.uniform(3, 6))


def _keep_busy(testbed: Testbed) -> None:
    """Every thread of every worker has something in its hands, and a little waits."""
    testbed.load.surge(6)
    time.sleep(0.3)
