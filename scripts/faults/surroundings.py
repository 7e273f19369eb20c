"""Faults of what stands around: the catalogue's file, receiver, source, senders, names, clocks. Each is one round."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

from scripts.faults.environment import Site
from scripts.faults.leftovers import esteira_deliveries
from scripts.faults.product import Esteira, redeliver
from scripts.faults.times import failed_attempts

NAMES_AWAY = (("failing", 4.0), ("slow", 10.0))
MOODS = ("deaf", "refusing", "gone", "redirecting", "slow")
LOST_S = 90.0
HOUR_S = 3600.0
JUMPS_S = (HOUR_S, -HOUR_S, 10 * 365.25 * 24 * HOUR_S)


def lock_the_catalogue(site: Site, turn: int) -> None:
    """A writer that holds the whole file, for less and for more than the product waits for it."""
    with closing(sqlite3.connect(site.folder / "var" / "esteira.db", timeout=30, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep((3, 12, 30)[turn % 3])
        connection.execute("ROLLBACK")
    time.sleep(site.chance.uniform(3, 6))


def deafen_the_receiver(site: Site, turn: int) -> None:
    """Connections reset, 500, 410, redirects, or three seconds for each answer. Meanwhile everything else goes on."""
    mood = MOODS[turn % len(MOODS)]
    began = time.time()
    site.load.surge(6)
    site.around.mood = mood
    time.sleep(6)
    ended = sum(bool(row.finished_at) for row in site.plant.rows(site) if row.received_at > began)
    site.around.mood = "well"
    site.came_back()
    site.marks.figures.append(f"{mood}: {ended} ended meanwhile")
    if not ended:
        site.marks.broken.append(f"nothing was worked on while the receiver was {mood}")
    time.sleep(site.chance.uniform(2, 5))


def lose_the_receiver(site: Site, turn: int) -> None:
    """Away for longer than its schedule lasts: what was given up is listed, and a redelivery announces it."""
    site.around.mood = MOODS[turn % 2]
    deadline = time.monotonic() + LOST_S
    while time.monotonic() < deadline and not given_up(site):
        time.sleep(1)
    if not (listed := given_up(site)):
        site.marks.broken.append(f"nothing was given up within {LOST_S} s")
    site.marks.figures.append(f"{listed} given up")
    site.around.mood = "well"
    time.sleep(5)
    redeliver(site)
    time.sleep(5)
    if left := given_up(site):
        site.marks.broken.append(f"{left} are still given up after the redelivery")


def given_up(site: Site) -> int:
    """How many events the catalogue lists as undelivered."""
    return esteira_deliveries(site.folder / "var" / "esteira.db")["undelivered"]


def trouble_the_source(site: Site, _turn: int) -> None:
    """30 % of the downloads go wrong in one of five ways; 2.7 % of the files have that three times over."""
    site.around.trouble = 0.3
    time.sleep(10)
    site.around.trouble = 0.0
    time.sleep(2)


def crash_decoders(_site: Site, _turn: int) -> None:
    """Nothing is done to the plant: a fifth of its files crash their decoder in one of four ways."""
    time.sleep(6)


def repeat_messages(site: Site, turn: int) -> None:
    """One message a hundred times at once, and old ones again; every other time after Redis has lost everything."""
    if turn % 2:
        site.valkey.client().flushall()
    site.load.repeat(100)
    for _ in range(20):
        site.load.again()
    time.sleep(3)


def do_nothing(_site: Site, _turn: int) -> None:
    time.sleep(5)


def lose_the_names(site: Site, turn: int) -> None:
    """The source's name is not found, or only after ten seconds; what comes by address or as base64 goes on."""
    mood, seconds = NAMES_AWAY[turn % len(NAMES_AWAY)]
    began, failed = time.time(), failed_attempts(site)["fetch_dns"]
    (site.folder / "names").write_text(mood)
    time.sleep(seconds)
    (site.folder / "names").write_text("well")
    ended = time.time()
    time.sleep(site.chance.uniform(5, 8))
    plant = site.plant
    assert isinstance(plant, Esteira)
    rows = [row for row in plant.rows(site) if began < row.received_at < ended]
    waited = any((row.finished_at or ended) - row.received_at > seconds for row in rows if plant.is_named(row.number))
    if not waited and failed_attempts(site)["fetch_dns"] == failed:
        site.marks.broken.append(f"nobody minded that names were {mood}")
    others = [row for row in rows if not plant.is_named(row.number)]
    served = sum(row.finished_at is not None and row.finished_at < ended for row in others)
    site.marks.figures.append(f"{mood}: {served} of {len(others)} others ended meanwhile")
    if not served:
        site.marks.broken.append(f"nothing else was worked on while names were {mood}")


def shift_a_clock(site: Site, turn: int) -> None:
    """One worker's clock jumps while it works, and it is started again with it; then the clock is right again."""
    worker = site.workers[turn % len(site.workers)]
    clock = site.folder / f"{worker.name}.clock"
    began = time.time()
    site.load.surge(6)
    set_beside(clock, JUMPS_S[turn % len(JUMPS_S)])
    time.sleep(site.chance.uniform(4, 6))
    worker.stop()  # what a process does once, as it starts, it does by that clock, too
    site.wait_for_workers()
    site.load.surge(6)
    time.sleep(site.chance.uniform(5, 8))
    ended = [row.finished_at for row in site.plant.rows(site) if row.finished_at and row.received_at > began]
    if not any(abs(at - began) > HOUR_S / 2 for at in ended):
        site.marks.broken.append("nothing was noted by the wrong clock")
    set_beside(clock, 0.0)
    time.sleep(site.chance.uniform(4, 6))


def set_beside(clock: Path, seconds: float) -> None:
    """See scripts.faults.clock_skew; written in place, for a worker has it in its memory."""
    file = os.open(clock, os.O_WRONLY)
    try:
        os.pwrite(file, struct.pack("d", seconds), 0)
    finally:
        os.close(file)
