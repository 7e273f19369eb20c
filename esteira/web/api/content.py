"""`/media/{id}/content`: the stored bytes, with headers that keep a browser from running them."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping
from typing import Annotated, Any, Literal

from anyio import CancelScope
from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from esteira.web.api.downloads import DownloadSlot
from esteira.web.api.file_names import content_disposition, download_name, is_inline
from esteira.web.api.media import visible_record
from esteira.web.api.openapi import refusals
from esteira.web.api.ranges import ByteRange, is_unchanged, requested_range
from esteira.web.api.records import MediaId
from esteira.web.auth.dependencies import ContentCaller
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.models import Record
from pipeline.services import services

SIGNED_URL_S = 300
SANDBOX_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Referrer-Policy": "no-referrer",  # a link's own URL is a secret
}
BYTES: dict[str, Any] = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}

router = APIRouter(default_response_class=Response, tags=["media"])


@router.get(
    "/media/{media_id}/content",
    responses={
        200: {**BYTES, "description": "The content, with the type that was detected"},
        206: {**BYTES, "description": "The requested range"},
        304: {"description": "If-None-Match has the ETag of the content"},
        307: {"description": "The content is in an object store: Location is good for five minutes"},
        **refusals(410, 416),
    },
)
@router.head("/media/{media_id}/content", include_in_schema=False)
def get_content(
    media_id: MediaId,
    caller: ContentCaller,
    _slot: DownloadSlot,
    request: Request,
    redirect: Annotated[str | None, Query(description="`false`: no redirect to the object store.")] = None,
) -> Response:
    """Returns the stored bytes, or the requested range. 404: there are none; 410: deleted; 416: out of range.

    429: too many are downloaded through this link, from this address, or in all.
    """
    record = visible_record(caller, media_id)
    key, size = _stored_content(record)
    etag = f'"{record.sha256}"'
    caching = {"ETag": etag, "Cache-Control": "private, no-cache"}
    if is_unchanged(request.headers, etag):
        return Response(status_code=304, headers=caching)
    method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
    settings: Settings = request.app.state.settings
    redirects = settings.content_redirect and redirect != "false"
    if redirects and (url := services().storage.signed_url(key, method=method, seconds=SIGNED_URL_S)):
        return RedirectResponse(url, 307, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    selected = requested_range(request.headers, size=size, etag=etag) if method == "GET" else None
    start, stop = selected or ByteRange(0, size)
    headers = {**SANDBOX_HEADERS, **caching, **_type_headers(record), "Accept-Ranges": "bytes"}
    headers["Content-Length"] = str(stop - start)
    if selected:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    if method == "HEAD":
        return Response(headers=headers)
    return _open_stream(key, ByteRange(start, stop), 206 if selected else 200, headers)


def whole_content(record: Record) -> Response:
    """The whole content, with the headers of `get_content`, without a redirect.

    Raises:
        PermanentError: `not_found`.
        HTTPException: 410, 404.
        RetryableError: `storage`.
    """
    key, size = _stored_content(record)
    headers = {**SANDBOX_HEADERS, **_type_headers(record), "Cache-Control": "no-store", "Content-Length": str(size)}
    return _open_stream(key, ByteRange(0, size), 200, headers)


class ContentStream(StreamingResponse):
    """Streams chunks, and closes their source also if the client leaves before the end."""

    def __init__(self, first: bytes, chunks: Iterator[bytes], status: int, headers: Mapping[str, str]) -> None:
        super().__init__(itertools.chain([first], chunks), status, headers)
        self._chunks = chunks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            if isinstance(self._chunks, Generator):
                with CancelScope(shield=True):
                    await run_in_threadpool(self._chunks.close)


def _stored_content(record: Record) -> tuple[str, int]:
    """The storage key of the content, and its size in bytes."""
    if record.deleted_at is not None:
        raise HTTPException(410, "the attachment is deleted")
    if record.storage_key is None:
        raise PermanentError(Code.NOT_FOUND, f"is {record.status} and has no content")
    size = services().storage.size(record.storage_key)
    if size is None:
        raise PermanentError(Code.NOT_FOUND, "storage does not hold its content")
    return record.storage_key, size


def _open_stream(key: str, selected: ByteRange, status: int, headers: Mapping[str, str]) -> Response:
    """The bytes. The first chunk is read at once, so that an error of the storage is still answered with its status."""
    chunks = services().storage.chunks(key, start=selected.start, stop=selected.stop)
    try:
        return ContentStream(next(chunks), chunks, status, headers)
    except StopIteration:
        return Response(status_code=status, headers=dict(headers))
    except PermanentError:
        raise HTTPException(404, "storage does not hold its content") from None


def _type_headers(record: Record) -> dict[str, str]:
    mime = record.mime or "application/octet-stream"
    disposition = content_disposition(download_name(record), inline=is_inline(mime))
    return {"Content-Type": mime, "Content-Disposition": disposition}
