"""Maps failed connections and response statuses to the errors of the pipeline."""

from __future__ import annotations

import email.utils
import math
import ssl
import time

import requests

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client.connection import StreamedResponse, TruncatedError
from pipeline.http_client.response_parser import Headers, ProtocolError

SUCCESS = frozenset({200, 203})
NO_FILE = frozenset({204, 205, 206})  # no content, or a part that was not requested
GONE = frozenset({401, 403, 404, 410})
TRY_LATER = frozenset({408, 421, 425, 429})


def transport_error(error: OSError | ProtocolError | TruncatedError, host: str) -> PipelineError:
    """The pipeline error for an error that a connection raised."""
    if isinstance(error, TruncatedError):
        return RetryableError(Code.FETCH_TRUNCATED, f"{host} closed the connection before the end of the file")
    if isinstance(error, ProtocolError):
        return PermanentError(Code.FETCH_PROTOCOL, f"{host} sent an invalid HTTP response: {error}")
    if isinstance(error, TimeoutError):
        return RetryableError(Code.FETCH_TIMEOUT, f"{host} did not answer in time")
    if isinstance(error, (ConnectionError, ssl.SSLError)):
        return RetryableError(Code.FETCH_RESET, f"{host} closed the connection")
    return RetryableError(Code.FETCH_RESET, f"the connection to {host} was lost")


def check_encoding(headers: Headers) -> None:
    """Refuses a compressed response: a small one may decompress to any size.

    Raises:
        PermanentError: `too_large`.
    """
    codings = headers.get_all("Content-Encoding")
    if any(coding.strip().lower() not in {"identity", ""} for coding in codings):
        raise PermanentError(Code.TOO_LARGE, "the response is compressed although that was not requested")


def status_error(
    response: StreamedResponse | requests.Response, host: str, *, authenticated: bool
) -> PipelineError | None:
    """The error that a response's status means, or None if it has a whole file.

    With `authenticated`, credentials were sent: a 401 or 403 means that they are wrong, not that the file is gone.

    PermanentError: `source_gone` (401, 403, 404, 410), `empty` (204, 205, 206), `fetch_refused` (another 4xx),
    `fetch_redirect` (a 3xx without a target) or `fetch_protocol`.

    RetryableError: `fetch_unauthorized` (401 or 403 in spite of credentials), `fetch_unavailable` (5xx, 408, 421, 425
    and 429), with the server's Retry-After.
    """
    status = response.status_code if isinstance(response, requests.Response) else response.status
    if status in SUCCESS:
        return None
    if status >= 500 or status in TRY_LATER:
        wait_s = parse_retry_after(response.headers.get("Retry-After"))
        return RetryableError(Code.FETCH_UNAVAILABLE, f"{host} answers {status}", retry_after=wait_s)
    if authenticated and status in {401, 403}:
        return RetryableError(Code.FETCH_UNAUTHORIZED, f"{host} answers {status}: it refuses these credentials")
    return PermanentError(_permanent_code(status), f"{host} answers {status}")


def _permanent_code(status: int) -> Code:
    if status in GONE:
        return Code.SOURCE_GONE
    if status in NO_FILE:
        return Code.EMPTY
    if 300 <= status < 400:
        return Code.FETCH_REDIRECT
    return Code.FETCH_REFUSED if status >= 400 else Code.FETCH_PROTOCOL


def parse_retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header requests, from a number or a date; None if it holds neither."""
    if not value:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None
    return max(seconds, 0.0) if math.isfinite(seconds) else None
