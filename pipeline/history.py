"""The history of an attachment: one entry for each attempt at a stage.

History needs no write of its own. Entries wait in the attempt log of the claim until the next update of the
attachment's row; if another process makes that update, they travel in the queue message.
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

MAX_MESSAGE = 300  # characters of an error's message that are kept for each attempt
MAX_CARRIED = 20  # entries that ride in a message


class HistoryOutcome(StrEnum):
    """What became of an attempt, or what happened between two."""

    DONE = "done"
    RETRY = "retry"  # went wrong and is tried again
    WAITS = "waits"  # for its turn or for a server of ours: no attempt, told once for as long as it waits
    BACK = "back_to_fetch"  # the staged bytes were not there
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    CRASHED = "crashed"  # a worker died while it held the attachment, and another one took it over
    REPLAYED = "replayed"


FINAL = frozenset(
    {HistoryOutcome.REFUSED, HistoryOutcome.FAILED, HistoryOutcome.EXPIRED, HistoryOutcome.CANCELLED}
)  # after these it is only announced

# Looked up for every stage of every file.
_DONE, _WAITS = HistoryOutcome.DONE, HistoryOutcome.WAITS

_ENDINGS = {
    "rejected": HistoryOutcome.REFUSED,
    "failed": HistoryOutcome.FAILED,
    "expired": HistoryOutcome.EXPIRED,
}


def failure_outcome(status: str, code: str) -> HistoryOutcome:
    """What an ending with this status and this error is called here."""
    return HistoryOutcome.CANCELLED if code == HistoryOutcome.CANCELLED.value else _ENDINGS[status]


def _shortened(message: Any) -> Any:
    return clean_text(message)[:MAX_MESSAGE] if isinstance(message, str) else message


class HistoryEntry(BaseModel):
    """One attempt at a stage, or what happened before the next. `worker` is `<host>:<process id>`.

    `at` is when it began, in Unix milliseconds, `ms` how long it took; None for what takes no time.
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
        """As it is kept: a line of JSON without what goes without saying."""
        return self.model_dump_json(exclude_defaults=True) + "\n"


def new_entry(stage: str, outcome: HistoryOutcome, **fields: Any) -> HistoryEntry:
    """What happens just now, in this process."""
    return HistoryEntry(stage=stage, outcome=outcome, at=int(time.time() * 1000), worker=worker_name(), **fields)


def read_lines(text: str | None) -> list[HistoryEntry]:
    """The entries of a row, the first one first; each once, though a write whose answer was lost was made again.

    The first line may have been cut in two when the oldest were let go.
    """
    return list(dict.fromkeys(found for line in (text or "").splitlines() if (found := _entry(line))))


def _entry(line: str) -> HistoryEntry | None:
    try:
        return HistoryEntry.model_validate_json(line)
    except ValidationError:
        return None


class Attempt(NamedTuple):
    """An attempt that is over. `began` is in Unix seconds."""

    stage: str
    number: int
    began: float
    ms: float
    outcome: HistoryOutcome
    code: str | None = None
    message: str | None = None


class AttemptLog:
    """What happened under one claim and stands in no row yet. For one thread at a time."""

    def __init__(self, run: int = 0) -> None:
        self.run = run
        self._pending: list[str] = []
        self._final = False  # whether the ending that these lead to is among them
        self._under_way: tuple[str, int, float, float] | None = None
        self._told = False  # that what is under way went well
        self._waits = False
        self._crashes = 0

    def start(self, stage: str, number: int) -> None:
        """An attempt begins now."""
        self._under_way = (stage, number, time.time(), time.perf_counter())
        self._told = False

    def finish(self, outcome: HistoryOutcome, *, code: str | None = None, message: str | None = None) -> Attempt | None:
        """The attempt is over; None if none was under way, or it goes on waiting as the one before did."""
        if self._under_way is None:
            return None
        attempt = self._current(outcome, code, message)
        self._under_way = None
        waited, self._waits = self._waits, outcome is _WAITS
        if waited and self._waits:
            return None
        if outcome is not _DONE:
            self._final = self._final or outcome in FINAL
        elif self._told:
            return attempt
        self._pending.append(self._line(attempt))
        return attempt

    def record_crash(self, stage: str, workers: int) -> bool:
        """So many workers have died while they held it; False if that is known."""
        if workers <= self._crashes:
            return False
        self._crashes = workers
        died = f"{workers} workers have died while they held it" if workers > 1 else "a worker died while it held it"
        self._pending.append(new_entry(stage, HistoryOutcome.CRASHED, run=self.run, message=died).line())
        return True

    def pending_lines(self, *, closing: bool = False, final: HistoryEntry | None = None) -> str:
        """What is to be written now.

        `closing` tells the attempt under way as done: the write is its last deed. `final` is the ending that is
        written, which is told unless the attempt that led to it is.
        """
        told = "".join(self._pending)
        if closing and self._under_way and not self._told:
            told += self._line(self._current(HistoryOutcome.DONE))
        return told + final.line() if final and not self._final else told

    def mark_written(self, *, closing: bool = False) -> None:
        """What `lines` told stands in the row now."""
        self._pending.clear()
        self._final = False
        self._told = self._told or closing

    def export(self) -> dict[str, Any] | None:
        """What another process has to know that goes on with it; None if that is nothing."""
        known = {"lines": self._pending[-MAX_CARRIED:], "waits": self._waits, "crashes": self._crashes}
        return {name: value for name, value in known.items() if value} or None

    def restore(self, carried: dict[str, Any]) -> None:
        """Goes on with what the process before has carried; what is not of that form is left out."""
        lines, crashes = carried.get("lines"), carried.get("crashes")
        found = _carried_entries(lines if isinstance(lines, list) else ())
        self._pending[:0] = [entry.line() for entry in found]
        self._final = any(entry.outcome in FINAL for entry in found)
        self._waits = carried.get("waits") is True
        self._crashes = crashes if isinstance(crashes, int) else 0

    def _current(self, outcome: HistoryOutcome, code: str | None = None, message: str | None = None) -> Attempt:
        assert self._under_way is not None
        stage, number, at, began = self._under_way
        return Attempt(stage, number, at, (time.perf_counter() - began) * 1000, outcome, code, message)

    def _line(self, attempt: Attempt) -> str:
        """As `HistoryEntry.line`, three times as fast for what nearly all attempts are: the first one, and done."""
        stage, number, began, took, outcome, code, message = attempt
        at, ms = int(began * 1000), round(took, 1)
        if outcome is _DONE and number == 1 and not self.run:
            return f'{{"stage":"{stage}","at":{at},"ms":{ms},"worker":"{_Process.name}"}}\n'
        entry = HistoryEntry(
            run=self.run,
            stage=stage,
            attempt=number,
            at=at,
            ms=ms,
            outcome=outcome,
            code=code,
            message=message,
            worker=_Process.name,
        )
        return entry.line()


def _carried_entries(lines: Iterable[Any]) -> list[HistoryEntry]:
    return [found for line in list(lines)[-MAX_CARRIED:] if isinstance(line, str) and (found := _entry(line))]


def worker_name() -> str:
    """This process, as entries name it."""
    return _Process.name


class _Process:
    """What this process is called: asked for at its start, and by a forked child anew."""

    name = ""

    @classmethod
    def find_name(cls) -> None:
        # Plain signs only: it stands in lines that are put together by hand.
        host = re.sub(r"[^\w.-]", "_", platform.node(), flags=re.ASCII)
        cls.name = f"{host}:{os.getpid()}"


_Process.find_name()
os.register_at_fork(after_in_child=_Process.find_name)
