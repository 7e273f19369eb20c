"""Restarts of PostgreSQL, the catalogue, under load. The public function is one round."""

from __future__ import annotations

import math
import os
import time

from scripts.faults.environment import SkippedError, Testbed
from scripts.faults.load import ACCEPTED, Attempt
from scripts.faults.times import percentile

SHORT_S, LONG_S = 2.0, 8.0  # how long PostgreSQL is stopped, in the first four rounds and after them
KILLING, FILLING = 1, 3  # of four rounds, the one in which the web app is killed and the one that fills the spool
EXTRA_PER_S = 5  # hooks in addition to those of the load
MAX_REPEATS, AT_ONCE = 2000, 50  # earlier messages that fill the spool
BACK_S = 30.0
SETTINGS = {"INTAKE_SPOOL_MB": "2.5"}


def restart_postgres(testbed: Testbed, round_number: int) -> None:
    """Stops PostgreSQL as a crash does, and starts it after some seconds.

    In one of four rounds the web app is killed meanwhile, in another one the intake spool is filled. A hook may be
    refused only while the spool is full.
    """
    postgres = testbed.postgres
    if postgres is None:
        if os.environ.get("CI") == "true":
            testbed.observations.problems.append("PostgreSQL is missing, and CI must have it")
        raise SkippedError("PostgreSQL is not installed (initdb, pg_ctl)")
    part, began = round_number % 4, time.time()
    seconds = SHORT_S if round_number < 4 else LONG_S
    postgres.stop()
    if part == FILLING:
        _fill_spool(testbed, began)
    for beat in range(math.ceil(seconds * EXTRA_PER_S)):
        if part == KILLING and beat == EXTRA_PER_S:
            testbed.kill(testbed.part("web"))
        testbed.load.surge(1)
        time.sleep(1 / EXTRA_PER_S)
    if part == KILLING:
        testbed.target.wait_until_ready()  # it starts without a catalogue
        time.sleep(1)
    postgres.start()
    testbed.record_recovery()
    _wait_until_handed_over(testbed)
    _check_answers(testbed, began, may_be_full=part == FILLING)
    time.sleep(testbed.rng.uniform(1, 2))


def _fill_spool(testbed: Testbed, began: float) -> None:
    """Hands earlier messages over again until one is refused."""
    for _ in range(MAX_REPEATS // AT_ONCE):
        if _refused(testbed, began):
            return
        for _ in range(AT_ONCE):
            testbed.load.resend()
        time.sleep(0.3)


def _refused(testbed: Testbed, began: float) -> list[Attempt]:
    attempts = [attempt for attempt in testbed.load.attempts if attempt.at >= began]
    return [attempt for attempt in attempts if attempt.answer.detail.startswith("503")]


def _wait_until_handed_over(testbed: Testbed) -> None:
    spool = testbed.folder / "var" / "spool"
    started = time.monotonic()
    while list(spool.glob("*.json")):
        if time.monotonic() - started > BACK_S:
            testbed.observations.problems.append(f"the spool is not empty {BACK_S:.0f} s after PostgreSQL is back")
            return
        time.sleep(0.1)


def _check_answers(testbed: Testbed, began: float, *, may_be_full: bool) -> None:
    attempts = [attempt for attempt in testbed.load.attempts if attempt.at >= began]
    refused = _refused(testbed, began)
    full = [attempt for attempt in refused if "is full" in attempt.answer.detail]
    if len(full) < len(refused) or (full and not may_be_full):
        testbed.observations.problems.append(f"refused: {refused[0].answer.detail}")
    if may_be_full and not full:
        testbed.observations.problems.append("the spool was not full")
    testbed.observations.figures.append(_figures(attempts, refused))


def _figures(attempts: list[Attempt], refused: list[Attempt]) -> str:
    took = [attempt.took_s for attempt in attempts if attempt.answer.outcome == ACCEPTED]
    full = f" and {len(refused)} refused by the full spool" if refused else ""
    return f"{len(took)} accepted{full} in p50 {percentile(took, 50)} s, p99 {percentile(took, 99)} s"
