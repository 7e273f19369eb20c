"""An attachment's way through the stages: an entry for each attempt, written along with what is written anyway.

Nothing is written for its own sake. What happened waits in the claim's trail for the next move of the attachment in the
catalogue; where another process makes that move, it rides in the belt's message.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from pipeline.payload_forms import clean_text

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

ENDINGS = {
    "rejected": HistoryOutcome.REFUSED,
    "failed": HistoryOutcome.FAILED,
    "expired": HistoryOutcome.EXPIRED,
}
"""What an ending is called here, by its status."""


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


def entry_now(stage: str, outcome: HistoryOutcome, **fields: Any) -> HistoryEntry:
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


class Trail:
    """What happened under one claim and stands in no row yet. For one thread at a time."""

    def __init__(self, run: int = 0) -> None:
        self.run = run
        self._pending: list[HistoryEntry] = []
        self._under_way: tuple[str, int, float, float] | None = None
        self._told = False  # that what is under way went well
        self._waits = False
        self._crashes = 0

    def begin(self, stage: str, attempt: int) -> None:
        """An attempt begins now."""
        self._under_way = (stage, attempt, time.time(), time.perf_counter())
        self._told = False

    def end(
        self, outcome: HistoryOutcome, *, code: str | None = None, message: str | None = None
    ) -> HistoryEntry | None:
        """The attempt is over; its entry, or None if none was under way."""
        if self._under_way is None:
            return None
        entry = self._current(outcome, code=code, message=message)
        waits = outcome is HistoryOutcome.WAITS
        if not (waits and self._waits) and not (outcome is HistoryOutcome.DONE and self._told):
            self._pending.append(entry)
        self._waits = waits
        self._under_way = None
        return entry

    def crashed(self, stage: str, workers: int) -> HistoryEntry | None:
        """So many workers have died while they held it; the entry, or None if that is known."""
        if workers <= self._crashes:
            return None
        self._crashes = workers
        died = f"{workers} workers have died while they held it" if workers > 1 else "a worker died while it held it"
        self._pending.append(entry_now(stage, HistoryOutcome.CRASHED, run=self.run, message=died))
        return self._pending[-1]

    def lines(self, *, closing: bool = False, final: HistoryEntry | None = None) -> str:
        """What is to be written now.

        `closing` tells the attempt under way as done: the write is its last deed. `final` is the ending that is
        written, which is told unless the attempt that led to it is.
        """
        told = list(self._pending)
        if closing and self._under_way and not self._told:
            told.append(self._current(HistoryOutcome.DONE))
        if final and not any(entry.outcome in FINAL for entry in told):
            told.append(final)
        return "".join(entry.line() for entry in told)

    def written(self, *, closing: bool = False) -> None:
        """What `lines` told stands in the row now."""
        self._pending.clear()
        self._told = self._told or closing

    def carried(self) -> dict[str, Any] | None:
        """What another process has to know that goes on with it; None if that is nothing."""
        known = {
            "lines": [entry.line() for entry in self._pending[-MAX_CARRIED:]],
            "waits": self._waits,
            "crashes": self._crashes,
        }
        return {name: value for name, value in known.items() if value} or None

    def resume(self, carried: dict[str, Any]) -> None:
        """Goes on with what the process before has carried; what is not of that form is left out."""
        lines, crashes = carried.get("lines"), carried.get("crashes")
        self._pending[:0] = _carried_entries(lines if isinstance(lines, list) else ())
        self._waits = carried.get("waits") is True
        self._crashes = crashes if isinstance(crashes, int) else 0

    def _current(self, outcome: HistoryOutcome, *, code: str | None = None, message: str | None = None) -> HistoryEntry:
        assert self._under_way is not None
        stage, attempt, at, began = self._under_way
        return HistoryEntry(
            run=self.run,
            stage=stage,
            attempt=attempt,
            at=int(at * 1000),
            ms=round((time.perf_counter() - began) * 1000, 1),
            outcome=outcome,
            code=code,
            message=message,
            worker=worker_name(),
        )


def _carried_entries(lines: Iterable[Any]) -> list[HistoryEntry]:
    return [found for line in list(lines)[-MAX_CARRIED:] if isinstance(line, str) and (found := _entry(line))]


def worker_name() -> str:
    """This process, as entries name it."""
    return f"{_host()}:{os.getpid()}"


@lru_cache(maxsize=1)
def _host() -> str:
    return str(clean_text(platform.node()))
