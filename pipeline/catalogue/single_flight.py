"""Single flight: content that is in storage is not fetched again, and concurrent fetches of one content are one fetch.

The hash that attachments declare identifies equal content. Everything happens in the transaction of the claim: the
claims show who is fetching, so there is no lock of its own to renew or release.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    and_,
    bindparam,
    func,
    literal_column,
    or_,
    select,
    update,
)

from pipeline.catalogue.session import Session
from pipeline.catalogue.statements import BY_ID, HELD, IS_RECEIVED
from pipeline.catalogue.tables import media
from pipeline.models import Claim, ContentMatch, Status

MAX_CONSIDERED = 1000  # other attachments that a query reads; one content may arrive a hundred thousand times
SHORTEST_WAIT_MS = 25
LONGEST_WAIT_MS = 2000
# How long an attachment waits for a fetch from another source, which may be slow on purpose.
MAX_WAIT_FOR_OTHER_SOURCE_MS = 60_000


class SingleFlight(NamedTuple):
    """Which other attachments with the same declared hash an attachment may take its content from.

    Those of its own chat (gateway, session and chat are the same) and of its own source; with `anyone` all. With
    `waits` it also waits for those that are being fetched.
    """

    anyone: bool = False
    waits: bool = True


class WaitForOther(NamedTuple):
    """Another attachment with this content is being fetched. The claim is to be repeated after `wait_ms`."""

    wait_ms: int


_stored = media.c.status.in_(
    [literal_column(f"'{status.value}'") for status in (Status.STORED, Status.DONE)]
) & media.c.storage_key.is_not(None)
_same_content = (
    select(media.c.source_mark, _stored.label("is_stored"))
    .where(media.c.sha256 == bindparam("declared"))
    .limit(MAX_CONSIDERED)
    .subquery()
)
_ONE: ColumnElement[int] = literal_column("1", Integer)
STORED_BY_SOURCE: Select[Any] = (
    select(_ONE).where(_same_content.c.source_mark == bindparam("mark"), _same_content.c.is_stored).limit(1)
)
STORED_BY_ANYONE: Select[Any] = select(_ONE).where(media.c.sha256 == bindparam("declared"), _stored).limit(1)
# A session has many chats, and a sender in one of them can declare the hash of a file from another.
_same_content_in_session = (
    select(media.c.gateway, media.c.chat, _stored.label("is_stored"))
    .where(media.c.sha256 == bindparam("declared"), media.c.session == bindparam("session"))
    .limit(MAX_CONSIDERED)
    .subquery()
)
STORED_BY_CHAT: Select[Any] = (
    select(_ONE)
    .where(
        _same_content_in_session.c.gateway == bindparam("gateway"),
        _same_content_in_session.c.chat == bindparam("chat"),
        _same_content_in_session.c.is_stored,
    )
    .limit(1)
)

_same_declared = (
    select(*(media.c[name] for name in ("claim", "claimed_until", "gateway", "session", "chat", "source_mark")))
    .where(media.c.declared_sha256 == bindparam("declared"), IS_RECEIVED, media.c.id != bindparam("media_id"))
    .limit(MAX_CONSIDERED)
    .subquery()
)
BEING_FETCHED = (
    select(_same_declared.c.claimed_until)
    .where(
        _same_declared.c.claim.is_not(None),
        _same_declared.c.claimed_until.between(bindparam("now"), bindparam("latest_plausible")),
        or_(
            _same_declared.c.source_mark == bindparam("mark"),
            and_(
                _same_declared.c.chat == bindparam("waiting_chat"),
                _same_declared.c.session == bindparam("session"),
                _same_declared.c.gateway == bindparam("gateway"),
            ),
            bindparam("anyone", type_=Integer) == literal_column("1"),
        ),
    )
    .order_by(_same_declared.c.claimed_until.desc())
    .limit(1)
)
# Concurrent transactions of PostgreSQL do not see each other's claims: those with one declared hash run one by one.
LOCK_HASH = select(func.pg_advisory_xact_lock(bindparam("lock", type_=BigInteger)))
RELEASE = update(media).where(HELD).values(claim=None, claimed_until=bindparam("now"))
# Content that was found by hash does not prove that this attachment's source has it.
CLEAR_SOURCE_MARK = update(media).where(BY_ID).values(source_mark=None)


class Declared(NamedTuple):
    """The declared hash of a claimed row, and the mark of its source."""

    sha256: str
    mark: str | None


def find_duplicate(
    session: Session, claim: Claim, declared: Declared, *, flight: SingleFlight, values: Mapping[str, Any]
) -> Claim | WaitForOther:
    """Returns the claim, with `content_match` if storage has its content; or releases it because it has to wait.

    `values` are the parameters of the claim's statement.
    """
    parameters = {
        **values,
        "declared": declared.sha256,
        "mark": declared.mark,
        "gateway": claim.record.gateway,
        "session": claim.record.session,
        "chat": claim.record.chat,
        **_wait_parameters(claim, flight, values["now"]),
    }
    match = _content_match(session, flight, parameters)
    if match is None and flight.waits:
        if values["one_by_one"]:
            session.row(LOCK_HASH, lock=int(declared.sha256[:15], 16))
        other = session.row(BEING_FETCHED, **parameters)
        if other:
            session.execute(RELEASE, **parameters)
            lease_ms = parameters["until"] - parameters["now"]
            return WaitForOther(_wait_ms(parameters["now"], since=other[0] - lease_ms))
        match = _content_match(session, flight, parameters) if values["one_by_one"] else None
    if match is ContentMatch.BY_HASH:
        session.execute(CLEAR_SOURCE_MARK, **parameters)
    return claim.model_copy(update={"content_match": match}) if match else claim


def _wait_parameters(claim: Claim, flight: SingleFlight, now: int) -> dict[str, Any]:
    """Which attachments it waits for, in addition to those with its own source."""
    waits = claim.record.received_at > now - MAX_WAIT_FOR_OTHER_SOURCE_MS
    return {
        "waiting_chat": claim.record.chat if waits else None,
        "anyone": int(flight.anyone and waits),
    }


def _content_match(session: Session, flight: SingleFlight, parameters: Mapping[str, Any]) -> ContentMatch | None:
    if parameters["mark"] and session.row(STORED_BY_SOURCE, **parameters):
        return ContentMatch.BY_SOURCE
    by_hash = STORED_BY_ANYONE if flight.anyone else STORED_BY_CHAT
    return ContentMatch.BY_HASH if session.row(by_hash, **parameters) else None


def _wait_ms(now: int, *, since: int) -> int:
    """As long as the other fetch has taken so far: few claims are repeated twice, and none waits much too long."""
    return min(max(now - since, SHORTEST_WAIT_MS), LONGEST_WAIT_MS)
