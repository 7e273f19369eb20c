"""`POST /media/replay`: processes many attachments again, at a limited rate, as many as one request may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StrictBool, StrictFloat, StrictInt, model_validator

from actors.operations.audit import AuditEntry
from actors.operations.replay import replay_without_waiting
from esteira.web.api.records import MediaFilters, decode_cursor, encode_cursor
from esteira.web.auth.audited import audited
from esteira.web.auth.dependencies import Replayer
from esteira.web.intake.json_body import JsonBody
from pipeline.catalogue import Action, Filters
from pipeline.errors import Code, PayloadError, PermanentError, RetryableError
from pipeline.models import REPLAYABLE, Record, Status
from pipeline.security.callers import Caller
from pipeline.services import services

MAX_REPLAYS = 1000  # of one call
DEFAULT_REPLAYS = 100
TIME_LIMIT_S = 20.0  # of one call

router = APIRouter(tags=["media"])
_running: set[str] = set()  # the callers whose replay of many is running in this process
_lock = threading.Lock()


def _digits_to_int(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isascii() and value.isdecimal() else value


class ReplayRequest(MediaFilters):
    """The filters of `GET /media`, and how many attachments are replayed.

    `rate` is the most attachments per second. `next` is from the call before. A field that is null counts as missing.
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    dry_run: StrictBool = False
    limit: Annotated[StrictInt, BeforeValidator(_digits_to_int), Field(ge=1, le=MAX_REPLAYS)] = DEFAULT_REPLAYS
    rate: Annotated[StrictFloat, Field(gt=0, le=10_000)] | None = None
    next: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            raise ValueError("a replay of many is a JSON object")  # noqa: TRY004  pydantic reports a ValueError
        if "" in fields.values():
            raise ValueError("an empty filter would select everything: leave it out")
        return {name: value for name, value in fields.items() if value is not None}

    def filters_by_status(self) -> list[Filters]:
        """One set of filters for each status: `failed` by default; with `error`, every status that can be replayed.

        Raises:
            PayloadError: attachments of this status cannot be replayed.
        """
        if self.status is not None and self.status not in REPLAYABLE:
            raise PayloadError("status", f"only {', '.join(REPLAYABLE)} can be replayed")
        statuses = (self.status,) if self.status else REPLAYABLE if self.error else (Status.FAILED,)
        return [self.filters().model_copy(update={"status": status}) for status in statuses]

    def audit_target(self) -> dict[str, Any] | None:
        """What the audit log says about this call; None for a dry run, which changes nothing."""
        return None if self.dry_run else self.model_dump(mode="json", exclude_none=True, exclude={"dry_run", "next"})


class ReplayReport(BaseModel):
    """How many attachments match, and how many of them are (or with `dry_run` would be) replayed by this call.

    `missed` are those that something else has replayed or deleted meanwhile; `ids` are only in a dry run. `next` is for
    the next call, and null if there is nothing left.
    """

    matched: int
    replayed: int
    missed: list[str]
    next: str | None
    ids: list[str] | None = None


BODY = JsonBody(ReplayRequest, empty={})


@router.post(
    "/media/replay",
    status_code=202,
    openapi_extra=BODY.openapi,
    responses={200: {"model": ReplayReport, "description": "A dry run"}},
    response_model_exclude_unset=True,
)
@audited(Action.REPLAY, lambda values: values["body"].audit_target())
def replay_many(
    caller: Replayer, body: Annotated[ReplayRequest, Depends(BODY)], response: Response, entry: AuditEntry
) -> ReplayReport:
    """Replays attachments that did not succeed and match the filters, newest first, for at most 20 s."""
    catalogue = services().catalogue
    after = decode_cursor(body.next) if body.next else None
    filters = body.filters_by_status()
    matched = sum(catalogue.count(status_filters, scope=caller.scope) for status_filters in filters)
    candidates = [
        record
        for status_filters in filters
        for record in catalogue.find(status_filters, limit=body.limit + 1, after=after, scope=caller.scope)
    ]
    candidates.sort(key=lambda record: (record.received_at, record.id), reverse=True)
    page = candidates[: body.limit]
    if body.dry_run:
        response.status_code = 200
        following = _next(candidates, page)
        ids = [record.id for record in page]
        return ReplayReport(matched=matched, replayed=len(page), missed=[], next=following, ids=ids)
    with _only_one(caller):
        tried, missed = _replay(page, body.rate, entry)
    return ReplayReport(
        matched=matched, replayed=len(tried) - len(missed), missed=missed, next=_next(candidates, tried)
    )


@contextmanager
def _only_one(caller: Caller) -> Iterator[None]:
    """Raises RetryableError if another replay of this caller is running. Those of others do not have to wait for it."""
    who = caller.token_id or caller.name
    with _lock:
        if who in _running:
            raise RetryableError(Code.TOO_MANY_REQUESTS, "another replay of many is running here", retry_after=5)
        _running.add(who)
    try:
        yield
    finally:
        with _lock:
            _running.discard(who)


def _next(candidates: Sequence[Record], tried: Sequence[Record]) -> str | None:
    return encode_cursor(tried[-1]) if tried and len(candidates) > len(tried) else None


def _replay(page: Sequence[Record], rate: float | None, entry: AuditEntry) -> tuple[Sequence[Record], list[str]]:
    """The attachments that were tried in time, and the ids of those that are gone or no longer replayable."""
    missed: list[str] = []
    began = time.monotonic()
    entry.count = 0
    for index, record in enumerate(page):
        due = began + index / rate if rate else began
        if max(due, time.monotonic()) > began + TIME_LIMIT_S:
            return page[:index], missed
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            replay_without_waiting(record.id)
        except PermanentError as error:
            if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                raise
            missed.append(record.id)
            entry.note(missed=len(missed))
        else:
            entry.advance()
    return page, missed
