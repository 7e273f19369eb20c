"""What an answer means before its body is read: whether it can be trusted, and which error its status is."""

from __future__ import annotations

import email.utils
import math
import ssl
import time

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client.connection import StreamedResponse, TruncatedError
from pipeline.http_client.response_parser import ProtocolError

GONE = frozenset({401, 403, 404, 410})
TRY_LATER = frozenset({408, 421, 425, 429})


def transport_error(error: OSError | ProtocolError | TruncatedError, host: str) -> PipelineError:
    """The error of ours for what a connection raised."""
    if isinstance(error, TruncatedError):
        return RetryableError(Code.FETCH_TRUNCATED, f"{host} ended the file before its end")
    if isinstance(error, ProtocolError):
        return PermanentError(Code.FETCH_PROTOCOL, f"{host} does not speak HTTP as it should: {error}")
    if isinstance(error, TimeoutError):
        return RetryableError(Code.FETCH_TIMEOUT, f"{host} takes too long")
    if isinstance(error, (ConnectionError, ssl.SSLError)):
        return RetryableError(Code.FETCH_RESET, f"{host} broke off the connection")
    return RetryableError(Code.FETCH_RESET, f"the connection to {host} was lost")


def check_encoding(answer: StreamedResponse) -> None:
    """Refuses an answer that is compressed: a small one may expand without end.

    Raises:
        PermanentError: `too_large`.
    """
    codings = answer.headers.get_all("Content-Encoding")
    if any(coding.strip().lower() not in {"identity", ""} for coding in codings):
        raise PermanentError(Code.TOO_LARGE, "the answer is compressed, though asked not to be: its size is unknown")


def check_status(answer: StreamedResponse, host: str, *, introduced: bool = False) -> None:
    """Lets a whole file pass. `introduced` says that credentials were shown: a refusal is theirs, not the file's.

    Raises:
        PermanentError, RetryableError: see `refusal_of`.
    """
    if refusal := refusal_of(answer, host, introduced=introduced):
        raise refusal


def refusal_of(answer: StreamedResponse, host: str, *, introduced: bool) -> PipelineError | None:
    """The error that a status means, or None for that of a whole file.

    PermanentError: `source_gone` (401, 403, 404, 410), `empty` (204, 205, 206: no file, or a part that nobody asked
    for), `fetch_refused` (another 4xx), `fetch_redirect` (a 3xx that leads nowhere) or `fetch_protocol`.

    RetryableError: `fetch_unauthorized` (401 or 403 in spite of credentials), `fetch_unavailable` (5xx, 429 and other
    requests to come again), with the server's Retry-After.
    """
    status = answer.status
    if status in {200, 203}:
        return None
    if status >= 500 or status in TRY_LATER:
        wait = retry_after(answer.headers.get("Retry-After"))
        return RetryableError(Code.FETCH_UNAVAILABLE, f"{host} answers {status}", retry_after=wait)
    if introduced and status in {401, 403}:
        return RetryableError(Code.FETCH_UNAUTHORIZED, f"{host} answers {status}: it does not take these credentials")
    return PermanentError(_permanent(status), f"{host} answers {status}")


def _permanent(status: int) -> Code:
    if status in GONE:
        return Code.SOURCE_GONE
    if status in {204, 205, 206}:
        return Code.EMPTY
    if 300 <= status < 400:
        return Code.FETCH_REDIRECT
    return Code.FETCH_REFUSED if status >= 400 else Code.FETCH_PROTOCOL


def retry_after(value: str | None) -> float | None:
    """The seconds that a Retry-After header asks for, given as a number or as a date; None if it says nothing."""
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
