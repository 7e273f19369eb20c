"""Sends requests with httpx, within a time for the whole exchange."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import os
from collections.abc import AsyncIterator
from typing import Any, BinaryIO
from urllib.parse import urlsplit

import httpx

from esteira_client.content import ContentInfo, content_info
from esteira_client.errors import OptionError, UnavailableError
from esteira_client.messages import HandOver, file_error
from esteira_client.receipts import Receipt
from esteira_client.replies import MAX_REPLY_BYTES, bad_reply, error_of, json_of, receipt_of

DEFAULT_URL = "http://127.0.0.1:8000"
NO_NAME = " "  # httpx makes a text of a file without a name; for the server a blank is no name
CHUNK_TIMEOUT_S = 30.0  # until the next bytes of a content
JSON = {"Content-Type": "application/json"}
UPLOADS = 4  # files that are open and sent at the same time; the server receives 12 of a token
TOO_MANY_FILES = frozenset({errno.EMFILE, errno.ENFILE})
UNCOMPRESSED = {"Accept-Encoding": "identity"}


def server_url(url: str | None) -> str:
    """The URL of the server: as given, or `ESTEIRA_URL`.

    Raises:
        OptionError: it is not http or https, or contains a password.
    """
    text = url or os.environ.get("ESTEIRA_URL") or DEFAULT_URL
    try:
        parts = urlsplit(text)
        port_is_valid = parts.port != 0
    except ValueError:
        raise OptionError("url is not a URL") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise OptionError("url begins with http:// or https:// and names a host")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise OptionError("url has neither a password nor a query: the token is an option of its own")
    return text.rstrip("/")


def server_token(token: str | None) -> str:
    """The token: as given, or `ESTEIRA_TOKEN`, or `API_TOKEN`.

    Raises:
        OptionError: there is none, or it cannot be sent in a header.
    """
    text = token or os.environ.get("ESTEIRA_TOKEN") or os.environ.get("API_TOKEN")
    if not text:
        raise OptionError("token (ESTEIRA_TOKEN) is missing: the API_TOKEN of the server, or a user's token")
    if text != text.strip() or not (text.isascii() and text.isprintable()):
        raise OptionError("token (ESTEIRA_TOKEN) has a line end, a blank at an end, or a letter that is not ASCII")
    return text


class Transport:
    """The connections of one client, for one event loop."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.AsyncClient(base_url=url, headers=headers, timeout=None)  # noqa: S113  see _exchange
        self._uploads = asyncio.Semaphore(UPLOADS)

    async def hand_over(self, sent: HandOver, *, within_s: float) -> Receipt:
        """Sends a hand-over.

        Raises:
            UnavailableError: the server is away, or asks to wait.
            RefusedError: it refuses for good.
            MessageError: the file cannot be read.
        """
        if sent.file is None:
            status, reply = await self._exchange("POST", sent.path, within_s, content=sent.json, headers=JSON)
            return receipt_of(reply, status, sent)
        try:
            async with asyncio.timeout(within_s), self._uploads:
                status, reply = await self._upload(sent, within_s)
        except TimeoutError:
            raise UnavailableError("no answer in time: other files are being sent", code="timeout") from None
        return receipt_of(reply, status, sent)

    async def _upload(self, sent: HandOver, within_s: float) -> tuple[int, Any]:
        try:
            with _opened(sent.file) as file:
                part = {"file": (sent.filename or NO_NAME, file, sent.mimetype)}
                return await self._exchange("POST", sent.path, within_s, data=sent.form_fields(), files=part)
        except OSError as error:
            if error.errno in TOO_MANY_FILES:
                raise UnavailableError("too many open files", code="unreachable") from None
            raise file_error(error) from None

    async def call(self, method: str, path: str, body: bytes | None = None, *, within_s: float) -> dict[str, Any]:
        """Calls the API; returns the JSON object of its answer.

        Raises:
            UnavailableError, RefusedError: as for a hand-over.
        """
        headers = JSON if body is not None else {}
        status, reply = await self._exchange(method, path, within_s, content=body, headers=headers)
        if not isinstance(reply, dict):
            raise bad_reply(status)
        return reply

    @contextlib.asynccontextmanager
    async def content(self, path: str) -> AsyncIterator[tuple[ContentInfo, AsyncIterator[bytes]]]:
        """Opens a content. Redirects to the object store are followed, without the token.

        Raises:
            UnavailableError, RefusedError: as for a hand-over; UnavailableError also if the content ends early.
        """
        timeout = httpx.Timeout(CHUNK_TIMEOUT_S)
        with _translated():
            async with self._client.stream(
                "GET", path, headers=UNCOMPRESSED, timeout=timeout, follow_redirects=True
            ) as response:
                if not response.is_success:
                    raise error_of(response.status_code, response.headers, await _read(response))
                yield content_info(response.headers), _chunks(response)

    async def close(self) -> None:
        await self._client.aclose()

    async def _exchange(self, method: str, path: str, within_s: float, **request: Any) -> tuple[int, Any]:
        try:
            with _translated():
                async with (
                    asyncio.timeout(within_s),
                    self._client.stream(method, path, **request) as response,
                ):
                    content = await _read(response)
        except TimeoutError:
            raise UnavailableError(f"no answer within {within_s:g} s", code="timeout") from None
        return response.status_code, json_of(response.status_code, response.headers, content)


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    with _translated():
        async for chunk in response.aiter_bytes():
            yield chunk


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_bytes():
        content += chunk
        if len(content) > MAX_REPLY_BYTES:
            raise bad_reply(response.status_code)
    return bytes(content)


@contextlib.contextmanager
def _translated() -> Any:
    """Turns errors of httpx into those of this package. Their texts are left out, because they may quote headers."""
    try:
        yield
    except httpx.TimeoutException:
        raise UnavailableError("no answer in time", code="timeout") from None
    except httpx.HTTPError as error:
        raise UnavailableError(f"the server cannot be reached ({type(error).__name__})", code="unreachable") from None


def _opened(file: Any) -> BinaryIO:
    return io.BytesIO(file) if isinstance(file, bytes) else file.open("rb")
