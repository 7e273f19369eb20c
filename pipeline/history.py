"""The history of an attachment: one entry for each attempt at a stage.

History needs no write of its own. Entries wait in the attempt log of the claim until the next update of the
attachment's row. If another process makes that update, they travel in the queue message.
"""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Any, NamedTuple

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from pipeline.values.gateway_values import clean_text

MAX_MESSAGE = 300  # characters of an error message that an entry keeps
MAX_CARRIED = 20  # entries in a queue message; older ones are dropped


class HistoryOutcome(StrEnum):
    """The outcome of an attempt, or an event between two attempts."""

    DONE = "done"
    RETRY = "retry"  # failed, and will be tried again
    WAITS = "waits"  # waited for its turn or for a server of ours; not an attempt, and recorded once per wait
    BACK = "back_to_fetch"  # the staged bytes were missing
    ASKS = "asks_gateway"  # the source is gone; the next attempts ask the gateway
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CRASHED = "crashed"  # a worker died with the attachment, and another one took it over
    REPLAYED = "replayed"


FINAL = frozenset(
    {HistoryOutcome.REFUSED, HistoryOutcome.FAILED, HistoryOutcome.EXPIRED, HistoryOutcome.CANCELLED}
)  # only notify follows these

# Local names, because every stage of every file looks them up.
_DONE, _WAITS = HistoryOutcome.DONE, HistoryOutcome.WAITS

_OUTCOMES = {
    "rejected": HistoryOutcome.REFUSED,
    "failed": HistoryOutcome.FAILED,
    "expired": HistoryOutcome.EXPIRED,
}


def failure_outcome(status: str, code: str) -> HistoryOutcome:
    """The history outcome of a failure with this status and this error code."""
    return HistoryOutcome.CANCELLED if code == HistoryOutcome.CANCELLED.value else _OUTCOMES[status]


def _shortened(message: Any) -> Any:
    return clean_text(message)[:MAX_MESSAGE] if isinstance(message, str) else message


class HistoryEntry(BaseModel):
    """One attempt at a stage, or an event before the next attempt. `worker` is `<host>:<process id>`.

    `at` is the start in Unix milliseconds, `ms` the duration; None for an event without a duration.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    run: int = 0
    stage: str
    attempt: int = 1
    at: int
    ms: float | None = None
    outcome: HistoryOutcome = HistoryOutcome.DONE
    code: str | None = None
    message: Annotated[str | None, BeforeValidator(_shortened)] = None
    worker: str | None = None

    def line(self) -> str:
        """The stored form: one line of JSON without default values."""
        return self.model_dump_json(exclude_defaults=True) + "\n"


def new_entry(stage: str, outcome: HistoryOutcome, **fields: Any) -> HistoryEntry:
    """An entry for an event that happens now in this process."""
    return HistoryEntry(stage=stage, outcome=outcome, at=int(time.time() * 1000), worker=worker_name(), **fields)


def read_lines(text: str | None) -> list[HistoryEntry]:
    """The entries of a row, oldest first.

    Duplicates are dropped: they come from a write that was repeated because its answer was lost. So is an incomplete
    first line, which is left when the older half of a history is removed.
    """
    return list(dict.fromkeys(entry for line in (text or "").splitlines() if (entry := _parse(line))))


def _parse(line: str) -> HistoryEntry | None:
    try:
        return HistoryEntry.model_validate_json(line)
    except ValidationError:
        return None


class Attempt(NamedTuple):
    """A finished attempt. `began` is in Unix seconds, `ms` is its duration."""

    stage: str
    number: int
    began: float
    ms: float
    outcome: HistoryOutcome
    code: str | None = None
    message: str | None = None


class AttemptLog:
    """The entries of one claim that are not yet written to its row. Not thread-safe."""

    def __init__(self, run: int = 0) -> None:
        self.run = run
        self._pending: list[str] = []
        self._has_final = False  # a pending entry has a final outcome
        self._current: tuple[str, int, float, float] | None = None
        self._current_written = False  # the current attempt is written as done already
        self._waits = False
        self._crashes = 0

    def start(self, stage: str, number: int) -> None:
        """Starts an attempt now."""
        self._current = (stage, number, time.time(), time.perf_counter())
        self._current_written = False

    def finish(self, outcome: HistoryOutcome, *, code: str | None = None, message: str | None = None) -> Attempt | None:
        """Finishes the current attempt. Returns None if there is none, or if it waits again as the one before did."""
        if self._current is None:
            return None
        attempt = self._attempt(outcome, code, message)
        self._current = None
        waited, self._waits = self._waits, outcome is _WAITS
        if waited and self._waits:
            return None
        if outcome is not _DONE:
            self._has_final = self._has_final or outcome in FINAL
        elif self._current_written:
            return attempt
        self._pending.append(self._line(attempt))
        return attempt

    def record_crash(self, stage: str, workers: int) -> bool:
        """Records that this many workers in total have died with the attachment. False if that is recorded already."""
        if workers <= self._crashes:
            return False
        self._crashes = workers
        message = (
            f"{workers} workers died with this attachment" if workers > 1 else "a worker died with this attachment"
        )
        self._pending.append(new_entry(stage, HistoryOutcome.CRASHED, run=self.run, message=message).line())
        return True

    def pending_lines(self, *, closing: bool = False, final: HistoryEntry | None = None) -> str:
        """The lines to write now.

        With `closing` the current attempt is included as done, because the write is its last action. `final` is
        included unless a pending attempt has led to that outcome.
        """
        lines = "".join(self._pending)
        if closing and self._current and not self._current_written:
            lines += self._line(self._attempt(HistoryOutcome.DONE))
        return lines + final.line() if final and not self._has_final else lines

    def mark_written(self, *, closing: bool = False) -> None:
        """Forgets the lines of `pending_lines`, which are in the row now."""
        self._pending.clear()
        self._has_final = False
        self._current_written = self._current_written or closing

    def export(self) -> dict[str, Any] | None:
        """What another process needs to continue this log, for a queue message; None if that is nothing."""
        state = {"lines": self._pending[-MAX_CARRIED:], "waits": self._waits, "crashes": self._crashes}
        return {name: value for name, value in state.items() if value} or None

    def restore(self, exported: dict[str, Any]) -> None:
        """Continues the log of another process. Values of a wrong type are ignored."""
        lines, crashes = exported.get("lines"), exported.get("crashes")
        entries = _carried_entries(lines if isinstance(lines, list) else ())
        self._pending[:0] = [entry.line() for entry in entries]
        self._has_final = any(entry.outcome in FINAL for entry in entries)
        self._waits = exported.get("waits") is True
        self._crashes = crashes if isinstance(crashes, int) else 0

    def _attempt(self, outcome: HistoryOutcome, code: str | None = None, message: str | None = None) -> Attempt:
        assert self._current is not None
        stage, number, at, began = self._current
        return Attempt(stage, number, at, (time.perf_counter() - began) * 1000, outcome, code, message)

    def _line(self, attempt: Attempt) -> str:
        """As `HistoryEntry.line`, but three times as fast for nearly all attempts: the first one, and done."""
        stage, number, began, took, outcome, code, message = attempt
        at, ms = int(began * 1000), round(took, 1)
        if outcome is _DONE and number == 1 and not (self.run or message):
            return f'{{"stage":"{stage}","at":{at},"ms":{ms},"worker":"{_ProcessName.name}"}}\n'
        entry = HistoryEntry(
            run=self.run,
            stage=stage,
            attempt=number,
            at=at,
            ms=ms,
            outcome=outcome,
            code=code,
            message=message,
            worker=_ProcessName.name,
        )
        return entry.line()


def _carried_entries(lines: Iterable[Any]) -> list[HistoryEntry]:
    return [entry for line in list(lines)[-MAX_CARRIED:] if isinstance(line, str) and (entry := _parse(line))]


def worker_name() -> str:
    """The name of this process in history entries."""
    return _ProcessName.name


class _ProcessName:
    """The name of this process, determined at its start and again in a forked child."""

    name = ""

    @classmethod
    def find_name(cls) -> None:
        # Restricted to plain characters, because `_line` puts it into JSON unescaped.
        host = re.sub(r"[^\w.-]", "_", platform.node(), flags=re.ASCII)
        cls.name = f"{host}:{os.getpid()}"


_ProcessName.find_name()
os.register_at_fork(after_in_child=_ProcessName.find_name)
