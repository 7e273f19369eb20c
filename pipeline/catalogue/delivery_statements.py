"""The statements about deliveries and about how it goes with their receivers; named parameters as in statements.py."""

from __future__ import annotations

import functools
from typing import Any

from sqlalchemy import (
    Executable,
    Select,
    and_,
    bindparam,
    case,
    delete,
    func,
    literal_column,
    null,
    or_,
    select,
    tuple_,
    update,
)

from pipeline.catalogue.dialects import PerDialect, insert
from pipeline.catalogue.tables import deliveries, endpoints

SHOWN = (
    *("id", "event_id", "media_id", "session", "type", "endpoint", "status", "attempts", "error"),
    *("created_at", "since", "tried_at", "next_at", "ended_at"),
)
PARCEL = ("id", "event_id", "media_id", "session", "type", "attempts", "since", "body")
CIRCUIT = ("failures", "failing_since", "probe_at", "error")

_p = bindparam
_due = deliveries.c.next_at.is_not(None)
_mine = (deliveries.c.id == _p("id")) & (deliveries.c.claim == _p("token"))
_there = deliveries.c.endpoint == _p("endpoint")
_shown = [deliveries.c[name] for name in SHOWN]


def _status(word: str) -> Any:
    return deliveries.c.status == literal_column(f"'{word}'")


def _insert(dialect: str) -> Executable:
    names = ("id", "event_id", "media_id", "session", "type", "endpoint", "body")
    values: dict[str, Any] = {name: _p(name) for name in names}
    values |= {"status": literal_column("'pending'"), "attempts": literal_column("0")}
    values |= dict.fromkeys(("created_at", "since", "next_at"), _p("now"))
    return insert(dialect, deliveries).values(values).on_conflict_do_nothing(index_elements=["id"])  # type: ignore[no-any-return]


WRITE_DOWN = PerDialect(_insert)
# Of a deletion: nothing of it is told any more, and no words of anybody stay here.
SCRUB = (
    update(deliveries)
    .where(deliveries.c.media_id == _p("media_id"))
    .values(
        body=None,
        claim=None,
        next_at=None,
        status=case((_status("delivered"), deliveries.c.status), else_=literal_column("'withdrawn'")),
        error=case((_status("delivered"), deliveries.c.error), else_=_p("why")),
        ended_at=func.coalesce(deliveries.c.ended_at, _p("now")),
    )
)

# --- handing over ---

IS_DUE = select(deliveries.c.id).where(_there, _due, deliveries.c.next_at <= _p("now")).limit(literal_column("1"))
CLAIM = (
    update(deliveries)
    .where(
        deliveries.c.id.in_(
            select(deliveries.c.id)
            .where(_there, _due, deliveries.c.next_at <= _p("now"))
            .order_by(deliveries.c.next_at)
            .limit(_p("want"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(claim=_p("token"), next_at=_p("until"))
    .returning(*(deliveries.c[name] for name in PARCEL))
)
_tried: dict[str, Any] = {"attempts": deliveries.c.attempts + 1, "tried_at": _p("now"), "claim": None}
DELIVERED = (
    update(deliveries)
    .where(_mine)
    .values(status="delivered", body=None, error=None, next_at=None, ended_at=_p("now"), **_tried)
)
AGAIN = update(deliveries).where(_mine).values(error=_p("error"), next_at=_p("next_at"), **_tried)
UNDELIVERED = (
    update(deliveries)
    .where(_mine)
    .values(status="undelivered", error=_p("error"), next_at=None, ended_at=_p("now"), **_tried)
)
GIVE_BACK = update(deliveries).where(_mine).values(claim=None, next_at=_p("now"))

# --- how it goes with a receiver ---

CIRCUIT_OF = select(*(endpoints.c[name] for name in CIRCUIT)).where(endpoints.c.name == _p("endpoint"))
CIRCUITS = select(endpoints.c.name, *(endpoints.c[name] for name in CIRCUIT))
WELL = (
    update(endpoints)
    .where(endpoints.c.name == _p("endpoint"), endpoints.c.failures > literal_column("0"))
    .values(failures=0, failing_since=None, probe_at=None, error=None)
)
# What failed since it began to fail, failed because of that: it need not wait for its own turn now.
BRING_FORWARD = (
    update(deliveries)
    .where(_there, _due, deliveries.c.next_at > _p("now"))
    .where(deliveries.c.claim.is_(None), deliveries.c.tried_at >= _p("failing_since"))
    .values(next_at=_p("now"))
)
PROBE = (
    update(endpoints)
    .where(endpoints.c.name == _p("endpoint"), endpoints.c.failures >= _p("opens_after"))
    .where(or_(endpoints.c.probe_at <= _p("now"), endpoints.c.probe_at > _p("absurd")))
    .values(probe_at=_p("until"))
)
PROBE_NOW = (
    update(endpoints).where(endpoints.c.name == _p("endpoint"), endpoints.c.probe_at.is_not(None)).values(probe_at=0)
)


def _failing(dialect: str) -> Executable:
    values = {"name": "endpoint", "failures": "n", "failing_since": "now", "probe_at": "probe_at", "error": "error"}
    adding = insert(dialect, endpoints).values({column: _p(name) for column, name in values.items()})
    news = {
        "failures": endpoints.c.failures + adding.excluded.failures,
        "failing_since": func.coalesce(endpoints.c.failing_since, adding.excluded.failing_since),
        "probe_at": adding.excluded.probe_at,
        "error": adding.excluded.error,
    }
    return adding.on_conflict_do_update(index_elements=["name"], set_=news)  # type: ignore[no-any-return]


FAILING = PerDialect(_failing)

# --- looking after them ---

_pending_since = func.min(deliveries.c.since)
PENDING = select(deliveries.c.endpoint, func.count(), _pending_since).where(_due).group_by(deliveries.c.endpoint)
UNDELIVERED_COUNT = (
    select(deliveries.c.endpoint, func.count()).where(_status("undelivered")).group_by(deliveries.c.endpoint)
)
GIVE_UP = (
    update(deliveries)
    .where(_there, _due, deliveries.c.since < _p("before"))
    .where(or_(deliveries.c.claim.is_(None), deliveries.c.next_at <= _p("now")))
    .values(status="undelivered", next_at=None, claim=None, ended_at=_p("now"), error=_p("why"))
)
# What was never tried is due at once, and no claim lasts that long: a time beyond was written by a clock that is wrong.
MEND = (
    update(deliveries)
    .where(_due, deliveries.c.next_at > _p("now"))
    .where(
        or_(
            and_(deliveries.c.claim.is_(None), deliveries.c.tried_at.is_(None)),
            and_(deliveries.c.claim.is_not(None), deliveries.c.next_at > _p("lease_absurd")),
            deliveries.c.next_at > _p("absurd"),
        )
    )
    .values(next_at=_p("now"), claim=None)
)
_over = deliveries.c.status.in_([literal_column("'delivered'"), literal_column("'withdrawn'")])
TRIM = delete(deliveries).where(
    deliveries.c.id.in_(
        select(deliveries.c.id)
        .where(_over, deliveries.c.created_at < _p("before"), deliveries.c.ended_at < _p("before"))
        .limit(_p("limit"))
    )
)
REDELIVER = (
    update(deliveries)
    .where(deliveries.c.id == _p("id"), deliveries.c.body.is_not(None))
    .where(or_(_status("undelivered"), _status("pending") & deliveries.c.claim.is_(None)))
    .values(status="pending", attempts=0, since=_p("now"), next_at=_p("now"), ended_at=null(), claim=null())
    .returning(deliveries.c.endpoint)
)
ONE = select(*_shown).where(deliveries.c.id == _p("id"))
_FILTERS = {"status": deliveries.c.status, "endpoint": deliveries.c.endpoint, "session": deliveries.c.session}


def _narrowed(statement: Select[Any], by: frozenset[str]) -> Select[Any]:
    wanted = [column == _p(name) for name, column in _FILTERS.items() if name in by]
    return statement.where(deliveries.c.created_at >= _p("since"), *wanted)


@functools.cache
def listing(by: frozenset[str], *, paged: bool) -> Select[Any]:
    """Newest first, narrowed by the filters of these names; `paged` starts behind (after_at, after_id)."""
    found = _narrowed(select(*_shown), by)
    if paged:
        found = found.where(tuple_(deliveries.c.created_at, deliveries.c.id) < tuple_(_p("after_at"), _p("after_id")))
    return found.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(_p("limit"))


@functools.cache
def counting(by: frozenset[str]) -> Select[Any]:
    """How many rows these filters leave."""
    return _narrowed(select(func.count()).select_from(deliveries), by)
