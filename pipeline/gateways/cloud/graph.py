"""Meta's Graph API, as far as it serves files: it turns a media id into a URL that is valid for five minutes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client import ApiReply, HttpClient
from pipeline.values.gateway_values import json_object

# Error codes of the API. Their HTTP status varies: too many calls may be a 400, a 403 or a 429.
NO_SUCH_ID = 100  # also for an id that belongs to another business than the token
TRY_LATER = frozenset({1, 2, 4, 17, 32, 613, 80007, 130429})  # out of order, or too many calls
BAD_TOKEN = frozenset({0, 3, 10, 102, 190, *range(200, 300)})

_MEDIA_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")


def media_link(media_id: str, credentials: Mapping[str, str], http_client: HttpClient, settings: Settings) -> str:
    """Asks the API for the current URL of a media id. The same credentials open that URL.

    Raises:
        PermanentError: `no_source` (a malformed id), `source_gone` (an unknown or expired one), `url_blocked`, and
            those of `HttpClient.call_api` and `status_error`.
        RetryableError: `fetch_unauthorized`, `fetch_unavailable` with Retry-After, `fetch_protocol` (a reply without
            a URL, or a very long one), and those of `HttpClient.call_api`.
    """
    if not _MEDIA_ID.fullmatch(media_id):
        raise PermanentError(Code.NO_SOURCE, "the media id is malformed")
    graph = settings.cloud_graph_url
    # Plain HTTP is for a server on a private network that the settings allow.
    allow_http = not _is_https(graph) and bool(settings.fetch_allow_private)
    url = _checked_scheme(f"{graph}/{media_id}", allow_http=allow_http)
    timeout_s = min(settings.fetch_read_timeout_s, settings.fetch_deadline_s)
    try:
        reply = http_client.call_api(url, headers=credentials, timeout_s=timeout_s)
    except PermanentError as error:
        if error.code == Code.TOO_LARGE:  # the API's reply is too large, not the file
            raise RetryableError(Code.FETCH_PROTOCOL, "the Graph API's reply is too long") from None
        raise
    if reply.error:
        raise _api_error(reply, reply.error)
    link = json_object(reply.content).get("url")
    if not isinstance(link, str) or not link:
        raise RetryableError(Code.FETCH_PROTOCOL, "the Graph API's reply contains no URL")
    return _checked_scheme(link, allow_http=allow_http)


def _is_https(url: str) -> bool:
    return url[:8].lower() == "https://"


def _checked_scheme(url: str, *, allow_http: bool) -> str:
    if not (allow_http or _is_https(url)):
        raise PermanentError(Code.URL_BLOCKED, "the access token is only sent over https")
    return url


def _api_error(reply: ApiReply, status_error: PipelineError) -> PipelineError:
    """The pipeline error for an error reply: the code in it is more precise than its status."""
    code = json_object(json_object(reply.content).get("error")).get("code")
    if not isinstance(code, int):
        return status_error
    # Without the API's own message: it may repeat the token.
    if code in TRY_LATER:
        message = f"the Graph API is unavailable or limits the number of calls (its code {code})"
        return RetryableError(Code.FETCH_UNAVAILABLE, message, retry_after=reply.retry_after)
    if code in BAD_TOKEN:
        return RetryableError(Code.FETCH_UNAUTHORIZED, f"the Graph API refuses the access token (its code {code})")
    if code == NO_SUCH_ID and isinstance(status_error, PermanentError):
        message = "the Graph API does not know the media id: it has expired, or belongs to another access token"
        return PermanentError(Code.SOURCE_GONE, message)
    return status_error
