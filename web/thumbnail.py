"""The thumbnail of a content, for whoever may have the content."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from pipeline.catalogue import PreviewState
from pipeline.errors import Code, PermanentError
from pipeline.models import Record
from pipeline.services import services
from pipeline.storage import thumbnail_key
from web.access import Caller, Doorkeeper
from web.content import GUARDS
from web.media import visible
from web.ranges import unchanged

RETRY_AFTER_S = 2
# One attachment's content stays as it is, and so does what is made of it; but what is deleted must go at last.
KEPT = "private, max-age=604800, immutable"


class Thumbnail:
    """`/media/{id}/thumbnail`, for who shows the API_TOKEN, the session's token or a signed link to the content."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self._doorkeeper = doorkeeper

    def add_routes(self, app: FastAPI) -> None:
        app.get("/media/{media_id}/thumbnail")(self.answer)
        app.head("/media/{media_id}/thumbnail", include_in_schema=False)(self.answer)

    async def answer(self, request: Request) -> Response:
        """A WebP picture of at most 320 pixels. 202: it is not made yet; 404: there is nothing to show."""
        caller = self._doorkeeper.admit_to_content(request)
        return await run_in_threadpool(_answer, caller, request)


def _answer(caller: Caller, request: Request) -> Response:
    sha256 = _content_of(visible(caller, request.path_params["media_id"]))
    etag = f'"{sha256}.thumb"'
    preview = services().catalogue.previews.of([sha256]).get(sha256)
    if preview is None:
        return _pending()
    if not preview.has_thumbnail:
        failed = preview.state is PreviewState.FAILED
        why = "its preview could not be made" if failed else "there is nothing to show of this content"
        raise PermanentError(Code.NO_PREVIEW, why)
    if unchanged(request.headers, etag):
        return Response(status_code=304, headers={"ETag": etag, "Cache-Control": KEPT})
    try:
        picture = b"".join(services().storage.chunks(thumbnail_key(sha256)))
    except PermanentError:
        return _pending()
    headers = {**GUARDS, "ETag": etag, "Cache-Control": KEPT, "Content-Type": "image/webp"}
    if request.method == "HEAD":
        return Response(headers={**headers, "Content-Length": str(len(picture))})
    return Response(picture, headers=headers)


def _content_of(record: Record) -> str:
    """The hash of its content."""
    if record.deleted_at is not None:
        raise HTTPException(410, "is deleted")
    if record.storage_key is None or record.sha256 is None:
        raise PermanentError(Code.NOT_FOUND, f"is {record.status} and has no content")
    return record.sha256


def _pending() -> Response:
    headers = {"Cache-Control": "no-store", "Retry-After": str(RETRY_AFTER_S)}
    return JSONResponse({"preview": "pending"}, status_code=202, headers=headers)
