"""Asks WAHA for a message: it downloads the file again and names a URL, which needs the API key too."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways.reupload.file_request import FileRequest, quoted
from pipeline.gateways.reupload.server import GatewayServer, Probe
from pipeline.gateways.sources import Source, own_server_url
from pipeline.gateways.waha import FILES_PATH
from pipeline.models import Attachment
from pipeline.values.emptiness import first_present
from pipeline.values.gateway_values import error_text, json_object

# A 422 for a session that is starting, or has to be logged in again.
_LATER = ("session status", "not started", "not running", "try again")


def server(_session: str, settings: Settings) -> GatewayServer | None:
    """The server of WAHA_URL, with WAHA_API_KEY if there is one."""
    if not settings.waha_url:
        return None
    key = settings.waha_api_key
    credentials = {"X-Api-Key": key.get_secret_value()} if key else {}
    return GatewayServer("WAHA", settings.waha_url, "WAHA_API_KEY", credentials, later_words=_LATER)


@contextmanager
def file(attachment: Attachment, request: FileRequest) -> Iterator[Iterator[bytes]]:
    """The file that `GET /api/{session}/chats/{chatId}/messages/{messageId}?downloadMedia=true` names."""
    request.require_first_file(attachment)
    parts = (attachment.session, "chats", request.chat_of(attachment), "messages", attachment.message_id)
    answer = request.get_json(f"/api/{'/'.join(map(quoted, parts))}?downloadMedia=true")
    with request.download(_source(json_object(json_object(answer).get("media")), request)) as pieces:
        yield pieces


def probes(settings: Settings) -> Sequence[Probe]:
    """The list of sessions, which needs the key."""
    found = server("", settings)
    return [Probe(found, "/api/sessions")] if found else []


def _source(media: Mapping[str, Any], request: FileRequest) -> Source:
    """Where the file is: on WAHA's own server with the key, or elsewhere without it, such as on S3."""
    url = first_present(media, "url")
    if not isinstance(url, str):
        error = media.get("error")
        details = json_object(error)
        texts = (error_text(each) for each in (details.get("message"), details.get("details"), error))
        reason = next(filter(None, texts), "it names no file; see its WHATSAPP_DOWNLOAD_MEDIA")
        raise PermanentError(Code.SOURCE_GONE, f"WAHA did not download the file: {reason}")
    if own := own_server_url(url, request.server.url, path=FILES_PATH):
        return Source(own, credentials=request.server.credentials, trusted_url=request.server.url)
    return Source(url)
