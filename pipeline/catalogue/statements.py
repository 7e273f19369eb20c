"""Every statement of the catalogue, built once. Each reads its values from named parameters."""

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
from pipeline.catalogue.tables import RECORD, counters, media, previews
from pipeline.errors import CANCELLED
from pipeline.models import Status

CLAIMED = (*RECORD, media.c.payload, media.c.progress, media.c.intake)

_p = bindparam
BY_ID = media.c.id == _p("media_id")
RUNNING = media.c.finished_at.is_(None)
IS_RECEIVED = media.c.status == literal_column("'received'")
# What only the holder of the live claim may write, and never once it is finished.
HELD = BY_ID & (media.c.claim == _p("token")) & RUNNING


def _status(*words: Status) -> Any:
    # As text within the statement: an index may be there for one of them only.
    return media.c.status.in_([literal_column(f"'{word.value}'") for word in words])


_open = _status(Status.RECEIVED, Status.STORED)


def _while_open(name: str) -> Any:
    """The new value as long as no ending is decided; afterwards the ending's own stays."""
    return case((_open, _p(f"new_{name}", type_=media.c[name].type)), else_=media.c[name])


MAX_HISTORY = 64 * 1024  # characters; beyond it the older half goes

# Appended within the statement: nobody has to read it first, and what two write both stands there.
_grown = case(
    (
        func.length(media.c.history) > literal_column(str(MAX_HISTORY)),
        func.substr(media.c.history, func.length(media.c.history) - literal_column(str(MAX_HISTORY // 2))),
    ),
    else_=media.c.history,
)
_told = func.coalesce(_grown, literal_column("''")).concat(_p("history", type_=Text))

_HANDED_OVER = (
    *("id", "gateway", "session", "message_id", "part", "chat", "sender", "status", "stage", "attempts", "run", "kind"),
    *("declared_kind", "declared_mime", "filename", "caption", "size", "expires_at"),
    *("received_at", "intake", "payload", "declared_sha256", "source_mark"),
)
_FACTS = (
    *("kind", "mime", "ext", "size", "sha256", "name", "storage_key", "width", "height", "duration_ms", "pages"),
    *("animated", "flags", "mismatch"),
)
_ENDING = ("status", "stage", "attempts", "error_code", "error", "progress")
_REOPENING = ("status", "stage", "size", "expires_at", "ended_at", "payload", "progress", "intake", "declared_sha256")


def _accepting(dialect: str) -> Executable:
    values: dict[str, Any] = {name: _p(name) for name in _HANDED_OVER}
    return insert(dialect, media).values(values).on_conflict_do_nothing(index_elements=["id"])  # type: ignore[no-any-return]


def _counting(dialect: str) -> Executable:
    adding = insert(dialect, counters).values(name=_p("name"), shard=_p("shard"), n=_p("n"))
    total = {"n": counters.c.n + adding.excluded.n}
    return adding.on_conflict_do_update(index_elements=["name", "shard"], set_=total)  # type: ignore[no-any-return]


ACCEPT = PerDialect(_accepting)
COUNT = PerDialect(_counting)
STATUS = select(media.c.status).where(BY_ID)

_claiming = (
    update(media)
    .where(
        BY_ID,
        RUNNING,
        or_(
            media.c.claim.is_(None),
            media.c.claimed_until < _p("before"),
            media.c.claimed_until > _p("absurd"),
            media.c.claim == _p("heir_of"),
        ),
    )
    .values(claim=_p("token"), claimed_until=_p("until"))
)
CLAIM = _claiming.returning(*CLAIMED)
# Whether another row names the hash that this one declares, told along: what nobody else has costs nothing more, what
# others have is for flights.py. As text, for SQLAlchemy leaves out the tables' names in what SQLite returns.
_has_others: ColumnElement[bool] = literal_column("""
    CASE WHEN media.declared_sha256 IS NOT NULL THEN
        EXISTS (SELECT 1 FROM media AS other WHERE other.sha256 = media.declared_sha256 AND other.id <> media.id)
        OR EXISTS (SELECT 1 FROM media AS other WHERE other.declared_sha256 = media.declared_sha256
            AND other.status = 'received' AND other.id <> media.id)
    END""")
CLAIM_TO_FETCH = _claiming.returning(*CLAIMED, media.c.declared_sha256, media.c.source_mark, _has_others)
WHY_NOT = select(media.c.finished_at.is_not(None)).where(BY_ID)
RENEW = update(media).where(HELD).values(claimed_until=_p("until"))
RELEASE = (
    update(media)
    .where(HELD)
    .values(
        claim=None,
        claimed_until=_p("now"),
        history=_told,
        **{name: _while_open(name) for name in ("stage", "attempts", "error_code", "error")},
    )
    .returning(media.c.id)
)
STANDING = select(*RECORD).where(HELD)

STORED = (
    update(media)
    .where(HELD, IS_RECEIVED, media.c.cancelled_at.is_(None))
    .values(
        status=literal_column("'stored'"),
        stage=literal_column("'notify'"),
        attempts=literal_column("0"),
        history=_told,
        ended_at=_p("now"),
        **dict.fromkeys(("error_code", "error", "progress"), null()),
        **{name: _p(name) for name in _FACTS},
    )
)
PREVIEWED = select(previews.c.sha256).where(previews.c.sha256 == _p("sha256"))
# One round trip to a server, where asking for both is one; on a file RETURNING costs three times the second question.
STORED_AND_PREVIEWED = STORED.returning(exists().where(previews.c.sha256 == _p("sha256")))
_CANCELLED = {"status": Status.REJECTED.value, "error_code": CANCELLED.code.value, "error": CANCELLED.message}


def _unless_cancelled(name: str) -> Any:
    """What a worker found out, or that it was cancelled meanwhile: that was promised to whoever asked for it."""
    given = _p(name, type_=media.c[name].type)
    return case((media.c.cancelled_at.is_not(None), _CANCELLED[name]), else_=given) if name in _CANCELLED else given


END = (
    update(media)
    .where(HELD, _open)
    .values(ended_at=_p("now"), history=_told, **{name: _unless_cancelled(name) for name in _ENDING})
    .returning(*RECORD)
)
_finished: dict[str, Any] = {"finished_at": _p("now"), "claim": null(), "claimed_until": null(), "history": _told}


def _unless_stored(name: str) -> Any:
    """What an ending says of its error; a file that is done has none, however often its announcement failed."""
    return case((media.c.status == literal_column("'stored'"), null()), else_=media.c[name])


FINISH_ANNOUNCED = (
    update(media)
    .where(HELD, media.c.status != literal_column("'received'"))
    .values(
        status=case((media.c.status == literal_column("'stored'"), literal_column("'done'")), else_=media.c.status),
        announced_at=_p("now"),
        **{name: _unless_stored(name) for name in ("error_code", "error")},
        **_finished,
    )
    .returning(*RECORD)
)
# The same for what is known to be stored, whose row need not be read back.
FINISH_STORED = (
    update(media)
    .where(HELD, media.c.status == literal_column("'stored'"))
    .values(status=literal_column("'done'"), announced_at=_p("now"), error_code=null(), error=null(), **_finished)
)
FINISH_SILENTLY = update(media).where(HELD, ~_open).values(**_finished).returning(*RECORD)

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
        history=_told,
        # Its staged bytes may be those of the source before: they say nothing of the new one.
        source_mark=case((_p("moved", type_=Integer) == literal_column("0"), media.c.source_mark), else_=null()),
        **{name: _p(name) for name in _REOPENING},
    )
    .returning(*RECORD)
)

# A deletion notes what it is about to do before it looks who else has the content; whoever stores that content notes it
# before looking for deletions: one of the two sees the other. Until the content is gone the row names its key.
DELETE = (
    update(media)
    .where(
        BY_ID,
        media.c.finished_at.is_not(None),
        or_(media.c.status != literal_column("'deleted'"), media.c.storage_key.is_not(None)),
    )
    .values(
        status=literal_column("'deleted'"),
        deleted_at=_p("now"),
        payload=literal_column("'{}'"),
        intake=False,
        **dict.fromkeys(
            (
                *("chat", "sender", "name", "filename", "caption", "mismatch", "error", "progress", "history"),
                *("declared_sha256", "source_mark"),
            ),
            null(),
        ),
    )
    .returning(*RECORD)
)
HOLDERS = (
    select(media.c.id)
    .where(
        media.c.sha256 == _p("sha256"),
        media.c.storage_key.is_not(None),
        media.c.deleted_at.is_(None),
    )
    .limit(1)
)
CONTENT_GONE = update(media).where(BY_ID, media.c.deleted_at == _p("deleted_at")).values(storage_key=None)
UNDONE = (
    select(media.c.id)
    .where(media.c.status == literal_column("'deleted'"), media.c.storage_key.is_not(None))
    .where(media.c.deleted_at < _p("before"))
    .limit(_p("limit"))
)

GET = select(*RECORD).where(BY_ID)
HISTORY = select(media.c.history).where(BY_ID)
POSITION = select(media.c.received_at, media.c.id).where(BY_ID)
FILTERS = {"status": "status", "session": "session", "error": "error_code", "stage": "stage", "kind": "kind"}
_let_go_at = func.coalesce(media.c.claimed_until, media.c.received_at)
# A time that nobody can have written whose clock is right: it must not keep an attachment waiting until then.
_idle = or_(
    media.c.claim.is_(None) & or_(_let_go_at <= _p("before"), _let_go_at > _p("absurd")),
    media.c.claim.is_not(None) & or_(media.c.claimed_until < _p("now"), media.c.claimed_until > _p("absurd")),
)


@functools.cache
def _unfinished(*, paged: bool) -> Select[Any]:
    further = [tuple_(media.c.received_at, media.c.id) > tuple_(_p("after_at"), _p("after_id"))] if paged else []
    return (
        select(media.c.id).where(RUNNING, _idle, *further).order_by(media.c.received_at, media.c.id).limit(_p("limit"))
    )


# What is replayed came at its first round's time: how old that is says nothing.
OLDEST = (
    select(media.c.received_at)
    .where(RUNNING, media.c.run == literal_column("0"))
    .order_by(media.c.received_at)
    .limit(literal_column("1"))
)
UNFINISHED, UNFINISHED_AFTER = _unfinished(paged=False), _unfinished(paged=True)


def _narrowed(statement: Select[Any], by: frozenset[str]) -> Select[Any]:
    wanted = [media.c[column] == _p(name) for name, column in FILTERS.items() if name in by]
    # Always a range on received_at, so that every listing walks one index from its newest end.
    return statement.where(media.c.received_at >= _p("since"), *wanted)


@functools.cache
def listing(by: frozenset[str], *, paged: bool) -> Select[Any]:
    """Newest first, narrowed by the filters of these names; `paged` starts behind (after_at, after_id)."""
    found = _narrowed(select(*RECORD), by)
    if paged:
        found = found.where(tuple_(media.c.received_at, media.c.id) < tuple_(_p("after_at"), _p("after_id")))
    return found.order_by(media.c.received_at.desc(), media.c.id.desc()).limit(_p("limit"))


@functools.cache
def deletions(contents: int) -> Select[Any]:
    """The deletions of so many contents: their hashes are `sha256_0` and so on."""
    hashes: list[Any] = [_p(f"sha256_{number}") for number in range(contents)]
    return select(media.c.sha256, media.c.deleted_at, media.c.storage_key.is_not(None)).where(
        media.c.sha256.in_(hashes), media.c.deleted_at >= _p("since")
    )


@functools.cache
def counting(by: frozenset[str]) -> Select[Any]:
    """How many rows these filters leave."""
    return _narrowed(select(func.count()).select_from(media), by)


SUMS = select(counters.c.name, func.sum(counters.c.n)).group_by(counters.c.name)
# The newest first and narrowed afterwards, or both databases would rather sort every row that is done.
_newest = (
    select(media.c.finished_at, media.c.received_at, media.c.status, media.c.run)
    .where(media.c.finished_at.is_not(None), media.c.finished_at <= _p("now"))
    .order_by(media.c.finished_at.desc())
    .limit(_p("newest"))
    .subquery()
)
DURATIONS = (
    select(_newest.c.finished_at - _newest.c.received_at)
    .where(_newest.c.status == literal_column("'done'"), _newest.c.run == literal_column("0"))
    .limit(_p("limit"))
)
FINISHED_SINCE = select(func.count()).where(media.c.finished_at > _p("since"))
