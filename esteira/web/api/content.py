"""The content itself, under headers that keep a browser from running what a stranger sent."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Literal
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from esteira.web.api.media import visible
from esteira.web.api.ranges import Part, part_of, unchanged
from esteira.web.auth.access import Authenticator, Caller
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.media_types import MEDIA_TYPES
from pipeline.models import Record
from pipeline.services import services

SIGNED_FOR_S = 300
# Pictures and sounds run nothing. A document may hold scripts, so it is saved and not shown.
SHOWN = ("image/", "audio/", "video/")
UNSHOWN = ("image/svg+xml",)
GUARDS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "sandbox; default-src 'none'",
    "Referrer-Policy": "no-referrer",  # a link's own URL is a secret
}
LONGEST_NAME = 150


class Content:
    """`/media/{id}/content`, for who shows the API_TOKEN, the session's token or a signed link."""

    def __init__(self, settings: Settings, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._redirects = settings.content_redirect

    def add_routes(self, app: FastAPI) -> None:
        app.get("/media/{media_id}/content")(self.answer)
        app.head("/media/{media_id}/content", include_in_schema=False)(self.answer)

    async def answer(self, request: Request) -> Response:
        """The stored bytes, whole or a part. 404: there are none for this caller; 416: not so many."""
        caller = self._authenticator.authenticate_content(request)
        return await run_in_threadpool(self._answer, caller, request)

    def _answer(self, caller: Caller, request: Request) -> Response:
        record = visible(caller, request.path_params["media_id"])
        key, size = _stored(record)
        etag = f'"{record.sha256}"'
        kept = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if unchanged(request.headers, etag):
            return Response(status_code=304, headers=kept)
        method: Literal["GET", "HEAD"] = "HEAD" if request.method == "HEAD" else "GET"
        redirects = self._redirects and request.query_params.get("redirect") != "false"
        if redirects and (url := services().storage.signed_url(key, method=method, seconds=SIGNED_FOR_S)):
            return RedirectResponse(url, 307, headers={"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
        part = part_of(request.headers, size=size, etag=etag) if method == "GET" else None
        headers = {**GUARDS, **kept, **_described(record), "Accept-Ranges": "bytes"}
        start, stop = part or Part(0, size)
        headers["Content-Length"] = str(stop - start)
        if part:
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        if method == "HEAD":
            return Response(headers=headers)
        return StreamingResponse(_begun(key, start, stop), 206 if part else 200, headers)


def _stored(record: Record) -> tuple[str, int]:
    """Where its content stands, and how many bytes."""
    if record.deleted_at is not None:
        raise HTTPException(410, "is deleted")
    size = services().storage.size(record.storage_key) if record.storage_key else None
    if record.storage_key is None or size is None:
        why = "storage does not hold its content" if record.storage_key else f"is {record.status} and has no content"
        raise PermanentError(Code.NOT_FOUND, why)
    return record.storage_key, size


def _begun(key: str, start: int, stop: int) -> Iterator[bytes]:
    """The bytes, the first of them read already: what goes wrong now is still an answer."""
    chunks = services().storage.chunks(key, start=start, stop=stop)
    try:
        return itertools.chain([next(chunks)], chunks)
    except StopIteration:
        return iter(())
    except PermanentError:
        raise HTTPException(404, "storage does not hold its content") from None


def _described(record: Record) -> dict[str, str]:
    mime = record.mime or "application/octet-stream"
    shown = mime.startswith(SHOWN) and mime not in UNSHOWN
    return {"Content-Type": mime, "Content-Disposition": disposition(saved_name(record), shown=shown)}


def saved_name(record: Record) -> str:
    """The sender's name for it, or ours; it ends as the content says, whatever its sender wrote there."""
    given = (record.filename or record.name or record.id).translate({ord(sign): "_" for sign in '/\\:"<>|?*%'})
    stem, dot, ending = given.rpartition(".")
    fitting = {record.ext} | {end for row in MEDIA_TYPES.values() if row.ext == record.ext for end in row.exts}
    if dot and stem and ending.lower() in fitting:
        return f"{stem[:LONGEST_NAME]}.{ending}"
    return f"{given[:LONGEST_NAME]}.{record.ext}" if record.ext else given[:LONGEST_NAME]


def disposition(name: str, *, shown: bool) -> str:
    """The header, after RFC 6266: the name in ASCII for old readers, and as it is (RFC 8187) where it differs."""
    plain = "".join(sign if " " <= sign <= "~" and sign not in '"\\' else "_" for sign in name)
    whole = f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}" if plain != name else ""
    return f'{"inline" if shown else "attachment"}; filename="{plain}"{whole}'
