"""The files on GOWA's own server: their URLs below `statics/`, and the login for them."""

from __future__ import annotations

import base64
import re
from urllib.parse import quote, unquote

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways.sources import Source, declared_source
from pipeline.http_client import HttpClient
from pipeline.models import Attachment

FOLDER = "statics/"
# Of an encoded dot or separator a server might make a path to another folder; `%25` may hide one.
_ENCODED = re.compile(r"%(?:2e|2f|5c|25|00)", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_SAFE = "/-._~!$&'()*+,;=:@"  # characters that a path may hold unquoted, RFC 3986


def file_source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """The URL of the file: below `statics/` at GOWA_URL, with GOWA_AUTH; a URL of the message elsewhere, without it.

    A URL of the message that leads to `statics/` at GOWA_URL is such a file too.

    Raises:
        PermanentError: `no_source` (GOWA_URL is not set, or the message has no source), `url_blocked` (a path
            elsewhere), `url_scheme`.
    """
    if attachment.remote_id and not (attachment.url or attachment.direct_path):
        return own_file(attachment.remote_id, settings)
    declared = declared_source(attachment, http_client, settings)
    if attachment.media_key is None and settings.gowa_url and declared.url.startswith(f"{settings.gowa_url}/{FOLDER}"):
        return own_file(declared.url, settings)
    return declared


def own_file(path: str, settings: Settings) -> Source:
    """The source of a file that GOWA has saved. `path` is as GOWA writes it, `statics/media/…`, or a URL of it.

    Raises:
        PermanentError: `no_source` without GOWA_URL, `url_blocked` if the path is not below `statics/`.
    """
    if not settings.gowa_url:
        missing = "the file is on GOWA's server: set GOWA_URL to the address of that server as reached from here"
        raise PermanentError(Code.NO_SOURCE, missing)
    root = f"{settings.gowa_url}/"
    relative = unquote(path.removeprefix(root)) if path.startswith(root) else path.removeprefix("./").removeprefix("/")
    if not _is_plain(relative):
        raise PermanentError(Code.URL_BLOCKED, "the path is not that of a file below statics/ on GOWA's server")
    url = f"{settings.gowa_url}/{quote(relative, safe=_SAFE)}"
    return Source(url, credentials=login(settings), trusted_url=settings.gowa_url)


def _is_plain(path: str) -> bool:
    """Whether a path leads to a file below `statics/`, whatever a server or a proxy makes of its characters."""
    segments = path.split("/")
    names = all(segment.strip() and segment.strip().strip(".") for segment in segments)
    return path.startswith(FOLDER) and names and not (_FORBIDDEN.search(path) or _ENCODED.search(path))


def login(settings: Settings) -> dict[str, str]:
    """The header with GOWA_AUTH; empty if that is not set."""
    if not settings.gowa_auth:
        return {}
    encoded = base64.b64encode(settings.gowa_auth.get_secret_value().encode()).decode()
    return {"Authorization": f"Basic {encoded}"}
