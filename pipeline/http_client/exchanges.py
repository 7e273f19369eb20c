"""Requests that callers give to the HTTP client, their limits, and the responses that they get."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.errors import PipelineError
from pipeline.http_client.body import Body
from pipeline.http_client.connection import StreamedResponse
from pipeline.http_client.deadline import Deadline
from pipeline.http_client.host_list import HostList
from pipeline.http_client.responses import check_encoding, status_error


@dataclass(frozen=True)
class ApiReply:
    """The response of an API. `content` is its decoded JSON, None if it is no JSON.

    `error` is the error that its status means, `retry_after` the wait that it requests, in seconds.
    """

    content: Any = field(repr=False)
    error: PipelineError | None = None
    retry_after: float | None = None


@dataclass(frozen=True)
class ApiRequest:
    """A request to a server from the settings. `headers` may hold its key."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class PostResult(NamedTuple):
    """The response to a webhook: its status, and the wait that it requests, in seconds. Its body is not kept."""

    status: int
    retry_after: float | None = None


class Reply:
    """The response of a server from the settings, whatever its status: its body is read on demand.

    `error` is the error that its status means, None if it has content.
    """

    def __init__(self, response: StreamedResponse, host: str, *, authenticated: bool) -> None:
        self.status = response.status
        self.error = status_error(response, host, authenticated=authenticated)
        self._response = response
        self._host = host

    def body(self, *, max_bytes: int) -> Body:
        """The body, of at most so many bytes.

        Raises:
            PermanentError: `too_large`, also for a compressed response.
        """
        check_encoding(self._response.headers)
        return Body(self._response, max_bytes=max_bytes, host=self._host)


class DownloadLimits(NamedTuple):
    """The limits of one download.

    `deadline` limits the time up to the last byte; redirects, name resolution and handshakes do not extend it. It does
    not include the wait for the first slot. With `hosts`, the URL and all redirects must lead to hosts of this list.
    """

    deadline: Deadline
    max_bytes: int
    hosts: HostList | None = None
