"""Hands over the entries of the intake spool, oldest first, when the catalogue answers again."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

import structlog

from actors.intake.signalled_thread import SignalledThread
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.intake_spool import DamagedEntryError, EntryName, IntakeSpool
from pipeline.intake_spool.entry import RESTORE
from pipeline.metrics import SPOOL_ENTRIES
from pipeline.models import Attachment
from pipeline.outage import Outage

PAUSE_S = 1.0  # before what could not be handed over is tried again
STOP_S = 3.0  # longer than one entry waits for a locked catalogue
TRIES = 3  # of an entry that fails although the catalogue answers, before those behind it go first

log = structlog.get_logger()


class _Result(Enum):
    DONE = auto()
    LATER = auto()  # the entries behind it go on
    AWAY = auto()  # the catalogue is away


class SpoolHandOver:
    """Hands over what the spool holds, by one process at a time; the others wait.

    `hand_over` records and enqueues one attachment; repeating it must be harmless, because a process may die before the
    entry is removed. `probe` writes to the catalogue, for an outage in which nothing could be spooled. `outage` is that
    of the catalogue as this process sees it: the pass that gets an answer ends it.
    """

    def __init__(
        self,
        spool: IntakeSpool,
        hand_over: Callable[[Attachment, Path | None], object],
        *,
        probe: Callable[[], object],
        outage: Outage,
    ) -> None:
        self._spool = spool
        self._hand_over = hand_over
        self._probe = probe
        self._outage = outage
        self._stopped = threading.Event()
        self._thread = SignalledThread("spool hand-over", self._run_and_go_on)
        self._fault: str | None = None
        self._failures: Counter[EntryName] = Counter()
        self._left: set[EntryName] = set()  # handed over or set aside, but not removable; logged once

    def signal(self) -> None:
        """Starts the thread that hands over until nothing is left, unless it runs. Returns at once."""
        self._thread.signal()

    def stop(self) -> None:
        """Ends the thread after the entry in progress, and waits for it; what is left waits for the next process."""
        self._stopped.set()
        self._thread.stop(STOP_S)

    def run_once(self) -> int:
        """Hands over what there is, in this thread; returns how many. Stops if the catalogue is away.

        Raises:
            OSError: the folder cannot be used.
        """
        if not self._waiting():
            if self._outage.is_active:
                self._ask_catalogue()
            return 0
        with self._spool.turn() as has_turn:
            if has_turn:
                return self._hand_over_all()
        if self._outage.is_active:  # another process hands over
            self._ask_catalogue()
        return 0

    def _run_and_go_on(self) -> None:
        """One pass in the thread, which signals the next one while something waits or the catalogue is away."""
        if self._stopped.is_set():
            return
        self._run_once_safely()
        pause_s = self._outage.pause_s if self._outage.is_active else PAUSE_S if self._waiting() else None
        if pause_s is not None and not self._stopped.wait(pause_s):
            self._thread.signal()

    def _run_once_safely(self) -> None:
        try:
            self.run_once()
            self._fault = None
        except Exception as error:  # noqa: BLE001  (the edge of a thread that must not die; it tries again)
            reason = error.strerror if isinstance(error, OSError) else type(error).__name__
            if reason != self._fault:  # once, not every second
                path = str(self._spool.folder)
                log.warning("intake spool not handed over", path=path, error=reason, consequence="tried again")
            self._fault = reason
            self._stopped.wait(PAUSE_S)

    def _waiting(self) -> list[EntryName]:
        return [name for name in self._spool.names() if name not in self._left]

    def _hand_over_all(self) -> int:
        count, storage_away = 0, False
        for name in self._waiting():
            if self._stopped.is_set():
                break
            try:
                result = self._hand_over_entry(name, storage_away=storage_away)
            except RetryableError as error:  # of storage: those without inline bytes need none
                storage_away = storage_away or error.code is Code.STORAGE
                continue
            except Exception as error:  # noqa: BLE001  (the edge of one entry: a bug must not stop the others)
                self._leave(name, error)
                continue
            if result is _Result.AWAY:
                break
            count += result is _Result.DONE
        if count:
            SPOOL_ENTRIES.add("handed_over", n=count)
            log.info("deferred attachments handed over", attachments=count)
        return count

    def _hand_over_entry(self, name: EntryName, *, storage_away: bool) -> _Result:
        try:
            attachment, file = self._spool.read(name)
            if file and storage_away:
                return _Result.LATER
            self._hand_over(attachment, file)
        except FileNotFoundError:
            return _Result.LATER  # removed by an operator
        except DamagedEntryError as error:
            return self._set_aside(name, str(error), error.remedy)
        except RetryableError as error:
            if error.code is not Code.CATALOGUE:
                raise
            return self._after_failure(name, error)
        except PermanentError as error:
            if error.code is Code.CATALOGUE and not self._ask_catalogue():
                return _Result.AWAY  # its tables are missing
            return self._set_aside(name, error.message, RESTORE)
        self._outage.end()
        self._finish(name)
        return _Result.DONE

    def _after_failure(self, name: EntryName, error: PipelineError) -> _Result:
        """The catalogue is away, or it fails for this entry alone: then the entries behind it must not wait."""
        if not self._ask_catalogue():
            self._outage.begin(error.message)
            return _Result.AWAY
        self._failures[name] += 1
        if self._failures[name] == TRIES:
            log.warning("deferred attachment fails", entry=name.file, error=error.message, consequence="tried again")
        return _Result.LATER if self._failures[name] >= TRIES else _Result.AWAY

    def _ask_catalogue(self) -> bool:
        """Whether the catalogue answers. If so, the outage ends."""
        try:
            self._probe()
        except PipelineError:
            return False
        self._outage.end()
        return True

    def _finish(self, name: EntryName) -> None:
        self._failures.pop(name, None)
        try:
            self._spool.remove(name)
        except OSError as error:
            self._leave(name, error)

    def _set_aside(self, name: EntryName, reason: str, remedy: str) -> _Result:
        try:
            path = self._spool.set_aside(name)
        except OSError as error:
            self._leave(name, error)
            return _Result.LATER
        SPOOL_ENTRIES.add("damaged")
        log.error("entry of the intake spool set aside", path=str(path), error=reason, remedy=remedy)
        return _Result.LATER

    def _leave(self, name: EntryName, error: Exception) -> None:
        """Leaves an entry to the next process, which tries again."""
        self._left.add(name)
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        path = str(self._spool.folder / name.file)
        log.error("entry of the intake spool left", path=path, error=reason, consequence="the next start tries again")
