"""The listener hook: `process_media()` accepts an attachment in about a millisecond.

The attachment is recorded in the catalogue first. While Redis is away, the five steps run in the caller's thread, as in
the BullMQ design, or a worker enqueues the attachment later.
"""

from __future__ import annotations

from esteira.collisions import require_own

require_own("pipeline")  # before the imports of it

import os
from collections import Counter
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path

import structlog

from actors.execution.fallback import InlineFallback
from actors.intake.circuit_breaker import CircuitBreaker, RedisUnavailableError
from actors.intake.enqueue import enqueue_stage
from actors.intake.ignored_counts import SelfFlushingCounter
from actors.intake.receipt import Receipt, StartInBackground
from actors.intake.recording import has_bytes, record_attachment
from actors.intake.return_scan import ReturnScans, scan_after_return
from actors.intake.spool_hand_over import SpoolHandOver
from actors.intake.spooled_intake import SpooledIntake
from actors.observability import metrics_store, tracing
from actors.observability.logging import configure_in_listener
from actors.observability.sentry import report_error
from actors.observability.tracer import NullTimer, PhaseTimer
from actors.redis_queue.queue import QUICK_TIMEOUT_S, RedisQueue, open_queue
from actors.redis_queue.scheduling import SchedulingInfo, scheduling_of
from pipeline.config.intake_rules import refusing_rule
from pipeline.config.settings import Settings, current_settings
from pipeline.errors import RetryableError
from pipeline.extras import is_installed
from pipeline.intake_services import IntakeServices, open_intake_services
from pipeline.intake_spool import open_spool
from pipeline.models import Accepted, Attachment, Stage, Status
from pipeline.outage import Outage
from pipeline.redis_client import on_move

__all__ = ["Hook", "Receipt", "StartInBackground", "hook", "process_media"]

CATALOGUE_WAIT_S = 1.5  # how long a listener waits for a locked catalogue; then it has to hand over again later

log = structlog.get_logger()


class Hook:
    """`process_media()` for one process: its catalogue, a Redis client with a short timeout, a circuit breaker."""

    def __init__(self, services: IntakeServices, queue: RedisQueue) -> None:
        """Without FALLBACK=spool, `services` are a `Services`: the fallback runs the steps with them."""
        self.services = services
        self.queue = queue
        # The probe writes: a Redis that is full or read-only answers PING but accepts no message.
        # After an outage, what it has spooled is enqueued and the metrics that were counted are flushed.
        self.breaker = CircuitBreaker(partial(queue.locks.acquire, "probe", ttl_ms=1), on_close=self._after_outage)
        self._return_scans = ReturnScans(self._scan_after_return)
        on_move(queue.client, self._return_scans.signal)  # after a failover, it may lack the last messages
        self._rules = services.settings.intake_rules
        self._ignored = SelfFlushingCounter(services.catalogue)
        self._fallback = InlineFallback(services, queue, self.breaker)
        self._hand_over, self._spooled = self._open_spool()

    def accept(
        self,
        attachment: Attachment,
        *,
        file: Path | None = None,
        aside: StartInBackground | None = None,
        by_rules: bool = True,
    ) -> Receipt:
        """See `process_media`."""
        if by_rules and (number := self.refusing_rule(attachment, file)):
            self._ignored.add(0, Counter([number]))
            return Receipt(attachment.id, "ignored", None, rule=number)
        timer = tracing.phase_timer()
        receipt = self._accept(attachment, file, aside, timer)
        tracing.record_intake(attachment, receipt.mode, timer)
        return receipt

    def refusing_rule(self, attachment: Attachment, file: Path | None = None) -> int | None:
        """The number of the rule of INTAKE_RULES that refuses an attachment; None if it is taken."""
        if not self._rules:
            return None
        return refusing_rule(self._rules, attachment, size=file.stat().st_size if file else None)

    def _accept(
        self, attachment: Attachment, file: Path | None, aside: StartInBackground | None, timer: PhaseTimer
    ) -> Receipt:
        accepted = self._record(attachment, file, timer)
        if accepted is None:
            return Receipt(attachment.id, "deferred", Status.RECEIVED)
        if not accepted.fresh:
            return Receipt(accepted.id, "duplicate", accepted.status)
        queued = self._enqueue(accepted.id, scheduling_of(attachment, intake=has_bytes(attachment, file)))
        timer.mark("offer")
        if queued:
            log.debug("attachment queued", id=accepted.id, session=attachment.session, kind=attachment.kind)
            return Receipt(accepted.id, "queued", accepted.status)
        if attachment.from_history or self._is_paused(attachment.session):
            log.warning("attachment spooled", id=accepted.id, reason="history" if attachment.from_history else "paused")
            return Receipt(accepted.id, "spooled", accepted.status)
        return self._fallback.run(accepted, aside)

    def _record(self, attachment: Attachment, file: Path | None, timer: PhaseTimer) -> Accepted | None:
        """Records the attachment in the catalogue; None if it waits in the intake spool instead."""
        record = partial(record_attachment, self.services, attachment, file, timer)
        return self._spooled.record(attachment, file, record) if self._spooled else record()

    def _enqueue(self, media_id: str, scheduling: SchedulingInfo) -> bool:
        try:
            self.breaker.call(partial(enqueue_stage, self.queue, media_id, Stage.FETCH, scheduling))
        except RedisUnavailableError as unavailable:
            if unavailable.error:
                report_error(unavailable.error, {"id": media_id, "fallback": self.services.settings.fallback})
            return False
        return True

    def start(self) -> None:
        """Hands over what an earlier process left in the intake spool, and checks its folder. Returns at once."""
        if self._spooled:
            self._spooled.start()

    def hand_over_in_background(self) -> None:
        """Hands over what is in the intake spool, in a thread. Returns at once."""
        if self._hand_over:
            self._hand_over.signal()

    def hand_over_spooled(self) -> int:
        """Hands over what is in the intake spool, in this thread; returns how many attachments.

        Raises:
            OSError: its folder cannot be used.
        """
        return self._hand_over.run_once() if self._hand_over else 0

    def close(self) -> None:
        """Ends the thread that hands over; what is in the intake spool waits for the next process."""
        if self._hand_over:
            self._hand_over.stop()

    def _open_spool(self) -> tuple[SpoolHandOver | None, SpooledIntake | None]:
        spool = open_spool(self.services.settings)
        if spool is None:
            return None, None
        outage = Outage("catalogue", consequence="attachments wait in the intake spool")
        hand_over = SpoolHandOver(spool, self._accept_spooled, probe=self._probe_catalogue, outage=outage)
        return hand_over, SpooledIntake(spool, hand_over, outage)

    def _probe_catalogue(self) -> None:
        """Raises PipelineError while nothing can be recorded."""
        self.services.catalogue.check_schema(newer_allowed=True)
        self.services.catalogue.increment("received", 0)  # a write: a read-only replica and a locked file answer reads

    def _accept_spooled(self, attachment: Attachment, file: Path | None) -> None:
        """Records and enqueues an entry of the spool. If Redis is away, the scan after its return enqueues it."""
        accepted = record_attachment(self.services, attachment, file, NullTimer())
        if accepted.fresh:
            self._enqueue(accepted.id, scheduling_of(attachment, intake=has_bytes(attachment, file)))

    def _after_outage(self) -> None:
        self._return_scans.signal()
        metrics_store.flush(self.queue)

    def _scan_after_return(self) -> None:
        queue = open_queue(self.services.settings)  # it may wait longer for Redis than a listener
        try:
            scan_after_return(self.services.catalogue, queue)
        finally:
            queue.client.close()

    def _is_paused(self, session: str) -> bool:
        """Whether the session or any stage is paused: the fallback would run all stages."""
        try:
            return any(pause.kind == "stage" or pause.name == session for pause in self.services.catalogue.pauses.all())
        except RetryableError:  # unknown, so the attachment is left to the workers
            return True


def process_media(
    attachment: Attachment,
    *,
    file: Path | None = None,
    aside: StartInBackground | None = None,
    by_rules: bool = True,
) -> Receipt:
    """Accepts an attachment. Once this returns, it is not lost, whichever process or server fails.

    `file` is a local file with its bytes, for an attachment that has no URL; they are copied to storage first.

    INTAKE_RULES decide first: what they refuse is counted as ignored, and nothing else happens. With `by_rules=False`
    they have no effect, for what a person hands over on purpose.

    The call costs about one synced insert into the catalogue and one round trip to Redis. It waits for Redis at most
    0.25 s, and only once: while Redis is away, the five steps run in this thread, or are started with `aside` if it is
    given. It waits for a locked catalogue at most 1.5 s, and only once: while the catalogue is away, the attachment is
    synced to the intake spool, and a thread records it later.

    Raises:
        PayloadError: `data` is not base64.
        RetryableError: it could not be written (`catalogue`, if the spool cannot take it either; `storage`); the caller
            keeps the attachment.
    """
    return hook().accept(attachment, file=file, aside=aside, by_rules=by_rules)


def hook() -> Hook:
    """This process's hook, made at first use. A forked child makes its own."""
    return _hook_of(os.getpid())


@lru_cache(maxsize=1)
def _hook_of(_pid: int) -> Hook:
    settings = current_settings()
    configure_in_listener(settings)
    return Hook(_open_services(settings), open_queue(settings, timeout_s=QUICK_TIMEOUT_S))


def _open_services(settings: Settings) -> IntakeServices:
    """What this process's hook works with: for the fallback all services, which need the extra `worker`."""
    if settings.fallback == "spool" or not is_installed("worker"):
        return open_intake_services(settings, wait_s=CATALOGUE_WAIT_S)
    build_services = import_module("pipeline.services").build_services
    services: IntakeServices = build_services(settings, durable=settings.intake_sync, wait_s=CATALOGUE_WAIT_S)
    return services
