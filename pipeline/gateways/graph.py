"""Meta's Graph API, as far as it hands out files: a media id becomes a URL that lives for five minutes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client import HttpClient, Reply
from pipeline.values.gateway_values import json_object

MAX_REPLY = 64 * 1024  # bytes

# Codes of its errors. They come with various statuses: too many calls may be a 400, a 403 or a 429.
NO_SUCH_ID = 100  # also for an id that the token of another business asks for
NOT_NOW = frozenset({1, 2, 4, 17, 32, 613, 80007, 130429})  # out of order, or too many calls
NOT_YOU = frozenset({0, 3, 10, 102, 190, *range(200, 300)})

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def media_link(media_id: str, credentials: Mapping[str, str], http_client: HttpClient, settings: Settings) -> str:
    """The URL that a media id leads to just now. The same credentials open it.

    Raises:
        PermanentError: `no_source` (a malformed id), `source_gone` (an unknown or expired one), `url_blocked`, and what
            `HttpClient.ask` and `refusal_of` say.
        RetryableError: `fetch_unauthorized`, `fetch_unavailable` with Retry-After, `fetch_protocol` (an answer without
            a URL, or a very long one), and what `HttpClient.ask` says.
    """
    if not _MEDIA_ID.fullmatch(media_id):
        raise PermanentError(Code.NO_SOURCE, "the media id is malformed")
    graph = settings.cloud_graph_url
    # Without TLS is for a server of one's own, on a network that the settings name.
    in_clear = not _is_https(graph) and bool(settings.fetch_allow_private)
    asked = _fit_for_a_token(f"{graph}/{media_id}", in_clear=in_clear)
    timeout_s = settings.fetch_read_timeout_s
    try:
        reply = http_client.ask(asked, credentials=credentials, timeout_s=timeout_s, max_bytes=MAX_REPLY)
    except PermanentError as error:
        if error.code == Code.TOO_LARGE:  # the answer is, which says nothing of the file
            raise RetryableError(Code.FETCH_PROTOCOL, "the Graph API's answer is too long") from None
        raise
    if reply.refusal:
        raise _meaning(reply, reply.refusal)
    link = _content(reply).get("url")
    if not isinstance(link, str) or not link:
        raise RetryableError(Code.FETCH_PROTOCOL, "the Graph API's answer names no URL")
    return _fit_for_a_token(link, in_clear=in_clear)


def _is_https(url: str) -> bool:
    return url[:8].lower() == "https://"


def _fit_for_a_token(url: str, *, in_clear: bool) -> str:
    if not (in_clear or _is_https(url)):
        raise PermanentError(Code.URL_BLOCKED, "the access token is shown over https alone")
    return url


def _meaning(reply: Reply, refusal: PipelineError) -> PipelineError:
    """What a refusal means: the codes in it tell more than its status."""
    error = json_object(_content(reply).get("error"))
    code = error.get("code")
    if not isinstance(code, int):
        return refusal
    # Not in its own words: they may repeat the token.
    if code in NOT_NOW:
        later = f"the Graph API has no time now (its code {code})"
        return RetryableError(Code.FETCH_UNAVAILABLE, later, retry_after=reply.retry_after)
    if code in NOT_YOU:
        return RetryableError(
            Code.FETCH_UNAUTHORIZED, f"the Graph API does not take the access token (its code {code})"
        )
    if code == NO_SUCH_ID and isinstance(refusal, PermanentError):
        gone = "the Graph API knows no such media: it has expired, or the access token is another business's"
        return PermanentError(Code.SOURCE_GONE, gone)
    return refusal


def _content(reply: Reply) -> dict[str, Any]:
    try:
        return json_object(json.loads(reply.body))
    except (ValueError, RecursionError):
        return {}
