"""The trail of a claim: what is written when, what rides along, what is let go."""

from __future__ import annotations

import os

from pipeline.history import (
    MAX_CARRIED,
    MAX_MESSAGE,
    AttemptLog,
    HistoryEntry,
    HistoryOutcome,
    entry_now,
    read_lines,
    worker_name,
)


def attempted(trail: AttemptLog, outcome: HistoryOutcome = HistoryOutcome.DONE, **error: str) -> None:
    trail.begin("fetch", 1)
    trail.end(outcome, **error)


def outcomes(trail: AttemptLog) -> list[str]:
    return [entry.outcome.value for entry in read_lines(trail.lines())]


def test_an_entry_comes_back_as_it_was_written() -> None:
    entry = HistoryEntry(
        run=2, stage="validate", attempt=3, at=1_700_000_000_123, ms=12.5, outcome=HistoryOutcome.RETRY,
        code="decoder_crash", message="olá\nline two", worker="host:7",
    )  # fmt: skip
    assert read_lines(entry.line()) == [entry]
    assert entry.line().count("\n") == 1


def test_what_was_written_is_not_written_again() -> None:
    trail = AttemptLog()
    attempted(trail)
    assert outcomes(trail) == ["done"]
    trail.written()
    assert trail.lines() == ""


def test_what_could_not_be_written_is_written_with_the_next() -> None:
    trail = AttemptLog()
    attempted(trail)
    trail.lines()
    attempted(trail, HistoryOutcome.RETRY, code="storage", message="is full")
    assert outcomes(trail) == ["done", "retry"]


def test_the_last_deed_of_an_attempt_tells_it_as_done_and_it_is_told_once() -> None:
    trail = AttemptLog()
    trail.begin("persist", 1)
    assert [entry.stage for entry in read_lines(trail.lines(closing=True))] == ["persist"]
    trail.written(closing=True)
    trail.end(HistoryOutcome.DONE)
    assert trail.lines() == ""


def test_an_attempt_that_fails_after_its_last_deed_says_so() -> None:
    trail = AttemptLog()
    trail.begin("persist", 1)
    trail.written(closing=True)
    trail.end(HistoryOutcome.RETRY, code="storage", message="went away")
    assert outcomes(trail) == ["retry"]


def test_an_ending_is_told_unless_the_attempt_that_led_to_it_is() -> None:
    ending = entry_now("fetch", HistoryOutcome.FAILED, code="poison")
    trail = AttemptLog()
    assert [entry.code for entry in read_lines(trail.lines(final=ending))] == ["poison"]
    attempted(trail, HistoryOutcome.FAILED, code="fetch_timeout", message="silent")
    assert [entry.code for entry in read_lines(trail.lines(final=ending))] == ["fetch_timeout"]


def test_waiting_is_told_once_for_as_long_as_it_lasts() -> None:
    trail = AttemptLog()
    attempted(trail, HistoryOutcome.WAITS, code="fetch_busy")
    trail.written()
    carried = trail.carried()
    assert carried == {"waits": True}
    another = AttemptLog()
    another.resume(carried)
    attempted(another, HistoryOutcome.WAITS, code="fetch_busy")
    assert another.lines() == ""
    attempted(another)
    attempted(another, HistoryOutcome.WAITS, code="fetch_busy")
    assert outcomes(another) == ["done", "waits"]


def test_a_crash_is_told_once_for_each_death() -> None:
    trail = AttemptLog()
    trail.crashed("fetch", 0)
    assert (trail.lines(), trail.carried()) == ("", None)
    trail.crashed("fetch", 1)
    another = AttemptLog()
    another.resume(trail.carried() or {})
    another.crashed("fetch", 1)
    assert outcomes(another) == ["crashed"]
    another.crashed("fetch", 2)
    assert outcomes(another) == ["crashed", "crashed"]


def test_what_rides_along_comes_first_and_is_bounded() -> None:
    trail = AttemptLog()
    for number in range(MAX_CARRIED + 5):
        trail.begin("fetch", number)
        trail.end(HistoryOutcome.RETRY)
    another = AttemptLog()
    another.resume(trail.carried() or {})
    attempted(another)
    found = read_lines(another.lines())
    assert [entry.attempt for entry in found] == [*range(5, MAX_CARRIED + 5), 1]


def test_nonsense_that_rides_along_is_left_out() -> None:
    trail = AttemptLog()
    trail.resume({"lines": ["", "nonsense", 7, '{"stage": "fetch"}'], "waits": "yes", "crashes": "many"})
    trail.resume({"lines": "text"})
    attempted(trail, HistoryOutcome.WAITS)
    assert outcomes(trail) == ["waits"]


def test_a_line_that_was_cut_in_two_is_left_out_and_a_repeat_told_once() -> None:
    entry = HistoryEntry(stage="fetch", at=1)
    assert read_lines('tempt":2,"at":5}\n' + 2 * entry.line() + "\n") == [entry]
    assert read_lines(None) == read_lines("") == []


def test_a_message_is_kept_short_and_clean() -> None:
    trail = AttemptLog()
    attempted(trail, HistoryOutcome.RETRY, code="internal", message="\0\ud800" + "x" * 5000)
    (entry,) = read_lines(trail.lines())
    assert entry.message
    assert entry.message.startswith("\ufffd?x")
    assert len(entry.message) == MAX_MESSAGE


def test_a_forked_child_has_a_name_of_its_own() -> None:
    mine = worker_name()
    assert mine.endswith(f":{os.getpid()}")
    child = os.fork()
    if child == 0:
        trail = AttemptLog()
        attempted(trail)
        told = [read_lines(trail.lines())[0].worker, worker_name(), entry_now("fetch", HistoryOutcome.DONE).worker]
        os._exit(0 if told == 3 * [f"{mine.partition(':')[0]}:{os.getpid()}"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert worker_name() == mine
