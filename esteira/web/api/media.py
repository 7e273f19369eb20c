"""`/media`: lists, shows, deletes and replays attachments, and signs links to their content."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, Field, StrictInt

from actors.operations.audit import AuditEntry
from actors.operations.delete import delete
from actors.operations.replay import replay_without_waiting
from esteira.web.api.headers import NoStore
from esteira.web.api.openapi import refusals
from esteira.web.api.records import (
    MediaDetail,
    MediaId,
    MediaItem,
    MediaPage,
    MediaQuery,
    attempts,
    decode_cursor,
    each_parameter_once,
    encode_cursor,
    first_page,
    media_item,
    media_items,
    unknown_media,
)
from esteira.web.auth.audited import audited, by_id
from esteira.web.auth.dependencies import Deleter, Reader, Replayer, authenticator_of, needs
from esteira.web.intake.json_body import JsonBody, RequestModel
from pipeline.catalogue import Action
from pipeline.models import Record, Stage, Status
from pipeline.models.replacement_source import NewSource, parse_new_source
from pipeline.security.callers import Caller
from pipeline.security.roles import Permission
from pipeline.security.tokens import DEFAULT_LINK_S, MAX_LINK_S
from pipeline.services import services

router = APIRouter(dependencies=[NoStore], tags=["media"])


class LinkRequest(RequestModel):
    """For how many seconds a link is valid; for an hour, unless it is given."""

    seconds: StrictInt = Field(default=DEFAULT_LINK_S, ge=1, le=MAX_LINK_S)


class Link(BaseModel):
    """A link to a content that needs no token. `url` is a path on this server, `expires` Unix seconds."""

    url: str
    expires: int


class ReplayedMedia(BaseModel):
    """An attachment that is processed again, from `stage`."""

    id: str
    status: Status
    stage: Stage


LINK_BODY = JsonBody(LinkRequest, empty={})
SOURCE_BODY = JsonBody(NewSource, parse=parse_new_source, empty=None, max_bytes=None)  # may hold a file


@router.get("/media", dependencies=[needs(Permission.READ), Depends(each_parameter_once)])
def list_media(caller: Reader, query: Annotated[MediaQuery, Query()]) -> MediaPage:
    """Lists attachments, newest first. For the next page, repeat the call with `next` as a parameter.

    A page with very long captions has fewer than `limit`.
    """
    filters = query.filters()
    after = decode_cursor(query.next) if query.next else None
    records = services().catalogue.find(filters, limit=query.limit + 1, after=after, scope=caller.scope)
    page = first_page(records, limit=query.limit)
    return MediaPage(media=media_items(page), next=encode_cursor(page[-1]) if len(records) > len(page) else None)


@router.get("/media/{media_id}")
def show_media(media_id: MediaId, caller: Reader) -> MediaDetail:
    """Shows one attachment with its `history`. 404: there is none with this id, or it belongs to another session."""
    [item] = media_items([visible_record(caller, media_id)])
    history = services().catalogue.history(media_id)
    return MediaDetail.model_construct(
        **dict(item), history=attempts(history, with_worker=caller.may(Permission.SYSTEM))
    )


@router.delete("/media/{media_id}", responses=refusals(409))
@audited(Action.DELETE, by_id)
def delete_media(media_id: MediaId, caller: Deleter) -> MediaItem:
    """Deletes an ended attachment, and its content unless another attachment has the same. Returns the tombstone.

    404: there is no such attachment; 409: it has not ended. To delete it again is no error.
    """
    return media_item(delete(visible_record(caller, media_id).id))


@router.post("/media/{media_id}/link", status_code=201, openapi_extra=LINK_BODY.openapi)
@audited(Action.LINK, lambda values: {"id": values["media_id"], "seconds": values["body"].seconds})
def create_link(
    media_id: MediaId,
    caller: Reader,
    body: Annotated[LinkRequest, Depends(LINK_BODY)],
    request: Request,
    entry: AuditEntry,
) -> Link:
    """Signs a link to the content that needs no token. It ends with the token that made it."""
    signer = authenticator_of(request).signer()
    url, expires = signer.link(visible_record(caller, media_id).id, seconds=body.seconds, caller=caller)
    entry.note(expires=expires)
    return Link(url=url, expires=expires)


@router.post("/media/{media_id}/replay", status_code=202, openapi_extra=SOURCE_BODY.openapi, responses=refusals(409))
@audited(Action.REPLAY, by_id, variant=lambda values: Action.NEW_SOURCE if values["source"] else None)
def replay_media(
    media_id: MediaId, caller: Replayer, source: Annotated[NewSource | None, Depends(SOURCE_BODY)]
) -> ReplayedMedia:
    """Processes an attachment again: from the failed stage, or from fetch if the body has a new source.

    202: the replay is written to disk; while Redis is away, the workers enqueue it later. 404: there is no such
    attachment; 409: it has not ended, or is done; 400 names the wrong field.
    """
    record = replay_without_waiting(visible_record(caller, media_id).id, source)
    return ReplayedMedia(id=record.id, status=record.status, stage=record.stage)


def visible_record(caller: Caller, media_id: str) -> Record:
    """The attachment with this id.

    Raises:
        PermanentError: `not_found`, if there is none that the caller may see.
    """
    record = services().catalogue.get(media_id)
    if record is None or not caller.sees(record):
        raise unknown_media()
    return record
