"""`POST /dashboard/sources/{id}`: the file that a person chooses in the dialog for a new source."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.operations.audit import AuditEntry, record
from actors.operations.replay import replay_refusal, replay_without_waiting
from esteira.web.api.media import visible_record
from esteira.web.api.records import MediaId
from esteira.web.auth.audited import actor_of
from esteira.web.auth.logins import is_same_origin, login_caller
from esteira.web.dashboard.headers import SECURITY_HEADERS
from esteira.web.intake.uploads import UploadedForm, Uploads
from pipeline.catalogue import Action, AuditOutcome, Via
from pipeline.errors import PayloadError
from pipeline.gateways import UnauthorizedError
from pipeline.models.replacement_source import NewSource
from pipeline.security.callers import Caller, ForbiddenError
from pipeline.security.roles import Permission

PATH = "/dashboard/sources/"


async def replay_with_file(request: Request, media_id: MediaId) -> JSONResponse:
    """Replays an attachment with the uploaded file as its content. The browser shows its login, as for a page.

    Raises:
        PipelineError: the login is missing, may not replay this attachment, or the upload is refused.
    """
    caller = login_caller(request)
    if caller is None:
        raise UnauthorizedError("log in to the dashboard first", reason="missing")
    if not is_same_origin(request):
        raise ForbiddenError("the request comes from a page of another origin")
    await run_in_threadpool(_check, request, caller, media_id)
    uploads: Uploads = request.app.state.uploads
    async with uploads.read_form(request, token_id=caller.token_id) as form:
        await run_in_threadpool(_replay, request, caller, media_id, form)
    return JSONResponse({"id": media_id}, 202, headers=SECURITY_HEADERS)


def _check(request: Request, caller: Caller, media_id: str) -> None:
    """Checks before the file is received that it can be used."""
    if not caller.may(Permission.REPLAY):
        actor = actor_of(caller, request, via=Via.DASHBOARD)
        record(actor, Action.NEW_SOURCE, outcome=AuditOutcome.REFUSED, target={"id": media_id})
        caller.require(Permission.REPLAY)
    if refusal := replay_refusal(visible_record(caller, media_id)):
        raise refusal


def _replay(request: Request, caller: Caller, media_id: str, form: UploadedForm) -> None:
    if len(form.files) != 1:
        raise PayloadError("file", "choose one file")
    [file] = form.files
    with AuditEntry(actor_of(caller, request, via=Via.DASHBOARD), Action.NEW_SOURCE) as entry:
        entry.begin({"id": media_id, "size": file.size})
        # The declared hash still has to fit; a declared size that does not is only a wrong claim.
        replay_without_waiting(media_id, NewSource(size=None), file=file.path)
