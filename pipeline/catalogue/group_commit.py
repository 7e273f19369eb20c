"""What several threads write at the same time, in one transaction: the disk is synced once for all of them."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Generic, TypeVar

from pipeline.catalogue.database import Database
from pipeline.catalogue.session import Session, WaitBudget
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError

T = TypeVar("T")
R = TypeVar("R")

MAX_BATCH = 200  # in one transaction

_all: weakref.WeakSet[GroupCommit[object, object]] = weakref.WeakSet()


class _Asked(Generic[T, R]):
    """One thread's item, and what became of it. `told` is there once its thread waits for others."""

    __slots__ = ("error", "item", "leads", "patience", "result", "settled", "told")

    def __init__(self, item: T, patience: WaitBudget) -> None:
        self.item = item
        self.patience = patience
        self.told: threading.Event | None = None
        self.leads = False
        self.settled = False
        self.result: R | None = None
        self.error: PipelineError | None = None

    def settle(self, result: R) -> None:
        self.result, self.error, self.settled = result, None, True

    def outcome(self) -> R:
        if self.settled:
            return self.result  # type: ignore[return-value]
        raise self.error or RetryableError(Code.CATALOGUE, "the catalogue was not written")


class GroupCommit(Generic[T, R]):
    """`work` takes the items of one transaction and gives the result of each.

    Nobody waits for company. Who comes first writes at once; who comes while that is written, is written next, with all
    who have come by then. On a file with one writer, eight threads that accept take 3 ms each instead of 20.
    """

    def __init__(self, database: Database, work: Callable[[Session, Sequence[T]], Sequence[R]]) -> None:
        self._database = database
        self._work = work
        self.after_fork()
        _all.add(self)  # type: ignore[arg-type]

    def after_fork(self) -> None:
        """Forgets what threads of another process wait for."""
        self._lock = threading.Lock()
        self._waiting: list[_Asked[T, R]] = []
        self._led = False

    def do(self, item: T, *, wait_s: float) -> R:
        """The result for this item, written.

        Raises:
            PipelineError: whatever `work` and the database raise; RetryableError, if it takes longer than `wait_s`.
        """
        mine: _Asked[T, R] = _Asked(item, WaitBudget(wait_s))
        with self._lock:
            self._waiting.append(mine)
            leads, self._led = not self._led, True
            mine.told = None if leads else threading.Event()
        if mine.told is None or self._is_to_lead(mine, mine.told):
            self._lead(mine)
        return mine.outcome()

    def _is_to_lead(self, mine: _Asked[T, R], told: threading.Event) -> bool:
        """Waits until others have written it, or until it is its turn to write for all."""
        if not told.wait(mine.patience.left_s):
            with self._lock:
                if mine in self._waiting and not mine.leads:
                    self._waiting.remove(mine)
                    raise RetryableError(Code.CATALOGUE, f"the catalogue {self._database.where} is busy")
            told.wait()  # it is being written, by somebody whose patience ends before ours
        return mine.leads

    def _lead(self, mine: _Asked[T, R]) -> None:
        taken: list[_Asked[T, R]] = []

        def work(session: Session) -> Sequence[R]:
            with self._lock:  # only now, when nothing is waited for any more
                taken.extend(self._waiting[:MAX_BATCH])
                del self._waiting[:MAX_BATCH]
            return self._work(session, [asked.item for asked in taken])

        try:
            for asked, result in zip(taken, self._database.write(work, wait_s=mine.patience.left_s), strict=True):
                asked.settle(result)
        except PermanentError as error:
            self._one_by_one(taken or [mine], error)
        except PipelineError as error:
            for asked in taken or [mine]:
                asked.error = error
        finally:
            self._hand_over(mine, taken)

    def _one_by_one(self, taken: Sequence[_Asked[T, R]], error: PermanentError) -> None:
        """What the database cannot hold is one thread's alone."""
        for asked in taken:
            asked.error = error
            if len(taken) == 1:
                return
            try:
                asked.settle(self._database.write(partial(self._alone, asked.item)))
            except PipelineError as own:
                asked.error = own

    def _alone(self, item: T, session: Session) -> R:
        return self._work(session, [item])[0]

    def _hand_over(self, mine: _Asked[T, R], taken: Sequence[_Asked[T, R]]) -> None:
        with self._lock:
            if mine in self._waiting:  # the database never came to it
                self._waiting.remove(mine)
            self._led = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                _tell(self._waiting[0])
        for asked in taken:
            _tell(asked)


def _tell(asked: _Asked[T, R]) -> None:
    if asked.told:
        asked.told.set()


def _after_fork() -> None:
    for together in list(_all):
        together.after_fork()


os.register_at_fork(after_in_child=_after_fork)
