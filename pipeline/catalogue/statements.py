"""Statements on the tables `media` and `counters`, built once. All parameters are named."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    Select,
    Text,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)

from pipeline.catalogue.dialects import PerDialect, insert
from pipeline.catalogue.scoping import ScopeShape, conditions_of
from pipeline.catalogue.tables import RECORD, counters, media, previews
from pipeline.errors import CANCELLED
from pipeline.models import Status

CLAIMED = (*RECORD, media.c.payload, media.c.progress, media.c.intake)

_p = bindparam
BY_ID = media.c.id == _p("media_id")
IS_UNFINISHED = media.c.finished_at.is_(None)
IS_RECEIVED = media.c.status == literal_column("'received'")
# Only the holder of the live claim may write, and only until the attachment is finished.
HELD = BY_ID & (media.c.claim == _p("token")) & IS_UNFINISHED


def _status(*words: Status) -> Any:
    # Literals, not parameters: a partial index may cover one status only.
    return media.c.status.in_([literal_column(f"'{word.value}'") for word in words])


_without_failure = _status(Status.RECEIVED, Status.STORED)


def _unless_failed(name: str) -> Any:
    """The new value while no failure is recorded; otherwise the value of the failure."""
    return case((_without_failure, _p(f"new_{name}", type_=media.c[name].type)), else_=media.c[name])


MAX_HISTORY = 64 * 1024  # characters; beyond it the older half is removed

# Appended by the statement, so that no read precedes it and concurrent entries are both kept.
_old_history = case(
    (
        func.length(media.c.history) > literal_column(str(MAX_HISTORY)),
        func.substr(media.c.history, func.length(media.c.history) - literal_column(str(MAX_HISTORY // 2))),
    ),
    else_=media.c.history,
)
_appended = func.coalesce(_old_history, literal_column("''")).concat(_p("history", type_=Text))

_ACCEPTED = (
    *("id", "gateway", "session", "message_id", "part", "chat", "sender", "status", "stage", "attempts", "run", "kind"),
    *("declared_kind", "declared_mime", "filename", "caption", "chat_number", "sender_number"),
    *("size", "expires_at"),
    *("received_at", "intake", "from_history", "payload", "declared_sha256", "source_mark"),
)
_STORED = (
    *("kind", "mime", "ext", "size", "sha256", "name", "storage_key", "width", "height", "duration_ms", "pages"),
    *("animated", "flags", "mismatch"),
)
_FAILED = ("status", "stage", "attempts", "error_code", "error", "progress")
_REOPENED = ("status", "stage", "size", "expires_at", "ended_at", "payload", "progress", "intake", "declared_sha256")


def _accept(dialect: str) -> Executable:
    values: dict[str, Any] = {name: _p(name) for name in _ACCEPTED}
    return insert(dialect, media).values(values).on_conflict_do_nothing(index_elements=["id"])  # type: ignore[no-any-return]


def _increment(dialect: str) -> Executable:
    statement = insert(dialect, counters).values(name=_p("name"), shard=_p("shard"), n=_p("n"))
    total = {"n": counters.c.n + statement.excluded.n}
    return statement.on_conflict_do_update(index_elements=["name", "shard"], set_=total)  # type: ignore[no-any-return]


ACCEPT = PerDialect(_accept)
COUNT = PerDialect(_increment)
STATUS = select(media.c.status).where(BY_ID)

_claiming = (
    update(media)
    .where(
        BY_ID,
        IS_UNFINISHED,
        or_(
            media.c.claim.is_(None),
            media.c.claimed_until < _p("before"),
            media.c.claimed_until > _p("latest_plausible"),
            media.c.claim == _p("previous_token"),
        ),
    )
    .values(claim=_p("token"), claimed_until=_p("until"))
)
CLAIM = _claiming.returning(*CLAIMED)
# Whether another row has the hash that this one declares, so that only those rows need single_flight.py. As text,
# because SQLAlchemy omits the table names in a RETURNING of SQLite.
_has_others: ColumnElement[bool] = literal_column("""
    CASE WHEN media.declared_sha256 IS NOT NULL THEN
        EXISTS (SELECT 1 FROM media AS other WHERE other.sha256 = media.declared_sha256 AND other.id <> media.id)
        OR EXISTS (SELECT 1 FROM media AS other WHERE other.declared_sha256 = media.declared_sha256
            AND other.status = 'received' AND other.id <> media.id)
    END""")
CLAIM_TO_FETCH = _claiming.returning(*CLAIMED, media.c.declared_sha256, media.c.source_mark, _has_others)
IS_FINISHED = select(media.c.finished_at.is_not(None)).where(BY_ID)
RENEW = update(media).where(HELD).values(claimed_until=_p("until"))
RELEASE = (
    update(media)
    .where(HELD)
    .values(
        claim=None,
        claimed_until=_p("now"),
        history=_appended,
        **{name: _unless_failed(name) for name in ("stage", "attempts", "error_code", "error")},
    )
    .returning(media.c.id)
)
CURRENT = select(*RECORD).where(HELD)

STORED = (
    update(media)
    .where(HELD, IS_RECEIVED, media.c.cancelled_at.is_(None))
    .values(
        status=literal_column("'stored'"),
        stage=literal_column("'notify'"),
        attempts=literal_column("0"),
        history=_appended,
        ended_at=_p("now"),
        **dict.fromkeys(("error_code", "error", "progress"), null()),
        **{name: _p(name) for name in _STORED},
    )
)
HAS_PREVIEW = select(previews.c.sha256).where(previews.c.sha256 == _p("sha256"))
# One round trip to a server instead of two. On SQLite, RETURNING costs three times as much as a second query.
STORED_AND_HAS_PREVIEW = STORED.returning(exists().where(previews.c.sha256 == _p("sha256")))
_CANCELLED = {"status": Status.REJECTED.value, "error_code": CANCELLED.code.value, "error": CANCELLED.message}


def _unless_cancelled(name: str) -> Any:
    """The worker's value, or that of a cancellation that was requested in the meantime."""
    value = _p(name, type_=media.c[name].type)
    return case((media.c.cancelled_at.is_not(None), _CANCELLED[name]), else_=value) if name in _CANCELLED else value


END = (
    update(media)
    .where(HELD, _without_failure)
    .values(ended_at=_p("now"), history=_appended, **{name: _unless_cancelled(name) for name in _FAILED})
    .returning(*RECORD)
)
_finished: dict[str, Any] = {"finished_at": _p("now"), "claim": null(), "claimed_until": null(), "history": _appended}


def _error_unless_stored(name: str) -> Any:
    """The error of a failure. A stored attachment has none, even if announcing it failed before."""
    return case((media.c.status == literal_column("'stored'"), null()), else_=media.c[name])


# A done attachment is never fetched again, so its media key and URLs are removed with the same statement.
NO_SOURCE: ColumnElement[str] = literal_column("'{}'", Text)
FINISH_ANNOUNCED = (
    update(media)
    .where(HELD, media.c.status != literal_column("'received'"))
    .values(
        status=case((media.c.status == literal_column("'stored'"), literal_column("'done'")), else_=media.c.status),
        announced_at=_p("now"),
        payload=case((media.c.status == literal_column("'stored'"), NO_SOURCE), else_=media.c.payload),
        **{name: _error_unless_stored(name) for name in ("error_code", "error")},
        **_finished,
    )
    .returning(*RECORD)
)
# The same for an attachment that is known to be stored, without reading back its row.
FINISH_STORED = (
    update(media)
    .where(HELD, media.c.status == literal_column("'stored'"))
    .values(
        status=literal_column("'done'"),
        announced_at=_p("now"),
        payload=NO_SOURCE,
        **dict.fromkeys(("error_code", "error"), null()),
        **_finished,
    )
)
FINISH_SILENTLY = update(media).where(HELD, ~_without_failure).values(**_finished).returning(*RECORD)

REPLAYED = (
    select(*CLAIMED)
    .where(BY_ID, media.c.finished_at.is_not(None), _status(Status.REJECTED, Status.FAILED, Status.EXPIRED))
    .with_for_update()
)
REOPEN = (
    update(media)
    .where(BY_ID, media.c.finished_at.is_not(None))
    .values(
        run=media.c.run + 1,
        attempts=0,
        error_code=None,
        error=None,
        finished_at=None,
        announced_at=None,
        cancelled_at=None,
        deleted_at=None,
        claim=None,
        claimed_until=_p("now"),
        history=_appended,
        # Its staged bytes may come from the previous source, so they prove nothing about the new one.
        source_mark=case((_p("moved", type_=Integer) == literal_column("0"), media.c.source_mark), else_=null()),
        **{name: _p(name) for name in _REOPENED},
    )
    .returning(*RECORD)
)

GET = select(*RECORD).where(BY_ID)
HISTORY = select(media.c.history).where(BY_ID)
POSITION = select(media.c.received_at, media.c.id).where(BY_ID)
FILTERS = {"status": "status", "session": "session", "error": "error_code", "stage": "stage", "kind": "kind"}
_released_at = func.coalesce(media.c.claimed_until, media.c.received_at)
# Times after `latest_plausible` were written by a host with a wrong clock. No attachment waits until then.
_idle = or_(
    media.c.claim.is_(None) & or_(_released_at <= _p("before"), _released_at > _p("latest_plausible")),
    media.c.claim.is_not(None) & or_(media.c.claimed_until < _p("now"), media.c.claimed_until > _p("latest_plausible")),
)


@functools.cache
def _unfinished(*, paged: bool) -> Select[Any]:
    after = [tuple_(media.c.received_at, media.c.id) > tuple_(_p("after_at"), _p("after_id"))] if paged else []
    return (
        select(media.c.id)
        .where(IS_UNFINISHED, _idle, *after)
        .order_by(media.c.received_at, media.c.id)
        .limit(_p("limit"))
    )


UNFINISHED, UNFINISHED_AFTER = _unfinished(paged=False), _unfinished(paged=True)


def _filtered(statement: Select[Any], by: frozenset[str], scope: ScopeShape) -> Select[Any]:
    conditions = [media.c[column] == _p(name) for name, column in FILTERS.items() if name in by]
    conditions += conditions_of(scope, media.c)
    # Always a range of received_at, so that every listing reads one index from its newest end.
    return statement.where(media.c.received_at >= _p("since"), *conditions)


@functools.cache
def listing(by: frozenset[str], *, paged: bool, scope: ScopeShape = None) -> Select[Any]:
    """Selects rows by the filters of these names, newest first. `paged` starts after (after_at, after_id)."""
    statement = _filtered(select(*RECORD), by, scope)
    if paged:
        statement = statement.where(tuple_(media.c.received_at, media.c.id) < tuple_(_p("after_at"), _p("after_id")))
    return statement.order_by(media.c.received_at.desc(), media.c.id.desc()).limit(_p("limit"))


@functools.cache
def counting(by: frozenset[str], *, scope: ScopeShape = None) -> Select[Any]:
    """Counts the rows that match the filters of these names."""
    return _filtered(select(func.count()).select_from(media), by, scope)


SUMS = select(counters.c.name, func.sum(counters.c.n)).group_by(counters.c.name)
