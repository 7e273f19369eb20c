"""The fallback of a listener: the five steps run in its own process while Redis is away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from importlib import import_module

import structlog

from actors.intake.circuit_breaker import CircuitBreaker, RedisUnavailableError
from actors.intake.enqueue import enqueue_record, stage_to_enqueue
from actors.intake.receipt import Receipt, StartInBackground
from actors.observability.sentry import report_error
from actors.redis_queue.queue import RedisQueue
from pipeline.extras import install_command, is_installed
from pipeline.intake_services import IntakeServices
from pipeline.models import Accepted, Record

log = structlog.get_logger()


class InlineFallback:
    """Runs recorded attachments, FALLBACK_CONCURRENCY at a time; with FALLBACK=spool all are left to the workers."""

    def __init__(self, services: IntakeServices, queue: RedisQueue, breaker: CircuitBreaker) -> None:
        """Without FALLBACK=spool, `services` are a `Services`: the steps run with them."""
        self._services = services
        self._queue = queue
        self._breaker = breaker
        self._run_inline = _inline_runner(services)
        self._slots = threading.Semaphore(services.settings.fallback_concurrency)

    def run(self, accepted: Accepted, aside: StartInBackground | None) -> Receipt:
        """Runs an attachment in this thread, or starts it with `aside`. The workers take it if no slot is free."""
        if self._run_inline is None or not self._slots.acquire(blocking=False):
            log.warning("attachment spooled", id=accepted.id)
            return Receipt(accepted.id, "spooled", accepted.status)
        if aside is not None:
            started = aside(partial(self._run_in_slot, accepted.id))
            if not started:
                self._slots.release()
            event = "attachment processed in the background" if started else "attachment spooled"
            log.warning(event, id=accepted.id)
            return Receipt(accepted.id, "spooled", accepted.status)
        record = self._run_in_slot(accepted.id)
        finished = record is not None and record.finished_at is not None
        status = record.status if record else accepted.status
        return Receipt(accepted.id, "inline" if finished else "spooled", status)

    def _run_in_slot(self, media_id: str) -> Record | None:
        try:
            self._services.catalogue.increment("fallbacks")
            assert self._run_inline is not None
            record = self._run_inline(media_id)
            if record is not None and record.finished_at is None:
                self._leave_to_workers(record)
            return record
        except Exception as error:  # the listener's edge: the attachment is recorded, and a worker will process it
            log.exception("fallback failed", id=media_id, consequence="left to the workers")
            report_error(error, {"id": media_id})
            return None
        finally:
            self._slots.release()

    def _leave_to_workers(self, record: Record) -> None:
        """Enqueues the next attempt of an attachment. If Redis is away, the scan after its return does."""
        delay_ms = self._services.settings.media_backoff_ms
        enqueue = partial(enqueue_record, self._queue, record, stage_to_enqueue(record), delay_ms=delay_ms)
        with suppress(RedisUnavailableError):
            self._breaker.call(enqueue)


def _inline_runner(services: IntakeServices) -> Callable[[str], Record | None] | None:
    """The function that runs the five steps of an attachment in this process; None if the fallback is to spool."""
    if services.settings.fallback == "spool":
        return None
    if not is_installed("worker"):
        log.warning(
            "FALLBACK=sync needs the extra `worker`, which is not installed",
            consequence="while Redis is away, attachments are spooled",
            remedy=f"set FALLBACK=spool, or {install_command('worker')}",
        )
        return None
    return partial(import_module("actors.execution.inline").run_inline, services)
