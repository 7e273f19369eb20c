"""`GET /audit`: who changed what, newest first."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from esteira.web.api.headers import NoStore
from esteira.web.api.records import DEFAULT_PAGE, MAX_PAGE, Since, decode_cursor, each_parameter_once, encode_position
from esteira.web.auth.dependencies import needs
from esteira.web.intake.json_body import RequestModel
from pipeline.catalogue import Action, AuditFilters, AuditOutcome, AuditRecord, Via
from pipeline.security.roles import Permission
from pipeline.services import services

router = APIRouter(dependencies=[needs(Permission.AUDIT), NoStore], tags=["system"])


class AuditQuery(RequestModel):
    """The parameters of `GET /audit`. `until` is exclusive. `next` is from the page before."""

    who: str | None = Field(default=None, max_length=512, description="The name of a user.")
    action: Action | None = Field(default=None, description="What was done.")
    outcome: AuditOutcome | None = Field(default=None, description="How it ended.")
    via: Via | None = Field(default=None, description="The interface that it came through.")
    since: Since = None
    until: Since = None
    limit: int = Field(default=DEFAULT_PAGE, ge=1, le=MAX_PAGE, description="The most entries of this page.")
    next: str | None = Field(default=None, description="`next` of the page before.")

    def filters(self) -> AuditFilters:
        """The filters alone."""
        return AuditFilters(**{name: getattr(self, name) for name in AuditFilters.model_fields})


class AuditItem(AuditRecord):
    """An entry of the audit log. Times are Unix milliseconds.

    `source` is the client's address, or user@host for a command. `target` names what was selected: ids or filters.
    `count` is how many things were changed; `detail` has the error code, or what else is known of the result.
    `ended_at` is null for an action in progress, or one whose process was killed.
    """


class AuditPage(BaseModel):
    """A page of entries, newest first. `next` is the parameter for the next page, and null on the last one."""

    audit: list[AuditItem]
    next: str | None


@router.get("/audit", dependencies=[Depends(each_parameter_once)])
def list_audit(query: Annotated[AuditQuery, Query()]) -> AuditPage:
    """Lists the actions that changed something, and those that were refused, newest first."""
    after = decode_cursor(query.next) if query.next else None
    entries = services().catalogue.audit.find(query.filters(), limit=query.limit + 1, after=after)
    page = entries[: query.limit]
    following = encode_position(page[-1].at, page[-1].id) if len(entries) > len(page) else None
    return AuditPage(audit=[AuditItem.model_validate(entry.model_dump()) for entry in page], next=following)
