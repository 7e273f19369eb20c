"""`/media/{id}/thumbnail`: the thumbnail of a content, for callers that may have the content."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from actors.previews import request_preview
from esteira.web.api.content import SANDBOX_HEADERS
from esteira.web.api.media import visible_record
from esteira.web.api.openapi import refusals
from esteira.web.api.ranges import is_unchanged
from esteira.web.api.records import MediaId
from esteira.web.auth.dependencies import ContentCaller
from pipeline.catalogue import PreviewState
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.models import Record
from pipeline.services import services
from pipeline.steps.preview import content_of
from pipeline.storage import thumbnail_key

RETRY_AFTER_S = 2
NO_THUMBNAIL = "there is nothing to show of this content"
# The thumbnail of an attachment never changes, but browsers must drop that of a deleted attachment after a week.
CACHING = "private, max-age=604800, immutable"
PICTURE: dict[str, Any] = {"content": {"image/webp": {"schema": {"type": "string", "format": "binary"}}}}
PENDING_SCHEMA = {"type": "object", "properties": {"preview": {"const": "pending"}}, "required": ["preview"]}
PENDING: dict[str, Any] = {
    "content": {"application/json": {"schema": PENDING_SCHEMA, "example": {"preview": "pending"}}}
}

router = APIRouter(default_response_class=Response, tags=["media"])


@router.get(
    "/media/{media_id}/thumbnail",
    responses={
        200: {**PICTURE, "description": "The thumbnail"},
        202: {**PENDING, "description": "It is not made yet: try again after Retry-After"},
        304: {"description": "If-None-Match has the ETag of the thumbnail"},
        **refusals(410),
    },
)
@router.head("/media/{media_id}/thumbnail", include_in_schema=False)
def get_thumbnail(media_id: MediaId, caller: ContentCaller, request: Request) -> Response:
    """Returns a WebP picture of at most 320 pixels. 202: it is not made yet; 404: there is nothing to show."""
    record = visible_record(caller, media_id)
    sha256 = _content_hash(record)
    etag = f'"{sha256}.thumb"'
    preview = services().catalogue.previews.get_many([sha256]).get(sha256)
    settings: Settings = request.app.state.settings
    if preview is None:
        return _request_preview(record, settings)
    if not preview.has_thumbnail:
        failed = preview.state is PreviewState.FAILED
        raise PermanentError(Code.NO_PREVIEW, "its preview could not be made" if failed else NO_THUMBNAIL)
    if is_unchanged(request.headers, etag):
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": CACHING})
    try:
        picture = b"".join(services().storage.chunks(thumbnail_key(sha256)))
    except PermanentError:  # the file was removed from storage
        services().catalogue.previews.delete(sha256)
        return _request_preview(record, settings)
    headers = {**SANDBOX_HEADERS, "ETag": etag, "Cache-Control": CACHING, "Content-Type": "image/webp"}
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(len(picture))})
    return Response(picture, headers=headers)


def _request_preview(record: Record, settings: Settings) -> Response:
    """Enqueues a preview job: there was none, or Redis was emptied before it ran."""
    if content_of(record) is None:
        raise PermanentError(Code.NO_PREVIEW, NO_THUMBNAIL)
    if not settings.previews:
        raise PermanentError(Code.NO_PREVIEW, "no previews are made here: PREVIEWS is false")
    request_preview(record)
    headers = {"Cache-Control": "no-store", "Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse({"preview": "pending"}, status_code=202, headers=headers)


def _content_hash(record: Record) -> str:
    if record.deleted_at is not None:
        raise HTTPException(410, "the attachment is deleted")
    if record.storage_key is None or record.sha256 is None:
        raise PermanentError(Code.NOT_FOUND, f"is {record.status} and has no content")
    return record.sha256
