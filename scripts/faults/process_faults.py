"""Process faults: killed, terminated, paused, short of CPU. Each public function is one round."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from scripts.faults.environment import Testbed
from scripts.faults.leftovers import integrity

# Between two kills: a worker needs seconds to boot, and the load must stay below capacity.
LOW_S, HIGH_S = 4.0, 10.0
BUSY_S = 10.0
PAUSES_S = (20, 45, 90)


def kill_worker(testbed: Testbed, _round_number: int) -> None:
    time.sleep(testbed.rng.uniform(LOW_S, HIGH_S))
    _keep_busy(testbed)
    testbed.kill(testbed.rng.choice(testbed.workers))


def kill_all_workers(testbed: Testbed, _round_number: int) -> None:
    _keep_busy(testbed)
    for worker in testbed.workers:
        worker.keep_down = True
        worker.kill()
    time.sleep(20)
    for worker in testbed.workers:
        worker.keep_down = False
    testbed.record_recovery()
    testbed.wait_for_workers()
    time.sleep(10)


def restart_worker(testbed: Testbed, round_number: int) -> None:
    """Restarts the workers with SIGTERM one after the other, as a deployment does."""
    _keep_busy(testbed)
    testbed.observations.exit_times_s.append(testbed.workers[round_number % len(testbed.workers)].stop())
    time.sleep(testbed.rng.uniform(1, 3))


def kill_web_app(testbed: Testbed, _round_number: int) -> None:
    time.sleep(testbed.rng.uniform(1, 4))
    testbed.load.surge(20)
    time.sleep(testbed.rng.uniform(0.01, 0.1))
    testbed.kill(testbed.part("web"))
    testbed.target.wait_until_ready()


def kill_all_writers(testbed: Testbed, _round_number: int) -> None:
    """Kills all processes that write to the catalogue; then its file must pass the integrity check."""
    time.sleep(testbed.rng.uniform(1, 3))
    _keep_busy(testbed)
    for part in testbed.parts:
        part.keep_down = True
    for part in testbed.parts:
        testbed.kill(part)
    if (verdict := integrity(testbed.folder / "var" / "esteira.db")) != "ok":
        testbed.observations.problems.append(f"catalogue: {verdict}")
    for part in testbed.parts:
        part.keep_down = False
    testbed.target.wait_until_ready()
    time.sleep(3)


def kill_everything(testbed: Testbed, round_number: int) -> None:
    """Kills all processes including Redis. The kernel still writes its buffers: this is not a power failure."""
    testbed.valkey.kill()
    kill_all_writers(testbed, round_number)
    testbed.valkey.start()
    testbed.record_recovery()
    time.sleep(5)


def use_all_cpu(testbed: Testbed, _round_number: int) -> None:
    """Runs four busy loops for ten seconds."""
    spin = f"import time\nend = time.monotonic() + {BUSY_S}\nwhile time.monotonic() < end: pass"
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(4)]
    for process in busy:
        process.wait(BUSY_S * 6)
    time.sleep(testbed.rng.uniform(1, 3))


def pause_worker(testbed: Testbed, round_number: int) -> None:
    """Pauses a worker for longer than its heartbeat and claims are valid, then lets it continue."""
    worker = testbed.workers[round_number % len(testbed.workers)]
    _keep_busy(testbed)
    worker.signal(signal.SIGSTOP)
    time.sleep(PAUSES_S[round_number % len(PAUSES_S)])
    worker.signal(signal.SIGCONT)
    time.sleep(testbed.rng.uniform(3, 6))


def _keep_busy(testbed: Testbed) -> None:
    """Sends enough files that every worker thread is busy and some messages are waiting."""
    testbed.load.surge(6)
    time.sleep(0.3)
