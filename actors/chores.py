"""What the workers do now and then, one of them at a time."""

from __future__ import annotations

from contextlib import suppress

import structlog

from actors.broker import EsteiraBroker
from actors.heartbeat import Chores
from actors.leases import LEASES
from actors.sweep import sweep_with
from pipeline.errors import PipelineError
from pipeline.services import services
from pipeline.settings import Settings

STAGED_FOR_S = 24 * 3600  # how long a failed attachment's bytes wait for a replay; a later one downloads again
TIDY_EVERY_S = 600.0
SWEEP_EVERY_S = 10.0

log = structlog.get_logger()


def chores(broker: EsteiraBroker, settings: Settings) -> Chores:
    """(seconds between two runs, what to run), for Heartbeat."""

    def sweep() -> None:
        if broker.sender.lock("sweep", ttl_ms=int(SWEEP_EVERY_S * 900)):
            sweep_with(services().catalogue, broker.sender, older_than_s=settings.sweep_after_s)

    def tidy() -> None:
        tools = services()
        removed = tools.staging.discard_older(STAGED_FOR_S) + tools.storage.discard_older(STAGED_FOR_S)
        if removed:
            log.info("tidied", files=removed)

    def renew_claims() -> None:
        tokens = LEASES.held_for(settings.claim_lease_s / 4)
        if tokens:
            services().catalogue.renew(tokens, lease_s=settings.claim_lease_s)

    return (SWEEP_EVERY_S, sweep), (TIDY_EVERY_S, tidy), (settings.claim_lease_s / 3, renew_claims)


def let_go() -> None:
    """Frees the claims of what was not finished when the grace period ended, so that the next worker need not wait."""
    tokens = LEASES.held_for(0)
    if not tokens:
        return
    log.warning("stopped before the end", attachments=len(tokens), remedy="other workers run them again")
    with suppress(PipelineError):
        services().catalogue.renew(tokens, lease_s=0)
