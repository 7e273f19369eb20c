"""The URL that an attachment's file is downloaded from, and the headers that are sent there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from pipeline.config.gateways import LOOPBACK_HOSTS
from pipeline.config.settings import Settings
from pipeline.config.types import Network
from pipeline.errors import Code, PermanentError
from pipeline.http_client import HostList, HttpClient
from pipeline.http_client.ssrf_guard import parse_url
from pipeline.models import Attachment
from pipeline.security.whatsapp_media import ORIGIN, USELESS_URLS, media_url
from pipeline.values.emptiness import is_empty

OWN_HOSTS = LOOPBACK_HOSTS | {"0.0.0.0"}  # noqa: S104  a name in a URL; nothing is bound to it

WHATSAPP = "*.whatsapp.net"  # also where WHATSAPP_HOSTS has other names, such as that of a mirror

KEY_NEEDS_WHATSAPP = "a file with a media key is only downloaded from the hosts in WHATSAPP_HOSTS"


@dataclass(frozen=True)
class Source:
    """A URL to download. `headers` are sent to every server, `credentials` only to the URL's own origin.

    `trusted_url` is that of the gateway's own server, from the settings: that server may have a private address.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    trusted_url: str | None = None


def declared_source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:  # noqa: ARG001  the signature of `Gateway.source`
    """The direct path on WhatsApp's servers, else the URL that the message declares.

    Raises:
        PermanentError: `no_source`, if there is neither; `url_blocked`, if the direct path is not a plain path.
    """
    url = media_url(attachment, settings.whatsapp_hosts)
    if not url:
        raise PermanentError(Code.NO_SOURCE, "the attachment has no URL")
    return Source(url, headers={"Origin": ORIGIN} if is_whatsapp_url(url, settings) else {})


def allowed_hosts(attachment: Attachment, source: Source, settings: Settings) -> HostList | None:
    """The hosts that a file with a media key may come from; None for other files, and for the gateway's own server.

    Only WhatsApp has files that a media key decrypts: another server's URL in such a message is forged, or a mistake.
    """
    if attachment.media_key is None or source.trusted_url:
        return None
    return _allowed_hosts(settings.whatsapp_hosts, settings.fetch_allow_private)


@lru_cache(maxsize=8)
def _allowed_hosts(names: tuple[str, ...], networks: tuple[Network, ...]) -> HostList:
    return HostList(names, networks=networks, refusal=KEY_NEEDS_WHATSAPP)


def is_whatsapp_url(url: Any, settings: Settings) -> bool:
    """Whether a URL leads to WhatsApp's servers or to one of WHATSAPP_HOSTS; False for a value that is no URL."""
    if not isinstance(url, str):
        return False
    try:
        target = parse_url(url)
    except PermanentError:
        return False
    return target.scheme == "https" and _allowed_hosts((*settings.whatsapp_hosts, WHATSAPP), ()).includes(target)


def own_server_url(url: str, server_url: str, *, path: str) -> str | None:
    """The URL of a file on the gateway's own server, as it is reached from here; None if it is on another server.

    A gateway that does not know its public name puts `localhost` into its URLs. Such a URL is rewritten to
    `server_url` if its path begins with `path`: another service on the gateway's machine is called `localhost` too.
    """
    target = parse_url(url)
    if target.origin == parse_url(server_url).origin:
        return url
    return server_url + target.path if target.host in OWN_HOSTS and target.path.startswith(path) else None


def media_location(*, direct_path: Any, url: Any, media_key: Any, copy: Any) -> dict[str, Any]:
    """An attachment's fields for WhatsApp's encrypted file, or for the gateway's unencrypted `copy` (a URL).

    WhatsApp's file takes precedence if it can be decrypted: often only the gateway can reach the server of the copy.
    """
    readable = not is_empty(media_key) and isinstance(url, str) and not is_empty(url) and url not in USELESS_URLS
    if not is_empty(copy) and is_empty(direct_path) and not readable:
        return {"url": copy}
    return {"direct_path": direct_path, "url": url, "media_key": media_key}
