"""Limits how many attachments each session of a gateway may hand over per minute (HOOK_RATE_PER_MINUTE)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from actors.intake.rate_limit import IntakeRateLimit
from pipeline.errors import Code, RetryableError
from pipeline.models import Attachment


def check_rate_limit(rates: IntakeRateLimit, attachments: Iterable[Attachment]) -> None:
    """Counts the attachments of a payload, before the first one is accepted; those of the history delay no others.

    Raises:
        RetryableError: `too_many_requests`; none of them was counted.
    """
    new = (attachment for attachment in attachments if not attachment.from_history)
    counts = Counter(f"{attachment.gateway}\0{attachment.session}" for attachment in new)
    wait_s = rates.acquire(counts) if counts else 0
    if wait_s:
        message = "this session hands over more attachments than HOOK_RATE_PER_MINUTE allows"
        raise RetryableError(Code.TOO_MANY_REQUESTS, message, retry_after=wait_s)
