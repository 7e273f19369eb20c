"""Accepts attachments while the catalogue is away: they wait in the intake spool until it answers again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from actors.intake.recording import has_bytes
from actors.intake.spool_hand_over import SpoolHandOver
from actors.intake.uploads import intake_chunks, intake_size
from actors.observability.sentry import report_error
from pipeline.errors import Code, RetryableError
from pipeline.intake_spool import IntakeSpool, SpoolUnavailableError
from pipeline.metrics import SPOOL_ENTRIES
from pipeline.models import Accepted, Attachment
from pipeline.outage import Outage

RETRY_AFTER_S = 10.0  # for a sender that neither the catalogue nor the spool could serve
HUNG_S = 2.0  # a call that records nothing but a row never waits so long for a catalogue that answers
REMEDY = "make the folder writable, set INTAKE_SPOOL to another one, or to off"

log = structlog.get_logger()


class SpooledIntake:
    """Records attachments in the catalogue, and while it is away in the spool; thread-safe.

    The first call that fails has waited for the catalogue as long as a listener does. Later ones do not ask it until
    `hand_over` has found that it answers. From then on new attachments are recorded at once, also while older ones are
    still in the spool. An attachment that the spool cannot take is offered to the catalogue all the same.

    A server that hangs (its host or disk is frozen) answers no call, not even with an error: then the calls behind the
    one that has waited for HUNG_S do not ask it.
    """

    def __init__(self, spool: IntakeSpool, hand_over: SpoolHandOver, outage: Outage) -> None:
        self._spool = spool
        self._hand_over = hand_over
        self._outage = outage
        self._refusals = Outage("intake spool", consequence="hand-overs are refused while the catalogue is away")
        self._running = _RunningCalls()
        self._started = False

    def start(self) -> None:
        """Hands over what an earlier process has left, and logs a folder that cannot be used. Returns at once.

        The second and further calls do nothing.
        """
        if self._started:
            return
        self._started = True
        if fault := self._spool.fault():
            consequence = "hand-overs are refused while the catalogue is away"
            log.warning("intake spool cannot be used", error=fault, consequence=consequence, remedy=REMEDY)
        elif self._spool.names():
            self._hand_over.signal()

    def record(self, attachment: Attachment, file: Path | None, record: Callable[[], Accepted]) -> Accepted | None:
        """Calls `record`, which writes the attachment to the catalogue; None if it is in the spool instead.

        Raises:
            PipelineError: what `record` raises; if neither takes it, RetryableError (`catalogue`).
        """
        self.start()
        if self._running.oldest_s > HUNG_S:
            self._begin_outage(RetryableError(Code.CATALOGUE, f"it has not answered for {HUNG_S:g} s"))
        fault = self._add(attachment, file) if self._outage.is_active else "not tried"
        if fault is None:
            return None
        try:
            with self._running.timed(counts=not has_bytes(attachment, file)):
                return record()
        except RetryableError as error:
            if error.code is not Code.CATALOGUE:
                raise
            self._begin_outage(error)
            fault = self._add(attachment, file)
            if fault is None:
                return None
            message = f"{error.message}; the intake spool does not take it either: {fault}"
            raise RetryableError(Code.CATALOGUE, message, retry_after=RETRY_AFTER_S) from error

    def _begin_outage(self, error: RetryableError) -> None:
        if self._outage.begin(error.message):
            report_error(error, {"server": "catalogue"})
            self._hand_over.signal()

    def _add(self, attachment: Attachment, file: Path | None) -> str | None:
        """Adds the attachment to the spool; returns why that is not possible."""
        chunks = intake_chunks(attachment.data, file) if file or attachment.data else None
        try:
            self._spool.add(attachment, chunks, size_hint=intake_size(attachment.data, file))
        except SpoolUnavailableError as error:
            self._refusals.begin(str(error))
            SPOOL_ENTRIES.add("refused")
            return str(error)
        self._refusals.end()
        SPOOL_ENTRIES.add("added")
        log.info("attachment deferred", id=attachment.id, session=attachment.session)
        self._hand_over.signal()  # also after the outage has ended: the check was before the entry was there
        return None


class _RunningCalls:
    """The calls that record an attachment now. Those with inline bytes do not count: storage may take long."""

    def __init__(self) -> None:
        self._began: dict[object, float] = {}  # the oldest first
        self._lock = threading.Lock()

    @contextmanager
    def timed(self, *, counts: bool) -> Iterator[None]:
        call = object()
        if counts:
            with self._lock:
                self._began[call] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                self._began.pop(call, None)

    @property
    def oldest_s(self) -> float:
        """For how long the oldest of them has been running; 0 if there is none."""
        with self._lock:
            began = next(iter(self._began.values()), None)
        return time.monotonic() - began if began is not None else 0.0
