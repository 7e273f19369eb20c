"""`GET /failures`: attachments that did not succeed, grouped by error and stage, with the remedy in plain words."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from esteira.web.api.headers import NoStore
from esteira.web.api.records import Since, each_parameter_once
from esteira.web.auth.dependencies import Reader, needs
from esteira.web.intake.json_body import RequestModel
from pipeline.security.roles import Permission
from pipeline.services import services

router = APIRouter(dependencies=[NoStore], tags=["failures"])


class FailuresQuery(RequestModel):
    """The parameters of `GET /failures`. `language` is that of `happened` and `to_do`."""

    since: Since = None
    session: str | None = Field(default=None, description="Only failures of the sessions with this name.")
    language: Literal["en", "pt-BR"] = Field(default="en", description="The language of `happened` and `to_do`.")


class FailureExample(BaseModel):
    """The newest attachment of a group."""

    id: str
    session: str
    message_id: str
    error: str | None


class FailureGroupItem(BaseModel):
    """Attachments with the same error at the same stage.

    `sessions` is the number of sessions, `busiest` names at most three of them. `oldest` and `newest` are when they
    were received, in Unix milliseconds. `happened` and `to_do` are the explanation and the remedy.
    """

    code: str
    stage: str
    count: int
    sessions: int
    busiest: list[str]
    oldest: int
    newest: int
    example: FailureExample
    happened: str | None
    to_do: str | None


class FailureList(BaseModel):
    """All groups, the largest first."""

    failures: list[FailureGroupItem]


@router.get("/failures", dependencies=[needs(Permission.READ), Depends(each_parameter_once)])
def list_failures(caller: Reader, query: Annotated[FailuresQuery, Query()]) -> FailureList:
    """Groups what failed, was rejected or has expired. A token sees those of the sessions in its scope."""
    groups = services().catalogue.failures.find(since=query.since or 0, session=query.session, scope=caller.scope)
    return FailureList(failures=[FailureGroupItem(**group.to_json(language=query.language)) for group in groups])
