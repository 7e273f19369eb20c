"""The second source of a file: the URL of a message whose direct path has no file any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

from pipeline.errors import BusyError, Code, PermanentError, PipelineError, RetryableError
from pipeline.gateways.sources import Source
from pipeline.http_client import Body
from pipeline.http_client.host_patterns import normalized_host
from pipeline.http_client.ssrf_guard import DEFAULT_PORTS, parse_url
from pipeline.models import Attachment

Request = Callable[[Source], AbstractContextManager[Body]]
FindSource = Callable[[Attachment], Source]


class OtherSourceError(RetryableError):
    """Raised when the first source has the file no longer, and the other one may have it later."""


class Download(NamedTuple):
    """A running download. `note` says for the history which source has the file, if it is not the first one."""

    body: Body
    note: str | None = None


@contextmanager
def download_from_either(
    attachment: Attachment, source: Source, *, find_source: FindSource, request: Request
) -> Iterator[Download]:
    """Requests the file from `source`. If that has it no longer, the message's own URL on another host is asked once.

    `find_source` finds the source of an attachment, `request` requests it.

    Raises:
        PermanentError: `source_gone`, which names both hosts if both were asked; and those of `request`.
        OtherSourceError: the other host may have the file later.
        RetryableError: those of `request` for `source`.
    """
    with ExitStack() as stack:
        try:
            download = Download(stack.enter_context(request(source)))
        except PermanentError as gone:
            other = other_source(attachment, source, find_source) if gone.code is Code.SOURCE_GONE else None
            if other is None:
                raise
            server = parse_url(other.url).authority
            try:
                body = stack.enter_context(request(other))
            except (PermanentError, RetryableError) as error:
                raise _error_of_both(gone, error) from error
            download = Download(body, f"{gone.message}; {server} has the file")
        yield download


def _error_of_both(gone: PermanentError, error: PermanentError | RetryableError) -> PipelineError:
    if isinstance(error, BusyError) or error.code is Code.TOO_LARGE:  # it was not asked yet, or it has the file
        return error
    message = f"{gone.message}; its other source: {error.message}"
    if isinstance(error, RetryableError):
        return OtherSourceError(error.code, message, retry_after=error.retry_after)
    return PermanentError(Code.SOURCE_GONE, message)


def other_source(attachment: Attachment, source: Source, find_source: FindSource) -> Source | None:
    """The source that the message's URL names, if the direct path is on another host; None without one."""
    if not (attachment.direct_path and attachment.url):
        return None
    try:
        other = find_source(attachment.model_copy(update={"direct_path": None}))
        is_other = _server(source.url) != _server(other.url)
    except PermanentError:  # no URL, a useless or a malformed one
        return None
    return other if is_other else None


def _server(url: str) -> tuple[str, int | None]:
    """The host of a URL, and its port unless it is that of http or https."""
    target = parse_url(url)
    return normalized_host(target.host), None if target.port in DEFAULT_PORTS.values() else target.port
