"""How much a session of a gateway may hand over in a minute."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from actors.intake.rate_limit import IntakeRateLimit
from pipeline.errors import Code, RetryableError
from pipeline.models import Attachment


def check_rate_limit(rates: IntakeRateLimit, attachments: Iterable[Attachment]) -> None:
    """Counts all of a payload's attachments before the first is accepted.

    Raises:
        RetryableError: `too_many_requests`; nothing was counted.
    """
    wanted = Counter(f"{attachment.gateway}\0{attachment.session}" for attachment in attachments)
    wait_s = rates.take(wanted) if wanted else 0
    if wait_s:
        message = "this session hands over more attachments than HOOK_RATE_PER_MINUTE allows"
        raise RetryableError(Code.TOO_MANY_REQUESTS, message, retry_after=wait_s)
