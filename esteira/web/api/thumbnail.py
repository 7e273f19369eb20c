"""The thumbnail of a content, for whoever may have the content."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from actors.previews import request_preview
from esteira.web.api.content import GUARDS
from esteira.web.api.media import visible
from esteira.web.api.ranges import unchanged
from esteira.web.auth.access import Authenticator, Caller
from pipeline.catalogue import PreviewState
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.models import Record
from pipeline.services import services
from pipeline.steps.preview import content_of
from pipeline.storage import thumbnail_key

RETRY_AFTER_S = 2
NOTHING = "there is nothing to show of this content"
# One attachment's content stays as it is, and so does what is made of it; but what is deleted must go at last.
KEPT = "private, max-age=604800, immutable"


class Thumbnail:
    """`/media/{id}/thumbnail`, for who shows the API_TOKEN, the session's token or a signed link to the content."""

    def __init__(self, settings: Settings, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._made_here = settings.previews

    def add_routes(self, app: FastAPI) -> None:
        app.get("/media/{media_id}/thumbnail")(self.answer)
        app.head("/media/{media_id}/thumbnail", include_in_schema=False)(self.answer)

    async def answer(self, request: Request) -> Response:
        """A WebP picture of at most 320 pixels. 202: it is not made yet; 404: there is nothing to show."""
        caller = self._authenticator.authenticate_content(request)
        return await run_in_threadpool(self._answer, caller, request)

    def _answer(self, caller: Caller, request: Request) -> Response:
        record = visible(caller, request.path_params["media_id"])
        sha256 = _content_of(record)
        etag = f'"{sha256}.thumb"'
        preview = services().catalogue.previews.get_many([sha256]).get(sha256)
        if preview is None:
            return self._ask_for(record)
        if not preview.has_thumbnail:
            failed = preview.state is PreviewState.FAILED
            raise PermanentError(Code.NO_PREVIEW, "its preview could not be made" if failed else NOTHING)
        if unchanged(request.headers, etag):
            return Response(status_code=304, headers={"ETag": etag, "Cache-Control": KEPT})
        try:
            picture = b"".join(services().storage.chunks(thumbnail_key(sha256)))
        except PermanentError:  # somebody has tidied storage
            services().catalogue.previews.delete(sha256)
            return self._ask_for(record)
        headers = {**GUARDS, "ETag": etag, "Cache-Control": KEPT, "Content-Type": "image/webp"}
        if request.method == "HEAD":
            return Response(headers={**headers, "Content-Length": str(len(picture))})
        return Response(picture, headers=headers)

    def _ask_for(self, record: Record) -> Response:
        """Has it made: it never was, or a Redis that was wiped has forgotten that somebody asked."""
        if content_of(record) is None:
            raise PermanentError(Code.NO_PREVIEW, NOTHING)
        if not self._made_here:
            raise PermanentError(Code.NO_PREVIEW, "no previews are made here: PREVIEWS is false")
        request_preview(record)
        headers = {"Cache-Control": "no-store", "Retry-After": str(RETRY_AFTER_S)}
        return JSONResponse({"preview": "pending"}, status_code=202, headers=headers)


def _content_of(record: Record) -> str:
    """The hash of its content."""
    if record.deleted_at is not None:
        raise HTTPException(410, "is deleted")
    if record.storage_key is None or record.sha256 is None:
        raise PermanentError(Code.NOT_FOUND, f"is {record.status} and has no content")
    return record.sha256
