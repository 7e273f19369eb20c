"""Grants claims. On SQLite, threads of a process that claim at the same time share a transaction."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import bindparam, update

from pipeline.catalogue import rows, statements
from pipeline.catalogue.database import Database
from pipeline.catalogue.group_commit import GroupCommit
from pipeline.catalogue.session import Session
from pipeline.catalogue.single_flight import Declared, SingleFlight, WaitForOther, find_duplicate
from pipeline.catalogue.tables import media
from pipeline.errors import Code, PacedError
from pipeline.models import Claim, Refusal, Status
from pipeline.security.encryption import EncryptionKeyError, SourceCipher

AFTER_EVERY_LEASE = 2**62  # Unix ms
CLOCKS_DIFFER_S = 60  # a lease that ends later than this allows was written by a host with a wrong clock
Answer = Claim | Refusal | WaitForOther | EncryptionKeyError
# The row shows what it waits for. The next claim of a process that has the key continues.
RETURN_LOCKED = (
    update(media)
    .where(statements.HELD)
    .values(claim=None, claimed_until=bindparam("now"), error_code=bindparam("code"), error=bindparam("message"))
)


class Claims:
    """See `Catalogue.claim`. `now` returns Unix milliseconds, `wait_s` is how long one claim may wait for its turn."""

    def __init__(self, database: Database, now: Callable[[], int], cipher: SourceCipher, *, wait_s: float) -> None:
        self._database = database
        self._now = now
        self._wait_s = wait_s
        self._cipher = cipher
        self._claiming: GroupCommit[dict[str, Any], Answer] = GroupCommit(database, _claim_all)

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
            "cipher": self._cipher,
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
        if isinstance(answer, EncryptionKeyError):
            raise answer
        return answer


def _claim_all(session: Session, requests: Sequence[dict[str, Any]]) -> list[Answer]:
    return [_claim(session, values) for values in requests]


def _claim(session: Session, values: dict[str, Any]) -> Answer:
    flight: SingleFlight | None = values["flight"]
    row = session.row(statements.CLAIM_TO_FETCH if flight else statements.CLAIM, **values)
    if row and flight:
        *row, sha256, mark, has_others = row
        claim = _claim_of(session, row, values)
        if has_others and isinstance(claim, Claim) and claim.record.status is Status.RECEIVED:
            return find_duplicate(session, claim, Declared(sha256, mark), flight=flight, values=values)
        return claim
    if row:
        return _claim_of(session, row, values)
    finished_row = session.row(statements.IS_FINISHED, media_id=values["media_id"])
    if finished_row is None:
        return Refusal.UNKNOWN
    return Refusal.ENDED if finished_row[0] else Refusal.HELD


def _claim_of(session: Session, row: Sequence[Any], values: dict[str, Any]) -> Claim | EncryptionKeyError:
    """The claim of a claimed row. If its source is needed and cannot be decrypted, the claim is given back."""
    try:
        return rows.claim(values["token"], row, values["cipher"])
    except EncryptionKeyError as error:
        claim = rows.claim_without_source(values["token"], row)
        if claim is None:
            session.execute(RETURN_LOCKED, **values, code=error.code.value, message=error.message)
        return claim or error
