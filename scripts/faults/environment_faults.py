"""Faults of what stands around: the catalogue's file, receiver, source, senders, names, clocks. Each is one round."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

from scripts.faults.environment import Testbed
from scripts.faults.esteira import Esteira, redeliver
from scripts.faults.leftovers import esteira_deliveries
from scripts.faults.times import failed_attempts

NAMES_AWAY = (("failing", 4.0), ("slow", 10.0))
MOODS = ("deaf", "refusing", "gone", "redirecting", "slow")
LOST_S = 90.0
HOUR_S = 3600.0
JUMPS_S = (HOUR_S, -HOUR_S, 10 * 365.25 * 24 * HOUR_S)


def lock_the_catalogue(testbed: Testbed, round_number: int) -> None:
    """A writer that holds the whole file, for less and for more than the product waits for it."""
    with closing(
        sqlite3.connect(testbed.folder / "var" / "esteira.db", timeout=30, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep((3, 12, 30)[round_number % 3])
        connection.execute("ROLLBACK")
    time.sleep(testbed.rng.uniform(3, 6))


def deafen_the_receiver(testbed: Testbed, round_number: int) -> None:
    """Connections reset, 500, 410, redirects, or three seconds for each answer. Meanwhile everything else goes on."""
    disturbance = MOODS[round_number % len(MOODS)]
    began = time.time()
    testbed.load.surge(6)
    testbed.servers.disturbance = disturbance
    time.sleep(6)
    ended = sum(bool(row.finished_at) for row in testbed.target.rows(testbed) if row.received_at > began)
    testbed.servers.disturbance = "well"
    testbed.record_return()
    testbed.observations.figures.append(f"{disturbance}: {ended} ended meanwhile")
    if not ended:
        testbed.observations.broken.append(f"nothing was worked on while the receiver was {disturbance}")
    time.sleep(testbed.rng.uniform(2, 5))


def lose_the_receiver(testbed: Testbed, round_number: int) -> None:
    """Away for longer than its schedule lasts: what was given up is listed, and a redelivery announces it."""
    testbed.servers.disturbance = MOODS[round_number % 2]
    deadline = time.monotonic() + LOST_S
    while time.monotonic() < deadline and not given_up(testbed):
        time.sleep(1)
    if not (listed := given_up(testbed)):
        testbed.observations.broken.append(f"nothing was given up within {LOST_S} s")
    testbed.observations.figures.append(f"{listed} given up")
    testbed.servers.disturbance = "well"
    time.sleep(5)
    redeliver(testbed)
    time.sleep(5)
    if left := given_up(testbed):
        testbed.observations.broken.append(f"{left} are still given up after the redelivery")


def given_up(testbed: Testbed) -> int:
    """How many events the catalogue lists as undelivered."""
    return esteira_deliveries(testbed.folder / "var" / "esteira.db")["undelivered"]


def trouble_the_source(testbed: Testbed, _round_number: int) -> None:
    """30 % of the downloads go wrong in one of five ways; 2.7 % of the files have that three times over."""
    testbed.servers.failure_share = 0.3
    time.sleep(10)
    testbed.servers.failure_share = 0.0
    time.sleep(2)


def crash_decoders(_site: Testbed, _round_number: int) -> None:
    """Nothing is done to the plant: a fifth of its files crash their decoder in one of four ways."""
    time.sleep(6)


def repeat_messages(testbed: Testbed, round_number: int) -> None:
    """One message a hundred times at once, and old ones again; every other time after Redis has lost everything."""
    if round_number % 2:
        testbed.valkey.client().flushall()
    testbed.load.repeat_new(100)
    for _ in range(20):
        testbed.load.repeat_old()
    time.sleep(3)


def do_nothing(_site: Testbed, _round_number: int) -> None:
    time.sleep(5)


def lose_the_names(testbed: Testbed, round_number: int) -> None:
    """The source's name is not found, or only after ten seconds; what comes by address or as base64 goes on."""
    disturbance, seconds = NAMES_AWAY[round_number % len(NAMES_AWAY)]
    began, failed = time.time(), failed_attempts(testbed)["fetch_dns"]
    (testbed.folder / "names").write_text(disturbance)
    time.sleep(seconds)
    (testbed.folder / "names").write_text("well")
    ended = time.time()
    time.sleep(testbed.rng.uniform(5, 8))
    target = testbed.target
    assert isinstance(target, Esteira)
    rows = [row for row in target.rows(testbed) if began < row.received_at < ended]
    waited = any((row.finished_at or ended) - row.received_at > seconds for row in rows if target.is_named(row.number))
    if not waited and failed_attempts(testbed)["fetch_dns"] == failed:
        testbed.observations.broken.append(f"nobody minded that names were {disturbance}")
    others = [row for row in rows if not target.is_named(row.number)]
    served = sum(row.finished_at is not None and row.finished_at < ended for row in others)
    testbed.observations.figures.append(f"{disturbance}: {served} of {len(others)} others ended meanwhile")
    if not served:
        testbed.observations.broken.append(f"nothing else was worked on while names were {disturbance}")


def shift_a_clock(testbed: Testbed, round_number: int) -> None:
    """One worker's clock jumps while it works, and it is started again with it; then the clock is right again."""
    worker = testbed.workers[round_number % len(testbed.workers)]
    clock = testbed.folder / f"{worker.name}.clock"
    began = time.time()
    testbed.load.surge(6)
    set_beside(clock, JUMPS_S[round_number % len(JUMPS_S)])
    time.sleep(testbed.rng.uniform(4, 6))
    worker.stop()  # what a process does once, as it starts, it does by that clock, too
    testbed.wait_for_workers()
    testbed.load.surge(6)
    time.sleep(testbed.rng.uniform(5, 8))
    ended = [row.finished_at for row in testbed.target.rows(testbed) if row.finished_at and row.received_at > began]
    if not any(abs(at - began) > HOUR_S / 2 for at in ended):
        testbed.observations.broken.append("nothing was noted by the wrong clock")
    set_beside(clock, 0.0)
    time.sleep(testbed.rng.uniform(4, 6))


def set_beside(clock: Path, seconds: float) -> None:
    """See scripts.faults.clock_skew; written in place, for a worker has it in its memory."""
    file = os.open(clock, os.O_WRONLY)
    try:
        os.pwrite(file, struct.pack("d", seconds), 0)
    finally:
        os.close(file)
