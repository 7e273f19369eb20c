"""Asks GOWA for a message's file: it downloads the file from WhatsApp again and names its path below `statics/`.

GOWA finds messages in its own database, in the chat of the message. It does not ask the phone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, unquote

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways.gowa.files import FOLDER, login, own_file
from pipeline.gateways.reupload.file_request import FileRequest, quoted
from pipeline.gateways.reupload.server import GatewayServer, Probe
from pipeline.models import Attachment
from pipeline.values.emptiness import first_present
from pipeline.values.gateway_values import json_object

# Most refusals are a 500 with the text of an error: also for a message that it does not know, and for a file that
# WhatsApp no longer has.
_GONE = (
    *("not found", "does not contain downloadable media", "does not belong to chat", "exceeds the maximum limit"),
    *("status code 403", "status code 404", "status code 410"),
)


def server(_session: str, settings: Settings) -> GatewayServer | None:
    """The server of GOWA_URL, with GOWA_AUTH if it is set."""
    if not settings.gowa_url:
        return None
    return GatewayServer("GOWA", settings.gowa_url, "GOWA_AUTH", login(settings), gone_words=_GONE)


@contextmanager
def file(attachment: Attachment, request: FileRequest) -> Iterator[Iterator[bytes]]:
    """The file that `GET /message/{message_id}/download?phone={chat}` names, of the device that the session names."""
    request.require_first_file(attachment)
    phone = quote(request.chat_of(attachment), safe="")
    path = f"/message/{quoted(attachment.message_id)}/download?phone={phone}"
    # From version 8 on, the header chooses the device. GOWA decodes it as a part of a query.
    answer = request.get_json(path, headers={"X-Device-Id": quote(attachment.session, safe="@:.")})
    source = own_file(_path(json_object(json_object(answer).get("results"))), request.settings)
    with request.download(source) as pieces:
        yield pieces


def probes(settings: Settings) -> Sequence[Probe]:
    """The list of devices, which needs the login."""
    found = server("", settings)
    return [Probe(found, "/app/devices")] if found else []


def _path(results: Mapping[str, Any]) -> str:
    """The path below `statics/` on GOWA's server, from the local path or from the URL that it made of that."""
    for value in (first_present(results, "file_path"), first_present(results, "file_url")):
        if isinstance(value, str) and (start := value.find(FOLDER)) >= 0:
            return unquote(value[start:]) if "://" in value else value[start:]
    raise PermanentError(Code.SOURCE_GONE, "GOWA names no file below statics/")
