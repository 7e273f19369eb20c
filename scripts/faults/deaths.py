"""Faults of processes: killed, stopped, told to end, starved. Each function is one round."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

from scripts.faults.environment import Site
from scripts.faults.leftovers import sound

LOW_S, HIGH_S = 4.0, 10.0  # between two kills: a worker takes seconds to boot, and the load must stay below capacity
STARVED_S = 10.0
PAUSES_S = (20, 45, 90)


def kill_a_worker(site: Site, _turn: int) -> None:
    time.sleep(site.chance.uniform(LOW_S, HIGH_S))
    _keep_busy(site)
    site.kill(site.chance.choice(site.workers))


def kill_all_workers(site: Site, _turn: int) -> None:
    _keep_busy(site)
    for worker in site.workers:
        worker.held = True
        worker.kill()
    time.sleep(20)
    for worker in site.workers:
        worker.held = False
    site.came_back()
    site.wait_for_workers()
    time.sleep(10)


def replace_a_worker(site: Site, turn: int) -> None:
    """As a deployment does: told to end, then started again, one after the other."""
    _keep_busy(site)
    site.marks.stops_s.append(site.workers[turn % len(site.workers)].stop())
    time.sleep(site.chance.uniform(1, 3))


def kill_the_intake(site: Site, _turn: int) -> None:
    time.sleep(site.chance.uniform(1, 4))
    site.load.surge(20)
    time.sleep(site.chance.uniform(0.01, 0.1))
    site.kill(site.part("web"))
    site.plant.wait_until_ready()


def kill_all_writers(site: Site, _turn: int) -> None:
    """Everything that writes to the catalogue, at once; then its file must be sound."""
    time.sleep(site.chance.uniform(1, 3))
    _keep_busy(site)
    for part in site.parts:
        part.held = True
    for part in site.parts:
        site.kill(part)
    if (verdict := sound(site.folder / "var" / "esteira.db")) != "ok":
        site.marks.broken.append(f"catalogue: {verdict}")
    for part in site.parts:
        part.held = False
    site.plant.wait_until_ready()
    time.sleep(3)


def kill_everything(site: Site, turn: int) -> None:
    """Redis too. What the kernel holds is written all the same: this is no power cut."""
    site.valkey.kill()
    kill_all_writers(site, turn)
    site.valkey.start()
    site.came_back()
    time.sleep(5)


def starve(site: Site, _turn: int) -> None:
    """Four processes that only compute, for ten seconds, beside the plant."""
    spin = f"import time\nend = time.monotonic() + {STARVED_S}\nwhile time.monotonic() < end: pass"
    busy = [subprocess.Popen([sys.executable, "-c", spin]) for _ in range(4)]
    for process in busy:
        process.wait(STARVED_S * 6)
    time.sleep(site.chance.uniform(1, 3))


def pause_a_worker(site: Site, turn: int) -> None:
    """Stopped beyond its heartbeat and its claims; the other one takes over; then it goes on as if nothing was."""
    worker = site.workers[turn % len(site.workers)]
    _keep_busy(site)
    worker.signal(signal.SIGSTOP)
    time.sleep(PAUSES_S[turn % len(PAUSES_S)])
    worker.signal(signal.SIGCONT)
    time.sleep(site.chance.uniform(3, 6))


def _keep_busy(site: Site) -> None:
    """Every thread of every worker has something in its hands, and a little waits."""
    site.load.surge(6)
    time.sleep(0.3)
