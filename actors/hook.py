"""The listener hook: `process_media()` takes an attachment off the listener's hands in about a millisecond.

It is written down before anything else happens to it. If the queue is away, the same five steps run at once in the
caller's thread, as the seed's fallback does, or the sweep enqueues it later.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import structlog

from actors.delivery import encode_message, stage_message
from actors.execution.inline import run_inline
from actors.intake.circuit_breaker import CircuitBreaker, RedisUnavailableError
from actors.intake.uploads import put_intake
from actors.observability import metrics_store, tracing
from actors.observability.logging import configure_in_listener
from actors.observability.sentry import report_error
from actors.observability.tracer import PhaseTimer
from actors.redis_queue.queue import QUICK_TIMEOUT_S, RedisQueue, open_queue
from actors.redis_queue.scheduling import SchedulingInfo, scheduling_of
from pipeline.config.settings import current_settings
from pipeline.errors import RetryableError
from pipeline.models import Accepted, Attachment, Record, Stage, Status
from pipeline.services import Services, build_services
from pipeline.storage import intake_key

WAIT_S = 1.5  # for the catalogue: a listener is better asked to come again than held; workers wait longer

# Begins a function in another thread and returns at once: True, or False if it cannot.
Aside = Callable[[Callable[[], object]], bool]

log = structlog.get_logger()


@dataclass(frozen=True)
class Receipt:
    """What became of an attachment that was handed over.

    `mode` is "queued", "inline" (the five steps have run in the caller's thread), "spooled" (the sweep will enqueue
    it, unless it runs aside) or "duplicate" (it was handed over before). `status` is where it stands.
    """

    id: str
    mode: Literal["queued", "inline", "spooled", "duplicate"]
    status: Status


class Hook:
    """`process_media()` for one process: its catalogue, its short-tempered Redis client, its circuit breaker."""

    def __init__(self, services: Services, queue: RedisQueue) -> None:
        self.services = services
        self.queue = queue
        # A write, for a Redis that is full or read-only answers a PING and takes nothing.
        # What a listener counts, it counts while Redis is away.
        self.breaker = CircuitBreaker(
            partial(queue.locks.acquire, "probe", ttl_ms=1), on_close=partial(metrics_store.flush, queue)
        )
        self.places = threading.Semaphore(services.settings.fallback_concurrency)

    def accept(self, attachment: Attachment, *, file: Path | None = None, aside: Aside | None = None) -> Receipt:
        """See `process_media`."""
        laps = tracing.phase_timer()
        receipt = self._take(attachment, file, aside, laps)
        tracing.record_intake(attachment, receipt.mode, laps)
        return receipt

    def _take(self, attachment: Attachment, file: Path | None, aside: Aside | None, laps: PhaseTimer) -> Receipt:
        inline_bytes = file is not None or bool(attachment.data)
        if inline_bytes and (known := self.services.catalogue.get(attachment.id)):
            self.services.catalogue.increment("duplicates")
            return Receipt(known.id, "duplicate", known.status)
        if inline_bytes:
            put_intake(self.services.storage, attachment.id, data=attachment.data, file=file)
            laps.mark("intake")
        accepted = self.services.catalogue.accept(attachment, intake=inline_bytes)
        laps.mark("accept")
        if not accepted.fresh:
            return Receipt(accepted.id, "duplicate", accepted.status)
        if inline_bytes and not self._stands(accepted.id):
            put_intake(self.services.storage, accepted.id, data=attachment.data, file=file)
        queued = self._enqueue(accepted.id, scheduling_of(attachment, intake=inline_bytes))
        laps.mark("offer")
        if queued:
            log.debug("attachment queued", id=accepted.id, session=attachment.session, kind=attachment.kind)
            return Receipt(accepted.id, "queued", accepted.status)
        if self._is_paused(attachment.session):
            log.warning("attachment spooled: paused", id=accepted.id)
            return Receipt(accepted.id, "spooled", accepted.status)
        return self._without_queue(accepted, aside)

    def _stands(self, media_id: str) -> bool:
        """Whether the bytes stand in storage, now that there is a row.

        See `actors.maintenance.schedule.remove_leftover_intake`.
        """
        try:
            return self.services.storage.size(intake_key(media_id)) is not None
        except RetryableError:  # they did a moment ago, and the row is written
            return True

    def _enqueue(self, media_id: str, place: SchedulingInfo) -> bool:
        message = stage_message(media_id, Stage.FETCH)
        enqueue = partial(self.queue.enqueue, media_id, message.queue_name, encode_message(message), scheduling=place)
        try:
            self.breaker.call(enqueue)
        except RedisUnavailableError as unavailable:
            if unavailable.error:
                report_error(unavailable.error, {"id": media_id, "fallback": self.services.settings.fallback})
            return False
        return True

    def _is_paused(self, session: str) -> bool:
        """Whether it must wait for somebody to resume its session, or any stage: the fallback runs them all."""
        try:
            return any(pause.kind == "stage" or pause.name == session for pause in self.services.catalogue.pauses.all())
        except RetryableError:  # what is not known to be let through waits for the workers
            return True

    def _without_queue(self, accepted: Accepted, aside: Aside | None) -> Receipt:
        settings = self.services.settings
        if settings.fallback == "spool" or not self.places.acquire(blocking=False):
            log.warning("attachment spooled", id=accepted.id)
            return Receipt(accepted.id, "spooled", accepted.status)
        if aside is not None:
            begun = aside(partial(self._run_in_place, accepted.id))
            if not begun:
                self.places.release()
            log.warning("attachment runs aside" if begun else "attachment spooled", id=accepted.id)
            return Receipt(accepted.id, "spooled", accepted.status)
        record = self._run_in_place(accepted.id)
        ended = record is not None and record.finished_at is not None
        status = record.status if record else accepted.status
        return Receipt(accepted.id, "inline" if ended else "spooled", status)

    def _run_in_place(self, media_id: str) -> Record | None:
        try:
            return self._run_inline(media_id)
        finally:
            self.places.release()

    def _run_inline(self, media_id: str) -> Record | None:
        try:
            self.services.catalogue.increment("fallbacks")
            return run_inline(self.services, media_id)
        except Exception as error:  # the listener's edge: it is written down, a worker will see to it
            log.exception("fallback failed", id=media_id, remedy="left to the workers")
            report_error(error, {"id": media_id})
            return None


def process_media(attachment: Attachment, *, file: Path | None = None, aside: Aside | None = None) -> Receipt:
    """Takes an attachment over: once this returns, it is not lost, whatever dies.

    `file` is a local file that holds its bytes, for those that have no URL; they are copied to storage first.
    The call takes about one synced insert into the catalogue and one round trip to Redis. It waits for Redis at most a
    quarter of a second, once; while Redis is away the five steps run here and now, or `aside` if that is given. It
    waits for a catalogue that others hold locked at most a second and a half.

    Raises:
        PayloadError: `data` is not base64.
        RetryableError: nothing durable could be written (`catalogue`, `storage`); the caller keeps the attachment.
    """
    return hook().accept(attachment, file=file, aside=aside)


def hook() -> Hook:
    """This process's hook, made at first use. A forked child makes its own."""
    return _hook_of(os.getpid())


@lru_cache(maxsize=1)
def _hook_of(_pid: int) -> Hook:
    settings = current_settings()
    configure_in_listener(settings)
    services = build_services(settings, durable=settings.intake_sync, wait_s=WAIT_S)
    return Hook(services, open_queue(settings, timeout_s=QUICK_TIMEOUT_S))
