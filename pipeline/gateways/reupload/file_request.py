"""The requests for one attachment's file to a gateway's server, within the limits of a download."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote

from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError, PermanentError, PipelineError, RetryableError, TooLargeError
from pipeline.gateways.reupload.server import GatewayServer
from pipeline.gateways.sources import Source
from pipeline.http_client import ApiRequest, Deadline, DownloadLimits, HostList, HttpClient, Reply
from pipeline.http_client.adapter import NO_HEADERS
from pipeline.http_client.ssrf_guard import parse_url
from pipeline.models import Attachment
from pipeline.values.base64_stream import decode_base64_pieces
from pipeline.values.json_member import JsonMemberError, json_text_member

# Bytes of an answer without the file: WAHA's contains the whole message with its thumbnail, Evolution API's has the
# caption before the file.
MAX_JSON = 1024 * 1024
MAX_ERROR = 64 * 1024  # bytes of a refusal
CREATED = 201  # Evolution API's status of an answer with a file


class FileRequest:
    """Requests the file of one attachment from `server`: at most `max_bytes`, which is its plaintext's limit.

    The first byte may take REUPLOAD_TIMEOUT_S, the whole answer as much more as a download of its size.
    """

    def __init__(self, server: GatewayServer, *, http_client: HttpClient, settings: Settings, max_bytes: int) -> None:
        self.server = server
        self.settings = settings
        self._http_client = http_client
        self._max_bytes = max_bytes

    def require_first_file(self, attachment: Attachment) -> None:
        """Raises PermanentError (`no_source`) for a further file of a message: the server has only the first one."""
        if attachment.part:
            raise PermanentError(Code.NO_SOURCE, f"{self.server.name} gives out only the first file of a message")

    def chat_of(self, attachment: Attachment) -> str:
        """The chat of the message. Raises PermanentError (`no_source`) if it is not known."""
        if not attachment.chat:
            raise PermanentError(
                Code.NO_SOURCE, f"{self.server.name} is asked by the chat of the message, which is not known"
            )
        return attachment.chat

    def get_json(self, path: str, *, headers: Mapping[str, str] = NO_HEADERS) -> Any:
        """GETs the JSON at a path of the server; redirects are not followed. `headers` are sent beside the key.

        Raises:
            PermanentError, RetryableError: as `GatewayServer.refusal`, `HttpClient.exchange` and `Body.views`.
            RetryableError: `fetch_protocol`, if the answer is no JSON or too long.
        """
        with self._exchange("GET", path, headers=headers) as reply:
            try:
                return _json(reply, MAX_JSON)
            except (ValueError, RecursionError):
                raise self._invalid("it is no JSON") from None
            except PermanentError as error:
                if error.code == Code.TOO_LARGE:
                    raise self._invalid(f"it is longer than {MAX_JSON} bytes") from None
                raise

    @contextmanager
    def base64_file(self, method: str, path: str, fields: Mapping[str, Any] | None = None) -> Iterator[Iterator[bytes]]:
        """The file in the member `base64` of the answer's JSON, decoded while it arrives. `fields` are sent as JSON.

        Raises:
            PermanentError: `too_large`; and as `get_json`.
            RetryableError: as `get_json`.
        """
        body = json.dumps(fields).encode() if fields is not None else b""
        headers = {"Content-Type": "application/json"} if body else NO_HEADERS
        with self._exchange(method, path, headers=headers, body=body) as reply:
            yield self._decoded(reply)

    @contextmanager
    def download(self, source: Source) -> Iterator[Iterator[bytes]]:
        """The file that an answer names. From the gateway's own server a redirect leads to that server only.

        Raises:
            PermanentError, RetryableError: as `HttpClient.download`.
        """
        limits = DownloadLimits(self._deadline(), self._max_bytes, _only_host(source.trusted_url))
        with self._http_client.download(
            source.url, credentials=source.credentials, trusted_url=source.trusted_url, limits=limits
        ) as body:
            yield body.chunks()

    @contextmanager
    def _exchange(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> Iterator[Reply]:
        request = ApiRequest(method, self.server.url + path, {**self.server.credentials, **headers}, body)
        with self._http_client.exchange(request, trusted_url=self.server.url, deadline=self._deadline()) as reply:
            if reply.error and reply.status != CREATED:
                raise self.server.refusal(reply.error, status=reply.status, answer=_error_json(reply))
            yield reply

    def _decoded(self, reply: Reply) -> Iterator[bytes]:
        encoded_bytes = self._max_bytes * 4 // 3 + 4 + 2 * MAX_JSON
        try:
            text = json_text_member(reply.body(max_bytes=encoded_bytes).chunks(), "base64", max_other=MAX_JSON)
            yield from decode_base64_pieces(text)
        except JsonMemberError as error:
            raise self._invalid(str(error)) from None
        except PayloadError:
            raise self._invalid("its base64 is invalid") from None
        except PermanentError as error:
            if error.code == Code.TOO_LARGE:  # with the plaintext's limit in the message
                raise TooLargeError(self._max_bytes) from None
            raise

    def _deadline(self) -> Deadline:
        def allowance(received: int) -> float:
            return self.settings.reupload_timeout_s + received / self.settings.fetch_min_bytes_per_s

        return Deadline(allowance, at_most_s=min(allowance(2 * self._max_bytes), self.settings.fetch_max_s))

    def _invalid(self, reason: str) -> RetryableError:
        message = f"{self.server.name}'s answer cannot be read: {reason}; check the server's URL"
        return RetryableError(Code.FETCH_PROTOCOL, message)


def quoted(part: str) -> str:
    """A text as one segment of a URL's path. `.` and `..` are no names there.

    Raises:
        PermanentError: `no_source`, if it is one of them.
    """
    if part in {".", ".."}:
        raise PermanentError(Code.NO_SOURCE, "the message's id, chat or session cannot be a part of a URL")
    return quote(part, safe="")


def _json(reply: Reply, max_bytes: int) -> Any:
    return json.loads(b"".join(reply.body(max_bytes=max_bytes).chunks()))


def _error_json(reply: Reply) -> Any:
    try:
        return _json(reply, MAX_ERROR)
    except (ValueError, RecursionError, PipelineError):
        return None


def _only_host(trusted_url: str | None) -> HostList | None:
    if trusted_url is None:
        return None
    target = parse_url(trusted_url)
    refusal = "the gateway's own server may not redirect to another one"
    return HostList((f"{target.host}:{target.port}",), refusal=refusal)
