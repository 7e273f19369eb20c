"""`/pause`, `/resume`, `/pauses` and `/media/{id}/cancel`."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, Field, model_validator
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from actors.operations.audit import AuditEntry
from actors.operations.cancel import cancel
from actors.operations.pause import MAX_REASON, pause, resume
from esteira.web.api.headers import NoStore
from esteira.web.api.media import visible_record
from esteira.web.api.openapi import refusals
from esteira.web.api.records import MediaId, MediaItem, media_item
from esteira.web.auth.audited import audited, by_id
from esteira.web.auth.dependencies import Canceller, Pauser, Reader
from esteira.web.auth.session_control import require_control, visible_pauses
from esteira.web.intake.json_body import CleanText, JsonBody, RequestModel
from pipeline.catalogue import Action, PauseKind
from pipeline.errors import PipelineError
from pipeline.models import Stage
from pipeline.security.callers import Caller

router = APIRouter(dependencies=[NoStore])


class PauseTarget(RequestModel):
    """What is paused or resumed: `{"stage": …}` or `{"session": …}`."""

    stage: CleanText | None = Field(default=None, json_schema_extra={"enum": [str(stage) for stage in Stage]})
    session: CleanText | None = None

    @model_validator(mode="after")
    def _names_one(self) -> PauseTarget:
        if len(self.model_fields_set & {"stage", "session"}) != 1 or (self.stage is None and self.session is None):
            raise ValueError('must be {"stage": …} or {"session": …}')
        return self

    def named(self) -> tuple[PauseKind, str]:
        """The kind and the name of the target."""
        return ("stage", self.stage) if self.stage is not None else ("session", self.session or "")


class PauseInfo(BaseModel):
    """A paused stage or session. `since` is Unix milliseconds; `paused_by` and `reason` are null if not known."""

    kind: Literal["stage", "session"]
    name: str
    since: int
    paused_by: str | None = None
    reason: str | None = None


class PauseList(BaseModel):
    """Everything that is paused."""

    pauses: list[PauseInfo]


class PauseChange(PauseList):
    """Whether the call changed anything, and everything that is paused now."""

    changed: bool


class PauseRequest(PauseTarget):
    """What is paused, and why: `reason` is shown where the pause is shown."""

    reason: str | None = Field(default=None, max_length=MAX_REASON)


BODY = JsonBody(PauseTarget)
PAUSE_BODY = JsonBody(PauseRequest)
Target = Annotated[PauseTarget, Depends(BODY)]


def _named(values: Mapping[str, Any]) -> dict[str, str]:
    kind, name = values["target"].named()
    return {kind: name}


async def _refused(request: Request) -> dict[str, str]:
    """What a refused call names; nothing if its body is wrong, too long or incomplete."""
    try:
        async with asynccontextmanager(PAUSE_BODY)(request) as target:
            return _named({"target": target})
    except (PipelineError, HTTPException, ClientDisconnect):
        return {}


@router.get("/pauses", tags=["control"])
def list_pauses(caller: Reader) -> PauseList:
    """Lists the paused stages, and the paused sessions in the token's scope."""
    return PauseList(pauses=_pauses(caller))


@router.post("/pause", openapi_extra=PAUSE_BODY.openapi, tags=["control"])
@audited(Action.PAUSE, _named, refused_target=_refused)
def pause_target(
    caller: Pauser, target: Annotated[PauseRequest, Depends(PAUSE_BODY)], entry: AuditEntry
) -> PauseChange:
    """Pauses a stage or a session. Its attachments wait until it is resumed."""
    require_control(caller, *target.named())
    entry.count = pause(*target.named(), paused_by=caller.name, reason=target.reason)
    entry.note(reason=target.reason)
    return PauseChange(changed=bool(entry.count), pauses=_pauses(caller))


@router.post("/resume", openapi_extra=BODY.openapi, tags=["control"])
@audited(Action.RESUME, _named, refused_target=_refused)
def resume_target(caller: Pauser, target: Target, entry: AuditEntry) -> PauseChange:
    """Resumes a stage or a session."""
    require_control(caller, *target.named())
    entry.count = resume(*target.named())
    return PauseChange(changed=bool(entry.count), pauses=_pauses(caller))


@router.post(
    "/media/{media_id}/cancel",
    tags=["media"],
    responses={202: {"model": MediaItem, "description": "It ends after the current step"}, **refusals(409)},
)
@audited(Action.CANCEL, by_id)
def cancel_media(media_id: MediaId, caller: Canceller, response: Response) -> MediaItem:
    """Cancels an attachment that is neither stored nor refused. There is no body.

    200: it has ended, `rejected` with the code `cancelled`; 202: it ends so after the step that is running. 404: there
    is no such attachment; 409: it is stored or has ended otherwise. To cancel it again is no error.
    """
    record = cancel(visible_record(caller, media_id).id)
    response.status_code = 200 if record.ended_at else 202
    return media_item(record)


def _pauses(caller: Caller) -> list[PauseInfo]:
    return [PauseInfo(**paused._asdict()) for paused in visible_pauses(caller)]
