"""Checks a run: compares accepted attachments with results, stored objects, events and leftover files."""

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
    *("lost", "unfinished", "unexpected", "wrong_results", "duplicate_rows", "duplicate_objects", "duplicate_events"),
    *("events_missing", "wrong_events", "bad_objects", "leftovers", "worker_exits"),
)


@dataclass
class Tally:
    """The results of one run, as counts.

    `failed`: attachments with status `failed` after all attempts; `failed_objects`: objects in storage with their
    content. `recovered`: accepted although the sender got no answer. `worker_exits`: worker processes that exited
    without a signal from the run. `codes`: results by error code, or by status if there is no code.
    """

    attempts: int = 0
    accepted: int = 0
    unknown: int = 0
    refused: int = 0
    finished: int = 0
    done: int = 0
    rejected: int = 0
    failed: int = 0
    recovered: int = 0
    lost: int = 0
    unfinished: int = 0
    unexpected: int = 0
    wrong_results: int = 0
    duplicate_rows: int = 0
    duplicate_objects: int = 0
    duplicate_events: int = 0
    events_missing: int = 0
    wrong_events: int = 0
    bad_objects: int = 0
    leftovers: int = 0
    worker_exits: int = 0
    failed_objects: int = 0
    deliveries: int = 0
    drained_s: float = 0.0
    times: Times = field(default_factory=Times)
    codes: dict[str, int] = field(default_factory=dict)
    failed_attempts: dict[str, int] = field(default_factory=dict)
    examples: list[str] = field(default_factory=list)

    @property
    def faults(self) -> dict[str, int]:
        """The counts that must be zero and are not."""
        return {name: value for name in MUST_BE_ZERO if (value := getattr(self, name))}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "faults": self.faults}


def drain(testbed: Testbed) -> float:
    """Waits until everything is finished and cleaned up, at most `terms.drain_timeout_s`; returns the seconds."""
    started = time.monotonic()
    while time.monotonic() - started < testbed.terms.drain_timeout_s:
        rows = testbed.target.rows(testbed)
        if (
            not testbed.target.pending_events(testbed)
            and all(row.finished_at for row in rows)
            and not testbed.target.stored_files(testbed).leftovers(rows, cleaned_up=False)
        ):
            break
        time.sleep(1)
    drained_s = time.monotonic() - started
    testbed.target.clean_up(testbed)
    return drained_s


@dataclass(frozen=True)
class Evidence:
    """Everything that is checked: hand-overs, database rows, stored files and received events.

    `event_ids` by attachment id; `event_types` by event id.
    """

    attempts: Sequence[Attempt]
    files: Mapping[int, File]
    rows: list[Row]
    stored_files: StoredFiles
    event_ids: Mapping[str, set[str]]
    event_types: Mapping[str, set[str]] = field(default_factory=dict)


def count(testbed: Testbed) -> Tally:
    """Checks a test system that has been drained and is still running."""
    rows = testbed.target.rows(testbed)
    servers = testbed.servers
    stored_files = testbed.target.stored_files(testbed)
    tally = count_evidence(
        Evidence(testbed.load.attempts, testbed.load.files, rows, stored_files, servers.event_ids, servers.event_types)
    )
    tally.deliveries = servers.deliveries
    worker_exits = sum(worker.unexpected_exits for worker in testbed.workers)
    if testbed.terms.worker_exits_allowed:
        testbed.observations.figures.append(f"workers killed by it {worker_exits}")
    else:
        tally.worker_exits = worker_exits
    tally.times = times(testbed, rows)
    tally.failed_attempts = dict(failed_attempts(testbed))
    return tally


def count_evidence(evidence: Evidence) -> Tally:
    """Makes all counts."""
    tally = Tally(attempts=len(evidence.attempts))
    _count_handovers(tally, evidence)
    _count_results(tally, evidence)
    _count_objects(tally, evidence)
    _count_events(tally, evidence)
    leftovers = evidence.stored_files.leftovers(evidence.rows)
    tally.leftovers = len(leftovers)
    tally.examples += [f"leftover: {path.parent.name}/{path.name}" for path in leftovers[:5]]
    return tally


def _count_handovers(tally: Tally, evidence: Evidence) -> None:
    attempts, rows = evidence.attempts, evidence.rows
    outcomes = Counter(attempt.answer.outcome for attempt in attempts)
    tally.accepted, tally.unknown, tally.refused = (outcomes[code] for code in (ACCEPTED, UNKNOWN, REFUSED))
    accepted = {attempt.number for attempt in attempts if attempt.answer.outcome == ACCEPTED}
    unknown = {attempt.number for attempt in attempts if attempt.answer.outcome == UNKNOWN} - accepted
    finished = {row.number for row in rows if row.finished_at}
    tally.finished = len(finished)
    tally.lost = len(accepted - finished)
    tally.recovered = len(unknown & finished)
    tally.unfinished = sum(not row.finished_at for row in rows)
    tally.unexpected = len(finished - {attempt.number for attempt in attempts})
    tally.duplicate_rows = len(rows) - len({row.number for row in rows})
    tally.examples += [f"lost: {number}" for number in sorted(accepted - finished)[:5]]
    tally.examples += [
        f"unfinished: {row.id} {row.status} at {row.stage} {row.code}" for row in rows if not row.finished_at
    ][:5]


def _count_results(tally: Tally, evidence: Evidence) -> None:
    for row in evidence.rows:
        if row.status in OPEN or row.number not in evidence.files:
            continue
        file = evidence.files[row.number]
        code = row.code or row.status
        tally.codes[code] = tally.codes.get(code, 0) + 1
        tally.done += row.status == "done"
        tally.rejected += row.status == "rejected"
        if row.status == "failed":
            tally.failed += 1
            tally.examples.append(f"failed: {row.id} at {row.stage}: {row.code}")
        elif row.status != file.expected_status:
            tally.wrong_results += 1
            tally.examples.append(f"wrong result: {file.category} {file.label} has status {row.status} {row.code}")


def _count_objects(tally: Tally, evidence: Evidence) -> None:
    objects = dict(evidence.stored_files.objects)
    owned = {row.object for row in evidence.rows if row.object}
    tally.duplicate_objects = len(objects) - len(set(objects.values()))
    # Content of failed attachments may be stored completely or in part: a replay checks its size and stores it again.
    failed = [row.number for row in evidence.rows if row.status == "failed" and row.number in evidence.files]
    failed_contents = {evidence.files[number].sha256 for number in failed}
    orphaned = [path for path in objects if path not in owned]
    tally.failed_objects = sum(path.name in failed_contents for path in orphaned)
    errors = [f"object without a row: {path.name}" for path in orphaned if path.name not in failed_contents]
    for row in evidence.rows:
        if row.status == "done" and row.number in evidence.files:
            source = evidence.files[row.number].sha256
            if not (row.object and objects.get(row.object) == row.sha256 == source):
                errors.append(f"object of {row.id} differs from its source")
    tally.bad_objects = len(errors)
    tally.examples += errors[:5]


def _count_events(tally: Tally, evidence: Evidence) -> None:
    """Checks that each result has one event id. The event of a failed attachment may be undelivered."""
    rows, event_ids = evidence.rows, evidence.event_ids
    due = {
        row.id: row.event_id
        for row in rows
        if row.finished_at and row.event_id and not (row.status == "failed" and not row.announced)
    }
    missing = [media_id for media_id, event in due.items() if event not in event_ids.get(media_id, set())]
    tally.events_missing = len(missing)
    announced_types = {row.id: evidence.event_types.get(due[row.id]) for row in rows if row.id in due}
    mislabelled = [
        row for row in rows if (event_types := announced_types.get(row.id)) and event_types != {f"media.{row.status}"}
    ]
    tally.wrong_events = len(mislabelled)
    tally.examples += [
        f"announced as {', '.join(sorted(announced_types[row.id] or ()))}: {row.id} {row.status}"
        for row in mislabelled[:5]
    ]
    # A replayed attachment has one event per run.
    runs = {row.id: row.run + 1 for row in rows}
    tally.duplicate_events = sum(len(events) > runs.get(media_id, 1) for media_id, events in event_ids.items())
    tally.examples += [f"no event: {media_id}" for media_id in missing[:5]]
