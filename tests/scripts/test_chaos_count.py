"""The checks of scripts/chaos detect each kind of error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from scripts.faults.count import Evidence, Tally, count_evidence
from scripts.faults.files import GOOD, REFUSED, File
from scripts.faults.leftovers import Row, StoredFiles
from scripts.faults.load import ACCEPTED, UNKNOWN, Answer, Attempt

PHOTO = File(7, GOOD, "jpeg", "image")
PAGE = File(8, REFUSED, "html", "document")
OBJECT = Path("/var/media/ab/photo")


def row(number: int, status: str, **more: object) -> Row:
    own = {"sha256": PHOTO.sha256, "object": OBJECT} if status == "done" else {"sha256": None, "object": None}
    common = {"id": f"id{number}", "number": number, "status": status, "stage": "notify", "code": None}
    times = {"received_at": 1.0, "finished_at": 2.0, "announced": True, "event_id": f"event{number}"}
    return Row(**{**common, **times, **own, **more})  # type: ignore[arg-type]


def attempt(number: int, outcome: str = ACCEPTED) -> Attempt:
    return Attempt(number, 1.0, 0.1, Answer(outcome, f"id{number}"))


SOUND = Evidence(
    attempts=[attempt(1), attempt(2), attempt(3, UNKNOWN)],
    files={1: PHOTO, 2: PAGE, 3: PAGE},
    rows=[row(1, "done"), row(2, "rejected"), row(3, "rejected")],
    stored_files=StoredFiles(objects=[(OBJECT, PHOTO.sha256)]),
    event_ids={f"id{number}": {f"event{number}"} for number in (1, 2, 3)},
)


def with_rows(*rows: Row) -> Evidence:
    return replace(SOUND, rows=[*rows])


def with_stored_files(**stored_files: object) -> Evidence:
    return replace(SOUND, stored_files=replace(SOUND.stored_files, **stored_files))  # type: ignore[arg-type]


def test_count_finds_no_faults_in_a_correct_run() -> None:
    tally = count_evidence(SOUND)
    assert tally.faults == {}
    assert (tally.accepted, tally.finished, tally.recovered, tally.done, tally.rejected) == (2, 3, 1, 1, 2)


DONE, BAD, LATE = SOUND.rows
OTHER = Path("/var/media/cd/other")
CASES: dict[str, tuple[Callable[[], Evidence], dict[str, int]]] = {
    "accepted without a row": (lambda: with_rows(DONE, LATE), {"lost": 1}),
    "accepted and unfinished": (
        lambda: with_rows(DONE, row(2, "received", finished_at=None), LATE),
        {"lost": 1, "unfinished": 1},
    ),
    "no answer and unfinished": (
        lambda: with_rows(DONE, BAD, row(3, "received", finished_at=None)),
        {"unfinished": 1},
    ),
    "row that was not sent": (
        lambda: replace(
            SOUND, rows=[*SOUND.rows, row(4, "rejected")], event_ids={**SOUND.event_ids, "id4": {"event4"}}
        ),
        {"unexpected": 1},
    ),
    "bad file accepted": (
        lambda: with_rows(DONE, row(2, "done", sha256=PAGE.sha256), LATE),
        {"wrong_results": 1, "bad_objects": 1},
    ),
    "good file rejected": (lambda: with_rows(row(1, "rejected"), BAD, LATE), {"wrong_results": 1, "bad_objects": 1}),
    "two rows for one message": (
        lambda: replace(SOUND, rows=[*SOUND.rows, row(2, "rejected", id="twin", event_id=None)]),
        {"duplicate_rows": 1},
    ),
    "content stored twice": (
        lambda: replace(with_stored_files(objects=[*SOUND.stored_files.objects, (OTHER, PHOTO.sha256)])),
        {"duplicate_objects": 1, "bad_objects": 1},
    ),
    "object differs from source": (lambda: with_stored_files(objects=[(OBJECT, "0" * 64)]), {"bad_objects": 1}),
    "missing object": (lambda: with_stored_files(objects=[]), {"bad_objects": 1}),
    "two events for one result": (
        lambda: replace(SOUND, event_ids={**SOUND.event_ids, "id1": {"event1", "another"}}),
        {"duplicate_events": 1},
    ),
    "missing event": (lambda: replace(SOUND, event_ids={**SOUND.event_ids, "id1": set()}), {"events_missing": 1}),
    "event of another status": (
        lambda: replace(SOUND, event_types={"event1": {"media.done"}, "event2": {"media.rejected", "media.done"}}),
        {"wrong_events": 1},
    ),
    "partial file": (lambda: with_stored_files(parts=[OTHER]), {"leftovers": 1}),
    "staged bytes of a done attachment": (lambda: with_stored_files(staged={"id1": OTHER}), {"leftovers": 1}),
    "intake without a row": (lambda: with_stored_files(intake={"f" * 32: OTHER}), {"leftovers": 1}),
    "intake of a done attachment": (lambda: with_stored_files(intake={"id1": OTHER}), {"leftovers": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_count_finds_each_fault(name: str) -> None:
    make_evidence, faults = CASES[name]
    assert count_evidence(make_evidence()).faults == faults


def test_failed_attachments_are_no_fault_and_may_keep_their_bytes() -> None:
    evidence = replace(with_rows(DONE, row(2, "failed", announced=False), LATE), event_ids={"id1": {"event1"}})
    tally = count_evidence(
        replace(evidence, stored_files=replace(SOUND.stored_files, staged={"id2": OTHER}), rows=evidence.rows[:2])
    )
    assert (tally.failed, tally.wrong_results, tally.leftovers, tally.events_missing) == (1, 0, 0, 0)


def test_only_objects_of_failed_attachments_may_be_in_storage() -> None:
    failed_rows = replace(
        with_rows(row(1, "failed"), BAD, LATE),
        stored_files=StoredFiles(objects=[(Path("/m") / PHOTO.sha256, "0" * 64)]),
    )
    assert (count_evidence(failed_rows).failed_objects, count_evidence(failed_rows).faults) == (1, {})
    assert count_evidence(replace(failed_rows, stored_files=StoredFiles(objects=[(OTHER, "0" * 64)]))).faults == {
        "bad_objects": 1
    }


def test_replayed_attachment_may_have_one_event_per_run() -> None:
    replayed = with_rows(row(1, "done", run=1), BAD, LATE)
    assert count_evidence(replace(replayed, event_ids={**SOUND.event_ids, "id1": {"event1", "first"}})).faults == {}


def test_unexpected_worker_exit_is_a_fault() -> None:
    assert Tally(worker_exits=1).faults == {"worker_exits": 1}
