"""What the workers do now and then, one of them at a time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

import structlog

from actors.broker.broker import EsteiraBroker
from actors.execution.claims import CLAIM_REGISTRY
from actors.maintenance.deletions import finish_deletions
from actors.maintenance.heartbeat import Chores
from actors.maintenance.requeue_lost import requeue_lost
from actors.middleware.pauses import REFRESH_EVERY_S
from actors.observability import metrics_store, tracing
from actors.webhooks.admin import maintain_deliveries
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError
from pipeline.models import Status
from pipeline.services import Services, is_infected, services
from pipeline.storage import INTAKE, intake_id

STAGED_FOR_S = 24 * 3600  # how long a failed attachment's bytes wait for a replay; a later one downloads again
PARTS_FOR_S = 3600.0  # how long storage keeps what somebody has begun to write and not touched since
INTAKE_AFTER_S = 3600.0  # nobody is in the midst of an intake for so long
TIDY_EVERY_S = 600.0
SWEEP_EVERY_S = 10.0
CLEAR_EVERY_S = 20.0
WEBHOOKS_EVERY_S = 30.0
CLEAR_AFTER_S = 20.0  # the worker that has just ended it removes its bytes itself
COPY_TTL_S = 600.0  # nobody draws for so long
CLEAR_WITHIN_S = 600.0  # so that bytes kept for a replay are not asked about for ever; older ones are tidied

log = structlog.get_logger()


def clear(tools: Services) -> int:
    """Removes what killed workers left staged of attachments that have ended since; returns how many of these.

    Raises:
        RetryableError: `catalogue`.
    """
    cleared = 0
    for media_id in tools.staging.idle_ids(at_least_s=CLEAR_AFTER_S, at_most_s=CLEAR_WITHIN_S):
        record = tools.catalogue.get(media_id)
        if record is None or record.finished_at is None:
            continue
        whole = tools.staging.exists(media_id) and record.status is not Status.FAILED  # that one waits for a replay
        if whole:
            tools.staging.discard(media_id)
        cleared += bool(tools.staging.discard_parts(media_id)) or whole
    return cleared


def remove_leftover_intake(tools: Services, *, older_than_s: float = INTAKE_AFTER_S) -> int:
    """Removes inline bytes that nobody will ask for: no row was ever written, or it is done. Returns how many.

    Those of rejected, failed and expired attachments stay, for a replay starts from them; infected ones do not.

    Raises:
        RetryableError: `catalogue` or `storage`.
    """
    # A sender may repeat its message in this very moment. The hook writes the bytes, then the row, then looks whether
    # the bytes still stand, and writes them again if not. Here the row is looked for first and the age last, right
    # before the removal: if there was no row, that look of the hook is still to come; and if the hook had written the
    # bytes before their age was looked at, they are young. Only an intake that passes, all of it, between the age and
    # the removal would lose them, and these two follow each other at once.
    cleared = 0
    for key in tools.storage.list_older(INTAKE, older_than_s):
        media_id = intake_id(key)
        if media_id is None:
            continue
        record = tools.catalogue.get(media_id)
        if record is None or record.status in {Status.DONE, Status.DELETED} or is_infected(record):
            cleared += tools.storage.delete_if_older(key, older_than_s)
    if cleared:
        log.info("intake tidied", attachments=cleared)
    return cleared


def chores(broker: EsteiraBroker, settings: Settings) -> Chores:
    """(seconds between two runs, what to run), for WorkerThreads."""

    def sweep() -> None:
        ttl_ms = int(SWEEP_EVERY_S * 900)
        if broker.enqueue_client.locks.acquire(
            "sweep", ttl_ms=ttl_ms
        ):  # and kept: in a long backlog another one would begin meanwhile
            keep = partial(broker.enqueue_client.locks.extend, "sweep", ttl_ms=ttl_ms)
            broker.enqueue_client.preview_queue.audit()  # what it drops is made when somebody asks for it
            age_s = settings.sweep_after_s
            requeue_lost(services().catalogue, broker.enqueue_client, older_than_s=age_s, going_on=keep)

    def tidy_intake() -> None:
        if broker.enqueue_client.locks.acquire("intake", ttl_ms=int(TIDY_EVERY_S * 900)):
            remove_leftover_intake(services())

    def end_deletions() -> None:
        if broker.enqueue_client.locks.acquire("deletions", ttl_ms=int(TIDY_EVERY_S * 900)):
            finish_deletions(services())

    def renew_claims() -> None:
        tokens = CLAIM_REGISTRY.held_for(settings.claim_lease_s / 4)
        if tokens:
            services().catalogue.renew(tokens, lease_s=settings.claim_lease_s)

    def flush_metrics() -> None:
        metrics_store.flush(broker.redis_queue)

    return (
        (REFRESH_EVERY_S, _heeding(broker)),
        (metrics_store.FLUSH_INTERVAL_S, flush_metrics),
        (SWEEP_EVERY_S, sweep),
        (TIDY_EVERY_S, tidy),
        (TIDY_EVERY_S, tidy_intake),
        (TIDY_EVERY_S, end_deletions),
        (CLEAR_EVERY_S, clear_staging),
        (WEBHOOKS_EVERY_S, webhook_chore(broker)),
        (settings.claim_lease_s / 3, renew_claims),
    )


def _heeding(broker: EsteiraBroker) -> Callable[[], None]:
    def heed_pauses() -> None:
        with suppress(PipelineError):  # what was known before counts until the catalogue is back
            broker.pauses.refresh(broker.redis_queue)

    return heed_pauses


def tidy() -> None:
    tools = services()
    removed = tools.staging.discard_older(STAGED_FOR_S) + tools.storage.discard_stale_parts(PARTS_FOR_S)
    if removed:
        log.info("tidied", files=removed)


def clear_staging() -> None:
    services().staging.discard_copies(COPY_TTL_S)
    if cleared := clear(services()):
        log.info("cleared", attachments=cleared)


def webhook_chore(broker: EsteiraBroker) -> Callable[[], None]:
    """What looks after deliveries, in one worker at a time."""

    def look_after_webhooks() -> None:
        if broker.enqueue_client.locks.acquire("webhooks", ttl_ms=int(WEBHOOKS_EVERY_S * 900)):
            maintain_deliveries(services())

    return look_after_webhooks


def sign_off(broker: EsteiraBroker) -> None:
    """What a worker does last."""
    let_go()
    metrics_store.flush(broker.redis_queue)
    tracing.stop_tracing()


def let_go() -> None:
    """Frees the claims of what was not finished when the grace period ended, so that the next worker need not wait."""
    tokens = CLAIM_REGISTRY.held_for(0)
    if not tokens:
        return
    log.warning("stopped before the end", attachments=len(tokens), remedy="other workers run them again")
    with suppress(PipelineError):
        services().catalogue.renew(tokens, lease_s=0)
