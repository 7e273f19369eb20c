"""Claims on attachments. Threads of a process that claim at the same time share a transaction on SQLite."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.group_commit import GroupCommit
from pipeline.catalogue.session import Session
from pipeline.catalogue.single_flight import Declared, SingleFlight, WaitForOther, look_around
from pipeline.errors import Code, PacedError
from pipeline.models import Claim, Refusal, Status

FOR_EVER = 2**62  # later than every lease
CLOCKS_DIFFER_S = 60  # at most: what is further ahead was written by a clock that is wrong


class Claims:
    """See `Catalogue.claim`. `now` gives Unix milliseconds; `wait_s` is how long one claim may wait for its turn."""

    def __init__(self, database: Database, now: Callable[[], int], *, wait_s: float) -> None:
        self._database = database
        self._now = now
        self._wait_s = wait_s
        self._claiming: GroupCommit[dict[str, Any], Claim | Refusal | WaitForOther] = GroupCommit(database, _claim_all)

    def claim(
        self,
        media_id: str,
        *,
        lease_s: float,
        takeover: bool,
        previous_token: str | None,
        single_flight: SingleFlight | None,
    ) -> Claim | Refusal:
        if not rows.is_id(media_id):
            return Refusal.UNKNOWN
        now = self._now()
        given = {
            "flight": single_flight,
            "one_by_one": self._database.dialect != "sqlite",
            "now": now,
            "media_id": media_id,
            # The id within the token lets renew() find its row by the primary key.
            "token": f"{media_id}.{secrets.token_hex(8)}",
            "before": FOR_EVER if takeover else now,
            "absurd": now + int((lease_s + CLOCKS_DIFFER_S) * 1000),
            "until": now + int(lease_s * 1000),
            "heir_of": previous_token if previous_token and rows.is_token(previous_token) else "",
        }
        if self._database.dialect == "sqlite":
            found = self._claiming.do(given, wait_s=self._wait_s)
        else:
            found = self._database.write(lambda session: _claim(session, given))
        if isinstance(found, WaitForOther):
            raise PacedError(
                Code.FETCH_BUSY, "another with this content is being fetched", retry_after=found.wait_ms / 1000
            )
        return found


def _claim_all(session: Session, several: Sequence[dict[str, Any]]) -> list[Claim | Refusal | WaitForOther]:
    return [_claim(session, given) for given in several]


def _claim(session: Session, given: dict[str, Any]) -> Claim | Refusal | WaitForOther:
    flight: SingleFlight | None = given["flight"]
    row = session.row(statements.CLAIM_TO_FETCH if flight else statements.CLAIM, **given)
    if row and flight:
        *row, sha256, mark, has_others = row
        claim = rows.claim(given["token"], row)
        if has_others and claim.record.status is Status.RECEIVED:
            return look_around(session, claim, Declared(sha256, mark), flight=flight, given=given)
        return claim
    if row:
        return rows.claim(given["token"], row)
    held = session.row(statements.WHY_NOT, media_id=given["media_id"])
    return Refusal.UNKNOWN if held is None else Refusal.ENDED if held[0] else Refusal.HELD
