"""The answer to a hook that has waited for its attachment: the record, or the content."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from esteira.web.api.content import whole_content
from esteira.web.api.downloads import Downloads
from esteira.web.api.headers import PRIVATE
from esteira.web.api.records import media_items
from esteira.web.errors import error_response
from esteira.web.server.client_addresses import client_group
from pipeline.errors import Code
from pipeline.models import Record, Status
from pipeline.security.callers import Caller

ID_HEADER = "X-Attachment-Id"
NO_CONTENT = 422


def record_response(record: Record) -> Response:
    """200 with the finished record."""
    [item] = media_items([record])
    return JSONResponse(item.model_dump(mode="json"), headers={**PRIVATE, ID_HEADER: record.id})


def content_response(request: Request, caller: Caller, record: Record) -> Response:
    """200 with the bytes; 422 with the code of an attachment that did not succeed.

    Raises:
        PipelineError, HTTPException: as GET /media/{id}/content.
    """
    headers = {ID_HEADER: record.id}
    if record.status is not Status.DONE and record.deleted_at is None:
        code = Code(record.error_code) if record.error_code else Code.INTERNAL
        return error_response(NO_CONTENT, code, record.error or f"it is {record.status}", headers)
    response = whole_content(record)
    response.headers.update(headers)
    return _Counted(response, request, caller)


class _Counted(Response):
    """A response that counts as a download of its caller while it is sent."""

    def __init__(self, response: Response, request: Request, caller: Caller) -> None:
        self.status_code = response.status_code
        self.background = None
        self._response = response
        self._caller = caller
        self._request = request

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        downloads: Downloads = self._request.app.state.downloads
        address = client_group(self._request)
        with downloads.slot(address=address, link=None, token=self._caller.token_id):
            await self._response(scope, receive, send)
