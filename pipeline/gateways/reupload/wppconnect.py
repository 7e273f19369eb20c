"""Asks WPPConnect Server for a message's file: it downloads the file again and answers in base64.

The server downloads from the URL that WhatsApp Web has for the message now; it does not ask the phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager

from pipeline.config.parsers import secret_pairs
from pipeline.config.settings import Settings
from pipeline.gateways.reupload.file_request import FileRequest, quoted
from pipeline.gateways.reupload.server import GatewayServer, Probe
from pipeline.models import Attachment


def server(session: str, settings: Settings) -> GatewayServer | None:
    """The server of WPPCONNECT_URL with the session's token, which WPPConnect Server makes for each session."""
    token = settings.wppconnect_token_of(session)
    if not (settings.wppconnect_url and token):
        return None
    name = "WPPCONNECT_TOKEN or WPPCONNECT_TOKENS"
    return GatewayServer("WPPConnect Server", settings.wppconnect_url, name, {"Authorization": f"Bearer {token}"})


def file(attachment: Attachment, request: FileRequest) -> AbstractContextManager[Iterator[bytes]]:
    """The file from `GET /api/{session}/get-media-by-message/{messageId}`."""
    session, message_id = quoted(attachment.session), quoted(attachment.message_id)
    return request.base64_file("GET", f"/api/{session}/get-media-by-message/{message_id}")


def probes(settings: Settings) -> Sequence[Probe]:
    """The state of each session of WPPCONNECT_TOKENS; without them that of the server, which needs no token."""
    tokens = settings.wppconnect_tokens
    sessions = (secret_pairs(tokens.get_secret_value()) or {}) if tokens else {}
    if not sessions:
        common = server("", settings)
        return [Probe(common, "/healthz")] if common else []
    found = [(session, server(session, settings)) for session in sessions]
    return [Probe(each, f"/api/{quoted(session)}/check-connection-session") for session, each in found if each]
