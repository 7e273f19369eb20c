"""Group commit: writes of several threads share one transaction, so that the disk is synced once for all of them."""

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

MAX_BATCH = 200  # items in one transaction

_all: weakref.WeakSet[GroupCommit[object, object]] = weakref.WeakSet()


class _Request(Generic[T, R]):
    """The item of one thread, and its result. `settled_event` exists while the thread waits for another's write."""

    __slots__ = ("budget", "error", "item", "leads", "result", "settled", "settled_event")

    def __init__(self, item: T, budget: WaitBudget) -> None:
        self.item = item
        self.budget = budget
        self.settled_event: threading.Event | None = None
        self.leads = False
        self.settled = False
        self.result: R | None = None
        self.error: PipelineError | None = None

    def settle(self, result: R) -> None:
        self.result, self.error, self.settled = result, None, True

    def value(self) -> R:
        """The result; raises the error if there is none."""
        if self.settled:
            return self.result  # type: ignore[return-value]
        raise self.error or RetryableError(Code.CATALOGUE, "the catalogue was not written")


class GroupCommit(Generic[T, R]):
    """Runs `work` on batches of items, each in one transaction. `work` returns the result of each item.

    Batching never waits: the first thread writes at once. All threads that arrive during that write are written
    together next. On a file with one writer, eight threads that accept attachments take 3 ms each instead of 20.
    """

    def __init__(self, database: Database, work: Callable[[Session, Sequence[T]], Sequence[R]]) -> None:
        self._database = database
        self._work = work
        self.after_fork()
        _all.add(self)  # type: ignore[arg-type]

    def after_fork(self) -> None:
        """Forgets the requests of the parent process."""
        self._lock = threading.Lock()
        self._waiting: list[_Request[T, R]] = []
        self._has_leader = False

    def run(self, item: T, *, wait_s: float) -> R:
        """Writes this item and returns its result.

        Raises:
            PipelineError: what `work` and the database raise; RetryableError after `wait_s`.
        """
        request: _Request[T, R] = _Request(item, WaitBudget(wait_s))
        with self._lock:
            self._waiting.append(request)
            leads, self._has_leader = not self._has_leader, True
            request.settled_event = None if leads else threading.Event()
        if request.settled_event is None or self._wait_to_lead(request, request.settled_event):
            self._lead(request)
        return request.value()

    def _wait_to_lead(self, request: _Request[T, R], settled_event: threading.Event) -> bool:
        """Waits until another thread has written the request (False), or until this thread is to write (True)."""
        if not settled_event.wait(request.budget.left_s):
            with self._lock:
                if request in self._waiting and not request.leads:
                    self._waiting.remove(request)
                    raise RetryableError(Code.CATALOGUE, f"the catalogue {self._database.where} is busy")
            settled_event.wait()  # it is in the current batch, whose leader gives up before this thread would
        return request.leads

    def _lead(self, request: _Request[T, R]) -> None:
        batch: list[_Request[T, R]] = []

        def work(session: Session) -> Sequence[R]:
            with self._lock:  # the batch is formed as late as possible, after all waiting for locks
                batch.extend(self._waiting[:MAX_BATCH])
                del self._waiting[:MAX_BATCH]
            return self._work(session, [member.item for member in batch])

        try:
            for member, result in zip(batch, self._database.write(work, wait_s=request.budget.left_s), strict=True):
                member.settle(result)
        except PermanentError as error:
            self._write_one_by_one(batch or [request], error)
        except PipelineError as error:
            for member in batch or [request]:
                member.error = error
        finally:
            self._hand_over(request, batch)

    def _write_one_by_one(self, batch: Sequence[_Request[T, R]], error: PermanentError) -> None:
        """Writes each request alone, so that an item that the database refuses fails alone."""
        for member in batch:
            member.error = error
            if len(batch) == 1:
                return
            try:
                member.settle(self._database.write(partial(self._work_alone, member.item)))
            except PipelineError as own_error:
                member.error = own_error

    def _work_alone(self, item: T, session: Session) -> R:
        return self._work(session, [item])[0]

    def _hand_over(self, request: _Request[T, R], batch: Sequence[_Request[T, R]]) -> None:
        """Makes the oldest waiting thread the next leader, and wakes the threads of the batch."""
        with self._lock:
            if request in self._waiting:  # the database failed before the batch was formed
                self._waiting.remove(request)
            self._has_leader = bool(self._waiting)
            if self._waiting:
                self._waiting[0].leads = True
                _wake(self._waiting[0])
        for member in batch:
            _wake(member)


def _wake(request: _Request[T, R]) -> None:
    if request.settled_event:
        request.settled_event.set()


def _after_fork() -> None:
    for group_commit in list(_all):
        group_commit.after_fork()


os.register_at_fork(after_in_child=_after_fork)
