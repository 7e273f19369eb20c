"""The gateways: a module each, which authenticates requests, parses payloads and locates the files.

A new gateway is a module with the three functions of `Gateway` and a line in GATEWAYS (see CONTRIBUTING.md); a gateway
that needs more than one module has a folder. They share `intake` (the request and the payload), `verification`
(secrets and signatures), `sources` (URLs of files), `message_content` (WhatsApp's own message) and `flow_media` (the
answer to a Flow). `reupload` asks a gateway's server for a file.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from pipeline.config.settings import Settings
from pipeline.gateways import cloud, evolution, gowa, media, waha, wppconnect
from pipeline.gateways.intake import HookRequest, ParsedPayload
from pipeline.gateways.sources import Source
from pipeline.gateways.verification import BodyCheck, NoSecretError, UnauthorizedError
from pipeline.http_client import HttpClient
from pipeline.models import Attachment

__all__ = [
    "GATEWAYS",
    "BodyCheck",
    "Gateway",
    "HookRequest",
    "NoSecretError",
    "ParsedPayload",
    "Source",
    "UnauthorizedError",
    "source_of",
]


class Gateway(Protocol):
    """The functions of a gateway's module."""

    def verify(self, request: HookRequest, settings: Settings, /) -> BodyCheck | None:
        """Verifies what needs no body: it is called before the body is read.

        Returns None if the head carries the gateway's secret. If it carries a signature of the body, returns the check
        that the body has to pass.

        Raises:
            UnauthorizedError: it carries neither, a wrong secret, or an old timestamp; or no secret is set.
        """

    def parse(self, payload: Any, settings: Settings, /) -> ParsedPayload:
        """The attachments in a payload (its decoded JSON). Messages of an unknown form are counted as ignored.

        Raises:
            PayloadError: it has more than MAX_BATCH messages.
        """

    def source(self, attachment: Attachment, http_client: HttpClient, settings: Settings, /) -> Source:
        """The current URL of the attachment's file, with the credentials for it.

        Raises:
            PermanentError: `no_source`, or the gateway no longer has the file.
            RetryableError: the gateway's server has to be asked and does not answer.
        """


GATEWAYS: Mapping[str, Gateway] = {
    "wppconnect": wppconnect,
    "evolution": evolution,
    "waha": waha,
    "gowa": gowa,
    "cloud": cloud,
    "media": media,
}


def source_of(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """The current URL of an attachment's file, from its gateway; for an unknown gateway, the declared one.

    Raises:
        PermanentError, RetryableError: see `Gateway.source`.
    """
    return GATEWAYS.get(attachment.gateway, media).source(attachment, http_client, settings)
