"""The maintenance tasks of a worker process."""

from __future__ import annotations

from contextlib import suppress

import structlog

from actors.broker.broker import EsteiraBroker
from actors.execution.claims import CLAIM_REGISTRY
from actors.hook import hook
from actors.intake.requeue_scan import SCAN_LOCK, SCAN_LOCK_MS, requeue_lost
from actors.maintenance.deletions import finish_deletions
from actors.observability import metrics_store, tracing
from actors.webhooks.admin import maintain_deliveries
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.intake_spool import open_spool
from pipeline.models import Status
from pipeline.services import Services, is_infected, services
from pipeline.storage import INTAKE, intake_id

STAGED_TTL_S = 24 * 3600  # how long the bytes of a failed attachment wait for a replay; a later one downloads again
STORAGE_PARTS_TTL_S = 3600.0  # how long storage keeps an unfinished upload after its last write
INTAKE_TTL_S = 3600.0  # longer than any upload of inline bytes takes
STAGED_MIN_IDLE_S = 20.0  # before, the worker that has finished the attachment removes its bytes itself
STAGED_MAX_IDLE_S = 600.0  # bytes kept for a replay are looked up no longer than this
SOURCE_PAGES = 50  # transactions of one run that remove sources; a million rows take forty minutes
DAY_S = 86_400.0
COPY_TTL_S = 600.0  # longer than any preview takes

log = structlog.get_logger()


class MaintenanceTasks:
    """What a worker process runs periodically; see `actors.maintenance.schedule` for the intervals and locks."""

    def __init__(self, broker: EsteiraBroker, settings: Settings) -> None:
        self._broker = broker
        self._settings = settings
        self._spool = open_spool(settings)

    def refresh_pauses(self) -> None:
        with suppress(PipelineError):  # the pauses stay as they are until the catalogue is back
            self._broker.pauses.refresh(self._broker.redis_queue)

    def hand_over_spooled(self) -> None:
        """What a listener or web app of this machine left in the intake spool when it ended."""
        if self._spool and self._spool.names():
            hook().hand_over_in_background()

    def flush_metrics(self) -> None:
        metrics_store.flush(self._broker.redis_queue)

    def renew_claims(self) -> None:
        lease_s = self._settings.claim_lease_s
        if tokens := CLAIM_REGISTRY.held_for(lease_s / 4):
            services().catalogue.renew(tokens, lease_s=lease_s)

    def requeue_lost(self, *, lock: str, lock_s: float) -> None:
        queue = self._broker.enqueue_client
        queue.preview_queue.audit()  # lost preview jobs are not requeued: a preview is made on request
        if not queue.locks.acquire(SCAN_LOCK, ttl_ms=SCAN_LOCK_MS):
            return  # Redis has just returned, and another process enqueues everything

        def extend() -> None:
            # In a long backlog, or another worker would start the same meanwhile.
            queue.locks.extend(lock, ttl_ms=int(lock_s * 900))
            queue.locks.extend(SCAN_LOCK, ttl_ms=SCAN_LOCK_MS)

        try:
            requeue_lost(services().catalogue, queue, older_than_s=self._settings.sweep_after_s, after_page=extend)
        finally:
            queue.locks.release(SCAN_LOCK)

    def clean_staging(self) -> None:
        services().staging.discard_copies(COPY_TTL_S)
        if removed := remove_leftover_staging(services()):
            log.info("leftover staged files removed", attachments=removed)

    def discard_old_files(self) -> None:
        staging, storage = services().staging, services().storage
        if removed := staging.discard_older(STAGED_TTL_S) + storage.discard_stale_parts(STORAGE_PARTS_TTL_S):
            log.info("old temporary files removed", files=removed)

    def clean_intake(self) -> None:
        remove_leftover_intake(services())

    def finish_deletions(self) -> None:
        finish_deletions(services())

    def remove_sources(self) -> None:
        remove_sources(services())

    def trim_audit(self) -> None:
        if days := self._settings.audit_days:
            services().catalogue.audit.trim(older_than_s=days * DAY_S)

    def maintain_webhooks(self) -> None:
        maintain_deliveries(services())


def remove_leftover_staging(services: Services) -> int:
    """Removes staged files that killed workers left of finished attachments; returns how many attachments.

    Raises:
        RetryableError: `catalogue`.
    """
    removed = 0
    for media_id in services.staging.idle_ids(at_least_s=STAGED_MIN_IDLE_S, at_most_s=STAGED_MAX_IDLE_S):
        record = services.catalogue.get(media_id)
        if record is None or record.finished_at is None:
            continue
        # The bytes of a failed attachment wait for a replay.
        discard = services.staging.exists(media_id) and record.status is not Status.FAILED
        if discard:
            services.staging.discard(media_id)
        removed += bool(services.staging.discard_parts(media_id)) or discard
    return removed


def remove_leftover_intake(services: Services, *, older_than_s: float = INTAKE_TTL_S) -> int:
    """Removes inline bytes that are not needed: without a row, or of a finished attachment. Returns how many.

    Those of rejected, failed and expired attachments stay for a replay, except infected ones.

    Raises:
        RetryableError: `catalogue` or `storage`.
    """
    # The sender may hand over the same message at this moment. The hook writes the bytes, then the row, then checks
    # that the bytes still exist, and writes them again if not. Here the row is read first and the age last, right
    # before the removal. If there was no row, the hook's check is still to come. If the hook wrote the bytes before
    # their age was read, they are young. Bytes are lost only if the whole intake happens between reading the age and
    # the removal.
    removed = 0
    for key in services.storage.list_older(INTAKE, older_than_s):
        media_id = intake_id(key)
        if media_id is None:
            continue
        record = services.catalogue.get(media_id)
        if record is None or record.status in {Status.DONE, Status.DELETED} or is_infected(record):
            removed += services.storage.delete_if_older(key, older_than_s)
    if removed:
        log.info("leftover uploads removed", attachments=removed)
    return removed


def remove_sources(services: Services, *, pages: int = SOURCE_PAGES) -> int:
    """Removes media keys and URLs that older versions left in the rows of done attachments. Returns how many.

    Raises:
        RetryableError: `catalogue`.
    """
    sources, removed = services.catalogue.sources, 0
    for _ in range(pages):
        page = sources.remove_from_done()
        removed += page
        if not page:
            break
    sources.purge_log()
    if removed:
        log.info("sources of done attachments removed", attachments=removed)
    return removed


def stop_worker(broker: EsteiraBroker) -> None:
    """What a worker process does last: releases claims, and sends metrics and traces."""
    release_claims()
    metrics_store.flush(broker.redis_queue)
    tracing.stop_tracing()


def release_claims() -> None:
    """Releases the claims of unfinished attachments when the grace period is over, so that others need not wait."""
    tokens = CLAIM_REGISTRY.held_for(0)
    if not tokens:
        return
    consequence = "other workers run them again"
    log.warning("stopped with unfinished attachments", attachments=len(tokens), consequence=consequence)
    with suppress(PipelineError):
        services().catalogue.renew(tokens, lease_s=0)
