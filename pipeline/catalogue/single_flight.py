"""Single flight: what storage holds is not fetched again, and of many that come at once one is fetched.

Attachments are told to have the same content by the hash that they declare. All of it happens in the transaction of the
claim: the claims themselves say who is fetching, so nothing has to be locked, renewed or given back besides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, ColumnElement, Integer, Select, bindparam, func, literal_column, or_, select, update

from pipeline.catalogue.session import Session
from pipeline.catalogue.statements import BY_ID, HELD, IS_RECEIVED
from pipeline.catalogue.tables import media
from pipeline.models import Claim, ContentMatch, Status

MAX_BATCH = 1000  # others that are looked at; one content may come a hundred thousand times
SHORTEST_WAIT_MS = 25
LONGEST_WAIT_MS = 2000
# With a source of its own nobody waits longer for that of another, which may be slow on purpose.
PATIENCE_MS = 60_000


class SingleFlight(NamedTuple):
    """How far an attachment that is to be fetched relies on others that declare the same hash.

    On those of its own session and its own source; with `anyone` on all. With `waits` also on those that are only being
    fetched.
    """

    anyone: bool = False
    waits: bool = True


class WaitForOther(NamedTuple):
    """Another attachment with this content is being fetched: to be asked again after so long."""

    wait_ms: int


_stored = media.c.status.in_(
    [literal_column(f"'{status.value}'") for status in (Status.STORED, Status.DONE)]
) & media.c.storage_key.is_not(None)
_same_content = (
    select(media.c.source_mark, _stored.label("is_stored"))
    .where(media.c.sha256 == bindparam("declared"))
    .limit(MAX_BATCH)
    .subquery()
)
_ONE: ColumnElement[int] = literal_column("1", Integer)
HELD_BY_SOURCE: Select[Any] = (
    select(_ONE).where(_same_content.c.source_mark == bindparam("mark"), _same_content.c.is_stored).limit(1)
)
HELD_BY_ANYONE: Select[Any] = select(_ONE).where(media.c.sha256 == bindparam("declared"), _stored).limit(1)
HELD_BY_SESSION: Select[Any] = HELD_BY_ANYONE.where(media.c.session == bindparam("session"))

_alike = (
    select(media.c.claim, media.c.claimed_until, media.c.session, media.c.source_mark)
    .where(media.c.declared_sha256 == bindparam("declared"), IS_RECEIVED, media.c.id != bindparam("media_id"))
    .limit(MAX_BATCH)
    .subquery()
)
UNDER_WAY = (
    select(_alike.c.claimed_until)
    .where(
        _alike.c.claim.is_not(None),
        _alike.c.claimed_until.between(bindparam("now"), bindparam("absurd")),
        or_(
            _alike.c.source_mark == bindparam("mark"),
            _alike.c.session == bindparam("patient_session"),
            bindparam("anyone", type_=Integer) == literal_column("1"),
        ),
    )
    .order_by(_alike.c.claimed_until.desc())
    .limit(1)
)
# Two transactions of PostgreSQL would not see each other's claims: those that declare one hash go one by one.
ONE_BY_ONE = select(func.pg_advisory_xact_lock(bindparam("lock", type_=BigInteger)))
LET_GO = update(media).where(HELD).values(claim=None, claimed_until=bindparam("now"))
# Taken from the session, its bytes prove nothing of the source that it names.
NO_PROOF = update(media).where(BY_ID).values(source_mark=None)


class Declared(NamedTuple):
    """What a claimed row says of its content: the hash, and the mark of its source."""

    sha256: str
    mark: str | None


def look_around(
    session: Session, claim: Claim, declared: Declared, *, flight: SingleFlight, given: Mapping[str, Any]
) -> Claim | WaitForOther:
    """The claim, with how its content is held if it is, or that it has to wait and was let go of.

    `given` are the values with which it was claimed.
    """
    known = {
        **given,
        "declared": declared.sha256,
        "mark": declared.mark,
        "session": claim.record.session,
        **_patience(claim, flight, given["now"]),
    }
    held = _held(session, flight, known)
    if held is None and flight.waits:
        if given["one_by_one"]:
            session.row(ONE_BY_ONE, lock=int(declared.sha256[:15], 16))
        under_way = session.row(UNDER_WAY, **known)
        if under_way:
            session.change(LET_GO, **known)
            return WaitForOther(_wait_ms(known["now"], since=under_way[0] - (known["until"] - known["now"])))
        held = _held(session, flight, known) if given["one_by_one"] else None
    if held is ContentMatch.BY_HASH:
        session.change(NO_PROOF, **known)
    return claim.model_copy(update={"content_match": held}) if held else claim


def _patience(claim: Claim, flight: SingleFlight, now: int) -> dict[str, Any]:
    """For whom else it waits besides those with its own source."""
    patient = claim.record.received_at > now - PATIENCE_MS
    return {
        "patient_session": claim.record.session if patient else None,
        "anyone": int(flight.anyone and patient),
    }


def _held(session: Session, flight: SingleFlight, known: Mapping[str, Any]) -> ContentMatch | None:
    if known["mark"] and session.row(HELD_BY_SOURCE, **known):
        return ContentMatch.BY_SOURCE
    by_hash = HELD_BY_ANYONE if flight.anyone else HELD_BY_SESSION
    return ContentMatch.BY_HASH if session.row(by_hash, **known) else None


def _wait_ms(now: int, *, since: int) -> int:
    """As long again as the other is known to have taken: few ask twice, and nobody waits much longer than it takes."""
    return min(max(now - since, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
