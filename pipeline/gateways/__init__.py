"""The gateways: one module each, which knows who may call its hook, how it speaks of media, and where they lie.

A new gateway is a module with these three functions and a line in GATEWAYS.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pipeline.config.settings import Settings
from pipeline.gateways import cloud, evolution, media, waha, wppconnect
from pipeline.gateways.intake import HookRequest, ParsedPayload
from pipeline.gateways.sources import Source
from pipeline.gateways.verification import NoSecretError, UnauthorizedError
from pipeline.http_client import HttpClient
from pipeline.models import Attachment

__all__ = [
    "GATEWAYS",
    "Gateway",
    "HookRequest",
    "NoSecretError",
    "ParsedPayload",
    "Source",
    "UnauthorizedError",
    "source_of",
]


class Gateway(Protocol):
    """What a gateway's module holds."""

    def verify(self, request: HookRequest, settings: Settings, /) -> None:
        """Lets a request pass that shows the gateway's secret.

        Raises:
            UnauthorizedError: it shows none or a wrong one, or none is set.
        """

    def parse(self, payload: Any, settings: Settings, /) -> ParsedPayload:
        """The attachments in a payload (its JSON, decoded). What fits no known shape is counted as ignored.

        Raises:
            PayloadError: it holds more messages than MAX_BATCH.
        """

    def source(self, attachment: Attachment, http_client: HttpClient, settings: Settings, /) -> Source:
        """Where its bytes lie just now.

        Raises:
            PermanentError: `no_source`, or the gateway says that there are none any more.
            RetryableError: the gateway's server has to be asked and does not answer.
        """


GATEWAYS: Mapping[str, Gateway] = {
    "wppconnect": wppconnect,
    "evolution": evolution,
    "waha": waha,
    "cloud": cloud,
    "media": media,
}


def source_of(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """Where an attachment's bytes lie, as its gateway knows; as it declares where that is none of ours.

    Raises:
        PermanentError, RetryableError: see `Gateway.source`.
    """
    return GATEWAYS.get(attachment.gateway, media).source(attachment, http_client, settings)
