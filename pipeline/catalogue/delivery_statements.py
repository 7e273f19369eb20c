"""Statements on deliveries and on the circuits of their endpoints. All parameters are named."""

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

COLUMNS = (
    *("id", "event_id", "media_id", "session", "type", "endpoint", "status", "attempts", "error"),
    *("created_at", "since", "tried_at", "next_at", "ended_at"),
)
ATTEMPT = ("id", "event_id", "media_id", "session", "type", "attempts", "since", "body")
_CIRCUIT = ("failures", "failing_since", "probe_at", "error")

_p = bindparam
_due = deliveries.c.next_at.is_not(None)
_claimed = (deliveries.c.id == _p("id")) & (deliveries.c.claim == _p("token"))
_at_endpoint = deliveries.c.endpoint == _p("endpoint")
_columns = [deliveries.c[name] for name in COLUMNS]


def _status(word: str) -> Any:
    return deliveries.c.status == literal_column(f"'{word}'")


def _insert(dialect: str) -> Executable:
    names = ("id", "event_id", "media_id", "session", "type", "endpoint", "body")
    values: dict[str, Any] = {name: _p(name) for name in names}
    values |= {"status": literal_column("'pending'"), "attempts": literal_column("0")}
    values |= dict.fromkeys(("created_at", "since", "next_at"), _p("now"))
    return insert(dialect, deliveries).values(values).on_conflict_do_nothing(index_elements=["id"])  # type: ignore[no-any-return]


INSERT = PerDialect(_insert)
# For a deletion: nothing is sent any more, and no text of a person is kept.
WITHDRAW = (
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

# --- attempts ---

IS_DUE = select(deliveries.c.id).where(_at_endpoint, _due, deliveries.c.next_at <= _p("now")).limit(literal_column("1"))
CLAIM = (
    update(deliveries)
    .where(
        deliveries.c.id.in_(
            select(deliveries.c.id)
            .where(_at_endpoint, _due, deliveries.c.next_at <= _p("now"))
            .order_by(deliveries.c.next_at)
            .limit(_p("want"))
            .with_for_update(skip_locked=True)
        )
    )
    .values(claim=_p("token"), next_at=_p("until"))
    .returning(*(deliveries.c[name] for name in ATTEMPT))
)
_tried: dict[str, Any] = {"attempts": deliveries.c.attempts + 1, "tried_at": _p("now"), "claim": None}
DELIVERED = (
    update(deliveries)
    .where(_claimed)
    .values(status="delivered", body=None, error=None, next_at=None, ended_at=_p("now"), **_tried)
)
RETRY = update(deliveries).where(_claimed).values(error=_p("error"), next_at=_p("next_at"), **_tried)
UNDELIVERED = (
    update(deliveries)
    .where(_claimed)
    .values(status="undelivered", error=_p("error"), next_at=None, ended_at=_p("now"), **_tried)
)
RELEASE = update(deliveries).where(_claimed).values(claim=None, next_at=_p("now"))

# --- circuits of endpoints ---

CIRCUIT = select(*(endpoints.c[name] for name in _CIRCUIT)).where(endpoints.c.name == _p("endpoint"))
CIRCUITS = select(endpoints.c.name, *(endpoints.c[name] for name in _CIRCUIT))
CLOSE_CIRCUIT = (
    update(endpoints)
    .where(endpoints.c.name == _p("endpoint"), endpoints.c.failures > literal_column("0"))
    .values(failures=0, failing_since=None, probe_at=None, error=None)
)
# A delivery that failed while the endpoint was failing is due at once when the endpoint works again.
BRING_FORWARD = (
    update(deliveries)
    .where(_at_endpoint, _due, deliveries.c.next_at > _p("now"))
    .where(deliveries.c.claim.is_(None), deliveries.c.tried_at >= _p("failing_since"))
    .values(next_at=_p("now"))
)
PROBE = (
    update(endpoints)
    .where(endpoints.c.name == _p("endpoint"), endpoints.c.failures >= _p("opens_after"))
    .where(or_(endpoints.c.probe_at <= _p("now"), endpoints.c.probe_at > _p("latest_plausible")))
    .values(probe_at=_p("until"))
)
PROBE_NOW = (
    update(endpoints).where(endpoints.c.name == _p("endpoint"), endpoints.c.probe_at.is_not(None)).values(probe_at=0)
)


def _add_failures(dialect: str) -> Executable:
    values = {"name": "endpoint", "failures": "n", "failing_since": "now", "probe_at": "probe_at", "error": "error"}
    statement = insert(dialect, endpoints).values({column: _p(name) for column, name in values.items()})
    updates = {
        "failures": endpoints.c.failures + statement.excluded.failures,
        "failing_since": func.coalesce(endpoints.c.failing_since, statement.excluded.failing_since),
        "probe_at": statement.excluded.probe_at,
        "error": statement.excluded.error,
    }
    return statement.on_conflict_do_update(index_elements=["name"], set_=updates)  # type: ignore[no-any-return]


ADD_FAILURES = PerDialect(_add_failures)

# --- reading and maintenance ---

_pending_since = func.min(deliveries.c.since)
PENDING = select(deliveries.c.endpoint, func.count(), _pending_since).where(_due).group_by(deliveries.c.endpoint)
UNDELIVERED_COUNT = (
    select(deliveries.c.endpoint, func.count()).where(_status("undelivered")).group_by(deliveries.c.endpoint)
)
GIVE_UP = (
    update(deliveries)
    .where(_at_endpoint, _due, deliveries.c.since < _p("before"))
    .where(or_(deliveries.c.claim.is_(None), deliveries.c.next_at <= _p("now")))
    .values(status="undelivered", next_at=None, claim=None, ended_at=_p("now"), error=_p("why"))
)
# A delivery that was never tried is due at once, and no claim lasts longer than its lease: a host with a wrong clock
# wrote any later time.
FIX_DUE_TIMES = (
    update(deliveries)
    .where(_due, deliveries.c.next_at > _p("now"))
    .where(
        or_(
            and_(deliveries.c.claim.is_(None), deliveries.c.tried_at.is_(None)),
            and_(deliveries.c.claim.is_not(None), deliveries.c.next_at > _p("latest_plausible_lease")),
            deliveries.c.next_at > _p("latest_plausible"),
        )
    )
    .values(next_at=_p("now"), claim=None)
)
_ended = deliveries.c.status.in_([literal_column("'delivered'"), literal_column("'withdrawn'")])
TRIM = delete(deliveries).where(
    deliveries.c.id.in_(
        select(deliveries.c.id)
        .where(_ended, deliveries.c.created_at < _p("before"), deliveries.c.ended_at < _p("before"))
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
GET = select(*_columns).where(deliveries.c.id == _p("id"))
BEGINNING = (
    select(*_columns)
    .where(deliveries.c.id >= _p("value"), deliveries.c.id < _p("end"))
    .order_by(deliveries.c.id)
    .limit(_p("limit"))
)
_FILTERS = {"status": deliveries.c.status, "endpoint": deliveries.c.endpoint, "session": deliveries.c.session}


def _filtered(statement: Select[Any], by: frozenset[str]) -> Select[Any]:
    conditions = [column == _p(name) for name, column in _FILTERS.items() if name in by]
    return statement.where(deliveries.c.created_at >= _p("since"), *conditions)


@functools.cache
def listing(by: frozenset[str], *, paged: bool) -> Select[Any]:
    """Selects deliveries by the filters of these names, newest first. `paged` starts after (after_at, after_id)."""
    statement = _filtered(select(*_columns), by)
    if paged:
        after = tuple_(_p("after_at"), _p("after_id"))
        statement = statement.where(tuple_(deliveries.c.created_at, deliveries.c.id) < after)
    return statement.order_by(deliveries.c.created_at.desc(), deliveries.c.id.desc()).limit(_p("limit"))


@functools.cache
def counting(by: frozenset[str]) -> Select[Any]:
    """Counts the deliveries that match the filters of these names."""
    return _filtered(select(func.count()).select_from(deliveries), by)
