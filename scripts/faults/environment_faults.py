"""Faults of catalogue, webhook receiver, media server, senders, DNS and clocks. Each public function is one round."""

from __future__ import annotations

import os
import sqlite3
import struct
import time
from contextlib import closing
from pathlib import Path

from scripts.faults.environment import Testbed
from scripts.faults.esteira import Esteira, catalogue_query, redeliver
from scripts.faults.leftovers import esteira_deliveries
from scripts.faults.times import failed_attempts

DNS_DISTURBANCES = (("failing", 4.0), ("slow", 10.0))  # and for how many seconds
DISTURBANCES = ("reset", "refusing", "gone", "redirecting", "slow")
UNDELIVERED_TIMEOUT_S = 90.0
HOUR_S = 3600.0
JUMPS_S = (HOUR_S, -HOUR_S, 10 * 365.25 * 24 * HOUR_S)


def lock_catalogue(testbed: Testbed, round_number: int) -> None:
    """Locks the whole SQLite file for 3, 12 or 30 s: shorter and longer than the product waits."""
    with closing(
        sqlite3.connect(testbed.folder / "var" / "esteira.db", timeout=30, isolation_level=None)
    ) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        time.sleep((3, 12, 30)[round_number % 3])
        connection.execute("ROLLBACK")
    time.sleep(testbed.rng.uniform(3, 6))


def disturb_receiver(testbed: Testbed, round_number: int) -> None:
    """Resets, 500, 410, redirects or slow responses of the receiver for 6 s, while attachments must be finished."""
    disturbance = DISTURBANCES[round_number % len(DISTURBANCES)]
    began = time.time()
    testbed.load.surge(6)
    testbed.servers.disturbance = disturbance
    time.sleep(6)
    finished = sum(bool(row.finished_at) for row in testbed.target.rows(testbed) if row.received_at > began)
    testbed.servers.disturbance = "none"
    testbed.record_recovery()
    testbed.observations.figures.append(f"{disturbance}: {finished} finished meanwhile")
    if not finished:
        testbed.observations.problems.append(f"no attachment was finished while the receiver was {disturbance}")
    time.sleep(testbed.rng.uniform(2, 5))


def block_receiver_until_undelivered(testbed: Testbed, round_number: int) -> None:
    """The receiver is unavailable until events are undelivered; then all of them are redelivered."""
    testbed.servers.disturbance = DISTURBANCES[round_number % 2]
    deadline = time.monotonic() + UNDELIVERED_TIMEOUT_S
    while time.monotonic() < deadline and not undelivered_events(testbed):
        time.sleep(1)
    if not (undelivered := undelivered_events(testbed)):
        testbed.observations.problems.append(f"no event was undelivered within {UNDELIVERED_TIMEOUT_S} s")
    testbed.observations.figures.append(f"{undelivered} undelivered")
    testbed.servers.disturbance = "none"
    time.sleep(5)
    redeliver(testbed)
    time.sleep(5)
    if remaining := undelivered_events(testbed):
        testbed.observations.problems.append(f"{remaining} are still undelivered after the redelivery")


def undelivered_events(testbed: Testbed) -> int:
    """The number of events that the catalogue lists as undelivered."""
    return esteira_deliveries(catalogue_query(testbed))["undelivered"]


def fail_downloads(testbed: Testbed, _round_number: int) -> None:
    """30 % of the downloads fail in one of five ways; 2.7 % of the files fail three times in a row."""
    testbed.servers.failure_share = 0.3
    time.sleep(10)
    testbed.servers.failure_share = 0.0
    time.sleep(2)


def crash_decoders(_testbed: Testbed, _round_number: int) -> None:
    """Only waits: with the terms of this fault, a fifth of the files crash their decoder in one of four ways."""
    time.sleep(6)


def attack(testbed: Testbed, _round_number: int) -> None:
    """Waits while a fifth of the files attack from their decoder. Reports each word of theirs in a verdict."""
    time.sleep(6)
    with closing(sqlite3.connect(f"file:{testbed.folder}/var/esteira.db?mode=ro", uri=True)) as catalogue:
        [count] = catalogue.execute("SELECT COUNT(*) FROM media WHERE error LIKE '%stolen-words%'").fetchone()
    if count:
        testbed.observations.problems.append(f"{count} verdicts have words of a decoder")


def repeat_messages(testbed: Testbed, round_number: int) -> None:
    """Sends one new message 100 times at once and 20 old ones again; in odd rounds after FLUSHALL."""
    if round_number % 2:
        testbed.valkey.client().flushall()
    testbed.load.send_copies(100)
    for _ in range(20):
        testbed.load.resend()
    time.sleep(3)


def do_nothing(_testbed: Testbed, _round_number: int) -> None:
    time.sleep(5)


def disturb_dns(testbed: Testbed, round_number: int) -> None:
    """DNS fails, or needs ten seconds. Files with an address in the URL, or sent as base64, must not wait for it."""
    disturbance, seconds = DNS_DISTURBANCES[round_number % len(DNS_DISTURBANCES)]
    began, failed = time.time(), failed_attempts(testbed)["fetch_dns"]
    (testbed.folder / "names").write_text(disturbance)
    time.sleep(seconds)
    (testbed.folder / "names").write_text("none")
    recovered_at = time.time()
    time.sleep(testbed.rng.uniform(5, 8))
    target = testbed.target
    assert isinstance(target, Esteira)
    rows = [row for row in target.rows(testbed) if began < row.received_at < recovered_at]
    waited = any(
        (row.finished_at or recovered_at) - row.received_at > seconds for row in rows if target.is_named(row.number)
    )
    if not waited and failed_attempts(testbed)["fetch_dns"] == failed:
        testbed.observations.problems.append(f"no attachment was affected while DNS was {disturbance}")
    others = [row for row in rows if not target.is_named(row.number)]
    finished_others = sum(row.finished_at is not None and row.finished_at < recovered_at for row in others)
    testbed.observations.figures.append(f"{disturbance}: {finished_others} of {len(others)} others finished meanwhile")
    if not finished_others:
        testbed.observations.problems.append(f"no other attachment was finished while DNS was {disturbance}")


def shift_clock(testbed: Testbed, round_number: int) -> None:
    """Shifts the clock of one worker while it works, restarts it with the shifted clock, then corrects the clock."""
    worker = testbed.workers[round_number % len(testbed.workers)]
    clock = testbed.folder / f"{worker.name}.clock"
    began = time.time()
    testbed.load.surge(6)
    set_offset(clock, JUMPS_S[round_number % len(JUMPS_S)])
    time.sleep(testbed.rng.uniform(4, 6))
    worker.stop()  # so that its start runs with the shifted clock too
    testbed.wait_for_workers()
    testbed.load.surge(6)
    time.sleep(testbed.rng.uniform(5, 8))
    finish_times = [
        row.finished_at for row in testbed.target.rows(testbed) if row.finished_at and row.received_at > began
    ]
    if not any(abs(at - began) > HOUR_S / 2 for at in finish_times):
        testbed.observations.problems.append("no finish time has the shifted clock")
    set_offset(clock, 0.0)
    time.sleep(testbed.rng.uniform(4, 6))


def set_offset(clock: Path, seconds: float) -> None:
    """Sets the clock offset, see scripts.faults.clock_skew. Written in place, because a worker maps the file."""
    file = os.open(clock, os.O_WRONLY)
    try:
        os.pwrite(file, struct.pack("d", seconds), 0)
    finally:
        os.close(file)
