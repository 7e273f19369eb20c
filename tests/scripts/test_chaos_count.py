"""The count of scripts/chaos sees what it is there to see."""

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


def handed(number: int, outcome: str = ACCEPTED) -> Attempt:
    return Attempt(number, 1.0, 0.1, Answer(outcome, f"id{number}"))


SOUND = Evidence(
    attempts=[handed(1), handed(2), handed(3, UNKNOWN)],
    files={1: PHOTO, 2: PAGE, 3: PAGE},
    rows=[row(1, "done"), row(2, "rejected"), row(3, "rejected")],
    stored_files=StoredFiles(objects=[(OBJECT, PHOTO.sha256)]),
    event_ids={f"id{number}": {f"event{number}"} for number in (1, 2, 3)},
)


def with_rows(*rows: Row) -> Evidence:
    return replace(SOUND, rows=[*rows])


def keeping(**stored_files: object) -> Evidence:
    return replace(SOUND, stored_files=replace(SOUND.stored_files, **stored_files))  # type: ignore[arg-type]


def test_a_run_in_which_all_is_well_has_no_faults() -> None:
    tally = count_evidence(SOUND)
    assert tally.faults == {}
    assert (tally.accepted, tally.ended, tally.recovered, tally.done, tally.rejected) == (2, 3, 1, 1, 2)


DONE, BAD, LATE = SOUND.rows
OTHER = Path("/var/media/cd/other")
CASES: dict[str, tuple[Callable[[], Evidence], dict[str, int]]] = {
    "accepted and nowhere": (lambda: with_rows(DONE, LATE), {"lost": 1}),
    "accepted and never ended": (
        lambda: with_rows(DONE, row(2, "received", finished_at=None), LATE),
        {"lost": 1, "stuck": 1},
    ),
    "without an answer and never ended": (
        lambda: with_rows(DONE, BAD, row(3, "received", finished_at=None)),
        {"stuck": 1},
    ),
    "never handed over": (
        lambda: replace(
            SOUND, rows=[*SOUND.rows, row(4, "rejected")], event_ids={**SOUND.event_ids, "id4": {"event4"}}
        ),
        {"unexpected": 1},
    ),
    "a bad file is let in": (
        lambda: with_rows(DONE, row(2, "done", sha256=PAGE.sha256), LATE),
        {"wrong": 1, "bad_objects": 1},
    ),
    "a good file is refused": (lambda: with_rows(row(1, "rejected"), BAD, LATE), {"wrong": 1, "bad_objects": 1}),
    "two rows for one message": (
        lambda: replace(SOUND, rows=[*SOUND.rows, row(2, "rejected", id="twin", event_id=None)]),
        {"duplicate_rows": 1},
    ),
    "one content twice": (
        lambda: replace(keeping(objects=[*SOUND.stored_files.objects, (OTHER, PHOTO.sha256)])),
        {"duplicate_objects": 1, "bad_objects": 1},
    ),
    "an object that is not its source": (lambda: keeping(objects=[(OBJECT, "0" * 64)]), {"bad_objects": 1}),
    "no object": (lambda: keeping(objects=[]), {"bad_objects": 1}),
    "two events for one ending": (
        lambda: replace(SOUND, event_ids={**SOUND.event_ids, "id1": {"event1", "another"}}),
        {"duplicate_events": 1},
    ),
    "no event": (lambda: replace(SOUND, event_ids={**SOUND.event_ids, "id1": set()}), {"events_missing": 1}),
    "another event than its ending": (
        lambda: replace(SOUND, event_types={"event1": {"media.done"}, "event2": {"media.rejected", "media.done"}}),
        {"wrong_events": 1},
    ),
    "half a file": (lambda: keeping(parts=[OTHER]), {"left_over": 1}),
    "staged bytes of what is done": (lambda: keeping(staged={"id1": OTHER}), {"left_over": 1}),
    "intake of what nobody knows": (lambda: keeping(intake={"f" * 32: OTHER}), {"left_over": 1}),
    "intake of what is done": (lambda: keeping(intake={"id1": OTHER}), {"left_over": 1}),
}


@pytest.mark.parametrize("name", CASES)
def test_what_must_not_be_is_counted(name: str) -> None:
    make, faults = CASES[name]
    assert count_evidence(make()).faults == faults


def test_attempts_used_up_are_counted_apart_and_keep_their_bytes() -> None:
    evidence = replace(with_rows(DONE, row(2, "failed", announced=False), LATE), event_ids={"id1": {"event1"}})
    tally = count_evidence(
        replace(evidence, stored_files=replace(SOUND.stored_files, staged={"id2": OTHER}), rows=evidence.rows[:2])
    )
    assert (tally.gave_up, tally.wrong, tally.left_over, tally.events_missing) == (1, 0, 0, 0)


def test_content_of_what_was_given_up_may_stand_in_storage_and_other_content_may_not() -> None:
    gone = replace(
        with_rows(row(1, "failed"), BAD, LATE),
        stored_files=StoredFiles(objects=[(Path("/m") / PHOTO.sha256, "0" * 64)]),
    )
    assert (count_evidence(gone).given_up_objects, count_evidence(gone).faults) == (1, {})
    assert count_evidence(replace(gone, stored_files=StoredFiles(objects=[(OTHER, "0" * 64)]))).faults == {
        "bad_objects": 1
    }


def test_a_replay_has_an_event_of_its_own() -> None:
    repeat_old = with_rows(row(1, "done", run=1), BAD, LATE)
    assert count_evidence(replace(repeat_old, event_ids={**SOUND.event_ids, "id1": {"event1", "first"}})).faults == {}


def test_a_worker_that_died_by_itself_is_a_fault() -> None:
    assert Tally(deaths=1).faults == {"deaths": 1}
