"""The second source of a file: the URL of a message whose direct path has no file any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import NamedTuple

from pipeline.errors import Code, PermanentError
from pipeline.gateways.sources import Source
from pipeline.http_client import Body
from pipeline.http_client.host_patterns import normalized_host
from pipeline.http_client.ssrf_guard import DEFAULT_PORTS, parse_url
from pipeline.models import Attachment

Request = Callable[[Source], AbstractContextManager[Body]]
FindSource = Callable[[Attachment], Source]


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
        RetryableError: those of `request`, also from the other host.
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
            except PermanentError as error:
                message = f"{gone.message}; its other source: {error.message}"
                raise PermanentError(Code.SOURCE_GONE, message) from error
            download = Download(body, f"{gone.message}; {server} has the file")
        yield download


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
