"""The attempt log of a claim: pending lines, export to another process, limits."""

from __future__ import annotations

import os

from pipeline.history import (
    MAX_CARRIED,
    MAX_MESSAGE,
    AttemptLog,
    HistoryEntry,
    HistoryOutcome,
    new_entry,
    read_lines,
    worker_name,
)


def attempted(attempt_log: AttemptLog, outcome: HistoryOutcome = HistoryOutcome.DONE, **error: str) -> None:
    attempt_log.start("fetch", 1)
    attempt_log.finish(outcome, **error)


def outcomes(attempt_log: AttemptLog) -> list[str]:
    return [entry.outcome.value for entry in read_lines(attempt_log.pending_lines())]


def test_entry_round_trip() -> None:
    entry = HistoryEntry(
        run=2, stage="validate", attempt=3, at=1_700_000_000_123, ms=12.5, outcome=HistoryOutcome.RETRY,
        code="decoder_crash", message="olá\nline two", worker="host:7",
    )  # fmt: skip
    assert read_lines(entry.line()) == [entry]
    assert entry.line().count("\n") == 1


def test_written_lines_are_not_pending() -> None:
    attempt_log = AttemptLog()
    attempted(attempt_log)
    assert outcomes(attempt_log) == ["done"]
    attempt_log.mark_written()
    assert attempt_log.pending_lines() == ""


def test_unwritten_lines_stay_pending() -> None:
    attempt_log = AttemptLog()
    attempted(attempt_log)
    attempt_log.pending_lines()
    attempted(attempt_log, HistoryOutcome.RETRY, code="storage", message="is full")
    assert outcomes(attempt_log) == ["done", "retry"]


def test_closing_write_records_the_attempt_once() -> None:
    attempt_log = AttemptLog()
    attempt_log.start("persist", 1)
    assert [entry.stage for entry in read_lines(attempt_log.pending_lines(closing=True))] == ["persist"]
    attempt_log.mark_written(closing=True)
    attempt_log.finish(HistoryOutcome.DONE)
    assert attempt_log.pending_lines() == ""


def test_failure_after_the_closing_write_is_recorded() -> None:
    attempt_log = AttemptLog()
    attempt_log.start("persist", 1)
    attempt_log.mark_written(closing=True)
    attempt_log.finish(HistoryOutcome.RETRY, code="storage", message="went away")
    assert outcomes(attempt_log) == ["retry"]


def test_final_entry_is_omitted_if_an_attempt_recorded_it() -> None:
    ending = new_entry("fetch", HistoryOutcome.FAILED, code="poison")
    attempt_log = AttemptLog()
    assert [entry.code for entry in read_lines(attempt_log.pending_lines(final=ending))] == ["poison"]
    attempted(attempt_log, HistoryOutcome.FAILED, code="fetch_timeout", message="silent")
    assert [entry.code for entry in read_lines(attempt_log.pending_lines(final=ending))] == ["fetch_timeout"]


def test_waiting_is_recorded_once() -> None:
    attempt_log = AttemptLog()
    attempted(attempt_log, HistoryOutcome.WAITS, code="fetch_busy")
    attempt_log.mark_written()
    carried = attempt_log.export()
    assert carried == {"waits": True}
    another = AttemptLog()
    another.restore(carried)
    attempted(another, HistoryOutcome.WAITS, code="fetch_busy")
    assert another.pending_lines() == ""
    attempted(another)
    attempted(another, HistoryOutcome.WAITS, code="fetch_busy")
    assert outcomes(another) == ["done", "waits"]


def test_crash_is_recorded_once_for_each_death() -> None:
    attempt_log = AttemptLog()
    attempt_log.record_crash("fetch", 0)
    assert (attempt_log.pending_lines(), attempt_log.export()) == ("", None)
    attempt_log.record_crash("fetch", 1)
    another = AttemptLog()
    another.restore(attempt_log.export() or {})
    another.record_crash("fetch", 1)
    assert outcomes(another) == ["crashed"]
    another.record_crash("fetch", 2)
    assert outcomes(another) == ["crashed", "crashed"]


def test_exported_entries_come_first_and_are_limited() -> None:
    attempt_log = AttemptLog()
    for number in range(MAX_CARRIED + 5):
        attempt_log.start("fetch", number)
        attempt_log.finish(HistoryOutcome.RETRY)
    another = AttemptLog()
    another.restore(attempt_log.export() or {})
    attempted(another)
    found = read_lines(another.pending_lines())
    assert [entry.attempt for entry in found] == [*range(5, MAX_CARRIED + 5), 1]


def test_invalid_exported_values_are_ignored() -> None:
    attempt_log = AttemptLog()
    attempt_log.restore({"lines": ["", "nonsense", 7, '{"stage": "fetch"}'], "waits": "yes", "crashes": "many"})
    attempt_log.restore({"lines": "text"})
    attempted(attempt_log, HistoryOutcome.WAITS)
    assert outcomes(attempt_log) == ["waits"]


def test_incomplete_and_repeated_lines_are_dropped() -> None:
    entry = HistoryEntry(stage="fetch", at=1)
    assert read_lines('tempt":2,"at":5}\n' + 2 * entry.line() + "\n") == [entry]
    assert read_lines(None) == read_lines("") == []


def test_message_is_shortened_and_cleaned() -> None:
    attempt_log = AttemptLog()
    attempted(attempt_log, HistoryOutcome.RETRY, code="internal", message="\0\ud800" + "x" * 5000)
    (entry,) = read_lines(attempt_log.pending_lines())
    assert entry.message
    assert entry.message.startswith("\ufffd?x")
    assert len(entry.message) == MAX_MESSAGE


def test_forked_child_has_its_own_worker_name() -> None:
    mine = worker_name()
    assert mine.endswith(f":{os.getpid()}")
    child = os.fork()
    if child == 0:
        attempt_log = AttemptLog()
        attempted(attempt_log)
        told = [
            read_lines(attempt_log.pending_lines())[0].worker,
            worker_name(),
            new_entry("fetch", HistoryOutcome.DONE).worker,
        ]
        os._exit(0 if told == 3 * [f"{mine.partition(':')[0]}:{os.getpid()}"] else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert worker_name() == mine
