"""The pace at which a gateway is asked: it asks WhatsApp, or the phone, for each file.

Many requests at once could get its number banned.
"""

from __future__ import annotations

from pipeline.errors import Code, PacedError
from pipeline.gateways.reupload.server import GatewayServer
from pipeline.http_client import HostRateLimiter, Requester
from pipeline.models import Attachment


def check_turn(rate_limiter: HostRateLimiter, attachment: Attachment, server: GatewayServer) -> None:
    """Returns if the attachment's gateway may be asked for it now.

    Raises:
        PacedError: `fetch_busy`, if it has to come again after `retry_after` seconds.
    """
    requester = Requester(attachment.id, attachment.session)
    wait_s = rate_limiter.acquire(f"gateway:{attachment.gateway}", requester)
    if wait_s > 0:
        message = f"it waits for its turn to ask {server.name} (REUPLOAD_PER_MINUTE)"
        raise PacedError(Code.FETCH_BUSY, message, retry_after=wait_s)
