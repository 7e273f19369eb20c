"""Where an attachment's bytes are fetched from, and what is shown there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.http_client import HttpClient
from pipeline.models import Attachment
from pipeline.security.whatsapp_media import ORIGIN, USELESS_URLS, media_url


@dataclass(frozen=True)
class Source:
    """A URL to fetch. `headers` go everywhere, `credentials` to the URL's own origin alone.

    `trusted` is the URL of the gateway's own server from the settings: it may stand on a private address.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted: str | None = None


def declared_source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:  # noqa: ARG001  one shape for all
    """The direct path on WhatsApp's servers, else the URL.

    Raises:
        PermanentError: `no_source`, if there is neither; `url_blocked`, if the direct path is more than a path.
    """
    url = media_url(attachment, settings.whatsapp_hosts)
    if not url:
        raise PermanentError(Code.NO_SOURCE, "the attachment names no place where its bytes lie")
    whatsapp = url.startswith(tuple(f"https://{host}/" for host in settings.whatsapp_hosts))
    return Source(url, headers={"Origin": ORIGIN} if whatsapp else {})


def media_location(*, direct_path: Any, url: Any, media_key: Any, copy: Any) -> dict[str, Any]:
    """An attachment's fields for one place of two: WhatsApp's own, or the gateway's `copy`, which is in plaintext.

    WhatsApp's goes first where it is of use: the copy's server often lies where only the gateway gets at it.
    """
    readable = bool(media_key) and isinstance(url, str) and url not in {"", *USELESS_URLS}
    if copy and not (direct_path or readable):
        return {"url": copy}
    return {"direct_path": direct_path, "url": url, "media_key": media_key}
