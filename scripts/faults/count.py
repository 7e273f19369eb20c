"""The count: what was accepted against what ended, and what must not be there."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from scripts.faults.environment import Testbed
from scripts.faults.files import File
from scripts.faults.leftovers import OPEN, Row, StoredFiles
from scripts.faults.load import ACCEPTED, REFUSED, UNKNOWN, Attempt
from scripts.faults.times import Times, failed_attempts, times

MUST_BE_ZERO = (
    *("lost", "stuck", "unexpected", "wrong", "duplicate_rows", "duplicate_objects", "duplicate_events"),
    *("events_missing", "wrong_events", "bad_objects", "left_over", "deaths"),
)


@dataclass
class Tally:
    """One run in figures. `deaths` are worker processes that ended although nobody ended them.

    `codes` are error codes, or the status where there is none. `gave_up` ended failed with their attempts used up,
    `given_up_objects` are what of their content stands in storage. `recovered` came in although their sender got no
    answer.
    """

    attempts: int = 0
    accepted: int = 0
    unknown: int = 0
    refused: int = 0
    ended: int = 0
    done: int = 0
    rejected: int = 0
    gave_up: int = 0
    recovered: int = 0
    lost: int = 0
    stuck: int = 0
    unexpected: int = 0
    wrong: int = 0
    duplicate_rows: int = 0
    duplicate_objects: int = 0
    duplicate_events: int = 0
    events_missing: int = 0
    wrong_events: int = 0
    bad_objects: int = 0
    left_over: int = 0
    deaths: int = 0
    given_up_objects: int = 0
    deliveries: int = 0
    drained_s: float = 0.0
    times: Times = field(default_factory=Times)
    codes: dict[str, int] = field(default_factory=dict)
    failed_attempts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, int]:
        """What is not zero and must be."""
        return {name: value for name in MUST_BE_ZERO if (value := getattr(self, name))}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "faults": self.faults}


def drain(testbed: Testbed) -> float:
    """Waits until nothing is unfinished, untold or left over, at most as long as the terms say; how long that took."""
    started = time.monotonic()
    while time.monotonic() - started < testbed.terms.drain_s:
        rows = testbed.target.rows(testbed)
        event_ids = not testbed.target.unannounced(testbed)
        if (
            event_ids
            and all(row.finished_at for row in rows)
            and not testbed.target.stored_files(testbed).left_over(rows, cleaned_up=False)
        ):
            break
        time.sleep(1)
    took = time.monotonic() - started
    testbed.target.clean_up(testbed)
    return took


@dataclass(frozen=True)
class Evidence:
    """What is counted: what was handed over, what the plant says and keeps, and what was told.

    `told` are an attachment's event ids, `types` what an event was said to be.
    """

    attempts: Sequence[Attempt]
    files: Mapping[int, File]
    rows: list[Row]
    stored_files: StoredFiles
    event_ids: Mapping[str, set[str]]
    event_types: Mapping[str, set[str]] = field(default_factory=dict)


def count(testbed: Testbed) -> Tally:
    """Counts a plant that has been drained and still runs."""
    rows = testbed.target.rows(testbed)
    servers = testbed.servers
    stored_files = testbed.target.stored_files(testbed)
    tally = count_evidence(
        Evidence(testbed.load.attempts, testbed.load.files, rows, stored_files, servers.event_ids, servers.event_types)
    )
    tally.deliveries = servers.deliveries
    deaths = sum(worker.died_by_itself for worker in testbed.workers)
    if testbed.terms.deaths_allowed:
        testbed.observations.figures.append(f"workers ended by it {deaths}")
    else:
        tally.deaths = deaths
    tally.times = times(testbed, rows)
    tally.failed_attempts = dict(failed_attempts(testbed))
    return tally


def count_evidence(evidence: Evidence) -> Tally:
    """The count itself."""
    tally = Tally(attempts=len(evidence.attempts))
    _count_handovers(tally, evidence)
    _count_endings(tally, evidence)
    _count_objects(tally, evidence)
    _count_events(tally, evidence)
    left = evidence.stored_files.left_over(evidence.rows)
    tally.left_over = len(left)
    tally.examples += [f"left over: {path.parent.name}/{path.name}" for path in left[:5]]
    return tally


def _count_handovers(tally: Tally, evidence: Evidence) -> None:
    attempts, rows = evidence.attempts, evidence.rows
    outcomes = Counter(attempt.answer.outcome for attempt in attempts)
    tally.accepted, tally.unknown, tally.refused = (outcomes[word] for word in (ACCEPTED, UNKNOWN, REFUSED))
    accepted = {attempt.number for attempt in attempts if attempt.answer.outcome == ACCEPTED}
    unknown = {attempt.number for attempt in attempts if attempt.answer.outcome == UNKNOWN} - accepted
    ended = {row.number for row in rows if row.finished_at}
    tally.ended = len(ended)
    tally.lost = len(accepted - ended)
    tally.recovered = len(unknown & ended)
    tally.stuck = sum(not row.finished_at for row in rows)
    tally.unexpected = len(ended - {attempt.number for attempt in attempts})
    tally.duplicate_rows = len(rows) - len({row.number for row in rows})
    tally.examples += [f"lost: {number}" for number in sorted(accepted - ended)[:5]]
    tally.examples += [
        f"stuck: {row.id} {row.status} at {row.stage} {row.code}" for row in rows if not row.finished_at
    ][:5]


def _count_endings(tally: Tally, evidence: Evidence) -> None:
    for row in evidence.rows:
        if row.status in OPEN or row.number not in evidence.files:
            continue
        file = evidence.files[row.number]
        word = row.code or row.status
        tally.codes[word] = tally.codes.get(word, 0) + 1
        tally.done += row.status == "done"
        tally.rejected += row.status == "rejected"
        if row.status == "failed":
            tally.gave_up += 1
            tally.examples.append(f"gave up: {row.id} at {row.stage}: {row.code}")
        elif row.status != file.ending:
            tally.wrong += 1
            tally.examples.append(f"wrong: {file.fate} {file.label} ended {row.status} {row.code}")


def _count_objects(tally: Tally, evidence: Evidence) -> None:
    objects = dict(evidence.stored_files.objects)
    owned = {row.object for row in evidence.rows if row.object}
    tally.duplicate_objects = len(objects) - len(set(objects.values()))
    # What was given up may stand there, or a half of it: a replay looks at its size, and puts it there again.
    failed = [row.number for row in evidence.rows if row.status == "failed" and row.number in evidence.files]
    given_up = {evidence.files[number].sha256 for number in failed}
    orphaned = [path for path in objects if path not in owned]
    tally.given_up_objects = sum(path.name in given_up for path in orphaned)
    bad = [f"nobody's object: {path.name}" for path in orphaned if path.name not in given_up]
    for row in evidence.rows:
        if row.status == "done" and row.number in evidence.files:
            source = evidence.files[row.number].sha256
            if not (row.object and objects.get(row.object) == row.sha256 == source):
                bad.append(f"object of {row.id} is not its source")
    tally.bad_objects = len(bad)
    tally.examples += bad[:5]


def _count_events(tally: Tally, evidence: Evidence) -> None:
    """One event for each ending, however often it came; an announcement that was given up is not missing."""
    rows, event_ids = evidence.rows, evidence.event_ids
    due = {
        row.id: row.event_id
        for row in rows
        if row.finished_at and row.event_id and not (row.status == "failed" and not row.announced)
    }
    missing = [media_id for media_id, event in due.items() if event not in event_ids.get(media_id, set())]
    tally.events_missing = len(missing)
    log_lines = {row.id: evidence.event_types.get(due[row.id]) for row in rows if row.id in due}
    liars = [row for row in rows if (event_types := log_lines.get(row.id)) and event_types != {f"media.{row.status}"}]
    tally.wrong_events = len(liars)
    tally.examples += [
        f"told as {', '.join(sorted(log_lines[row.id] or ()))}: {row.id} {row.status}" for row in liars[:5]
    ]
    # Each run has an event of its own: a replayed attachment may have as many as it had runs.
    runs = {row.id: row.run + 1 for row in rows}
    tally.duplicate_events = sum(len(events) > runs.get(media_id, 1) for media_id, events in event_ids.items())
    tally.examples += [f"no event: {media_id}" for media_id in missing[:5]]
