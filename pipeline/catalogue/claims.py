"""Grants claims. On SQLite, threads of a process that claim at the same time share a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.group_commit import GroupCommit
from pipeline.catalogue.session import Session
from pipeline.catalogue.single_flight import Declared, SingleFlight, WaitForOther, find_duplicate
from pipeline.errors import Code, PacedError
from pipeline.models import Claim, Refusal, Status

AFTER_EVERY_LEASE = 2**62  # Unix ms
CLOCKS_DIFFER_S = 60  # a lease that ends later than this allows was written by a host with a wrong clock


class Claims:
    """See `Catalogue.claim`. `now` returns Unix milliseconds, `wait_s` is how long one claim may wait for its turn."""

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
        values = {
            "flight": single_flight,
            "one_by_one": self._database.dialect != "sqlite",
            "now": now,
            "media_id": media_id,
            # The id inside the token lets renew() find the row by its primary key.
            "token": f"{media_id}.{secrets.token_hex(8)}",
            "before": AFTER_EVERY_LEASE if takeover else now,
            "latest_plausible": now + int((lease_s + CLOCKS_DIFFER_S) * 1000),
            "until": now + int(lease_s * 1000),
            "previous_token": previous_token if previous_token and rows.is_token(previous_token) else "",
        }
        if self._database.dialect == "sqlite":
            answer = self._claiming.run(values, wait_s=self._wait_s)
        else:
            answer = self._database.write(lambda session: _claim(session, values))
        if isinstance(answer, WaitForOther):
            message = "another attachment with this content is being fetched"
            raise PacedError(Code.FETCH_BUSY, message, retry_after=answer.wait_ms / 1000)
        return answer


def _claim_all(session: Session, requests: Sequence[dict[str, Any]]) -> list[Claim | Refusal | WaitForOther]:
    return [_claim(session, values) for values in requests]


def _claim(session: Session, values: dict[str, Any]) -> Claim | Refusal | WaitForOther:
    flight: SingleFlight | None = values["flight"]
    row = session.row(statements.CLAIM_TO_FETCH if flight else statements.CLAIM, **values)
    if row and flight:
        *row, sha256, mark, has_others = row
        claim = rows.claim(values["token"], row)
        if has_others and claim.record.status is Status.RECEIVED:
            return find_duplicate(session, claim, Declared(sha256, mark), flight=flight, values=values)
        return claim
    if row:
        return rows.claim(values["token"], row)
    finished_row = session.row(statements.IS_FINISHED, media_id=values["media_id"])
    if finished_row is None:
        return Refusal.UNKNOWN
    return Refusal.ENDED if finished_row[0] else Refusal.HELD
